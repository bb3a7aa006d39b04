"""Values in php-fpm's files, as PHP's INI scanner reads them.

Source: php-src Zend/zend_ini_scanner.l; compared with `php-fpm8.2 -tt`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Characters of one line, name or value after expansion; php-fpm has no limit.
LONGEST = 64 << 10
#: Booleans of php-fpm. Without quotes, PHP's scanner has replaced the words of the first row by
#: "1", those of the second row, `none` and `null` by "", in any case of letters.
TRUE = ("1", "true", "on", "yes")
FALSE = ("", "0", "false", "off", "no")
_BARE = dict.fromkeys(TRUE[1:], "1") | dict.fromkeys((*FALSE[2:], "none", "null"), "")
_PIECE = re.compile(
    r"""
    [ \t]* (?P<end> (?:;.*)? \Z )
    | ' (?P<single> [^']+ ) '
    | [ \t]* " (?P<double> (?: [^"\\] | \\. )* ) " [ \t]*
    | (?P<variable> \$\{ (?: [^{}] | \$\{ [^{}]* \} )* \} )
    | (?P<word> (?: [^$= \t;&|^~()!"'] | \$(?:\\.|[^{]|\Z) )+ )  # $ includes the next character
    | (?P<blank> [ \t]+ )
    | (?P<operator> [&|^~()!] )
    """,
    re.VERBOSE | re.DOTALL,
)
_VARIABLE = re.compile(
    r"""\\(["\\$])|\$\{((?:[^{}:]|:(?!-))*)(?::-((?:[^{}]|\$\{[^{}]*\})*))?\}""",
)


class Scanner(NamedTuple):
    """PHP's INI scanner for one value."""

    environment: Mapping[str, str]
    fallbacks: bool  #: ${A:-b}: known from PHP 8.3 on

    def value(self, text: str, *, arithmetic: bool) -> tuple[str, str | None]:
        """Return the value, and the complaint that php-fpm has."""
        parts: list[str] = []
        words: list[str] = []
        at, size, complaint = 0, 0, None
        while piece := _PIECE.match(text, at):
            at = piece.end()
            kind, part = piece.lastgroup, piece[piece.lastgroup or 0]
            if kind == "end":
                break
            if kind == "operator" and not arithmetic:
                complaint = f"php-fpm computes with {part}: put the value in quotes"
            if kind == "word" and part.lower() in _BARE:
                words.append(part)
            parts.append(self.expand(part) if kind in {"double", "variable"} else part)
            size += len(parts[-1])
            if size > LONGEST:
                return "".join(parts), None  # the reader reports it
        else:
            complaint = "a quote or a ${ is not closed, or a = is outside of quotes"
        if words and len(parts) == 1:
            return _BARE[words[0].lower()], complaint
        if words:
            complaint = f"the word {words[0]!r} needs quotes beside others"
        return "".join(parts), complaint

    def expand(self, text: str) -> str:
        """Return the text with its variables and escapes replaced, up to the longest length."""
        room = LONGEST

        def replaced(found: re.Match[str]) -> str:
            nonlocal room
            value = self._variable(found) if room >= 0 else ""
            room -= len(value)
            return value

        return _VARIABLE.sub(replaced, text)

    def _variable(self, found: re.Match[str]) -> str:
        escaped, name, fallback = found.groups()
        if escaped:
            return str(escaped)
        if fallback is not None and not self.fallbacks:
            return ""
        value = self.environment.get(name.strip(" \t"))
        return value if value is not None else self.expand((fallback or "").strip("'\""))
