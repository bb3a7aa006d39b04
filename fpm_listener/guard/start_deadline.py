"""The latest moment of a refusal, with the timer that enforces it.

Laws:
1. supervisord must see the exit before startsecs are over. Both count from the start.
2. The timer is off while our own listener can be the holder: php-fpm must get that socket.
3. The timer is off before php-fpm starts. It would survive the exec and end php-fpm.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # no stubs; `signal` costs a millisecond
import os
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

#: The shortest timer: zero would switch it off.
_SHORTEST_S = 0.001


class StartDeadline:
    """The time limit of one start."""

    def __init__(self, began_at_s: float) -> None:
        """began_at_s: monotonic, of the process."""
        self._began_at_s = began_at_s
        self._at_s: float | None = None  # None = no wait so far
        self._timer: Any = None  # the handler before; None = the timer is off

    @property
    def has_begun(self) -> bool:
        """Return whether there is a limit already."""
        return self._at_s is not None

    @property
    def has_timer(self) -> bool:
        """Return whether the timer is on."""
        return self._timer is not None

    @property
    def left_s(self) -> float:
        """Return the seconds that are left, zero or more."""
        return max(0.0, (self._at_s or 0.0) - time.monotonic())

    @property
    def passed_s(self) -> float:
        """Return the seconds since the start of the process."""
        return time.monotonic() - self._began_at_s

    def end_at(self, at_s: float) -> None:
        """Replace the end of the wait."""
        self._at_s = at_s

    def extend(self, at_s: float) -> None:
        """Move the end of the wait, never to an earlier moment."""
        if self._at_s is None:
            _exit_on_stop()
        self._at_s = max(at_s, self._at_s or 0.0)

    def set_timer(self, leave: Callable[[], None]) -> None:
        """Call `leave`, which ends the process, when the time is over."""

        def on_alarm(*_: object) -> None:
            if self.has_timer:
                leave()

        previous = _signal.signal(_signal.SIGALRM, on_alarm)
        if not self.has_timer:
            self._timer = previous or _signal.SIG_DFL
        _signal.setitimer(_signal.ITIMER_REAL, max(_SHORTEST_S, self.left_s))

    def end_wait(self) -> None:
        """Switch the timer off."""
        if self.has_timer:
            _signal.setitimer(_signal.ITIMER_REAL, 0)
            _signal.signal(_signal.SIGALRM, self._timer)
            self._timer = None


def _exit_on_stop() -> None:
    """Let supervisord's stop end the wait: SIGQUIT alone would leave a core dump."""
    for number in (_signal.SIGQUIT, _signal.SIGTERM, _signal.SIGINT):
        _signal.signal(number, lambda *_: os._exit(0))
