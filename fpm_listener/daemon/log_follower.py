"""The thread that follows php-fpm's error logs; what it does with one file is in logfile.py.

Law: an unexpected error with one file is reported; the other files are followed as before.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from fpm_listener.daemon.log_file import CHUNK, TURN, FileFollower
from fpm_listener.internal_errors import log_only
from fpm_listener.monitor.messages import LogLines
from fpm_listener.phpfpm.log_parser import LONGEST_LINE
from fpm_listener.vocabulary import Where

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from fpm_listener.daemon.log_file import Position
    from fpm_listener.internal_errors import Caught

#: Seconds between two looks, calm and after a process has changed its state; how long that lasts.
CALM_S, HURRIED_S, HURRY_FOR_S = 0.5, 0.05, 10.0
#: Positions of files that are no longer followed; they may be followed again.
_KEPT_POSITIONS = 100


class LogFollower:
    """The thread that follows all files."""

    def __init__(
        self,
        deliver: Callable[[LogLines], None],
        failed: Callable[[BaseException], None],
        resume: Mapping[str, Position] | None = None,
        caught: Caught = log_only,
    ) -> None:
        """`caught`: told of an unexpected error with one file."""
        self._caught = caught
        self.bytes_read = 0  #: read by other threads; written by this one only
        self.bytes_skipped = 0
        self.read_errors = 0
        self.positions: Mapping[str, Position] = {}  #: rebound, never changed
        self._deliver = deliver
        self._failed = failed
        self._resume = dict(resume or {})
        self._wanted: tuple[str, ...] = ()
        self._wake = threading.Event()
        self._hurried_until = 0.0
        self._stopped = False
        self._gone_bytes = self._gone_skipped = self._gone_errors = 0
        self._followers: dict[str, FileFollower] = {}
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
            try:
                facts = follower.poll()
            except Exception as error:  # noqa: BLE001 - the law above
                self._caught(Where.LOG, error)
                continue
            if facts:
                self._deliver(LogLines(path=path, facts=tuple(facts)))
        followers = self._followers.values()
        self.bytes_read = self._gone_bytes + sum(f.bytes_read for f in followers)
        self.bytes_skipped = self._gone_skipped + sum(f.bytes_skipped for f in followers)
        self.read_errors = self._gone_errors + sum(f.read_errors for f in followers)
        known = {path: f.position() for path, f in self._followers.items()}
        self.positions = {path: at for path, at in known.items() if at is not None}
        return self.bytes_read - before >= TURN

    def _change(self) -> None:
        wanted = self._wanted
        for path in [path for path in self._followers if path not in wanted]:
            follower = self._followers.pop(path)
            self._gone_bytes += follower.bytes_read
            self._gone_skipped += follower.bytes_skipped
            self._gone_errors += follower.read_errors
            self._remember(path, follower.position())
            follower.close()
        for path in wanted:
            if path not in self._followers:
                resume = self._resume.pop(path, None)
                self._followers[path] = FileFollower(path, resume=resume, buffer=self._buffer)

    def _remember(self, path: str, at: Position | None) -> None:
        """Keep where a file was left: a configuration may be unreadable for a moment only."""
        if at is None:
            return
        self._resume[path] = at
        while len(self._resume) > _KEPT_POSITIONS:
            del self._resume[next(iter(self._resume))]
