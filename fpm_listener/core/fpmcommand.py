"""Which php-fpm a program's command starts, and with which configuration.

Laws:
1. The command is read as supervisor reads it: split like a shell splits words, but run by no shell
   unless it names one.
2. Only what becomes php-fpm counts: an exporter, a `tail -f php-fpm.log` or `service php-fpm start`
   is none.

Source of options and folders: php-fpm8.2 -h; fpm_main.c; the packages of the distributions.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

_NAME = re.compile(r"(?:.*/)?(?:php-fpm(\d+(?:\.\d+)?)?|php(\d+(?:\.\d+)?)-fpm)")
_SHELL = re.compile(r"(?:.*/)?(?:ba|da|z|k|a)?sh")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
#: Words that start another program and go away: what follows them, with their options, is it.
_WRAPPERS = re.compile(
    r"(?:.*/)?(?:env|exec|nice|ionice|nohup|setsid|chroot|setpriv|gosu|su-exec|tini|dumb-init|"
    r"stdbuf|chrt|taskset|timeout|sudo|catchsegv|busybox|fpm-listener|python[\d.]*)",
)
#: Programs that take php-fpm's name as their argument.
_OTHERS = re.compile(
    r"(?:.*/)?(?:tail|cat|grep|service|systemctl|rc-service|supervisorctl|p?kill|killall|pgrep|test)",
)
_ENDS = set("&|;()\n")
#: Words of the shell before a command.
_RESERVED = {"if", "then", "elif", "else", "while", "until", "do", "!", "{", "time"}
_LONG = {
    "fpm-config": "y",
    "prefix": "p",
    "pid": "g",
    "nodaemonize": "F",
    "daemonize": "D",
    "force-stderr": "O",
    "allow-to-run-as-root": "R",
    "test": "t",
    "version": "v",
    "info": "i",
    "modules": "m",
    "help": "h",
    "php-ini": "c",
    "no-php-ini": "n",
    "define": "d",
    "zend-extension": "z",
}
_TAKES_VALUE = "ypgcdz"
_ENDS_AT_ONCE = "tvimh"


@dataclass(frozen=True, slots=True, kw_only=True)
class FpmInvocation:
    """A php-fpm as it is called."""

    binary: str
    arguments: tuple[str, ...] = ()
    config: str | None = None  #: -y
    prefix: str | None = None  #: -p
    pid_file: str | None = None  #: -g
    force_stderr: bool = False  #: -O
    foreground: bool | None = None  #: -F or -D, the last one; None = as configured
    test_only: bool = False  #: -t, -v, -i, -m, -h: ends at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where a build of php-fpm has its files."""

    config: str
    prefix: str  #: what relative paths are below
    localstatedir: str  #: what a relative error_log is below


def find(command: str) -> FpmInvocation | None:
    """Return the php-fpm that the command becomes; None where it is another program."""
    try:
        words = shlex.split(command)
    except ValueError:
        return None
    return _find(words)


def _find(words: list[str]) -> FpmInvocation | None:
    for at, word in enumerate(words):
        if _NAME.fullmatch(word):
            return _invocation(word, words[at + 1 :])
        if _SHELL.fullmatch(word):
            return _in_shell(words[at + 1 :])
        if at == 0 and not _WRAPPERS.fullmatch(word) and not _ASSIGNMENT.match(word):
            return None
        if _OTHERS.fullmatch(word):
            return None
        if word == "listen" and at and words[at - 1].endswith(("fpm-listener", "fpm_listener")):
            return None
    return None


def _in_shell(words: list[str]) -> FpmInvocation | None:
    """Return the php-fpm among the commands of `sh -c TEXT`."""
    for at, word in enumerate(words):
        if word.startswith("-") and word.endswith("c") and at + 1 < len(words):
            lexer = shlex.shlex(words[at + 1], posix=True, punctuation_chars="();<>|&\n")
            lexer.whitespace = " \t\r"
            lexer.whitespace_split = True
            try:
                tokens = list(lexer)
            except ValueError:
                return None
            return _among(tokens)
    return None


def _among(tokens: list[str]) -> FpmInvocation | None:
    simple: list[str] = []
    for token in [*tokens, ";"]:
        if set(token) <= _ENDS:
            while simple and (simple[0] in _RESERVED or _ASSIGNMENT.match(simple[0])):
                simple.pop(0)
            if simple and (found := _find(simple)):
                return found
            simple = []
        else:
            simple.append(token)
    return None


def _invocation(binary: str, words: list[str]) -> FpmInvocation:
    values: dict[str, str] = {}
    foreground: bool | None = None
    arguments: list[str] = []
    rest = iter(words)
    for word in rest:
        if set(word) <= set("<>&|") and word:
            break  # a redirection of the shell: what follows is not php-fpm's
        arguments.append(word)
        for letter, value in _options(word):
            if letter in _TAKES_VALUE and value is None:
                value = next(rest, "")  # noqa: PLW2901 - the option's value is the next word
                arguments.append(value)
            values[letter] = value or ""
            if letter in "FD":
                foreground = letter == "F"
    return FpmInvocation(
        binary=binary,
        arguments=tuple(arguments),
        config=values.get("y") or None,
        prefix=values.get("p") or None,
        pid_file=values.get("g") or None,
        force_stderr="O" in values,
        foreground=foreground,
        test_only=any(letter in values for letter in _ENDS_AT_ONCE),
    )


def _options(word: str) -> list[tuple[str, str | None]]:
    """Return the options of one word, with the values that are glued to them."""
    if word.startswith("--"):
        name, equals, value = word[2:].partition("=")
        return [(_LONG.get(name, "?"), value if equals else None)]
    found: list[tuple[str, str | None]] = []
    if not word.startswith("-"):
        return found
    for at, letter in enumerate(word[1:], 1):
        if letter in _TAKES_VALUE:
            return [*found, (letter, word[at + 1 :].removeprefix("=") or None)]
        found.append((letter, None))
    return found


def layouts(invocation: FpmInvocation) -> tuple[Layout, ...]:
    """Return where this binary's files can be, the most likely place first.

    Debian, Remi, Alpine, the official Docker image, Red Hat, and a build from source.
    """
    name = _NAME.fullmatch(invocation.binary)
    version = (name[1] or name[2] or "") if name else ""
    folder = invocation.binary.rpartition("/")[0]
    found: list[Layout] = []
    if "." in version:
        path = f"/etc/php/{version}/fpm/php-fpm.conf"
        found.append(Layout(config=path, prefix="/usr", localstatedir="/var"))
    elif version:
        path = f"/etc/php{version}/php-fpm.conf"
        found.append(Layout(config=path, prefix="/usr", localstatedir="/var"))
    if remi := re.match(r"/opt/remi/(php\d+)/", invocation.binary):
        path = f"/etc/opt/remi/{remi[1]}/php-fpm.conf"
        root = f"/opt/remi/{remi[1]}/root/usr"
        found.append(Layout(config=path, prefix=root, localstatedir=f"/var/opt/remi/{remi[1]}"))
    if folder.endswith("/sbin") and folder not in {"/usr/sbin", "/sbin"}:
        root = folder.removesuffix("/sbin")
        path = f"{root}/etc/php-fpm.conf"
        found.append(Layout(config=path, prefix=root, localstatedir=f"{root}/var"))
    path = "/etc/php-fpm.conf"
    found.append(Layout(config=path, prefix="/usr", localstatedir="/var"))
    path = "/usr/local/etc/php-fpm.conf"
    found.append(Layout(config=path, prefix="/usr/local", localstatedir="/usr/local/var"))
    return tuple(dict.fromkeys(found))
