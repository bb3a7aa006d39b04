"""When supervisord is to be woken, so that it sees a death at once and starts anew at once.

supervisord's poll does not end when a child dies: it notices up to a second later, and starts anew
in the pass after that, up to another second later (4.2.5, 4.3.0, measured). Anything that it reads
ends the poll.

Laws:
1. Bounded in count and in time, whatever supervisord does.
2. A life shorter than SHORTEST_LIFE_S is followed at supervisord's own pace: nothing is made to
   spin. The delay of a BACKOFF is kept to the full.
"""

from __future__ import annotations

from collections import deque

#: Seconds that a life must have lasted; supervisord itself restarts what exits about that often.
SHORTEST_LIFE_S = 1.0
#: Seconds after the death at which supervisord is woken, until the next start is seen. One pass of
#: its loop sees the death, the next one starts anew; a pass takes a millisecond or two.
_AT_S = (0.0, 0.002, 0.004, 0.008, 0.016, 0.03, 0.06, 0.12, 0.25, 0.5)


class WakeSchedule:
    """The moments at which supervisord is to be woken for one process."""

    def __init__(self) -> None:
        self._moments_s: deque[float] = deque()  # monotonic
        self.next_start_s: float | None = None  #: monotonic; the end of a BACKOFF's delay

    def hurry(self, now_s: float, began_at_s: float | None, *, died: bool) -> None:
        """Let the next start come without delay; `began_at_s`: of the run that has ended."""
        if self.next_start_s is not None:
            self.begin(self.next_start_s)
            self.next_start_s = None
            return
        was_long = began_at_s is None or now_s - began_at_s >= SHORTEST_LIFE_S
        if died and was_long and not self._moments_s:
            self.begin(now_s)

    def begin(self, at_s: float) -> None:
        """Wake supervisord from that moment on."""
        self._moments_s = deque(at_s + later_s for later_s in _AT_S)

    def end(self) -> None:
        """Let supervisord sleep: it has seen what there was to see."""
        self._moments_s.clear()

    def take(self, now_s: float) -> bool:
        """Return whether supervisord is to be woken now."""
        due = False
        while self._moments_s and self._moments_s[0] <= now_s:
            self._moments_s.popleft()
            due = True
        return due

    def deadline_s(self) -> float | None:
        """Return the next moment."""
        return self._moments_s[0] if self._moments_s else None
