"""Splits the text of a shell's `-c` into simple commands, as far as php-fpm's start needs it.

Expansions are kept as they are written. A malformed text gives no command.
"""

from __future__ import annotations

import re

_TOKEN = re.compile(
    r"""
    (?P<blank> (?: [ \t\r] | \\\n )+ | \# [^\n]* )
    | (?P<redirection> [0-9]* (?: <<<? -? | <> | <& | < | >> | >\| | >& | > ) | &>>? )
    | (?P<end> [;&|()\n] )
    | (?P<word> (?: [^ \t\r\n'"\\;&|()<>`$] | \\. | '[^']*' | "(?:[^"\\]|\\.)*"
        | `[^`]*` | \$\([^()]*\) | \$\{[^{}]*\} | \$ )+ )
    """,
    re.VERBOSE | re.DOTALL,
)

_QUOTED = re.compile(r"""'([^']*)'|"((?:[^"\\]|\\.)*)"|\\(.)""", re.DOTALL)

#: A word that is an operator or a redirection, or begins one.
_SYNTAX = re.compile(r"&&|\|\|?|&|;|[0-9]?>>?(?:&[0-9-]|\S*)|&>>?\S*|[0-9]?<|\$\{?[A-Za-z_]\w*\}?")

#: A shell with a command of its own: `/bin/sh -c "..."`, `bash -eo pipefail -c`, `env sh -c`.
SHELL = re.compile(
    r"^(?:(?:\S*/)?env\s+(?:\w+=\S*\s+)*)?(\S*/)?((?:ba|da|z|k|a)?sh)"
    r"\s+(?:-\w*o\s+\w+\s+|-[\w-]+\s+)*-\w*c\b"
)

#: Words of the shell before a command.
_RESERVED = {"if", "then", "elif", "else", "while", "until", "do", "!", "{", "command", "builtin"}


def command_string(words: list[str]) -> tuple[str, list[str]]:
    """Return the text of `sh -c TEXT NAME ARGUMENT…`, or none, and the arguments."""
    wanted, at = False, 0
    while at < len(words) and words[at].startswith("-") and words[at] != "--":
        letters = "" if words[at].startswith("--") else words[at]
        wanted |= "c" in letters
        at += 1 + letters.endswith("o")  # -o pipefail
    at += words[at : at + 1] == ["--"]
    return (words[at] if wanted and at < len(words) else ""), words[at + 2 :]


def simple_commands(text: str, arguments: list[str]) -> list[list[str]]:
    """Return the words of each command, redirections left out; nothing of a malformed text."""
    commands: list[list[str]] = [[]]
    at, redirected = 0, False
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            return []
        at = token.end()
        if token["end"]:
            commands.append([])
        elif token["word"] and not redirected:
            own = commands[-1]
            if own or token["word"] not in _RESERVED:
                own += arguments if token["word"] in {'"$@"', "$@"} else [_unquoted(token["word"])]
        if not token["blank"]:
            redirected = bool(token["redirection"])
    return commands


def _unquoted(word: str) -> str:
    def plain(part: re.Match[str]) -> str:
        if part[2] is not None:
            return re.sub(r'\\(["\\$`])', r"\1", part[2])
        return part[1] if part[1] is not None else part[3].strip("\n")

    return _QUOTED.sub(plain, word)


def syntax(text: str) -> str:
    """Return the first word that only a shell understands, such as `&&`; empty if there is none.

    Words in quotes do not count.
    """
    at, begins = 0, True
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            return ""
        at = token.end()
        if begins and not token["blank"]:
            sign = re.match(r"\S+", text[token.start() :])
            if sign and _SYNTAX.fullmatch(sign[0]):
                return sign[0]
        if token["end"] == ";" and text[at : at + 1].isspace() and text[at:].strip():
            return ";"  # `sleep 1; php-fpm`: without a blank before it, it begins no comment
        begins = bool(token["blank"])
    return ""
