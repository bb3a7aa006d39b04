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
from typing import TYPE_CHECKING, Any, NamedTuple

from fpm_listener.doctor.ini_edits import Edit, lost_variables
from fpm_listener.phpfpm.guard_command import PROGRAM
from fpm_listener.phpfpm.shell_commands import SHELL
from fpm_listener.supervisor.ini_lines import ConfigSection

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fpm_listener.doctor.held_address import HeldAddress
    from fpm_listener.doctor.machine import Machine
    from fpm_listener.doctor.partial import Partial
    from fpm_listener.doctor.running_facts import Running
    from fpm_listener.host.addresses import Address
    from fpm_listener.phpfpm.command_line import FpmInvocation
    from fpm_listener.phpfpm.config import FpmConf
    from fpm_listener.phpfpm.start_script import StartScript
    from fpm_listener.settings.receiver_types import ReceiverProblem
    from fpm_listener.supervisor.ini_lines import Line, Place
    from fpm_listener.supervisor.process import Loaded

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

    def where(self, key: str = "") -> Place:
        """Return where a key is, or where it belongs."""
        return self.place.where(key)

    def edits(self, values: Mapping[str, str | None]) -> tuple[Edit, ...]:
        """Return the changes that give keys new values; None removes a key."""
        if not self.editable or lost_variables(self.lines, values):
            return ()
        files = {key: line.file for key, line in self.place.lines.items()}
        return tuple(
            Edit(files.get(key, self.place.file), self.name, key, value, self.php)
            for key, value in values.items()
        )

    def assignments(self, values: Mapping[str, str | None]) -> str:
        """Return new values as they are written in this section; None removes a key."""
        equals = " = " if self.php else "="
        lost = ", ".join(lost_variables(self.lines, values))
        written = [f"{key}{equals}{value}" for key, value in values.items() if value is not None]
        removed = [f"remove {key}" for key, value in values.items() if value is None]
        pairs = " and ".join(written + removed)
        return f"{lost} so that {pairs}" if lost else pairs


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


class Unknown(NamedTuple):
    """A program that seems to be php-fpm, and the reason why no php-fpm was found in it."""

    process: Supervised
    reason: str  #: a clause
    is_nothing_read: bool = False  #: no word of its command is a file that can be read


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
    script: StartScript | None = None  #: that starts it

    @property
    def program(self) -> Section:
        """Return its section in supervisord's files."""
        return self.process.section

    @property
    def is_read(self) -> bool:
        """Return whether its main file was read; otherwise its values are only defaults."""
        return self.conf.path in self.conf.files

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
        return any(PROGRAM.fullmatch(word.rpartition("/")[2]) for word in words[:3])

    @property
    def in_shell(self) -> bool:
        """Return whether a shell starts it."""
        return SHELL.match(self.process.command) is not None

    @property
    def in_plain_words(self) -> bool:
        """Return whether no shell reads its words."""
        return not self.in_shell and self.script is None

    @property
    def uid(self) -> Any:  # noqa: ANN401 - supervisord's value
        """Return the uid that it runs as; None = unknown, or root."""
        if self.invocation.user:
            return self.machine.uid(self.invocation.user)
        own = self.process.settings["user"]
        return self.process.settings.get("supervisord_uid") if own is None else own


class CheckedConfig(NamedTuple):
    """Everything that the rules read."""

    supervisord: Mapping[str, Any]  #: of [supervisord]: nodaemon, minfds; inet and unix servers
    sections: Mapping[str, ConfigSection]  #: of supervisord's files
    processes: tuple[Supervised, ...]
    fpms: tuple[Fpm, ...]
    machine: Machine
    unknown: tuple[Unknown, ...] = ()  #: programs of php-fpm whose php-fpm was not found
    refused: tuple[tuple[str, str], ...] = ()  #: files of our own settings, and their errors
    undeliverable: tuple[tuple[str, ReceiverProblem], ...] = ()  #: the same, for lost alerts
    state_dirs: tuple[tuple[str, str], ...] = ()  #: files of our own settings, and state_dir
    #: globs over group:name: after FATAL, the listener ends the container or starts them again
    healed: tuple[str, ...] = ()
    loaded: Loaded | None = None  #: None = no supervisord answers, or it does not say
    held: tuple[HeldAddress, ...] = ()  #: of the addresses that a process listens on now
    running: Running | None = None  #: the supervisord that runs with this configuration
    is_environment_known: bool = False  #: False = the variables are those of this shell
    nginx_daemons: tuple[tuple[str, str, bool], ...] = ()  #: see nginx_conf.daemons
    partial: Partial | None = None  #: what is unknown of files without their machine

    def section(self, name: str) -> Section:
        """Return a section of supervisord's files; a new one belongs into the main file."""
        first = next(iter(self.sections.values()), None)
        place = self.sections.get(name) or ConfigSection(
            name, first.file if first else "supervisord.conf", 0, {}
        )
        return Section(place, self.supervisord, editable=first is not None)

    @property
    def files(self) -> list[str]:
        """Return the files in which sections, keys and FPM pools are, each once."""
        found = [section.file for section in self.sections.values()]
        found += [line.file for one in self.sections.values() for line in one.lines.values()]
        return list(
            dict.fromkeys([*found, *(path for fpm in self.fpms for path in fpm.conf.files)])
        )

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


def read_fpms(config: CheckedConfig) -> list[Fpm]:
    """Return every program that starts php-fpm with a configuration that was read."""
    return [fpm for fpm in config.fpms if fpm.is_read]


def programs(config: CheckedConfig) -> list[Section]:
    """Return the section of every program that starts php-fpm."""
    return [fpm.program for fpm in config.fpms]


def pools(config: CheckedConfig) -> Iterator[CheckedPool]:
    """Return every FPM pool."""
    return (pool for fpm in config.fpms for pool in fpm.pools)


def pool_sections(config: CheckedConfig) -> list[Section]:
    """Return the section of every FPM pool."""
    return [pool.section for pool in pools(config)]
