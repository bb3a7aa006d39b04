"""Where each key of an INI file stands: what the doctor points at.

What a value means is decided by who reads the file in earnest: supervisor's parser, or php-fpm's.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Line(NamedTuple):
    """One `key = value` of an INI file."""

    file: str
    number: int
    value: str  #: as it stands there; of supervisor's files without comments
    cut: str = ""  #: the comment behind it, in supervisor's files
    last: int = 0  #: the number of its last line, where it has several
    overrides: str = ""  #: where the key stood before, for nothing: file:number


class ConfigSection(NamedTuple):
    """One section of an INI file, or of several files: later ones win."""

    name: str
    file: str
    number: int  #: 0 = where the file begins, without a header
    lines: Mapping[str, Line]  #: by key, small letters
    again: tuple[str, ...] = ()  #: file:line of each further header of this name

    def where(self, key: str) -> str:
        """Return where a key stands, or where it would."""
        line = self.lines.get(key)
        file, number = (line.file, line.number) if line else (self.file, self.number)
        return f"{file}{f':{number}' if number else ''} [{self.name}]"


_HEADER = re.compile(r"\s*\[([^]]+)\]")

_ENTRY = re.compile(r"\s*([^=:\s][^=:]*?)\s*[=:]\s*(.*?)\s*$")

#: Where a comment begins within supervisor's values (configparser's inline_comment_prefixes there).
_COMMENT = re.compile(r"(?:^|(?<=\s))[;#]")

_PHP_ENTRY = re.compile(r"\s*([^=\s][^=]*?)\s*=\s*(.*?)\s*$")


def scan(
    texts: Iterable[tuple[str, str]],
    *,
    php: bool = False,
) -> dict[str, ConfigSection]:
    """Return the sections of files, by name; of a key that stands twice, the last one.

    texts: paths with texts, in the order in which they count. php: as php-fpm has them: only a
    semicolon begins a comment, `=` alone ends a key, and [global] is where no section is.
    """
    sections: dict[str, ConfigSection] = {}
    for path, text in texts:
        if php:
            _scan_php(sections, path, text)
        else:
            _scan_ini(sections, path, text)
    return sections


def _scan_ini(sections: dict[str, ConfigSection], path: str, text: str) -> None:
    """Take in a file as Python's configparser does: what is indented more goes on with a value."""
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
        elif section and (found := _ENTRY.match(kept)):
            last, indent = found[1].lower(), own
            entry = Line(path, number, found[2], cut, number)
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
        elif found := _PHP_ENTRY.match(line):
            section = _put(sections, section, found[1], Line(path, number, found[2], "", number))


def _begin(sections: dict[str, ConfigSection], name: str, path: str, number: int) -> ConfigSection:
    return sections.setdefault(name, ConfigSection(name, path, number, {}))


def _put(
    sections: dict[str, ConfigSection], section: ConfigSection, key: str, line: Line
) -> ConfigSection:
    before = section.lines.get(key)
    if before is not None and (before.file, before.number) != (line.file, line.number):
        line = line._replace(overrides=f"{before.file}:{before.number}")
    changed = section._replace(lines={**section.lines, key: line})
    sections[section.name] = changed
    return changed
