"""The last lines that show what is wrong, each once, however often a loop repeats it."""

from __future__ import annotations

import re

#: Lines that an alert carries.
EVIDENCE_LINES = 8
#: The times that supervisord and php-fpm put before their lines.
_STAMP = re.compile(r"\d{4}-\d\d-\d\d [\d:,]+ |\[\d\d-\w{3}-\d{4} [\d:.]+\] ")


class Evidence:
    """Of one trouble."""

    def __init__(self) -> None:
        self._lines: dict[str, str] = {}  # by what they say without their time, oldest first

    @property
    def lines(self) -> list[str]:
        """Return the lines, oldest first."""
        return list(self._lines.values())

    def add(self, line: str) -> None:
        """Keep a line, in place of an older one that says the same."""
        said = _STAMP.sub("", line, count=1)
        self._lines.pop(said, None)
        self._lines[said] = line
        while len(self._lines) > EVIDENCE_LINES:
            del self._lines[next(iter(self._lines))]

    def clear(self) -> None:
        """Begin anew."""
        self._lines.clear()
