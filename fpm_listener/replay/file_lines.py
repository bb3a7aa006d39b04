"""Reads the lines of interest of one open file, in its order.

Laws:
1. Memory does not depend on the size of the file or of a line.
2. Of a line that is too long, the beginning counts. It is counted.
3. Before an exit of a program, lines of the file that can be its reason are returned, too. They are
   untrusted output.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.replay import line_filter
from fpm_listener.replay.line_filter import LineFilter
from fpm_listener.replay.log_files import sample_lines
from fpm_listener.replay.log_values import Source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fpm_listener.replay.envelopes import Envelopes, Unwrapped
    from fpm_listener.replay.log_files import OpenLog

#: Bytes of a line that are kept.
LONGEST_LINE = 64 << 10
#: Bytes of one read.
_CHUNK = 1 << 17
#: Bytes before an exit that can contain a message of the guard, and another reason.
_TAIL, _NEAREST = 1 << 14, 1 << 10
#: Records that one line can have.
_MOST_RECORDS = 16


class RawLine(NamedTuple):
    """One line of interest."""

    content: Unwrapped
    is_context: bool  #: it stands before an exit, and has no word of interest


class FileLines:
    """Owns the buffer of one file."""

    def __init__(self, log: OpenLog, source: Source, envelopes: Envelopes) -> None:
        self.bytes_read = 0
        self.long_lines = 0
        self.problem = ""  #: why the reading ended early; empty = it has not
        self._log = log
        self._envelopes = envelopes
        self._can_be_partial = envelopes.can_be_partial
        self._has_context = source is Source.MIXED
        self._filter = LineFilter(_patterns(source, envelopes))
        self._buffer = bytearray()  # it is created when the file's turn comes
        self._base = 0  # offset in the file of the first byte of the buffer
        self._pending: dict[int, RawLine] = {}  # by offset in the file

    def __iter__(self) -> Iterator[RawLine]:
        """Return the lines of interest."""
        self._buffer = bytearray(_TAIL + LONGEST_LINE + _CHUNK)
        self._buffer[:1] = b"\n"  # the filter needs the end of a line in front
        self._base = -1
        done = filled = 1  # bytes of the buffer that were searched, that are in use
        is_skipping = False  # the rest of a long line
        while True:
            got = self._read(filled)
            end = filled + got
            if is_skipping and got:
                filled, is_skipping = self._skip(filled, end)
                end = filled
                if is_skipping:
                    continue
            filled = end
            whole = self._buffer.rfind(b"\n", done, filled) + 1
            if not got:
                whole = filled
            elif not whole:
                if filled - done > LONGEST_LINE:
                    filled, is_skipping = self._shorten(done, filled)
                continue
            whole = self._search(done, whole, is_last=not got)
            yield from self._take(self._base + whole - (_TAIL if got else -1))
            if not got:
                self._buffer = bytearray()
                return
            kept = self._buffer.find(b"\n", max(0, whole - _TAIL), whole)
            self._buffer[: filled - kept] = self._buffer[kept:filled]
            self._base += kept
            done, filled = whole - kept, filled - kept

    def _read(self, filled: int) -> int:
        with memoryview(self._buffer) as view:
            try:
                got = self._log.read_into(view[filled : filled + _CHUNK])
                if got and not self._buffer[filled] and not any(view[filled : filled + got]):
                    self.bytes_read += self._log.skip_hole()
            except OSError as error:
                self.problem = f"{error.strerror or error}"
                return 0
        self.problem = self._log.problem
        self.bytes_read += got
        return got

    def _skip(self, filled: int, end: int) -> tuple[int, bool]:
        """Remove the rest of a long line; return the bytes in use, and whether more will come."""
        at = self._buffer.find(b"\n", filled, end)
        if at < 0:
            self._base += end - filled  # offsets only have to rise
            return filled, True
        self._buffer[filled : filled + end - at] = self._buffer[at:end]
        self._base += at - filled
        return filled + end - at, False

    def _shorten(self, start: int, filled: int) -> tuple[int, bool]:
        """Shorten a line without end; return the bytes in use, and whether its rest is left out.

        Zero bytes in front of it are not part of it: the file was truncated there.
        """
        line = bytes(self._buffer[start:filled])
        text = line.lstrip(b"\0")
        if len(text) < len(line):
            self._buffer[start : start + len(text)] = text
            self._base += len(line) - len(text)
            return start + len(text), False
        self.long_lines += 1
        return start + LONGEST_LINE, True

    def _take(self, before: int) -> list[RawLine]:
        """Return the lines in front of an offset: no exit is found before them any more."""
        ready = sorted(at for at in self._pending if at < before)
        return [self._pending.pop(at) for at in ready]

    def _search(self, begin: int, end: int, *, is_last: bool) -> int:
        """Add the lines of interest of a range that has whole lines; return its end.

        The end is earlier if the last line has more records, and the file has more bytes.
        """
        for start in self._filter.find(self._buffer, begin, end):
            line = self._line(start, end)
            is_whole = self._add(start, line, end)
            if not is_whole and not is_last and start > begin:
                self._pending.pop(self._base + start, None)
                return start
            if self._has_context and b" exited: " in line and b"; expected)" not in line:
                self._add_context(start)
        return end

    def _line(self, start: int, end: int) -> bytes:
        """Return the line that begins there, without zero bytes in front of it."""
        buffer = self._buffer
        stop = buffer.find(b"\n", start, end)
        stop = stop if stop >= 0 else end
        if not buffer[start]:
            return bytes(buffer[start:stop]).lstrip(b"\0")[:LONGEST_LINE].rstrip(b"\r")
        return bytes(buffer[start : min(stop, start + LONGEST_LINE)]).rstrip(b"\r")

    def _add(self, start: int, line: bytes, end: int, *, is_context: bool = False) -> bool:
        """Add one line; return whether all of its records are there."""
        if self._base + start in self._pending:
            return True
        content = self._envelopes.unwrap(line)
        if content is not None and self._can_be_partial:
            content = self._whole(content, start, end)
        if content is None:
            return True
        self._pending[self._base + start] = RawLine(content, is_context)
        return not content.is_partial

    def _add_context(self, start: int) -> None:
        """Add the lines before an exit that can be its reason."""
        nearest = max(0, start - _NEAREST)
        near = bytes(self._buffer[nearest:start])
        for word in line_filter.REASONS:
            if word in near:
                self._add_word(word, nearest, start)
        self._add_word(line_filter.GUARD, max(0, start - _TAIL), start)

    def _add_word(self, word: bytes, begin: int, end: int) -> None:
        at = self._buffer.find(word, begin, end)
        while at >= 0:
            start = self._buffer.rfind(b"\n", 0, at) + 1
            self._add(start, self._line(start, end), end, is_context=True)
            at = self._buffer.find(b"\n", at, end)
            at = self._buffer.find(word, at, end) if at >= 0 else -1

    # -- lines of several records ------------------------------------------------------------------

    def _whole(self, content: Unwrapped, start: int, end: int) -> Unwrapped | None:
        """Return a line with all its records; None = it is the rest of another line."""
        if self._continues(content, start):
            return None
        text, at = content.text, start
        while content.is_partial and len(text) < LONGEST_LINE:
            at = self._buffer.find(b"\n", at, end) + 1
            if not 0 < at < end:
                break
            following = self._envelopes.unwrap(self._line(at, end))
            if following is None:
                break
            if following.stream == content.stream:
                text += following.text
                content = content._replace(is_partial=following.is_partial)
        return content._replace(text=text[:LONGEST_LINE])

    def _continues(self, content: Unwrapped, start: int) -> bool:
        """Return whether the record before it, of the same stream, is not the end of a line."""
        at = start
        for _ in range(_MOST_RECORDS):
            if at <= 0:
                return False
            before = self._buffer.rfind(b"\n", 0, at - 1) + 1
            record = self._envelopes.unwrap(bytes(self._buffer[before : at - 1][:LONGEST_LINE]))
            if record is not None and record.stream == content.stream:
                return record.is_partial
            at = before
        return False


def _patterns(source: Source, envelopes: Envelopes) -> list[bytes]:
    patterns = {
        Source.FPM: line_filter.FPM,
        Source.OUTPUT: line_filter.OUTPUT,
    }.get(source, line_filter.WITH_ENVELOPES if envelopes.layers else line_filter.MIXED)
    return [
        *patterns,
        *(line_filter.SYSLOG if envelopes.has_idents else ()),
        *(line_filter.CRI if envelopes.can_be_partial else ()),
    ]


def first_lines(log: OpenLog, most: int) -> list[bytes]:
    """Return lines at the beginning of a file, by which its format is known."""
    lines = []
    for line in sample_lines(log.head):
        lines.append(line[:LONGEST_LINE].rstrip(b"\r").lstrip(b"\0"))
        if len(lines) == most:
            break
    return lines
