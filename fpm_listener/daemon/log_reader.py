"""Reads one open log file: whole lines become facts, and a half line waits for its end.

Bytes that are left out are counted by the caller; holes of a sparse file are skipped uncounted.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from fpm_listener.daemon.log_position import Position
from fpm_listener.phpfpm.line_splitter import LONGEST_LINE
from fpm_listener.phpfpm.log_scanner import scan

if TYPE_CHECKING:
    from fpm_listener.phpfpm.log_facts import LogFact

#: Bytes of one read: 64 KiB are as fast as 256 KiB, and are memory of every idle listener.
CHUNK = 1 << 16
#: Bytes of one turn, after which other files are read.
TURN = 1 << 23
#: Bytes at the beginning of a file that identify it.
_FINGERPRINT = 256


def make_buffer() -> bytearray:
    """Return a buffer for `read`. Files share one, since fresh ones cost more than the search."""
    return bytearray(LONGEST_LINE + CHUNK)


class LogReader:
    """One open file. Owned by one thread."""

    def __init__(self, descriptor: int, offset: int) -> None:
        """Raise OSError if the file cannot be read; `descriptor` stays the caller's."""
        found = os.fstat(descriptor)
        self.key = (found.st_dev, found.st_ino)
        self.at_end = False  #: the last `read` has reached the end
        self.bytes_read = 0
        self.error: OSError | None = None  #: why the last `read` stopped early
        self.left_at: float | None = None  #: monotonic: since when the path names another file
        self._offset = offset
        self._line_at = offset  # where the half line begins
        self._half = b""
        self._head = os.pread(descriptor, min(_FINGERPRINT, offset), 0)
        self._descriptor = os.dup(descriptor)  # last: nothing is left open if this fails

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def position(self, *, with_half_line: bool = False) -> Position:
        """Return how far the file was read: to the last whole line, or with the half line."""
        device, inode = self.key
        offset = self._offset if with_half_line else self._line_at
        return Position(device=device, inode=inode, offset=offset, head=self._head.hex())

    def read(self, buffer: bytearray) -> list[LogFact]:
        """Return the facts of the lines that are whole now; at most TURN bytes are read."""
        facts: list[LogFact] = []
        before = self.bytes_read
        self.at_end, self.error = False, None
        try:
            while not self.at_end and self.bytes_read - before < TURN:
                self._read_chunk(buffer, facts)
        except OSError as error:
            self.error = error
        return facts

    def _read_chunk(self, buffer: bytearray, facts: list[LogFact]) -> None:
        """Read once, and add the facts to `facts`. Raises OSError."""
        held = len(self._half)
        buffer[:held] = self._half
        room = memoryview(buffer)[held : held + CHUNK]
        got = os.preadv(self._descriptor, [room], self._offset)
        if not got:
            self.at_end = True
            return
        if buffer[held] == 0:
            self._skip_nulls(bytes(room[:got]))
            return
        if self._offset < _FINGERPRINT:
            fresh = bytes(room[: min(got, _FINGERPRINT)])
            self._head = (self._head[: self._offset] + fresh)[:_FINGERPRINT]
        self._offset += got
        self.bytes_read += got
        end = buffer.rfind(b"\n", 0, held + got) + 1
        # Only the beginning of an endless line is kept; the rest of it states nothing.
        self._half = bytes(buffer[end : min(held + got, end + LONGEST_LINE)])
        if end:
            self._line_at = self._offset - (held + got - end)
            facts += scan(buffer, end)  # last: a chunk that raises here is skipped

    def _skip_nulls(self, chunk: bytes) -> None:
        """Continue behind the zero bytes at the beginning of `chunk`. Raises OSError.

        A writer without O_APPEND leaves a hole where its file was truncated.
        """
        zeros = len(chunk) - len(chunk.lstrip(b"\0"))
        end = self._offset + zeros
        if zeros == len(chunk):
            try:
                end = max(end, os.lseek(self._descriptor, end, os.SEEK_DATA))
            except OSError as error:
                if error.errno == errno.ENXIO:  # only a hole is left
                    end = max(end, os.fstat(self._descriptor).st_size)
        self._offset = self._line_at = end
        self._half = b""
        self._head = self._read_head()
        self.bytes_read += zeros

    def flush(self) -> list[LogFact]:
        """Return the facts of the half line: nothing is written to this file any more."""
        return scan(self._half) if self._half else []

    def restart_if_truncated(self) -> bool:
        """Start again if the file was truncated, even if it has grown since. Raises OSError."""
        size = os.fstat(self._descriptor).st_size
        changed = bool(self._head) and self._read_head() != self._head
        if size >= self._offset and not changed:
            return False
        self._offset, self._line_at, self._half, self._head = 0, 0, b"", b""
        return True

    def unread(self) -> int:
        """Return how many bytes of the file were not read."""
        try:
            return max(0, os.fstat(self._descriptor).st_size - self._line_at)
        except OSError:
            return 0

    def _read_head(self) -> bytes:
        """Return the bytes that identify the file. Raises OSError."""
        return os.pread(self._descriptor, min(_FINGERPRINT, self._offset), 0)
