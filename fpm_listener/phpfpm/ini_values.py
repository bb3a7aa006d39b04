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
#: Names of PHP's constants. PHP replaces them, and this program does not know their values.
CONSTANT = re.compile(r"(?:E|PHP)_[A-Z_]+")
_PIECE = re.compile(
    r"""
    [ \t]* (?P<end> (?:;.*)? \Z )
    | ' (?P<open> [^']* ) \Z
    | ' (?P<single> [^']+ ) '
    | [ \t]* " (?P<double> (?: [^"\\] | \\(?!"\Z). )* \\? ) " [ \t]*  # "C:\" ends at the line's end
    | (?P<variable> \$\{ (?: [^{}] | \$\{ [^{}]* \} )+ \} )
    | (?P<word> (?: [^$= \t;&|^~()!"'] | \$(?:\\.|[^{]|\Z) )+ )  # $ includes the next character
    | (?P<blank> [ \t]+ )
    | (?P<operator> [&|^~()!] )
    """,
    re.VERBOSE | re.DOTALL,
)
_VARIABLE = re.compile(
    r"""\\(["\\$])|\$\{((?:[^{}:]|:(?!-))*)(?::-((?:[^{}]|\$\{[^{}]*\})*))?\}""",
)
#: Brackets within brackets that are read; php-fpm has no limit.
_DEEPEST = 50


class Value(NamedTuple):
    """The value of one line."""

    text: str
    complaint: str | None = None  #: why php-fpm rejects it
    computed: str = ""  #: the number that php-fpm uses instead; constants count as 0
    sign: str = ""  #: with which php-fpm computes a number; ' = it ignores what follows


class Scanner(NamedTuple):
    """PHP's INI scanner for one value."""

    environment: Mapping[str, str]
    fallbacks: bool  #: ${A:-b}: known from PHP 8.3 on

    def value(self, text: str) -> Value:
        """Return the value, and the complaint that php-fpm has."""
        parts: list[tuple[str, str]] = []  # kinds and texts
        at, size = 0, 0
        while piece := _PIECE.match(text, at):
            at = piece.end()
            kind, part = piece.lastgroup or "", piece[piece.lastgroup or 0]
            if kind == "end":
                return _evaluated(parts)
            if kind == "open":
                if not parts:
                    break
                return _evaluated(parts)._replace(sign="'")
            if kind == "word" and part.lower() in _BARE:
                kind = "bare"
            parts.append((kind, self.expand(part) if kind in {"double", "variable"} else part))
            size += len(parts[-1][1])
            if size > LONGEST:
                return Value("".join(text for _, text in parts))  # the reader reports it
        why = "a quote or a ${ is not closed, or a = is outside of quotes"
        return Value("".join(text for _, text in parts), why)

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


def _evaluated(parts: list[tuple[str, str]]) -> Value:
    """Return the value of tokens, as the grammar of PHP's INI files has it."""
    words = [text for kind, text in parts if kind == "bare"]
    if words and [kind for kind, _ in parts] in (["bare"], ["bare", "blank"]):
        return Value(_BARE[words[0].lower()])
    plain = "".join(text for _, text in parts)
    if words:
        return Value(plain, f"the word {words[0]!r} needs quotes beside others")
    operators = [text for kind, text in parts if kind == "operator"]
    if not operators:
        return Value(plain)
    try:
        expression = _Expression(
            [one for at, one in enumerate(parts) if not _is_skipped(parts, at)]
        )
        result = expression.value(0)
        if not expression.parts:
            signs = [text for text in operators if text not in "()"]
            return Value(plain, computed=result, sign=signs[0] if signs else "")
    except ValueError:
        pass
    return Value(plain, f"{operators[0]} computes a number and needs other values: use quotes")


def _is_skipped(parts: list[tuple[str, str]], at: int) -> bool:
    """Return whether a token is blanks behind an operator."""
    return at > 0 and parts[at][0] == "blank" and parts[at - 1][0] == "operator"


class _Expression:
    """Numbers with & | ^ ~ ! and round brackets."""

    def __init__(self, parts: list[tuple[str, str]]) -> None:
        self.parts = parts[::-1]  # the next one is the last one

    def value(self, depth: int) -> str:
        """Return the value of an expression. Raises ValueError."""
        result = self._operand(depth)
        while self.parts and self.parts[-1][1] in set("&|^") and self.parts[-1][0] == "operator":
            sign = self.parts.pop()[1]
            one, two = number(result), number(self._operand(depth))
            result = str({"&": one & two, "|": one | two, "^": one ^ two}[sign])
        return result

    def _operand(self, depth: int) -> str:
        """Return texts one after the other, or what is in brackets or behind ~ or !."""
        texts = []
        while self.parts and self.parts[-1][0] != "operator":
            texts.append(self.parts.pop()[1])
        if texts:
            return "".join(texts)
        sign = self.parts.pop()[1] if self.parts else ""
        if depth > _DEEPEST or sign not in set("~!("):
            raise ValueError
        if sign != "(":
            one = number(self._operand(depth + 1))
            return str(~one if sign == "~" else int(not one))
        result = self.value(depth + 1)
        if not self.parts or self.parts.pop() != ("operator", ")"):
            raise ValueError
        return result


def number(text: str) -> int:
    """Return a number as php-fpm reads it: atoi(3), within 32 bits."""
    found = re.match(r"\s*([+-]?[0-9]+)", text, re.ASCII)
    if found is None:
        return 0
    value = max(-(1 << 63), min(int(found[1][:25]), (1 << 63) - 1))
    return (value + (1 << 31)) % (1 << 32) - (1 << 31)
