"""What a run has written, if supervisord sends it in PROCESS_LOG events.

Law: the memory is bounded, and a program without such events needs none.
"""

from __future__ import annotations

from collections import deque

from fpm_listener.phpfpm.line_splitter import LineSplitter

#: Lines of a run that are kept, and characters of each.
KEPT_LINES, KEPT_CHARACTERS = 40, 1024


class RunOutput:
    """Its ProcessMonitor owns it."""

    def __init__(self) -> None:
        self.is_used = False  #: an event has come
        self.ended: tuple[str, ...] = ()  #: the last lines of the last run that has ended
        self._splitter = LineSplitter()
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)

    def feed(self, text: str) -> list[str]:
        """Take a piece of the output, and return the lines that it completes."""
        self.is_used = True
        return self._keep(self._splitter.feed(text))

    def begin(self) -> None:
        """Begin a run."""
        self._lines.clear()

    def end(self) -> list[str]:
        """End a run, and return its half line."""
        rest = self._keep(self._splitter.flush())
        self.ended = tuple(self._lines)
        return rest

    @property
    def present(self) -> tuple[str, ...]:
        """Return the last lines of the present run, or of the last one until the next begins."""
        return tuple(self._lines)

    def _keep(self, lines: list[str]) -> list[str]:
        self._lines.extend(line[:KEPT_CHARACTERS] for line in lines[-KEPT_LINES:] if line.strip())
        return lines
