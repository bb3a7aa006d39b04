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
    entry = _PHP_ENTRY if php else _ENTRY
    sections: dict[str, Section] = {}
    for path, text in texts:
        section = _begin(sections, "global", path, 1) if php else None
        last = ""
        for number, line in enumerate(text.splitlines(), 1):
            if not line.strip() or line.lstrip()[0] in (";" if php else ";#"):
                continue
            if header := _HEADER.match(line):
                name = header[1].strip()
                section, last = _begin(sections, name.lower() if php else name, path, number), ""
            elif section is None:
                continue
            elif line[0].isspace() and last and not php:
                before = section.lines[last]
                more = before._replace(value=f"{before.value} {line.strip()}")
                section = _put(sections, section, last, more)
            elif found := entry.match(line):
                last = found[1].lower() if not php else found[1]
                section = _put(sections, section, last, Line(path, number, found[2]))
    return sections


def _begin(sections: dict[str, Section], name: str, path: str, number: int) -> Section:
    return sections.setdefault(name, Section(name, path, number, {}))


def _put(sections: dict[str, Section], section: Section, key: str, line: Line) -> Section:
    changed = section._replace(lines={**section.lines, key: line})
    sections[section.name] = changed
    return changed
