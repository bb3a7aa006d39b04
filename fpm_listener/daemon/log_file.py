"""Follows the log file at one path across rotation, truncation, deletion and other changes.

Laws:
1. Rotation: the path names another file. The old one is read to its end, and LINGER_S longer,
   since php-fpm writes to it until USR1; then the new one from its beginning. If much of the old
   one is unread, the new one waits at most LINGER_S.
2. Truncation: the file is shorter than what was read, or begins with other bytes. It is read from
   its beginning again.
3. Only whole lines are reported; a half line waits for its end.
4. No line is reported twice: a file that comes back to its path continues where reading stopped.
5. A file that cannot be read is logged once, counted, and opened again by its path; nothing blocks.

Why our own, and why polling: no package on PyPI handles all of this, and inotify reports nothing
on several file systems that containers use.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

from fpm_listener.daemon.log_reader import LogReader, make_buffer

if TYPE_CHECKING:
    from collections.abc import Callable

    from fpm_listener.daemon.log_position import Position
    from fpm_listener.phpfpm.log_facts import LogFact

log = logging.getLogger(__name__)

#: Seconds for which a renamed file is still read: php-fpm writes to it until USR1.
LINGER_S = 5.0
#: Seconds for which a file must have been the same, before a look at its attributes is enough:
#: its times have a resolution of up to 2 s, and network file systems keep attributes for 3 s.
SAME_FOR_S = 10.0
#: Seconds after which a renamed file is closed even if its end was not reached.
GIVE_UP_S = 60.0


class FileFollower:
    """One path. `poll` reads the bytes that are there, and returns."""

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
        self._buffer = buffer or make_buffer()
        self._from_start = from_start
        self._resume = resume
        self._file: LogReader | None = None
        self._old: list[LogReader] = []
        self._problem: str | None = None  # that was logged last
        self._seen: tuple[int, ...] = ()  # attributes of the file at the path, if all is read
        self._same_since_s = 0.0  # monotonic
        self._is_settled = False  # it was the same for a while when it was read last

    def is_unchanged(self) -> bool:
        """Return whether `poll` would find nothing, because the file is the same for a while."""
        if not self._is_settled:
            return False
        try:
            return _attributes(os.stat(self.path)) == self._seen  # noqa: PTH116 - fast
        except OSError:
            return False

    def poll(self) -> list[LogFact]:
        """Return the facts of the lines that have become whole since the last call."""
        facts: list[LogFact] = []
        before, self._seen = self._seen, ()
        for old in list(self._old):
            facts += self._read(old)
            if old in self._old and self._is_done(old):
                facts += self._finish(old)
        if self._file is None and not any(map(self._goes_first, self._old)):
            self._open()
        if self._file is not None:
            self._check_beginning(self._file)  # first: later bytes may be read already
        if self._file is not None:
            facts += self._read(self._file)
        if self._file is not None:
            facts += self._check_path(self._file)
        self._from_start = True  # a file that appears later is new from its first byte
        if self._seen != before:
            self._same_since_s = self._clock()
        same_for_s = self._clock() - self._same_since_s
        self._is_settled = bool(self._seen) and same_for_s >= SAME_FOR_S
        return facts

    def _is_done(self, old: LogReader) -> bool:
        patience_s = LINGER_S if old.at_end else GIVE_UP_S
        return self._clock() - (old.left_at or 0.0) >= patience_s

    def _goes_first(self, old: LogReader) -> bool:
        return not old.at_end and self._clock() - (old.left_at or 0.0) < LINGER_S

    def position(self) -> Position | None:
        """Return how far the present or last file of the path was read; None at first."""
        file = self._file or (self._old[-1] if self._old else None)
        return self._resume if file is None else file.position()

    def close(self) -> None:
        """Close all files."""
        for file in [*self._old, *([self._file] if self._file else [])]:
            file.close()
        self._old, self._file = [], None

    # -- opening -----------------------------------------------------------------------------------

    def _open(self) -> None:
        try:
            # Checked before opening: a fifo's writer would notice a reader that comes and goes.
            if not stat.S_ISREG(Path(self.path).stat().st_mode):
                self._report(None)
                return
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            self._report(error)
            return
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                self._report(None)
            elif not self._use_renamed((found.st_dev, found.st_ino)):
                self._file = LogReader(descriptor, self._begin_at(descriptor, found))
                self._resume = None  # last: after an error the next try needs it
        except OSError as error:
            self._report(error)
        finally:
            os.close(descriptor)

    def _use_renamed(self, key: tuple[int, int]) -> bool:
        """Use a file that was renamed and has been renamed back; return whether there is one."""
        for old in self._old:
            if old.key == key:
                self._file = old
                self._old.remove(old)
                return True
        return False

    def _begin_at(self, descriptor: int, found: os.stat_result) -> int:
        resume = self._resume
        if resume is None:
            return 0 if self._from_start else found.st_size
        if (found.st_dev, found.st_ino) != (resume.device, resume.inode):
            return 0  # it was rotated while the listener was away
        head = bytes.fromhex(resume.head)
        same = os.pread(descriptor, len(head), 0) == head
        return resume.offset if same and found.st_size >= resume.offset else 0

    def _report_readable(self) -> None:
        if self._problem is not None:
            log.info("log file is readable now path=%s", self.path)
            self._problem = None

    def _report(self, error: OSError | None) -> None:
        """Count the problem, and log it once; None = the path is not a regular file."""
        missing = error is not None and error.errno == errno.ENOENT
        if not missing:
            self.read_errors += 1
        why = "not a regular file" if error is None else os.strerror(error.errno or 0)
        if why == self._problem:
            return
        self._problem = why
        if missing:
            log.info("log file does not exist yet path=%s", self.path)
        else:
            log.warning("log file cannot be read path=%s why=%r", self.path, why)

    # -- reading -----------------------------------------------------------------------------------

    def _read(self, file: LogReader) -> list[LogFact]:
        before = file.bytes_read
        try:
            facts = file.read(self._buffer)
        finally:
            self.bytes_read += file.bytes_read - before
        if file.error is not None:
            self._fail(file, file.error)
        return facts

    def _fail(self, file: LogReader, error: OSError) -> None:
        """Close a file that cannot be read; if its path still names it, it is opened again."""
        self._report(error)
        if file in self._old:
            self._old.remove(file)
            self.bytes_skipped += file.unread()
        else:
            self._file = None
            self._resume = file.position()
            self._from_start = True
        file.close()

    def _check_beginning(self, file: LogReader) -> None:
        try:
            if file.restart_if_truncated():
                log.info("log file was truncated path=%s", self.path)
        except OSError as error:
            self._fail(file, error)

    def _check_path(self, file: LogReader) -> list[LogFact]:
        """Check whether the path still names the file."""
        try:
            found = Path(self.path).stat()
        except FileNotFoundError:
            self._leave(file)
            return []
        except OSError as error:
            self._report(error)
            return []
        if (found.st_dev, found.st_ino) == file.key:
            if file.at_end:
                self._report_readable()
                self._seen = () if self._old else _attributes(found)
            return []
        self._leave(file)
        if file.at_end:
            self._open()
        return self._read(self._file) if self._file else []

    def _leave(self, file: LogReader) -> None:
        """Read the renamed file for a while; the next one is read from its beginning."""
        file.left_at = self._clock()
        self._old.append(file)
        self._file = None
        self._from_start = True

    def _finish(self, file: LogReader) -> list[LogFact]:
        self._old.remove(file)
        if not file.at_end:
            left = file.unread()
            self.bytes_skipped += left
            log.warning("renamed log file not read to its end path=%s bytes=%s", self.path, left)
        file.close()
        if self._file is None:
            self._resume = file.position(with_half_line=True)  # in case it comes back
        return file.flush()


def _attributes(found: os.stat_result) -> tuple[int, ...]:
    """Return what changes whenever a file is written, truncated or replaced."""
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
