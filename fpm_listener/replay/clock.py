"""The moments of a replay, from the times of lines.

Law: monotonic time never goes back, even if the clock of the logs does. Wall times are those of the
lines.
"""

from __future__ import annotations

from fpm_listener.values import Instant

#: Seconds by which a line can be earlier than the line before it. php-fpm writes whole seconds, and
#: two programs that write to one file are not in order.
_INEXACT_S = 2.0


class ReplayClock:
    """Its Replayer owns it."""

    def __init__(self) -> None:
        self.jumps_back = 0  #: how often the clock of the logs was set back
        self.first_s: float | None = None  #: wall seconds of the first line; None = no time so far
        self.last_s = 0.0  #: wall seconds of the last line
        self._now_s = 0.0  # monotonic: the latest moment so far
        self._offset_s = 0.0  # wall - monotonic

    @property
    def is_set(self) -> bool:
        """Return whether a line had a time."""
        return self.first_s is not None

    def read(self, wall_s: float) -> Instant:
        """Return the moment of a line."""
        if self.first_s is None:
            # Monotonic 0 means "never" in some places of the engine.
            self.first_s, self._now_s, self._offset_s = wall_s, 1000.0, wall_s - 1000.0
        at_s = wall_s - self._offset_s
        if at_s < self._now_s - _INEXACT_S:
            self.jumps_back += 1
            self._offset_s = wall_s - self._now_s
        self._now_s = max(self._now_s, at_s)
        self.last_s = self._now_s + self._offset_s
        return self.now

    @property
    def now(self) -> Instant:
        """Return the latest moment."""
        return self.moment(self._now_s)

    def moment(self, monotonic_s: float) -> Instant:
        """Return a moment by its monotonic seconds."""
        return Instant(monotonic_s, monotonic_s + self._offset_s)

    def before(self, wall_s: float) -> Instant:
        """Return an earlier moment; the latest one stays."""
        return self.moment(min(wall_s - self._offset_s, self._now_s))
