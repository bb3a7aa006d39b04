"""What the rules of the doctor read: supervisord's and php-fpm's configuration, and the host.

Laws:
1. A rule opens no file and reads no clock: everything that it needs is in `CheckedConfig`.
2. An id is never used again: it always names the same rule.
3. A finding says where, what, why, and how to fix it.
4. A finding contains no value that can be a secret.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from fpm_listener.doctor.ini_edits import Edit
from fpm_listener.supervisor.ini_lines import ConfigSection

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fpm_listener.host.address_holders import HolderReport
    from fpm_listener.host.addresses import Address
    from fpm_listener.phpfpm.command_line import FpmInvocation
    from fpm_listener.phpfpm.config import FpmConf
    from fpm_listener.settings.receiver_types import ReceiverProblem
    from fpm_listener.supervisor.ini_lines import Line
    from fpm_listener.supervisor.process import Loaded

#: A shell with a command of its own: `/bin/sh -c "..."`.
SHELL = re.compile(r"^(\S*/)?((?:ba|da|z|k|a)?sh)\s+(?:-\w+\s+)*-\w*c\b")
_OURS = re.compile(r"fpm[-_]listener\b.*\blisten\b")


def words_of(command: str) -> list[str]:
    """Return the words of a command as supervisor splits it; none if it cannot be split."""
    try:
        return shlex.split(command)
    except ValueError:
        return []


def folder_of(path: str) -> str:
    """Return the directory of an absolute path."""
    return path.rpartition("/")[0] or "/"


class Section(NamedTuple):
    """One section: the values that its program reads, and the lines on which they are."""

    place: ConfigSection  #: its lines
    values: Mapping[str, Any]  #: by key; supervisord's with supervisor's types
    php: bool = False  #: a section of php-fpm's files
    editable: bool = True

    @property
    def name(self) -> str:
        """Return what is between the brackets."""
        return self.place.name

    @property
    def lines(self) -> Mapping[str, Line]:
        """Return the lines by key."""
        return self.place.lines

    def get(self, key: str, default: str = "") -> str:
        """Return the text of a key of php-fpm."""
        return str(self.values.get(key, default))

    def where(self, key: str = "") -> str:
        """Return where a key is, or where it belongs."""
        return self.place.where(key)

    def edits(self, values: Mapping[str, str | None]) -> tuple[Edit, ...]:
        """Return the changes that give keys new values; None removes a key."""
        if not self.editable:
            return ()
        files = {key: line.file for key, line in self.place.lines.items()}
        return tuple(
            Edit(files.get(key, self.place.file), self.name, key, value, self.php)
            for key, value in values.items()
        )

    def assignments(self, values: Mapping[str, str | None]) -> str:
        """Return new values as they are written in this section."""
        equals = " = " if self.php else "="
        return " and ".join(f"{key}{equals}{value}" for key, value in values.items())


class Supervised(NamedTuple):
    """One process as supervisor reads it."""

    kind: str  #: program, eventlistener, fcgi-program
    group: str
    name: str
    section: Section

    @property
    def settings(self) -> Mapping[str, Any]:
        """Return the values of its section."""
        return self.section.values

    @property
    def command(self) -> str:
        """Return the command after all expansions."""
        return str(self.settings["command"])

    @property
    def is_our_listener(self) -> bool:
        """Return whether it is `fpm-listener listen`."""
        return self.kind == "eventlistener" and _OURS.search(self.command) is not None


class CheckedPool(NamedTuple):
    """One FPM pool."""

    fpm: Fpm
    name: str
    listen: Address | None
    user: str | None
    section: Section


class Fpm(NamedTuple):
    """One program that starts php-fpm."""

    process: Supervised
    invocation: FpmInvocation
    conf: FpmConf
    sections: Mapping[str, ConfigSection]  #: of php-fpm's own files: global, and pools by name
    machine: Machine
    version: tuple[int, ...] = ()

    @property
    def program(self) -> Section:
        """Return its section in supervisord's files."""
        return self.process.section

    @property
    def main(self) -> Section:
        """Return [global] of php-fpm's files."""
        return self._section("global", {**self.conf.options, "log_level": self.conf.log_level})

    @property
    def pools(self) -> tuple[CheckedPool, ...]:
        """Return its pools."""
        return tuple(
            CheckedPool(
                self, pool.name, pool.listen, pool.user, self._section(pool.name, pool.options)
            )
            for pool in self.conf.pools
        )

    @property
    def all_sections(self) -> list[Section]:
        """Return every section of its files, without values."""
        return [Section(place, {}, php=True) for place in self.sections.values()]

    def _section(self, name: str, values: Mapping[str, Any]) -> Section:
        known = self.sections.get(name.lower())
        place = known or ConfigSection(name, self.conf.path, 0, {})
        return Section(place, values, php=True, editable=known is not None)

    @property
    def guarded(self) -> bool:
        """Return whether our guard starts it."""
        words = words_of(self.process.command)
        return any(word.endswith(("fpm-listener", "fpm_listener")) for word in words[:3])

    @property
    def in_shell(self) -> bool:
        """Return whether a shell starts it."""
        return SHELL.match(self.process.command) is not None


class HeldAddress(NamedTuple):
    """The holders of an address that a php-fpm of the configuration listens on."""

    address: str
    report: HolderReport
    ancestors: Mapping[int, tuple[int, ...]]  #: by a holder's pid: its own, its parent's, and so on
    children: frozenset[int]  #: pids that are children of the supervisord of this configuration


class Machine(Protocol):
    """The facts of the host that rules need."""

    def exists(self, path: str) -> bool:
        """Return whether a file or directory exists."""

    def is_folder(self, path: str) -> bool:
        """Return whether a path is a directory."""

    def user(self, name: str) -> bool:
        """Return whether a user exists."""

    def group(self, name: str) -> bool:
        """Return whether a group exists."""

    def init_scripts(self) -> tuple[str, ...]:
        """Return the init scripts of php-fpm."""

    def php_fpms(self) -> tuple[str, ...]:
        """Return the paths of the php-fpm binaries that are installed."""

    def enabled_units(self) -> tuple[str, ...]:
        """Return the systemd services of php-fpm that are enabled."""

    def port_range(self) -> tuple[int, int]:
        """Return the ports that outgoing connections use."""

    def memory_limit(self) -> int | None:
        """Return the bytes that all processes together may use: of the cgroup, or of the host."""

    def in_container(self) -> bool:
        """Return whether this is a container."""


class CheckedConfig(NamedTuple):
    """Everything that the rules read."""

    supervisord: Mapping[str, Any]  #: of [supervisord]: nodaemon, minfds; inet and unix servers
    sections: Mapping[str, ConfigSection]  #: of supervisord's files
    processes: tuple[Supervised, ...]
    fpms: tuple[Fpm, ...]
    machine: Machine
    refused: tuple[tuple[str, str], ...] = ()  #: files of our own settings, and their errors
    #: files of our own settings, and why alerts will not be delivered
    undeliverable: tuple[tuple[str, ReceiverProblem], ...] = ()
    loaded: Loaded | None = None  #: None = no supervisord answers, or it does not say
    held: tuple[HeldAddress, ...] = ()  #: of the addresses that a process listens on now

    def section(self, name: str) -> Section:
        """Return a section of supervisord's files; a new one belongs into the main file."""
        first = next(iter(self.sections.values()), None)
        place = self.sections.get(name) or ConfigSection(
            name, first.file if first else "supervisord.conf", 0, {}
        )
        return Section(place, self.supervisord, editable=first is not None)

    @property
    def all_sections(self) -> list[Section]:
        """Return every section of supervisord's files, without values."""
        return [Section(place, {}) for place in self.sections.values()]


# -- the subjects of rules -------------------------------------------------------------------------


def whole(config: CheckedConfig) -> tuple[CheckedConfig]:
    """Return the configuration as the only subject."""
    return (config,)


def processes(config: CheckedConfig) -> tuple[Supervised, ...]:
    """Return every process."""
    return config.processes


def listeners(config: CheckedConfig) -> list[Supervised]:
    """Return every event listener."""
    return [process for process in config.processes if process.kind == "eventlistener"]


def our_listeners(config: CheckedConfig) -> list[Supervised]:
    """Return every process of `fpm-listener listen`."""
    return [process for process in config.processes if process.is_our_listener]


def fpms(config: CheckedConfig) -> tuple[Fpm, ...]:
    """Return every program that starts php-fpm."""
    return config.fpms


def programs(config: CheckedConfig) -> list[Section]:
    """Return the section of every program that starts php-fpm."""
    return [fpm.program for fpm in config.fpms]


def pools(config: CheckedConfig) -> Iterator[CheckedPool]:
    """Return every FPM pool."""
    return (pool for fpm in config.fpms for pool in fpm.pools)


def pool_sections(config: CheckedConfig) -> list[Section]:
    """Return the section of every FPM pool."""
    return [pool.section for pool in pools(config)]
