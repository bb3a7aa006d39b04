"""Follows php-fpm's error logs across rotation, truncation, deletion, and what else befalls files.

Laws:
1. Rotation: the path names another file. The old one is read to its end, and for a while longer,
   since php-fpm goes on writing to it until USR1; then the new one, from its beginning.
2. Truncation: the file is shorter than what was read of it, or begins with other bytes: from its
   beginning again.
3. What is only seen as a whole line is told; a half line waits for its end.
4. No line is told twice: a file that comes back to its path goes on where it was left.
5. A file that cannot be read is said once, counted, and tried again; nothing here blocks.

Why our own, and why by polling: no package on PyPI follows a file through all of this, and inotify
says nothing on several file systems that containers use.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fpm_listener.core.fpmlog import scan
from fpm_listener.core.lines import LONGEST_LINE, LogLines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from fpm_listener.core.facts import LogFact

log = logging.getLogger(__name__)

#: Bytes read at once, and at most before other files have their turn.
CHUNK, TURN = 1 << 18, 1 << 23
#: Seconds for which a renamed file is still read: php-fpm writes to it until it is told (USR1).
LINGER_S = 5.0
#: Seconds between two looks, calm and after a process has changed its state; how long that lasts.
CALM_S, HURRIED_S, HURRY_FOR_S = 0.5, 0.05, 10.0
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


class Follower:
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
            if old.at_end and self._clock() - (old.left_at or 0.0) >= LINGER_S:
                facts += self._finish(old)
        if self._file is None:
            self._open()
        if self._file is not None:
            self._check_beginning(self._file)  # first: what is behind `offset` may be read already
            facts += self._read(self._file)
            if self._file.at_end:
                facts += self._check_path(self._file)
        self._from_start = True  # a file that appears later is new from its first byte
        return facts

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
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            os.close(descriptor)
            self._complain(None)
            return
        self._can_be_read()
        for old in self._old:
            if old.key == (found.st_dev, found.st_ino):  # it was renamed and has been renamed back
                os.close(descriptor)
                self._old.remove(old)
                self._file = old
                return
        self._file = _File(descriptor, self._begin_at(descriptor, found))
        self._file.head = self._head(self._file)

    def _begin_at(self, descriptor: int, found: os.stat_result) -> int:
        resume, self._resume = self._resume, None
        if resume is not None and (found.st_dev, found.st_ino) == (resume.device, resume.inode):
            head = bytes.fromhex(resume.head)
            same = os.pread(descriptor, len(head), 0) == head
            if same and found.st_size >= resume.offset:
                return resume.offset
            return 0
        if resume is not None:
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
                self._complain(error.errno)
                break
            if not got:
                file.at_end = True
                break
            if file.offset < _FINGERPRINT:
                fresh = bytes(self._buffer[held : held + min(got, _FINGERPRINT)])
                file.head = (file.head[: file.offset] + fresh)[:_FINGERPRINT]
            taken += got
            file.offset += got
            self.bytes_read += got
            end = self._buffer.rfind(b"\n", 0, held + got) + 1
            if end:
                facts += scan(self._buffer, end)
                file.line_at = file.offset - (held + got - end)
            # A line without end is kept by its beginning; the rest of it states nothing.
            file.half = bytes(self._buffer[end : min(held + got, end + LONGEST_LINE)])
        return facts

    def _head(self, file: _File) -> bytes:
        try:
            return os.pread(file.descriptor, min(_FINGERPRINT, file.offset), 0)
        except OSError:
            return b""

    def _check_beginning(self, file: _File) -> None:
        """Begin again where the file was truncated, even if it has grown past `offset` since."""
        try:
            size = os.fstat(file.descriptor).st_size
        except OSError as error:
            self._complain(error.errno)
            return
        if size < file.offset or (file.head and self._head(file) != file.head):
            log.info("log file was truncated path=%s", self.path)
            file.offset, file.line_at, file.half, file.head = 0, 0, b"", b""

    def _check_path(self, file: _File) -> list[LogFact]:
        """See at the end of the file whether the path still names it."""
        try:
            found = Path(self.path).stat()
        except FileNotFoundError:
            self._leave(file)
            return []
        except OSError as error:
            self._complain(error.errno)
            return []
        if (found.st_dev, found.st_ino) == file.key:
            self._can_be_read()
            return []
        self._leave(file)
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
        file.close()
        if self._file is None:
            self._resume = _position(file, file.offset)  # should it come back
        return scan(file.half) if file.half else []


class LogTail:
    """The thread that follows all files."""

    def __init__(
        self,
        deliver: Callable[[LogLines], None],
        failed: Callable[[BaseException], None],
        resume: Mapping[str, Position] | None = None,
    ) -> None:
        self.bytes_read = 0  #: read by other threads; written by this one only
        self.read_errors = 0
        self.positions: Mapping[str, Position] = {}  #: rebound, never changed
        self._deliver = deliver
        self._failed = failed
        self._resume = dict(resume or {})
        self._wanted: tuple[str, ...] = ()
        self._wake = threading.Event()
        self._hurried_until = 0.0
        self._stopped = False
        self._gone_bytes = self._gone_errors = 0
        self._followers: dict[str, Follower] = {}
        self._buffer = bytearray(LONGEST_LINE + CHUNK)
        self._thread = threading.Thread(target=self._run, name="tailer", daemon=True)

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def follow(self, paths: Iterable[str]) -> None:
        """Follow these files from now on, and no others."""
        self._wanted = tuple(dict.fromkeys(paths))
        self._wake.set()

    def hurry(self) -> None:
        """Look often for a while: a process has changed its state."""
        now_s = time.monotonic()
        calm = now_s >= self._hurried_until
        self._hurried_until = now_s + HURRY_FOR_S
        if calm:  # else it looks often already; to wake it for each event of a storm costs us time
            self._wake.set()

    def stop(self) -> None:
        """End; waits a moment for the thread."""
        self._stopped = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(1.0)

    def _run(self) -> None:
        try:
            while not self._stopped:
                busy = self._poll()
                hurried = time.monotonic() < self._hurried_until
                if not busy:
                    self._wait(hurried=hurried)
            for follower in self._followers.values():
                follower.close()
        except BaseException as error:  # noqa: BLE001 - half-dead is worse than dead
            self._failed(error)

    def _wait(self, *, hurried: bool) -> None:
        if not self._followers and not hurried:
            self._wake.wait()  # there is nothing to look at
        else:
            self._wake.wait(HURRIED_S if hurried else CALM_S)
        self._wake.clear()  # after the wait, so that what is asked for meanwhile is looked at next

    def _poll(self) -> bool:
        """Look at every file once; return whether one has more to read."""
        self._change()
        before = self.bytes_read
        for path, follower in self._followers.items():
            facts = follower.poll()
            if facts:
                self._deliver(LogLines(path=path, facts=tuple(facts)))
        followers = self._followers.values()
        self.bytes_read = self._gone_bytes + sum(f.bytes_read for f in followers)
        self.read_errors = self._gone_errors + sum(f.read_errors for f in followers)
        known = {path: f.position() for path, f in self._followers.items()}
        self.positions = {path: at for path, at in known.items() if at is not None}
        return self.bytes_read - before >= TURN

    def _change(self) -> None:
        wanted = self._wanted
        for path in [path for path in self._followers if path not in wanted]:
            follower = self._followers.pop(path)
            self._gone_bytes += follower.bytes_read
            self._gone_errors += follower.read_errors
            follower.close()
        for path in wanted:
            if path not in self._followers:
                resume = self._resume.pop(path, None)
                self._followers[path] = Follower(path, resume=resume, buffer=self._buffer)
