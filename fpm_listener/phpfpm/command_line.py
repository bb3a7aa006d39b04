"""Finds the php-fpm that a command starts, with its options.

Laws:
1. The command is read as supervisor reads it: split into words as by a shell, without a shell.
2. The command must become php-fpm: each word before it is a known wrapper, an option of one, or an
   assignment. `service php-fpm start` does not count: its php-fpm is no child of supervisord.
3. Options end at the first word that is no option, as in php-fpm, which then refuses to start.

Source: main/getopt.c, sapi/fpm/fpm/fpm_main.c, php-fpm8.2 -h; the packages of the distributions.
"""

from __future__ import annotations

import re
from itertools import dropwhile
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.phpfpm.guard_command import OPTIONS as GUARD_OPTIONS
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
    refused: str = ""  #: a word that php-fpm refuses: it prints its usage and exits with 64

    @property
    def version(self) -> tuple[int, ...]:
        """Return PHP's version from the name of the binary: (8, 2), (7,) or ()."""
        number = _number(_base(self.binary))
        parts = number.split(".") if "." in number else (number[:1], number[1:])
        return tuple(int(part) for part in parts if part)


class _Wrapper(NamedTuple):
    """A program that starts another one."""

    values: str = ""  #: short options that take a value
    long_values: frozenset[str] = frozenset()  #: long options whose value may be the next word
    operands: int = 0  #: words between the options and the other program


def _long(names: str) -> frozenset[str]:
    return frozenset(f"--{name}" for name in names.split())


_PYTHON = re.compile(r"python[\d.]*", re.ASCII)

_SHELL = re.compile(r"(?:ba|da|z|k|a)?sh")

_WRAPPERS = {
    **dict.fromkeys(("nohup", "setsid", "busybox", "docker-php-entrypoint"), _Wrapper()),
    **dict.fromkeys(("catatonit", "with-contenv", "time", "eatmydata", "pgrphack"), _Wrapper()),
    "cgexec": _Wrapper(values="g"),
    "doas": _Wrapper(values="uC"),
    **dict.fromkeys(("gosu", "su-exec", "s6-setuidgid", "pidproxy"), _Wrapper(operands=1)),
    **dict.fromkeys(("chroot", "taskset"), _Wrapper(operands=1)),
    **dict.fromkeys(("setuidgid", "envuidgid", "envdir", "setuser"), _Wrapper(operands=1)),
    "chpst": _Wrapper(values="uUbe/nlLmdoptfcr"),  # of runit
    "softlimit": _Wrapper(values="madcsrfolpt"),  # of daemontools
    "prlimit": _Wrapper(long_values=_long("output")),
    "numactl": _Wrapper(
        values="ipPwNCmSfLoMI",
        long_values=_long(
            "interleave weighted-interleave preferred preferred-many physcpubind cpunodebind "
            "membind shm file length offset shmmode shmid"
        ),
    ),
    **dict.fromkeys(("tini", "docker-init"), _Wrapper(values="pe")),
    "exec": _Wrapper(values="a"),
    "env": _Wrapper(values="uC", long_values=_long("unset chdir")),
    "nice": _Wrapper(values="n", long_values=_long("adjustment")),
    "ionice": _Wrapper(values="cn", long_values=_long("class classdata")),
    "chrt": _Wrapper(
        values="TPD",
        long_values=_long("sched-runtime sched-period sched-deadline"),
        operands=1,
    ),
    "stdbuf": _Wrapper(values="ioe", long_values=_long("input output error")),
    "dumb-init": _Wrapper(values="r", long_values=_long("rewrite")),
    "sudo": _Wrapper(values="ughpCDRrtTU", long_values=_long("user group chdir")),
    "runuser": _Wrapper(values="ugGs", long_values=_long("user group supp-group shell")),
    "timeout": _Wrapper(values="ks", long_values=_long("kill-after signal"), operands=1),
    "setpriv": _Wrapper(
        long_values=_long(
            "reuid regid ruid euid rgid egid groups inh-caps ambient-caps bounding-set "
            "securebits pdeathsig selinux-label apparmor-profile",
        ),
    ),
    "guard": _Wrapper(  # of `fpm-listener guard`
        long_values=frozenset(f"--{one.name}" for one in GUARD_OPTIONS if one.value)
    ),
}


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
    while words:
        name = _base(words[0])
        if _NAME.fullmatch(name):
            return _invocation(words[0], words[1:])
        if _SHELL.fullmatch(name):
            return _in_shell(words[1:])
        if name in {"su", "runuser"} and "-c" in words[:-1]:
            return _in_shell(words[words.index("-c") :][:2])
        if _PYTHON.fullmatch(name):
            words = list(dropwhile(lambda word: word in {"-m", "-u", "-E", "-I"}, words[1:]))
        elif GUARD_PROGRAM.fullmatch(name) and words[1:2] == ["guard"]:
            words = words[1:]
        elif name in _WRAPPERS:
            words = _behind(words[1:], _WRAPPERS[name])
        elif _ASSIGNMENT.match(words[0]):
            words = words[1:]
        else:
            return None
    return None


def _shown(words: list[str]) -> tuple[str, list[str]]:
    """Return the binary and its arguments, with their `%(here)s` again."""
    own = [re.sub("\1(\\w+)\2", r"%(\1)", word) for word in words]
    return own[0], own[1:]


def _behind(words: list[str], wrapper: _Wrapper) -> list[str]:
    """Return the words of the program that the wrapper starts."""
    at = 0
    while at < len(words) and words[at].startswith("-") and words[at] != "--":
        word = words[at]
        if word.startswith("--"):
            at += word in wrapper.long_values
        else:
            rest = word[1:].lstrip("".join(set(word) - set(wrapper.values)))
            at += len(rest) == 1  # its value is the next word
        at += 1
    at += words[at : at + 1] == ["--"]
    return words[at + wrapper.operands :]


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
