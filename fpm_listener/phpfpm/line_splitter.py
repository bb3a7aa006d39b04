"""Joins pieces of a stream, such as a log, to lines."""

from __future__ import annotations

#: Characters of a half line that are kept; php-fpm cuts its own lines at 2,048.
LONGEST_LINE = 64 << 10


class LineSplitter:
    """Keeps the half line at the end of a stream until it is complete."""

    def __init__(self) -> None:
        self._half = ""

    def feed(self, text: str) -> list[str]:
        """Return the lines that `text` completes, without their newlines."""
        if "\n" not in text:  # a line without end costs nothing more when it is too long
            self._half += text[: LONGEST_LINE - len(self._half)]
            return []
        lines = (self._half + text).split("\n")
        self._half = lines.pop()[:LONGEST_LINE]
        return [line.removesuffix("\r") for line in lines]

    def flush(self) -> list[str]:
        """Return the half line at the end of the stream."""
        half, self._half = self._half, ""
        return [half.removesuffix("\r")] if half else []
