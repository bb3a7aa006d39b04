"""Where each key of an INI file stands: what the doctor points at.

What a value means is decided by who reads the file in earnest: supervisor's parser, or php-fpm's.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fpm_listener.core.findings import Line, Section

if TYPE_CHECKING:
    from collections.abc import Iterable

_HEADER = re.compile(r"\s*\[([^]]+)\]")
_ENTRY = re.compile(r"\s*([^=:\s][^=:]*?)\s*[=:]\s*(.*?)\s*$")
#: Where a comment begins within supervisor's values (configparser's inline_comment_prefixes there).
_COMMENT = re.compile(r"(?:^|(?<=\s))[;#]")
_PHP_ENTRY = re.compile(r"\s*([^=\s][^=]*?)\s*=\s*(.*?)\s*$")


def scan(
    texts: Iterable[tuple[str, str]],
    *,
    php: bool = False,
) -> dict[str, Section]:
    """Return the sections of files, by name; of a key that stands twice, the last one.

    texts: paths with texts, in the order in which they count. php: as php-fpm has them: only a
    semicolon begins a comment, `=` alone ends a key, and [global] is where no section is.
    """
    sections: dict[str, Section] = {}
    for path, text in texts:
        if php:
            _scan_php(sections, path, text)
        else:
            _scan_ini(sections, path, text)
    return sections


def _scan_ini(sections: dict[str, Section], path: str, text: str) -> None:
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


def _scan_php(sections: dict[str, Section], path: str, text: str) -> None:
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


def _begin(sections: dict[str, Section], name: str, path: str, number: int) -> Section:
    return sections.setdefault(name, Section(name, path, number, {}))


def _put(sections: dict[str, Section], section: Section, key: str, line: Line) -> Section:
    before = section.lines.get(key)
    if before is not None and (before.file, before.number) != (line.file, line.number):
        line = line._replace(overrides=f"{before.file}:{before.number}")
    changed = section._replace(lines={**section.lines, key: line})
    sections[section.name] = changed
    return changed
