"""The line of each key of an INI file.

This module does not interpret values: supervisor's parser and php-fpm's reader do that.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Place(NamedTuple):
    """One line of a configuration file."""

    file: str
    line: int = 0  #: 0 = the whole file
    section: str = ""

    @classmethod
    def parse(cls, text: str, section: str = "") -> Place:
        """Return the place of `file:line`, or of a file."""
        file, _, number = text.rpartition(":")
        is_line = bool(file) and number.isascii() and number.isdecimal() and len(number) < 10
        return cls(file, int(number), section) if is_line else cls(text, 0, section)

    def __str__(self) -> str:
        """Return it as people read it: `file:line [section]`."""
        number = f":{self.line}" if self.line else ""
        return f"{self.file}{number}" + (f" [{self.section}]" if self.section else "")


class Line(NamedTuple):
    """One `key = value` of an INI file."""

    file: str
    number: int
    value: str  #: as in the file; in supervisor's files without comments
    cut: str = ""  #: the comment after it, in supervisor's files
    last: int = 0  #: the number of its last line
    overrides: str = ""  #: file:number of an earlier line of this key, which has no effect


class ConfigSection(NamedTuple):
    """One section of an INI file, or of several files; later values count."""

    name: str
    file: str
    number: int  #: of the header; 0 = the section has none and begins with the file
    lines: Mapping[str, Line]  #: by key, small letters
    again: tuple[str, ...] = ()  #: file:line of each further header of this name

    def where(self, key: str) -> Place:
        """Return where a key is, or where it belongs."""
        line = self.lines.get(key)
        file, number = (line.file, line.number) if line else (self.file, self.number)
        return Place(file, number, self.name)


_HEADER = re.compile(r"\s*\[([^]]+)\]")

#: What ends a key. Not a part of a pattern of the whole line: many blanks take quadratic time.
_SIGN, _PHP_SIGN = re.compile(r"[=:]"), re.compile("=")

#: The start of a comment in supervisor's values (configparser's inline_comment_prefixes there).
_COMMENT = re.compile(r"(?:^|(?<=\s))[;#]")


def scan(
    texts: Iterable[tuple[str, str]],
    *,
    php: bool = False,
) -> dict[str, ConfigSection]:
    """Return the sections of files, by name. The last line of a key counts.

    texts: paths with texts, in the order in which they are read. php: the format of php-fpm: only a
    semicolon begins a comment, only `=` ends a key, and a file begins with [global].
    """
    sections: dict[str, ConfigSection] = {}
    for path, text in texts:
        if php:
            _scan_php(sections, path, text)
        else:
            _scan_ini(sections, path, text)
    return sections


def _scan_ini(sections: dict[str, ConfigSection], path: str, text: str) -> None:
    """Read a file as Python's configparser does: a deeper indentation continues a value."""
    section, last, indent = None, "", 0
    for number, line in enumerate(text.split("\n"), 1):
        comment = _COMMENT.search(line)
        kept = line[: comment.start()] if comment else line
        cut = line[comment.start() :].strip() if comment else ""
        own = len(kept) - len(kept.lstrip())
        if not kept.strip():
            continue
        if section and last and own > indent:
            before = section.lines[last]
            more = before._replace(value=f"{before.value} {kept.strip()}", last=number)
            section = _put(sections, section, last, more)
        elif header := _HEADER.match(kept):
            is_again = header[1] in sections
            section, last, indent = _begin(sections, header[1], path, number), "", own
            if is_again:
                section = section._replace(again=(*section.again, f"{path}:{number}"))
                sections[section.name] = section
        elif section and (found := _entry(kept, _SIGN)):
            last, indent = found[0].lower(), own
            entry = Line(path, number, found[1], cut, number)
            section = _put(sections, section, last, entry)


def _scan_php(sections: dict[str, ConfigSection], path: str, text: str) -> None:
    section = _begin(sections, "global", path, 0)
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        if not line.strip() or line.lstrip()[0] == ";":
            continue
        if header := _HEADER.match(line):
            section = _begin(sections, header[1].strip().lower(), path, number)
            if not section.number:
                section = section._replace(file=path, number=number)
                sections[section.name] = section
        elif found := _entry(line, _PHP_SIGN):
            section = _put(sections, section, found[0], Line(path, number, found[1], "", number))


def _entry(line: str, sign: re.Pattern[str]) -> tuple[str, str] | None:
    """Return key and value of a line; None if it has no key."""
    end = sign.search(line)
    key = line[: end.start()].strip() if end else ""
    return (key, line[end.end() :].strip()) if end and key else None


def _begin(sections: dict[str, ConfigSection], name: str, path: str, number: int) -> ConfigSection:
    return sections.setdefault(name, ConfigSection(name, path, number, {}))


def _put(
    sections: dict[str, ConfigSection], section: ConfigSection, key: str, line: Line
) -> ConfigSection:
    before = section.lines.get(key)
    if before is not None and (before.file, before.number) != (line.file, line.number):
        line = line._replace(overrides=f"{before.file}:{before.number}")
    # The dict of a section is made in _begin. A copy for each key takes minutes for a huge file.
    cast("dict[str, Line]", section.lines)[key] = line
    sections[section.name] = section
    return section
