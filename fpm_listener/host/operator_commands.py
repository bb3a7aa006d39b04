"""Which commands work for an operator on this host, as values; `command_search` finds them."""

from __future__ import annotations

from typing import NamedTuple

#: The tools of remedies that some hosts and images do not have.
TOOLS = (
    *("df", "dmesg", "groupadd", "install", "ip", "namei", "ps", "ss", "systemctl", "useradd"),
    *("addgroup", "adduser", "netstat"),
)
#: Capabilities that remedies need, by their numbers (capabilities(7)). A container lacks some.
CAPABILITIES = {"sys_ptrace": 19, "sys_admin": 21, "syslog": 34}


class OperatorCommands(NamedTuple):
    """What works for root here. The defaults: everything works."""

    supervisorctl: str | None = "supervisorctl"  #: with its options; None = it cannot work
    supervisord: int | None = None  #: pid of our supervisord
    tools: frozenset[str] = frozenset(TOOLS)  #: those of TOOLS that exist
    capabilities: frozenset[str] = frozenset(CAPABILITIES)  #: those that root can have

    def control(self, verb: str, name: str) -> str | None:
        """Return a command of supervisorctl: `start`, `restart`, `stop`, `update`, …."""
        return f"{self.supervisorctl} {verb} {name}" if self.supervisorctl else None
