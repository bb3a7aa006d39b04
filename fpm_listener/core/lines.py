"""Lines from pieces of text, and what a followed file has said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fpm_listener.core.facts import LogFact

#: Characters of a half line that are held at the most. php-fpm cuts its own lines at 2,048.
LONGEST_LINE = 64 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLines:
    """Input of the engine: facts that were read from a file, in order."""

    path: str
    facts: tuple[LogFact, ...]


class LineSplitter:
    """Joins pieces of a stream to lines; holds the half line at its end."""

    def __init__(self) -> None:
        self._half = ""
        self.cut = 0  #: characters that were dropped since a line was too long

    def feed(self, text: str) -> list[str]:
        """Return the lines that `text` completes, without their newlines."""
        lines = (self._half + text).split("\n")
        self._half = lines.pop()
        if len(self._half) > LONGEST_LINE:
            self.cut += len(self._half) - LONGEST_LINE
            self._half = self._half[:LONGEST_LINE]
        return [line.removesuffix("\r") for line in lines]

    def flush(self) -> list[str]:
        """Return the half line, since no more will come."""
        half, self._half = self._half, ""
        return [half.removesuffix("\r")] if half else []
