"""Counts what could not be read of supervisord's events, and answers it in the end.

Law: an event that could not be read is answered only when nothing has followed it for a while;
without any answer, supervisord would send nothing more.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fpm_listener.supervisor.pipe import Pipe
    from fpm_listener.supervisor.protocol import Garbage
    from fpm_listener.values import Instant

log = logging.getLogger(__name__)

#: Seconds after which an event that could not be read is answered all the same.
ANSWER_AFTER_S = 5.0


class UnreadableEvents:
    """Owned by the daemon."""

    def __init__(self, pipe: Pipe) -> None:
        self.count = 0
        self._pipe = pipe
        self._since_s: float | None = None  # monotonic

    @property
    def due_s(self) -> float | None:
        """Return the monotonic moment of the next answer; None = nothing waits for one."""
        return None if self._since_s is None else self._since_s + ANSWER_AFTER_S

    def note(self, garbage: Garbage) -> None:
        """Count and log a piece that was skipped."""
        self.count += 1
        log.error(
            "event header not understood, skipped bytes=%s length=%s",
            garbage.sample,
            garbage.length,
        )

    def check(self, now: Instant) -> None:
        """Answer what has waited long enough."""
        if not self._pipe.unreadable:
            self._since_s = None
        elif self._since_s is None:
            self._since_s = now.monotonic_s
        elif now.monotonic_s >= self._since_s + ANSWER_AFTER_S:
            self.note(self._pipe.give_up_unreadable())
            self._since_s = None
