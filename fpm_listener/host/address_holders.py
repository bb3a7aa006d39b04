"""The processes that hold a listen address, as values; `holder_search` finds them.

The guard imports this after a conflict, so it uses named tuples: dataclasses cost 10 ms.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from fpm_listener.values import assert_never

#: The end of an address of UDP: `0.0.0.0:53/udp`.
UDP = "/udp"


class HolderKind(Enum):
    """What a holder is for the program that needs the address."""

    ORPHAN = "orphan"  #: a worker whose php-fpm master is gone
    MASTER = "master"  #: another running php-fpm
    OTHER = "other"  #: something else


#: By kind of supervisor: the commands that stop a program for good, and that restart it.
_VERBS = {
    "supervisord": ("stop", "restart"),
    "runsv": ("down", "restart"),
    "s6-supervise": ("-d", "-r"),
    "supervise": ("-d", "-t"),
    "docker": ("stop", "restart"),
    "podman": ("stop", "restart"),
    "container": ("", ""),
}


class HolderSupervisor(NamedTuple):
    """What starts a holder again when it exits: a kill helps for a second only."""

    kind: str  #: a key of _VERBS
    pid: int | None = None  #: of a process in our container
    config: str | None = None  #: its configuration file, its service directory, or a container
    control: str | None = None  #: the command without its verb; None = there is none
    name: str | None = None  #: of the holder, for this command; quoted; None = unknown
    ours: bool = False  #: it is the supervisord that needs the address
    user: str | None = None  #: that runs it, quoted, if that is neither root nor our own

    @property
    def stop(self) -> str | None:
        """Return the command that stops the holder for good."""
        return self._command(0)

    @property
    def restart(self) -> str | None:
        """Return the command that restarts the holder."""
        return self._command(1)

    @property
    def place(self) -> str:
        """Return its pid and configuration."""
        pid = f"pid {self.pid}" if self.pid else ""
        return ", ".join(part for part in (pid, self.config) if part)

    @property
    def status(self) -> str | None:
        """Return the command that shows the programs of a supervisord."""
        return self._as_user(f"{self.control} status") if self.control else None

    def __str__(self) -> str:
        which = {"supervisord": "this " if self.ours else "another "}.get(self.kind, "")
        return f"{which}{self.kind} ({self.place})"

    def _command(self, verb: int) -> str | None:
        if not self.control or not self.name:
            return None
        return self._as_user(f"{self.control} {_VERBS[self.kind][verb]} {self.name}")

    def _as_user(self, command: str) -> str:
        """Return the command for the user of the supervisor: root runs no files of others."""
        if self.user is None:
            return command
        quoted = command.replace("'", "'\\''")
        return f"su -s /bin/sh {self.user} -c '{quoted}'"


class Holder(NamedTuple):
    """One process that has the address; several workers of one master are one holder."""

    kind: HolderKind
    pid: int
    command: str  #: its command line, cut at 200 characters
    user: str | None  #: name, or number of a user without a name
    master_pid: int | None = None  #: ORPHAN: of the dead master; MASTER: of the running one
    ours: bool = False  #: ORPHAN: this program itself has started the dead master
    others: tuple[int, ...] = ()  #: pids of the same group that hold the same socket
    unit: str | None = None  #: systemd unit, such as php8.2-fpm.service
    container: str | None = None  #: id of the container it runs in, 12 characters
    engine: str | None = None  #: of the container: `docker` or `podman`
    started: int | None = None  #: ticks since boot; None = unknown
    supervisor: HolderSupervisor | None = None  #: that starts it again

    @property
    def pids(self) -> tuple[int, ...]:
        """Return all its processes."""
        return (self.pid, *self.others)

    def __str__(self) -> str:
        where = ""
        supervisor = self.supervisor
        if supervisor is not None and supervisor.pid:
            where += f", started by {supervisor}"
        if self.unit:
            where += f", unit {self.unit}"
        if self.container:
            where += f", container {self.container}"
        fellows = f" and {len(self.others)} more" if self.others else ""
        match self.kind:
            case HolderKind.ORPHAN:
                what = f", orphan of the dead master {self.master_pid}"
            case HolderKind.MASTER:
                what = ", another running php-fpm"
            case HolderKind.OTHER:
                what = ""
            case _:
                assert_never(self.kind)
        user = f", user {self.user}" if self.user else ""
        return f"pid {self.pid}{fellows} ({self.command}{user}{what}{where})"


class HolderReport(NamedTuple):
    """The holders of one address."""

    address: str  #: as asked
    holders: tuple[Holder, ...]  #: empty: it is free now, or the holder is unknown
    blind: str | None = None  #: why holders can be missing; None = all were seen
    left: tuple[int, ...] = ()  #: process groups of orphans whose sockets cannot be seen

    @property
    def pids(self) -> tuple[int, ...]:
        """Return the processes of all holders."""
        return tuple(pid for holder in self.holders for pid in holder.pids)

    def __str__(self) -> str:
        if self.holders:
            return "; ".join(str(holder) for holder in self.holders)
        return self.blind or "nobody has it now"
