"""When to wake supervisord, so that it sees an exit at once and starts the program again at once.

supervisord's poll does not end when a child exits. It notices the exit up to a second later. It
starts the program again in the next pass, up to another second later (4.2.5, 4.3.0, measured).
Every input ends the poll.

Laws:
1. The wake-ups are bounded in number and in time, whatever supervisord does.
2. After a run shorter than SHORTEST_RUN_S supervisord keeps its own pace, so no program spins. The
   delay of a BACKOFF is always kept.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from fpm_listener.monitor.lifecycle import Outcome
from fpm_listener.vocabulary import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fpm_listener.monitor.lifecycle import RunChange
    from fpm_listener.supervisor.events import ProcessState

#: Seconds that a run must have lasted; supervisord itself restarts a program about that often.
SHORTEST_RUN_S = 1.0
#: Seconds after the exit at which supervisord is woken, until the next start is seen. One pass of
#: its loop sees the exit, the next pass starts the program; a pass takes one or two milliseconds.
_AT_S = (0.0, 0.002, 0.004, 0.008, 0.016, 0.03, 0.06, 0.12, 0.25, 0.5)


class Schedule:
    """The moments that are left, in monotonic seconds."""

    def __init__(self) -> None:
        self.deadline_s: float | None = None  #: the next moment
        self._moments_s: deque[float] = deque()

    def plan(self, at_s: float, later_s: Sequence[float]) -> None:
        """Replace all moments; `later_s`: seconds after `at_s`."""
        self._moments_s = deque(at_s + one for one in later_s)
        self.deadline_s = self._moments_s[0]

    def cancel(self) -> None:
        """Forget all moments."""
        self._moments_s.clear()
        self.deadline_s = None

    def is_due(self, now_s: float) -> bool:
        """Return whether a moment has come; then these moments are over."""
        is_due = False
        while self._moments_s and self._moments_s[0] <= now_s:
            self._moments_s.popleft()
            is_due = True
        self.deadline_s = self._moments_s[0] if self._moments_s else None
        return is_due


class WakeSchedule(Schedule):
    """The moments at which to wake supervisord for one process. All are monotonic seconds."""

    def __init__(self) -> None:
        super().__init__()
        self._retry_at_s: float | None = None  # the end of a BACKOFF's delay

    def take(
        self,
        now_s: float,
        event: ProcessState,
        change: RunChange,
        began_at_s: float | None,
        *,
        fast_restart: bool,
    ) -> None:
        """Apply an event; `began_at_s`: the start of the run that it is about."""
        if event.state is not State.EXITED:
            self.cancel()
        if event.state is State.BACKOFF and event.tries:
            self._retry_at_s = now_s + event.tries
        if change.began:
            self._retry_at_s = None
        if change.ended and fast_restart:
            self.wake_soon(now_s, began_at_s, exited=change.outcome is not Outcome.STOPPED)

    def clear(self) -> None:
        """Let supervisord keep its own pace."""
        self.cancel()
        self._retry_at_s = None

    def wake_soon(self, now_s: float, began_at_s: float | None, *, exited: bool) -> None:
        """Let the next start come without delay.

        began_at_s: of the last run; exited: the process has ended, and not on request.
        """
        if self._retry_at_s is not None:
            self.plan(self._retry_at_s, _AT_S)
            self._retry_at_s = None
            return
        was_long = began_at_s is None or now_s - began_at_s >= SHORTEST_RUN_S
        if exited and was_long and self.deadline_s is None:
            self.plan(now_s, _AT_S)
