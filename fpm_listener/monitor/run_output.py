"""What a run has written, if supervisord sends it in PROCESS_LOG events.

Laws:
1. The memory is bounded, and a program without such events needs none.
2. Pieces of stdout and of stderr are never joined to one line, and lines of one do not replace
   lines of the other.
3. An access log does not replace other lines: its lines count only if there are no others.
"""

from __future__ import annotations

from collections import deque
from itertools import islice

from fpm_listener.host.output_lines import is_access
from fpm_listener.phpfpm.line_splitter import LineSplitter

#: Lines of each channel of a run that are kept, and characters of each.
KEPT_LINES, KEPT_CHARACTERS = 40, 1024
#: Lines of an access log that are kept.
KEPT_ACCESS = 8


class _Stream:
    """One channel."""

    def __init__(self) -> None:
        self.splitter = LineSplitter()
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)


class RunOutput:
    """Its ProcessMonitor owns it."""

    def __init__(self) -> None:
        self.is_used = False  #: an event has come
        self.ended: tuple[str, ...] = ()  #: the last lines of the last run, if it has failed
        self._streams: dict[str, _Stream] = {}
        self._access: deque[str] = deque(maxlen=KEPT_ACCESS)

    def feed(self, text: str, channel: str) -> list[str]:
        """Take a piece of the output, and return the lines that it completes.

        channel: `stdout` or `stderr`.
        """
        self.is_used = True
        stream = self._streams.get(channel)
        if stream is None:
            stream = self._streams[channel] = _Stream()
        return self._keep(stream, stream.splitter.feed(text))

    def begin(self) -> None:
        """Begin a run. A half line of the last run, whose end was lost, is none of this run."""
        self._streams.clear()
        self._access.clear()

    def end(self, *, failed: bool) -> list[str]:
        """End a run, and return its half lines."""
        rest = [
            line
            for stream in self._streams.values()
            for line in self._keep(stream, stream.splitter.flush())
        ]
        self.ended = self.present if failed else ()
        return rest

    @property
    def present(self) -> tuple[str, ...]:
        """Return the last lines of the present run, or of the last one until the next begins.

        Those of stderr are last, as in `ProgramOutput.files`: errors are there.
        """
        streams = [self._streams[name] for name in sorted(self._streams, reverse=True)]
        return tuple(line for stream in streams for line in stream.lines) or tuple(self._access)

    def _keep(self, stream: _Stream, lines: list[str]) -> list[str]:
        for line in lines if len(lines) <= KEPT_LINES else _last(lines):
            if line and not line.isspace():
                kept = line[:KEPT_CHARACTERS]
                (self._access if is_access(kept) else stream.lines).append(kept)
        return lines


def _last(lines: list[str]) -> list[str]:
    """Return the last lines of a large piece, if possible without those of an access log."""
    newest = (line for line in reversed(lines) if line and not is_access(line[:KEPT_CHARACTERS]))
    return list(islice(newest, KEPT_LINES))[::-1] or lines[-KEPT_ACCESS:]
