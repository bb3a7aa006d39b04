"""What the doctor finds: the values, and the list of rules that find them.

Laws:
1. A rule looks and says; it reads no file and asks no clock: what it needs is in the Checkup.
2. An id is for ever: it names one rule, and no other one gets it later.
3. A finding says where, what, why it will hurt, and what to write instead.
4. A value that can be a secret is in no finding.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from fpm_listener.supervisor.ini_lines import ConfigSection, Edit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm_listener.host.address_holders import HolderReport
    from fpm_listener.phpfpm.command_line import FpmInvocation
    from fpm_listener.phpfpm.config import FpmConf, Pool
    from fpm_listener.settings.receiver_types import ReceiverProblem
    from fpm_listener.supervisor.process import Loaded

#: A shell with a command of its own: `/bin/sh -c "..."`.
SHELL = re.compile(r"^(\S*/)?((?:ba|da|z|k|a)?sh)\s+(?:-\w+\s+)*-\w*c\b")


def words_of(command: str) -> list[str]:
    """Return the words of a command as supervisor splits it; none where it cannot be split."""
    try:
        return shlex.split(command)
    except ValueError:
        return []


class Supervised(NamedTuple):
    """One process as supervisor reads it, with its section."""

    kind: str  #: program, eventlistener, fcgi-program
    group: str
    name: str
    section: ConfigSection
    settings: Mapping[str, Any]  #: by the names of the section's keys; types as supervisor has them

    @property
    def command(self) -> str:
        """Return the command, expansions done."""
        return str(self.settings["command"])


class Fpm(NamedTuple):
    """A php-fpm among the programs."""

    process: Supervised
    invocation: FpmInvocation
    conf: FpmConf
    sections: Mapping[str, ConfigSection]  #: of php-fpm's own files: global, and pools by name
    version: tuple[int, ...] = ()

    def at(self, key: str) -> str:
        """Return where a key of the program stands."""
        return self.process.section.where(key)

    def in_fpm(self, section: str, key: str) -> str:
        """Return where a key of php-fpm's configuration stands, or where it would."""
        known = self.sections.get(section.lower())
        return known.where(key) if known else f"{self.conf.path} [{section}]"

    def edits(self, **values: str | None) -> tuple[Edit, ...]:
        """Return changes of the program's keys."""
        section = self.process.section
        return tuple(section.edit(key, value) for key, value in values.items())

    def edits_in_fpm(self, section: str, values: Mapping[str, str]) -> tuple[Edit, ...]:
        """Return changes of keys of php-fpm's configuration; none where the section is not seen."""
        known = self.sections.get(section.lower())
        if known is None:
            return ()
        return tuple(known.edit(key, value, php=True) for key, value in values.items())

    @property
    def guarded(self) -> bool:
        """Return whether our guard starts it."""
        words = words_of(self.process.command)
        return any(word.endswith(("fpm-listener", "fpm_listener")) for word in words[:3])

    @property
    def in_shell(self) -> bool:
        """Return whether a shell starts it."""
        return SHELL.match(self.process.command) is not None

    def option(self, pool: Pool, key: str, otherwise: str = "") -> str:
        """Return a setting of a pool as php-fpm's scanner yields it."""
        return pool.options.get(key, otherwise)


class Held(NamedTuple):
    """Who has an address that a php-fpm of the configuration listens on."""

    address: str
    report: HolderReport
    families: Mapping[int, tuple[int, ...]]  #: by a holder's pid: its own, its parent's, and so on
    relatives: frozenset[int]  #: pids that are children of the supervisord of this configuration


class Machine(Protocol):
    """What the doctor asks the host."""

    def exists(self, path: str) -> bool:
        """Return whether there is such a file or folder."""

    def is_folder(self, path: str) -> bool:
        """Return whether it is a folder."""

    def user(self, name: str) -> bool:
        """Return whether there is such a user."""

    def group(self, name: str) -> bool:
        """Return whether there is such a group."""

    def init_scripts(self) -> tuple[str, ...]:
        """Return the init scripts of php-fpm."""

    def php_fpms(self) -> tuple[str, ...]:
        """Return the paths of the php-fpm binaries that are installed."""

    def enabled_units(self) -> tuple[str, ...]:
        """Return the systemd services of php-fpm that are enabled."""

    def port_range(self) -> tuple[int, int]:
        """Return the ports that outgoing connections use."""

    def memory_limit(self) -> int | None:
        """Return the bytes that everything here may use: of the cgroup, or of the host."""

    def in_container(self) -> bool:
        """Return whether this is a container."""


class CheckedConfig(NamedTuple):
    """All that is looked at."""

    supervisord: Mapping[str, Any]  #: of [supervisord]: nodaemon, minfds; inet and unix servers
    sections: Mapping[str, ConfigSection]  #: of supervisord's files
    processes: tuple[Supervised, ...]
    fpms: tuple[Fpm, ...]
    machine: Machine
    refused: tuple[tuple[str, str], ...] = ()  #: files of our own settings, and what is wrong
    #: files of our own settings, and why alerts will not be delivered
    undeliverable: tuple[tuple[str, ReceiverProblem], ...] = ()
    loaded: Loaded | None = None  #: None = nobody answers, or does not say
    held: tuple[Held, ...] = ()  #: of the addresses that some process listens on now

    def where(self, section: str, key: str = "") -> str:
        """Return where a key of supervisord's files stands, or where it would."""
        known = self.sections.get(section)
        if known:
            return known.where(key)
        first = next(iter(self.sections.values()), None)
        return f"{first.file if first else 'supervisord.conf'} [{section}]"

    def edits(self, section: str, **values: str) -> tuple[Edit, ...]:
        """Return changes of keys of supervisord's files; a new section goes into the main one."""
        first = next(iter(self.sections.values()), None)
        known = self.sections.get(section) or ConfigSection(
            section, first.file if first else "", 0, {}
        )
        return tuple(known.edit(key, value) for key, value in values.items()) if first else ()
