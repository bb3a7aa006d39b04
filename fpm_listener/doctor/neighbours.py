"""Reads the commands of the programs beside php-fpm: web servers, queue workers, cron.

Laws:
1. A wrapper is not a program: `gosu www-data nginx` is nginx.
2. A script is unknown: no rule says anything about what may be in it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from fpm_listener.doctor.checked_config import words_of
from fpm_listener.doctor.rule import match
from fpm_listener.phpfpm import shell_commands
from fpm_listener.phpfpm.shell_commands import SHELL
from fpm_listener.phpfpm.start_script import INIT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fpm_listener.doctor.checked_config import CheckedConfig, Section, Supervised
    from fpm_listener.doctor.rule import Match

_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=", re.ASCII)
#: PHP, and the programs of frameworks that PHP runs.
_PHP = re.compile(r"php[\d.]*|artisan|console|magento|drush|occ|cake|wp|spark")
#: A command of a shell that repeats something, or that waits.
_LOOP = re.compile(r"(?:^|[;&|(\n]|\bdo\s)[ \t]*(?:while|until|for)\s")
_SLEEP = re.compile(r"(?:^|[\s;&|(])sleep\s")


class _Wrapper(NamedTuple):
    """A program that becomes another one, or passes signals to it."""

    with_value: str = ""  #: its options that have a value in the next word
    words: int = 0  #: before the program, after the options


_WRAPPERS = {
    "exec": _Wrapper("-a"),
    "env": _Wrapper("-u -C"),
    "nohup": _Wrapper(),
    "nice": _Wrapper("-n"),
    "ionice": _Wrapper("-c -n"),
    "stdbuf": _Wrapper("-i -o -e"),
    "tini": _Wrapper("-p"),
    "dumb-init": _Wrapper(),
    "docker-php-entrypoint": _Wrapper(),
    "gosu": _Wrapper("", 1),
    "su-exec": _Wrapper("", 1),
    "s6-setuidgid": _Wrapper("", 1),
    "sudo": _Wrapper("-u -g -h -p -C -r -t"),
    "runuser": _Wrapper("-u -g"),
    "chpst": _Wrapper("-u -U -e -/"),
    "timeout": _Wrapper("-s -k", 1),
}


class Started(NamedTuple):
    """What a command runs."""

    commands: tuple[tuple[str, ...], ...]  #: the words of each one, without wrappers
    shell: str = ""  #: the name of the shell that runs them; empty = none
    text: str = ""  #: of the shell
    execs: bool = True  #: the last one replaces the shell

    @property
    def last(self) -> tuple[str, ...]:
        """Return the words of the last command."""
        return self.commands[-1] if self.commands else ()

    @property
    def repeats(self) -> bool:
        """Return whether the shell runs a loop."""
        return _LOOP.search(self.text) is not None

    @property
    def ends_with_loop(self) -> bool:
        """Return whether the loop is the last that the shell runs, not a wait before a program."""
        return self.repeats and self.last[:1] == ("done",)

    @property
    def waits(self) -> bool:
        """Return whether the shell sleeps."""
        return _SLEEP.search(self.text) is not None


class Neighbour(NamedTuple):
    """One program that is not php-fpm."""

    process: Supervised
    started: Started
    alike: int  #: processes of it with the same command and environment
    sh: str  #: the name of the program that /bin/sh is; empty = unknown

    @property
    def section(self) -> Section:
        """Return its section."""
        return self.process.section

    @property
    def settings(self) -> Mapping[str, Any]:
        """Return the values of its section."""
        return self.process.settings

    @property
    def words(self) -> tuple[str, ...]:
        """Return the words of the program that it becomes, or that it runs last."""
        return self.started.last

    @property
    def name(self) -> str:
        """Return the name of that program, without its directory; empty for an init script."""
        first = self.words[0] if self.words else ""
        return "" if first.startswith("/etc/") else base_name(first)

    @property
    def starts(self) -> bool:
        """Return whether supervisord starts it by itself."""
        return bool(self.settings.get("autostart", True))

    @property
    def is_script(self) -> bool:
        """Return whether an unknown program can run the words behind it, for example in a loop."""
        return _PHP.fullmatch(self.name) is None

    def written(self) -> str:
        """Return its command as it is in the file; empty if that is not the whole command."""
        line = self.section.lines.get("command")
        return line.value if line and not line.cut and not self.started.shell else ""

    def match(
        self,
        key: str,
        change: Mapping[str, str | None] | None = None,
        variant: str = "",
        **values: object,
    ) -> Match:
        """Return a match at a key; change: new values by key, None = remove the key."""
        return match(self.section, key, change, variant, program=self.name, **values)


def base_name(path: str) -> str:
    """Return a path without its directory."""
    return path.rpartition("/")[2]


def neighbours(config: CheckedConfig) -> list[Neighbour]:
    """Return every program that is not php-fpm, once for all its processes.

    Without commands that need a shell (FPM029), and without init scripts of php-fpm (FPM004).
    """
    fpms = {fpm.program.name for fpm in config.fpms}
    fpms |= {unknown.process.section.name for unknown in config.unknown}
    found: dict[str, list[Supervised]] = {}
    for process in config.processes:
        name, command = process.section.name, process.command
        if process.kind == "program" and name not in fpms and not _is_reported(command):
            found.setdefault(name, []).append(process)
    sh = config.machine.shell()
    return [Neighbour(one[0], read(one[0].command), _alike(one), sh) for one in found.values()]


@lru_cache(maxsize=512)  # as read
def _is_reported(command: str) -> bool:
    """Return whether FPM004 or FPM029 says what is wrong with a command."""
    return bool(INIT.search(command) or shell_commands.syntax(command))


def _alike(processes: Sequence[Supervised]) -> int:
    ways = {(one.command, *sorted(one.settings["environment"].items())) for one in processes}
    return int(processes[0].settings["numprocs"]) if len(ways) == 1 else 1


@lru_cache(maxsize=512)  # each rule asks for all commands
def read(command: str) -> Started:
    """Return what a command runs."""
    found = SHELL.match(command)
    if found is None:
        words = _unwrapped(words_of(command))
        return Started((words,) if words else ())
    text, arguments = shell_commands.command_string(words_of(command[found.end(2) :]))
    simple = [one for one in shell_commands.simple_commands(text, arguments) if one]
    execs = bool(simple) and simple[-1][0] == "exec"
    return Started(tuple(filter(None, map(_unwrapped, simple))), found[2], text, execs)


def _unwrapped(words: list[str]) -> tuple[str, ...]:
    """Return the words of a program without the programs in front of it."""
    at = 0
    while at < len(words):
        if _ASSIGNMENT.match(words[at]):
            at += 1
            continue
        name = base_name(words[at])
        if name == "fpm-listener" and words[at + 1 : at + 2] == ["after"] and "--" in words[at:]:
            at = words.index("--", at) + 1
            continue
        wrapper = _WRAPPERS.get(name)
        if wrapper is None:
            break
        at = _behind_options(words, at + 1, wrapper.with_value.split()) + wrapper.words
    return tuple(words[at:])


def _behind_options(words: list[str], at: int, with_value: list[str]) -> int:
    while at < len(words) and words[at].startswith("-"):
        if words[at] == "--":
            return at + 1
        at += 2 if words[at] in with_value else 1
    return at
