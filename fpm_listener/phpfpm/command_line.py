"""Finds the php-fpm that a command starts, with its options.

Laws:
1. The command is read as supervisor reads it: split into words as by a shell, without a shell.
2. The command must become php-fpm: each word before it is a known wrapper, an option of one, or an
   assignment. `service php-fpm start` does not count: its php-fpm is not a child of supervisord.
3. Options end at the first word that is not an option, as in php-fpm, which then refuses to start.

Source: main/getopt.c, sapi/fpm/fpm/fpm_main.c, php-fpm8.2 -h; the packages of the distributions.
"""

from __future__ import annotations

import re
from itertools import dropwhile
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.phpfpm import wrappers
from fpm_listener.phpfpm.guard_command import PROGRAM as GUARD_PROGRAM

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAME = re.compile(r"php-fpm(\d+(?:\.\d+)?)?|php(\d+(?:\.\d+)?)-fpm", re.ASCII)

_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*\+?=", re.ASCII)

#: php-fpm's long options, and the short ones that take a value.
_LONG = {
    "php-ini": "c",
    "no-php-ini": "n",
    "define": "d",
    "profile-info": "e",
    "fpm-config": "y",
    "prefix": "p",
    "pid": "g",
    "daemonize": "D",
    "nodaemonize": "F",
    "force-stderr": "O",
    "allow-to-run-as-root": "R",
    "test": "t",
    "version": "v",
    "info": "i",
    "modules": "m",
    "help": "h",
    "usage": "h",
}

_CLUSTER = re.compile(r"-([ehimnvtRDFO?]*)(?:([cdypg])(=?)(.*))?", re.DOTALL)

_TAKES_VALUE, _ENDS_AT_ONCE = "cdypg", "tvimh?"


class FpmInvocation(NamedTuple):
    """A php-fpm with its options."""

    binary: str
    arguments: tuple[str, ...] = ()  #: all words after it, without redirections of a shell
    config: str | None = None  #: -y
    prefix: str | None = None  #: -p
    pid_file: str | None = None  #: -g
    force_stderr: bool = False  #: -O
    foreground: bool | None = None  #: -F or -D, the last one; None = as configured
    allow_root: bool = False  #: -R
    php_ini: str | None = None  #: -c, a file or a directory
    test_only: bool = False  #: -t, -v, -i, -m, -h: exits at once
    user: str = ""  #: name or number of the user to which a wrapper changes, as gosu does
    refused: str = ""  #: a word that php-fpm refuses: it prints its usage and exits with 64

    @property
    def version(self) -> tuple[int, ...]:
        """Return PHP's version from the name of the binary: (8, 2), (7,) or ()."""
        number = _number(_base(self.binary))
        parts = number.split(".") if "." in number else (number[:1], number[1:])
        return tuple(int(part) for part in parts if part)


_PYTHON = re.compile(r"python[\d.]*", re.ASCII)

_SHELL = re.compile(r"(?:ba|da|z|k|a)?sh")


def find(command: str) -> FpmInvocation | None:
    """Return the php-fpm that the command becomes; None for another program."""
    import shlex  # noqa: PLC0415 - the guard does not need it

    try:
        return find_in(shlex.split(command))
    except ValueError:
        return None


def find_behind_sleep(command: str) -> FpmInvocation | None:
    """Return the php-fpm of `sh -c "sleep 1 && php-fpm"`; None if the shell does more.

    command: as in supervisord's file, with its `%(here)s`.
    """
    import shlex  # noqa: PLC0415 - the guard does not need it

    from fpm_listener.phpfpm import shell_commands  # noqa: PLC0415 - the same

    hidden = re.sub(r"%\((\w+)\)(\w+)", "\1\\1\2\\2", command)
    try:
        words = shlex.split(hidden)
    except ValueError:
        return None
    if len(words) != 3 or words[1] != "-c" or not _SHELL.fullmatch(_base(words[0])):
        return None
    text = words[2]
    if re.search(r"[$`<>*?~()\[\]{}|]|(?<!&)&(?!&)", text):
        return None
    *before, last = [words for words in shell_commands.simple_commands(text, []) if words] or [[]]
    last = last[1:] if last[:1] == ["exec"] else last
    if not last or not _NAME.fullmatch(_base(last[0])) or any(w[0] != "sleep" for w in before):
        return None
    return _invocation(*_shown(last))


def find_in(words: list[str]) -> FpmInvocation | None:
    """Return the php-fpm that one simple command becomes; words: its words."""
    user = ""
    while words:
        name = _base(words[0])
        if _NAME.fullmatch(name):
            return _invocation(words[0], words[1:])._replace(user=user)
        if _SHELL.fullmatch(name):
            return _as_user(_in_shell(words[1:]), user)
        if name in {"su", "runuser"} and "-c" in words[:-1]:
            at = words.index("-c")
            user = wrappers.user(name, words[1:at] + words[at + 2 :]) or user
            return _as_user(_in_shell(words[at:][:2]), user)
        if _PYTHON.fullmatch(name):
            words = list(dropwhile(lambda word: word in {"-m", "-u", "-E", "-I"}, words[1:]))
        elif GUARD_PROGRAM.fullmatch(name) and words[1:2] == ["guard"]:
            words = words[1:]
        elif name in wrappers.KNOWN:
            behind = wrappers.behind(words[1:], wrappers.KNOWN[name])
            user = wrappers.user(name, words[1 : len(words) - len(behind)]) or user
            words = behind
        elif _ASSIGNMENT.match(words[0]):
            words = words[1:]
        else:
            return None
    return None


def _shown(words: list[str]) -> tuple[str, list[str]]:
    """Return the binary and its arguments, with their `%(here)s` again."""
    own = [re.sub("\1(\\w+)\2", r"%(\1)", word) for word in words]
    return own[0], own[1:]


def _as_user(found: FpmInvocation | None, user: str) -> FpmInvocation | None:
    return found and found._replace(user=found.user or user)


def _base(path: str) -> str:
    return path.rpartition("/")[2]


def _number(name: str) -> str:
    """Return the number in the name of a binary: 8.2 of php-fpm8.2, 83 of php-fpm83."""
    found = _NAME.fullmatch(name)
    return (found[1] or found[2] or "") if found else ""


def _in_shell(words: list[str]) -> FpmInvocation | None:
    """Return the php-fpm among a shell's commands; one that serves wins over `php-fpm -t`.

    words: those after the shell's name.
    """
    from fpm_listener.phpfpm import shell_commands  # noqa: PLC0415 - most guards do not need it

    commands = shell_commands.simple_commands(*shell_commands.command_string(words))
    found = [invocation for words in commands if (invocation := find_in(words))]
    return min(found, key=lambda one: one.test_only, default=None)


def _invocation(binary: str, words: list[str]) -> FpmInvocation:
    values: dict[str, str] = {}
    foreground: bool | None = None
    for letter, value in _options(words):
        values[letter] = value
        if letter in {"F", "D"}:
            foreground = letter == "F"
    return FpmInvocation(
        binary=binary,
        arguments=tuple(words),
        config=values.get("y"),
        prefix=values.get("p"),
        pid_file=values.get("g"),
        refused=values.get("", ""),
        force_stderr="O" in values,
        foreground=foreground,
        allow_root="R" in values,
        php_ini=values.get("c"),
        test_only=any(letter in values for letter in _ENDS_AT_ONCE),
    )


def _options(words: list[str]) -> Iterator[tuple[str, str]]:
    """Yield the letter and value of each option, then an empty letter and what php-fpm refuses."""
    rest = iter(words)
    for word in rest:
        letters, value, apart = "", "", False
        if word == "--":
            yield "", next(rest, "")
            return
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            apart = not equals
            letters = "" if equals and not value else _LONG.get(name, "")
        elif cluster := _CLUSTER.fullmatch(word):
            letters, value = cluster[1] + (cluster[2] or ""), cluster[4] or ""
            apart = not cluster[3] and not value
        for letter in letters[:-1]:
            yield letter, ""
        if letters and letters[-1] in _TAKES_VALUE and apart:
            following = next(rest, None)
            letters, value = ("", "") if following is None else (letters, following)
        if not letters:
            yield "", word
            return
        yield letters[-1], value
