"""When a program that supervisord gave up on is started again: only where the operator wants it.

Laws:
1. The delay doubles with each start that did not last, and is forgotten when the trouble is over.
2. It is bounded: after MOST_A_DAY starts in a day nothing is started any more, and that is said.
3. Who stops the program, or starts it, wins: what is pending is forgotten.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

#: Starts of one program in a day.
MOST_A_DAY = 50
_DAY_S = 86400.0


class Span(NamedTuple):
    """From the first delay to the longest: `10s..5m`."""

    first_s: float
    longest_s: float


class Healing:
    """Belongs to one process."""

    def __init__(self, seed: str) -> None:
        """`seed`: of host and process, so that a fleet does not start in step."""
        self.starts = 0  #: over the life of the listener
        self._seed = seed
        self._failed = 0  # starts in a row that did not last
        self._due_s: float | None = None  # monotonic
        self._begun: deque[float] = deque(maxlen=MOST_A_DAY)  # monotonic
        self.worn_out = False  #: the day's starts are used up

    def step(self, now_s: float, span: Span | None, *, over: bool) -> bool:
        """Return whether the program is to be started now.

        span: None = it lives, is stopped, or its operator wants none: what is planned is forgotten.
        over: the trouble is over.
        """
        if over:
            self._failed = 0
        if span is None:
            self._due_s = None
            return False
        if self._due_s is None:
            delay_s = min(span.longest_s, span.first_s * 2.0 ** min(self._failed, 20))
            self._due_s = now_s + delay_s * (0.75 + 0.25 * self._spread())
        return now_s >= self._due_s and self._may_start(now_s)

    def _may_start(self, now_s: float) -> bool:
        self.worn_out = len(self._begun) == MOST_A_DAY and now_s - self._begun[0] < _DAY_S
        if self.worn_out:
            self._due_s = self._begun[0] + _DAY_S
            return False
        self._due_s = None
        self._failed += 1
        self.starts += 1
        self._begun.append(now_s)
        return True

    def deadline_s(self) -> float | None:
        """Return the moment of the planned start."""
        return self._due_s

    def _spread(self) -> float:
        """Return a number from 0 up to 1 that is the same for the same program and failure."""
        value = self._failed
        for letter in self._seed:
            value = (value * 31 + ord(letter)) % 9973
        return value / 9973
