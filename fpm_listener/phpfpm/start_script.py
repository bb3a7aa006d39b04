"""Finds the php-fpm that a start script becomes: `command=/entrypoint.sh`.

Law: no guess. A php-fpm counts only if the script execs it, or runs it last. A variable that is not
known makes the command unknown.
"""

from __future__ import annotations

import re
import shlex
from collections import deque
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from fpm_listener.phpfpm import command_line, shell_commands

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from fpm_listener.phpfpm.command_line import FpmInvocation

_SHELL = re.compile(r"(?:\S*/)?(?:ba|da|z|k|a)?sh")
_FIRST_LINE = re.compile(r"#![^\n]*\b(?:ba|da|z|k|a)?sh\b|#![^\n]*with-contenv")
_HEREDOC = re.compile(r"(?<!<)<<-?[ \t]*(['\"]?)(\w+)\1")
#: `${NAME:-VALUE}`; a value with signs of the shell is not known.
_DEFAULT = re.compile(r"\$\{([A-Za-z_]\w*)(:?)-([\w./-]*)\}", re.ASCII)
_ASSIGNED = re.compile(r"(?<![\w$])(\w+):?\+?=")
#: Commands that give a value to each variable that they name, and to any variable.
_SETS_NAMED = {"for", "read", "getopts", "mapfile", "readarray"}
_SETS_ANY = {".", "source", "eval"}
#: Stand for arguments that the script changes; the second one for words without an option.
_CHANGED, _SHIFTED = "$@", "$@ of words"
_OPTIONS_OF_SET = re.compile(r"(?: [-+]\w*o \w+| [-+]\w+)*")
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})", re.ASCII)
#: Commands that start a service; FPM004 reports them.
INIT = re.compile(
    r"(?:^|[\s'\"&;/])(?:(?:service|rc-service|invoke-rc\.d)\s+(?=\S*php)\S+\s+(?:re)?start"
    r"|systemctl\s+(?:-\S+\s+)*(?:re)?start\s+\S*php|(?:rc\d?\.d|init\.d)/\S{0,99}php)",
)
#: Characters of one script, and scripts that call each other.
_LONGEST, _DEEPEST = 64 << 10, 4


Reader: TypeAlias = "Callable[[str], str | None]"


class StartScript(NamedTuple):
    """A script that a command runs, and the php-fpm that it becomes."""

    path: str
    fault: str = ""  #: why no php-fpm was found in it, as a clause
    invocation: FpmInvocation | None = None
    execs: bool = False  #: the script becomes php-fpm; otherwise its shell stays
    ambiguous: bool = False  #: the script can also become another program
    runs: str = "php-fpm"  #: what it runs: php-fpm, or a script that becomes php-fpm
    is_fpm: bool = False  #: it becomes a php-fpm, perhaps with words that are not known


def find(command: str, read: Reader, environ: Mapping[str, str]) -> StartScript | None:
    """Return the script of a command; None if the command runs none.

    read: returns the text of a file that is a script or unknown, and None for other files.
    """
    try:
        words = shlex.split(command)
    except ValueError:
        return None
    return _in_words(words, read, environ, 1)


def _in_words(
    words: list[str], read: Reader, environ: Mapping[str, str], depth: int
) -> StartScript | None:
    is_shell = is_bash = False
    for at, word in enumerate(words):
        if is_shell and re.fullmatch(r"-[a-z]*c", word):
            content, arguments = shell_commands.command_string(words[at:])
            if is_bash and _is_single(content):
                content = f"exec {content}"  # bash starts no child for it
            return _in_script("the command", content, arguments, read, environ, depth)
        text = read(word) if "/" in word or at == 0 else None
        if text is not None and not _SHELL.fullmatch(word):
            if not is_shell and not text.startswith("#!"):
                continue
            if not is_shell and not _FIRST_LINE.match(text):
                return StartScript(word, "it is not a script of a shell")
            return _in_script(word, text, words[at + 1 :], read, environ, depth)
        is_shell = is_shell or _SHELL.fullmatch(word) is not None
        is_bash = is_bash or word.rpartition("/")[2] == "bash"
    return None


def _is_single(text: str) -> bool:
    """Return whether a text is one simple command without exec."""
    commands = [one for one in shell_commands.simple_commands(text, []) if one]
    return len(commands) == 1 and commands[0][0] != "exec" and not shell_commands.syntax(text)


def _in_script(
    path: str,
    text: str,
    arguments: list[str],
    read: Reader,
    environ: Mapping[str, str],
    depth: int,
) -> StartScript:
    unknown = StartScript(path, "no command in it becomes php-fpm")
    if len(text) > _LONGEST or depth > _DEEPEST:
        return unknown
    plain = without_heredocs(text.partition("\n")[2] if text.startswith("#!") else text)
    commands = [one for one in shell_commands.simple_commands(plain, []) if one]
    plain = _with_defaults(plain, commands, environ)
    arguments = _arguments_after(commands, arguments)
    commands = [one for one in shell_commands.simple_commands(plain, arguments) if one]
    last = commands[-1:] if not re.search(r"&\s*\Z", plain) else []
    execs = [one for one in reversed(commands) if one[0] == "exec" and len(one) > 1]
    found = [_in_command(path, one, read, environ, depth) for one in execs]
    first = next((one for one in found if one is not None), None)
    if first is None and last:
        first = _in_command(path, last[0], read, environ, depth)
    if first is None:
        return unknown
    return first._replace(ambiguous=first.ambiguous or None in found)


def _in_command(
    path: str, words: list[str], read: Reader, environ: Mapping[str, str], depth: int
) -> StartScript | None:
    """Return the php-fpm of one command of a script, or its fault; None for another program."""
    execs = words[0] == "exec"
    found = command_line.find_in([one for one in _values(words, environ) if one != _SHIFTED])
    if found is None:
        inner = _in_words(words[execs:], read, environ, depth + 1)
        if inner is None or inner.invocation is None:
            return None
        if inner.execs and not execs:
            return inner._replace(execs=False, path=path, runs=inner.path)
        return inner
    if found.test_only:
        return None
    known = expanded(found, environ)
    if isinstance(known, str):
        return StartScript(path, f"the value of {known} is not known", is_fpm=True)
    return StartScript(path, "", known, execs, is_fpm=True)


def _arguments_after(commands: list[list[str]], arguments: list[str]) -> list[str]:
    """Return the arguments of a script, or that `shift` or `set` changes them."""
    is_set = any(
        words[0] == "set" and not _OPTIONS_OF_SET.fullmatch("".join(f" {one}" for one in words[1:]))
        for words in commands
    )
    is_shifted = any(words[0] == "shift" for words in commands)
    if is_set or (is_shifted and any(one.startswith(("-", "$")) for one in arguments)):
        return [_CHANGED]
    return [_SHIFTED] if is_shifted and arguments else arguments


def _with_defaults(text: str, commands: list[list[str]], environ: Mapping[str, str]) -> str:
    """Return a script with the value of each `${NAME:-VALUE}` that nothing in it changes."""
    named = {word for words in commands if words[0] in _SETS_NAMED for word in words}
    named |= set(_ASSIGNED.findall(text))
    if any(words[0] in _SETS_ANY for words in commands):
        return text

    def value(found: re.Match[str]) -> str:
        name, colon, default = found.groups()
        own = environ.get(name)
        known = default if own is None or (colon and not own) else own
        is_known = name not in named and re.fullmatch(r"[\w./-]*", known)
        return known if is_known else found[0]

    return _DEFAULT.sub(value, text)


def without_heredocs(text: str) -> str:
    """Return a script without the texts in it that are input of commands; in linear time."""
    lines = text.split("\n")
    last = {_end_word(line): number for number, line in enumerate(lines)}
    waiting: deque[str] = deque()  # the end words of the texts that have begun
    kept = []
    for number, line in enumerate(lines):
        if not waiting:
            ended = [one for one in _HEREDOC.finditer(line) if last.get(one[2], 0) > number]
            waiting.extend(one[2] for one in ended)
            edges = [0, *(edge for one in ended for edge in one.span()), len(line)]
            kept += ["".join(line[a:b] for a, b in zip(edges[::2], edges[1::2], strict=True))]
        elif _end_word(line) == waiting[0]:
            waiting.popleft()
    return "\n".join(kept)


def _end_word(line: str) -> str:
    return line.lstrip("\t").rstrip(" \t")


def expanded(invocation: FpmInvocation, environ: Mapping[str, str]) -> FpmInvocation | str:
    """Return the invocation with the variables of a shell replaced, or one that is not known."""
    words = _values((invocation.binary, *invocation.arguments), environ)
    found = command_line.find_in(list(words)) or invocation
    used = (found.binary, found.config, found.prefix, found.pid_file)
    unknown = [one for one in used if one and "$" in one]
    unknown += [word for word in words if word.startswith("$")]
    return next(iter(unknown), found)


def _values(words: Iterable[str], environ: Mapping[str, str]) -> list[str]:
    """Return words with the variables of the environment; a shell splits a value into words."""
    found: list[str] = []
    for word in words:
        value = _value(word, environ)
        found += value.split() if word.startswith("$") and word != _SHIFTED else [value]
    return found


def _value(word: str, environ: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda name: environ.get(name[1] or name[2], name[0]), word)
