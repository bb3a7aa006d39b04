"""Follows one log file across rotation, truncation, deletion, and what else befalls files.

Laws:
1. Rotation: the path names another file. The old one is read to its end, and for a while longer,
   since php-fpm goes on writing to it until USR1; then the new one, from its beginning. Where the
   old one has much to read, the new one waits LINGER_S at most.
2. Truncation: the file is shorter than what was read of it, or begins with other bytes: from its
   beginning again.
3. What is only seen as a whole line is told; a half line waits for its end.
4. No line is told twice: a file that comes back to its path goes on where it was left.
5. A file that cannot be read is said once, counted, and opened again by its path; nothing here
   blocks.
6. Bytes that are left out are counted; holes of a sparse file are none.

Why our own, and why by polling: no package on PyPI follows a file through all of this, and inotify
says nothing on several file systems that containers use.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fpm_listener.phpfpm.log_parser import LONGEST_LINE, scan

if TYPE_CHECKING:
    from collections.abc import Callable

    from fpm_listener.phpfpm.log_facts import LogFact

log = logging.getLogger(__name__)

#: Bytes read at once, and at most before other files have their turn.
CHUNK, TURN = 1 << 18, 1 << 23
#: Seconds for which a renamed file is still read: php-fpm writes to it until it is told (USR1).
LINGER_S = 5.0
#: Seconds after which a renamed file that is still not read to its end is given up.
GIVE_UP_S = 60.0
#: Bytes of a file's beginning by which it is known again.
_FINGERPRINT = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """How far a file was read, so that the next listener can go on there."""

    device: int
    inode: int
    offset: int  #: bytes, at the beginning of a line
    head: str  #: hex of the file's first bytes, at most 256

    def to_json(self) -> dict[str, Any]:
        """Return the position as plain words."""
        return {name: getattr(self, name) for name in ("device", "inode", "offset", "head")}


def restore_positions(saved: object) -> dict[str, Position]:
    """Return the positions that an earlier listener saved; what makes no sense is left out."""
    found = {}
    for path, words in saved.items() if isinstance(saved, dict) else ():
        with suppress(TypeError, ValueError):
            position = Position(**words)
            bytes.fromhex(position.head)
            whole = (position.device, position.inode, position.offset)
            if all(type(number) is int for number in whole) and position.offset >= 0:
                found[path] = position
    return found


class _File:
    """One open file, and the half line at the end of what was read."""

    def __init__(self, descriptor: int, offset: int) -> None:
        self.descriptor = descriptor
        found = os.fstat(descriptor)
        self.key = (found.st_dev, found.st_ino)
        self.offset = offset
        self.line_at = offset  # where the half line begins
        self.half = b""
        self.head = b""
        self.at_end = False  # the last look has read all that there was
        self.left_at: float | None = None  # monotonic: since when the path names another file

    def close(self) -> None:
        os.close(self.descriptor)


def _position(file: _File, offset: int) -> Position:
    device, inode = file.key
    return Position(device=device, inode=inode, offset=offset, head=file.head.hex())


class FileFollower:
    """One path. `poll` is a step: it reads what is there and returns."""

    def __init__(
        self,
        path: str,
        *,
        from_start: bool = False,
        resume: Position | None = None,
        buffer: bytearray | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = path
        self.bytes_read = 0
        self.bytes_skipped = 0
        self.read_errors = 0
        self._clock = clock
        # One buffer, read into again and again: fresh ones cost more than the search in them.
        self._buffer = buffer or bytearray(LONGEST_LINE + CHUNK)
        self._from_start = from_start
        self._resume = resume
        self._file: _File | None = None
        self._old: list[_File] = []
        self._trouble: str | None = None  # what was said of the path last

    def poll(self) -> list[LogFact]:
        """Return the facts of the lines that have become whole since the last time."""
        facts: list[LogFact] = []
        for old in list(self._old):
            facts += self._read(old)
            if old in self._old and self._is_done(old):
                facts += self._finish(old)
        if self._file is None and not any(map(self._goes_first, self._old)):
            self._open()
        if self._file is not None:
            self._check_beginning(self._file)  # first: what is behind `offset` may be read already
        if self._file is not None:
            facts += self._read(self._file)
        if self._file is not None:
            facts += self._check_path(self._file)
        self._from_start = True  # a file that appears later is new from its first byte
        return facts

    def _is_done(self, old: _File) -> bool:
        patience_s = LINGER_S if old.at_end else GIVE_UP_S
        return self._clock() - (old.left_at or 0.0) >= patience_s

    def _goes_first(self, old: _File) -> bool:
        return not old.at_end and self._clock() - (old.left_at or 0.0) < LINGER_S

    def position(self) -> Position | None:
        """Return how far the file was read that the path names, or named last; None at first."""
        file = self._file or (self._old[-1] if self._old else None)
        return self._resume if file is None else _position(file, file.line_at)

    def close(self) -> None:
        """Let the files go."""
        for file in [*self._old, *([self._file] if self._file else [])]:
            file.close()
        self._old, self._file = [], None

    # -- opening -----------------------------------------------------------------------------------

    def _open(self) -> None:
        try:
            # Asked before it is opened: a fifo's writer would notice a reader that comes and goes.
            if not stat.S_ISREG(Path(self.path).stat().st_mode):
                self._complain(None)
                return
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            self._complain(error.errno)
            return
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                self._complain(None)
                return
            known = [old for old in self._old if old.key == (found.st_dev, found.st_ino)]
            if known:  # it was renamed and has been renamed back
                self._file = known[0]
                self._old.remove(known[0])
            else:
                file = _File(os.dup(descriptor), self._begin_at(descriptor, found))
                file.head = self._head(file)
                self._file = file
        except OSError as error:
            self._complain(error.errno)
        finally:
            os.close(descriptor)

    def _begin_at(self, descriptor: int, found: os.stat_result) -> int:
        resume = self._resume
        if resume is not None and (found.st_dev, found.st_ino) == (resume.device, resume.inode):
            head = bytes.fromhex(resume.head)
            same = os.pread(descriptor, len(head), 0) == head
            self._resume = None
            return resume.offset if same and found.st_size >= resume.offset else 0
        if resume is not None:
            self._resume = None
            return 0  # it was rotated while the listener was away
        return 0 if self._from_start else found.st_size

    def _can_be_read(self) -> None:
        if self._trouble is not None:
            log.info("log file can be read now path=%s", self.path)
            self._trouble = None

    def _complain(self, number: int | None) -> None:
        """Count, and say once, why the path cannot be followed."""
        missing = number == errno.ENOENT
        if not missing:
            self.read_errors += 1
        why = "not a regular file" if number is None else os.strerror(number)
        if why == self._trouble:
            return
        self._trouble = why
        if missing:
            log.info("log file is not there yet path=%s", self.path)
        else:
            log.warning("log file cannot be read path=%s why=%r", self.path, why)

    # -- reading -----------------------------------------------------------------------------------

    def _read(self, file: _File) -> list[LogFact]:
        facts: list[LogFact] = []
        taken = 0
        file.at_end = False
        while taken < TURN:
            held = len(file.half)
            self._buffer[:held] = file.half
            try:
                got = os.preadv(
                    file.descriptor,
                    [memoryview(self._buffer)[held : held + CHUNK]],
                    file.offset,
                )
            except OSError as error:
                self._fail(file, error)
                break
            if not got:
                file.at_end = True
                break
            if self._buffer[held] == 0:
                taken += self._skip_nulls(file, held, got)
                continue
            if file.offset < _FINGERPRINT:
                fresh = bytes(self._buffer[held : held + min(got, _FINGERPRINT)])
                file.head = (file.head[: file.offset] + fresh)[:_FINGERPRINT]
            taken += got
            file.offset += got
            self.bytes_read += got
            end = self._buffer.rfind(b"\n", 0, held + got) + 1
            # A line without end is kept by its beginning; the rest of it states nothing.
            file.half = bytes(self._buffer[end : min(held + got, end + LONGEST_LINE)])
            if end:
                file.line_at = file.offset - (held + got - end)
                facts += scan(self._buffer, end)  # last: what raises here is skipped
        return facts

    def _skip_nulls(self, file: _File, held: int, got: int) -> int:
        """Go on behind zero bytes, which are mostly a hole; return how many bytes were read.

        A writer without O_APPEND leaves a hole where its file was truncated.
        """
        chunk = bytes(self._buffer[held : held + got])
        zeros = got - len(chunk.lstrip(b"\0"))
        end = file.offset + zeros
        if zeros == got:
            try:
                end = max(end, os.lseek(file.descriptor, end, os.SEEK_DATA))
            except OSError as error:
                if error.errno == errno.ENXIO:  # there is nothing but a hole up to the end
                    end = max(end, os.fstat(file.descriptor).st_size)
        file.offset = file.line_at = end
        file.half = b""
        file.head = self._head(file)
        self.bytes_read += zeros
        return zeros

    def _fail(self, file: _File, error: OSError) -> None:
        """Close a file that cannot be read; if its path still names it, it is opened again."""
        self._complain(error.errno)
        if file in self._old:
            self._old.remove(file)
            self.bytes_skipped += self._left(file)
        else:
            self._file = None
            self._resume = _position(file, file.line_at)
            self._from_start = True
        file.close()

    def _left(self, file: _File) -> int:
        """Return how many bytes of the file were not read."""
        try:
            return max(0, os.fstat(file.descriptor).st_size - file.line_at)
        except OSError:
            return 0

    def _head(self, file: _File) -> bytes:
        """Return the bytes by which the file is known again. Raises OSError."""
        return os.pread(file.descriptor, min(_FINGERPRINT, file.offset), 0)

    def _check_beginning(self, file: _File) -> None:
        """Begin again where the file was truncated, even if it has grown past `offset` since."""
        try:
            size = os.fstat(file.descriptor).st_size
            changed = bool(file.head) and self._head(file) != file.head
        except OSError as error:
            self._fail(file, error)
            return
        if size < file.offset or changed:
            log.info("log file was truncated path=%s", self.path)
            file.offset, file.line_at, file.half, file.head = 0, 0, b"", b""

    def _check_path(self, file: _File) -> list[LogFact]:
        """See whether the path still names the file."""
        try:
            found = Path(self.path).stat()
        except FileNotFoundError:
            self._leave(file)
            return []
        except OSError as error:
            self._complain(error.errno)
            return []
        if (found.st_dev, found.st_ino) == file.key:
            if file.at_end:
                self._can_be_read()
            return []
        self._leave(file)
        if file.at_end:
            self._open()
        return self._read(self._file) if self._file else []

    def _leave(self, file: _File) -> None:
        """Go on reading the renamed file for a while; the next one is read from its beginning."""
        file.left_at = self._clock()
        self._old.append(file)
        self._file = None
        self._from_start = True

    def _finish(self, file: _File) -> list[LogFact]:
        self._old.remove(file)
        if not file.at_end:
            left = self._left(file)
            self.bytes_skipped += left
            log.warning("log file was renamed before it was read path=%s bytes=%s", self.path, left)
        file.close()
        if self._file is None:
            self._resume = _position(file, file.offset)  # should it come back
        return scan(file.half) if file.half else []
