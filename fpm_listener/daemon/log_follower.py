"""The thread that follows php-fpm's error logs; `log_file` follows one of them.

Law: an unexpected error with one file is reported, and the other files are followed as before.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.daemon.log_file import FileFollower
from fpm_listener.daemon.log_reader import TURN, make_buffer
from fpm_listener.internal_errors import log_only, service_thread
from fpm_listener.monitor.messages import LogLines
from fpm_listener.vocabulary import Where

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from fpm_listener.daemon.log_position import Position
    from fpm_listener.internal_errors import Caught

#: Seconds between two polls: normally, and for FAST_FOR_S after a process changed its state.
POLL_S, FAST_POLL_S, FAST_FOR_S = 0.5, 0.05, 10.0
#: Seconds between two polls after QUIET_AFTER_S without a new byte: each wake-up costs 0.5 ms.
QUIET_POLL_S, QUIET_AFTER_S = 2.0, 30.0
#: Positions of files that are no longer followed; they may be followed again.
_KEPT_POSITIONS = 100


class LogCounts(NamedTuple):
    """Bytes of all files that were read or skipped, and errors of reading."""

    bytes_read: int = 0
    bytes_skipped: int = 0
    read_errors: int = 0

    def plus(self, file: FileFollower) -> LogCounts:
        """Return the counts with those of one more file."""
        return LogCounts(
            self.bytes_read + file.bytes_read,
            self.bytes_skipped + file.bytes_skipped,
            self.read_errors + file.read_errors,
        )


class LogFollower:
    """The thread that follows all files."""

    def __init__(
        self,
        deliver: Callable[[LogLines], None],
        failed: Callable[[BaseException], None],
        resume: Mapping[str, Position] | None = None,
        caught: Caught = log_only,
    ) -> None:
        """`caught`: called with an unexpected error about one file."""
        self.counts = LogCounts()  #: for other threads: rebound, never changed
        self.positions: Mapping[str, Position] = {}  #: the same
        self._caught = caught
        self._deliver = deliver
        self._resume = dict(resume or {})
        self._wanted: tuple[str, ...] = ()
        self._followed: tuple[str, ...] = ()  # those in `_followers`
        self._wake = threading.Event()
        self._fast_until_s = 0.0  # monotonic
        self._quiet_from_s = 0.0  # monotonic
        self._stopped = False
        self._past = LogCounts()  # of files that are no longer followed
        self._followers: dict[str, FileFollower] = {}
        self._buffer = make_buffer()
        self._thread = service_thread("logs", self._run, failed)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def follow(self, paths: Iterable[str]) -> None:
        """Follow these files from now on, and no others."""
        self._wanted = tuple(dict.fromkeys(paths))
        self._wake.set()

    def poll_fast(self) -> None:
        """Poll often for a while: a process has changed its state."""
        now_s = time.monotonic()
        is_slow = now_s >= self._fast_until_s
        self._fast_until_s = now_s + FAST_FOR_S
        if is_slow:  # waking a fast thread for each event of a burst would cost time
            self._wake.set()

    def stop(self) -> None:
        """Stop the thread, and wait at most a second for it."""
        self._stopped = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(1.0)

    def _run(self) -> None:
        while not self._stopped:
            busy = self._poll()
            fast = time.monotonic() < self._fast_until_s
            if not busy:
                self._wait(fast=fast)
        for follower in self._followers.values():
            follower.close()

    def _wait(self, *, fast: bool) -> None:
        if not self._followers and not fast:
            self._wake.wait()  # no file is followed
        else:
            is_quiet = time.monotonic() >= self._quiet_from_s
            usual_s = QUIET_POLL_S if is_quiet else POLL_S
            self._wake.wait(FAST_POLL_S if fast else usual_s)
        self._wake.clear()  # after the wait: a request that came meanwhile is served next

    def _poll(self) -> bool:
        """Poll every file once; return whether one has more to read."""
        changed = self._change()
        if not changed and all(one.is_unchanged() for one in self._followers.values()):
            return False
        before = self.counts.bytes_read
        for path, follower in self._followers.items():
            try:
                facts = follower.poll()
            except Exception as error:  # noqa: BLE001 - the law above
                self._caught(Where.LOG, error)
                continue
            if facts:
                self._deliver(LogLines(path=path, facts=tuple(facts)))
        counts = self._past
        for follower in self._followers.values():
            counts = counts.plus(follower)
        self.counts = counts
        known = {path: f.position() for path, f in self._followers.items()}
        self.positions = {path: at for path, at in known.items() if at is not None}
        if changed or counts.bytes_read != before:
            self._quiet_from_s = time.monotonic() + QUIET_AFTER_S
        return counts.bytes_read - before >= TURN

    def _change(self) -> bool:
        """Follow the wanted files; return whether they are others than before."""
        wanted = self._wanted
        if wanted == self._followed:
            return False
        self._followed = wanted
        for path in [path for path in self._followers if path not in wanted]:
            follower = self._followers.pop(path)
            self._past = self._past.plus(follower)
            self._remember(path, follower.position())
            follower.close()
        for path in wanted:
            if path not in self._followers:
                resume = self._resume.pop(path, None)
                self._followers[path] = FileFollower(path, resume=resume, buffer=self._buffer)
        return True

    def _remember(self, path: str, at: Position | None) -> None:
        """Keep the position of a file: its configuration may be unreadable for a moment only."""
        if at is None:
            return
        self._resume[path] = at
        while len(self._resume) > _KEPT_POSITIONS:
            del self._resume[next(iter(self._resume))]
