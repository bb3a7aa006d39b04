"""Reads supervisord's events, detects repeated, lost and unreadable ones, and answers them.

Laws:
1. An event is answered after everything that it caused is committed.
2. An unreadable event is answered only when nothing followed it for ANSWER_AFTER_S; without any
   answer supervisord sends nothing more.
3. Lost events are logged at most every LOG_EVERY_S: each line wakes supervisord, which can then
   send more events.
"""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING

from fpm_listener.histogram import Histogram
from fpm_listener.host import procfs
from fpm_listener.supervisor.deduplication import EventDeduplicator
from fpm_listener.supervisor.protocol import Garbage

if TYPE_CHECKING:
    from pathlib import Path

    from fpm_listener.supervisor.deduplication import EventVerdict
    from fpm_listener.supervisor.pipe import Pipe
    from fpm_listener.supervisor.protocol import Event
    from fpm_listener.values import Instant

log = logging.getLogger(__name__)

#: Seconds after which an unreadable event is answered.
ANSWER_AFTER_S = 5.0
#: Seconds between two log lines about lost events.
LOG_EVERY_S = 10.0

_ACK_BUCKETS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 1.0)


class EventIntake:
    """The pipe and what is known of earlier events. Owned by the daemon."""

    def __init__(self, pipe: Pipe, ledger_path: Path | None, last_stamp: object) -> None:
        """`ledger_path`, `last_stamp`: see EventDeduplicator."""
        self.unreadable = 0  #: pieces that were skipped
        self.ack_seconds = Histogram(_ACK_BUCKETS_S)
        self._pipe = pipe
        supervisord = procfs.pid_and_start(os.getppid())
        self._ledger = EventDeduplicator(ledger_path, supervisord, last_stamp)
        self._unreadable_since_s: float | None = None  # monotonic
        self._lost = 0  # events that no log line has reported
        self._logged_at_s = float("-inf")  # monotonic

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._pipe.fileno()

    @property
    def closed(self) -> bool:
        """Return whether supervisord has closed the pipe."""
        return self._pipe.closed

    @property
    def due_s(self) -> float | None:
        """Return the monotonic time of the next answer to an unreadable event; None = none."""
        since_s = self._unreadable_since_s
        return None if since_s is None else since_s + ANSWER_AFTER_S

    def read(self) -> list[Event | None]:
        """Return the events that have come; None stands for a piece that was skipped."""
        events: list[Event | None] = []
        for item in self._pipe.read():
            if isinstance(item, Garbage):
                self._skip(item)
                events.append(None)
            else:
                events.append(item)
        return events

    def _skip(self, garbage: Garbage) -> None:
        self.unreadable += 1
        log.error(
            "skipped an event with an unreadable header bytes=%s length=%s",
            garbage.sample,
            garbage.length,
        )

    def answer_unreadable(self, now: Instant) -> bool:
        """Answer an unreadable event that has waited long enough; return whether there was one."""
        due_s = self.due_s
        if not self._pipe.unreadable:
            self._unreadable_since_s = None
        elif due_s is None:
            self._unreadable_since_s = now.monotonic_s
        elif now.monotonic_s >= due_s:
            self._skip(self._pipe.give_up_unreadable())
            self._unreadable_since_s = None
            return True
        return False

    def judge(self, event: Event, now: Instant) -> EventVerdict:
        """Return whether an event is repeated, and how many were lost before it; log the latter."""
        verdict = self._ledger.judge(event)
        self._lost += verdict.missed
        if verdict.missed and now.monotonic_s - self._logged_at_s >= LOG_EVERY_S:
            log.error(
                "events lost, supervisord's buffer was too small count=%s poolserial=%s",
                self._lost,
                event.poolserial,
            )
            self._lost, self._logged_at_s = 0, now.monotonic_s
        return verdict

    def stamp(self, event: Event) -> list[int] | None:
        """Return what to commit together with the effects of an event."""
        return self._ledger.stamp(event)

    def acknowledge(self, event: Event, received: Instant) -> None:
        """Remember an event and answer it."""
        self._ledger.mark(event)
        self._pipe.acknowledge()
        self.ack_seconds.observe(time.monotonic() - received.monotonic_s)

    def keep_ledger_at(self, path: Path | None) -> None:
        """Write the last event to the file at `path`; None = no file can be written now."""
        self._ledger.keep_at(path)
