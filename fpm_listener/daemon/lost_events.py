"""Logs that supervisord has discarded events; at most one line for each LOG_EVERY_S."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fpm_listener.supervisor.protocol import Event
    from fpm_listener.values import Instant

log = logging.getLogger(__name__)

#: Seconds between two lines. Each line wakes supervisord, which may send more events then.
LOG_EVERY_S = 10.0


class LostEvents:
    """Owned by the daemon."""

    def __init__(self) -> None:
        self._count = 0  # events that no line has reported
        self._logged_at_s = float("-inf")  # monotonic

    def log(self, now: Instant, count: int, event: Event) -> None:
        """Log `count` lost events, with those that no line has reported yet."""
        self._count += count
        if now.monotonic_s - self._logged_at_s < LOG_EVERY_S:
            return
        log.error(
            "events lost, supervisord's buffer was too small count=%s poolserial=%s",
            self._count,
            event.poolserial,
        )
        self._count, self._logged_at_s = 0, now.monotonic_s
