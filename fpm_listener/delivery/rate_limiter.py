"""How often one receiver is spoken to: after failures, by its own wish, and by its rates.

Laws:
1. Delays are measured on the monotonic clock.
2. An attempt counts, whatever comes of it: a service counts it too.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from fpm_listener.delivery.attempt import CAP_S, Delivered, RetryLater, delay

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fpm_listener.delivery.attempt import Outcome
    from fpm_listener.settings.receiver_types import Rate
    from fpm_listener.values import Instant


class RateLimiter:
    """Belongs to the lane of the receiver."""

    def __init__(self, rates: Sequence[Rate] = (), longest_s: float = CAP_S) -> None:
        """`longest_s`: no delay after a failure is longer, unless the receiver asks for it."""
        self._longest_s = longest_s
        self._rates = tuple(rates)
        self._began: deque[float] = deque()  # monotonic; when the last attempts were begun
        self.failures = 0  #: attempts in a row that failed, by the receiver's own schedule
        self.retry_at_s = 0.0  #: monotonic: for alerts that were tried before
        self._not_before_s = 0.0  # monotonic: for all alerts, by the receiver's own wish
        self.failing_since_s: float | None = None  #: monotonic: of the first failure after a yes

    def adopt(self, rates: Sequence[Rate]) -> None:
        """Go on with other rates."""
        self._rates = tuple(rates)

    def begin(self, now: Instant) -> None:
        """Count an attempt."""
        self._began.append(now.monotonic_s)
        while len(self._began) > max((rate.messages for rate in self._rates), default=0):
            self._began.popleft()

    def budget(self, now: Instant) -> int | None:
        """Return how many messages may be sent now; None = as many as you like."""
        left = [
            rate.messages - sum(1 for at_s in self._began if at_s > now.monotonic_s - rate.window_s)
            for rate in self._rates
        ]
        return min(left, default=None)

    def free_at_s(self) -> float:
        """Return the monotonic moment from which a new alert may be sent."""
        full = [rate for rate in self._rates if len(self._began) >= rate.messages]
        freed = (self._began[-rate.messages] + rate.window_s for rate in full)
        return max(self._not_before_s, *freed, 0.0)

    def settle(self, outcome: Outcome, now: Instant, random: float) -> None:
        """Decide when the receiver is next asked; random: from 0 up to 1."""
        if isinstance(outcome, Delivered):
            self.failing_since_s = None
        elif self.failing_since_s is None:
            self.failing_since_s = now.monotonic_s
        if not isinstance(outcome, RetryLater):
            self.failures, self.retry_at_s = 0, 0.0
            return
        pause_s = min(self._longest_s, delay(self.failures + 1, random))
        if outcome.after_s is not None:
            pause_s += outcome.after_s
            self._not_before_s = max(self._not_before_s, now.monotonic_s + pause_s)
        if now.monotonic_s >= self.retry_at_s or outcome.after_s is not None:
            # New alerts that fail while an older one waits for its retry do not lengthen the wait.
            self.failures += 1
            self.retry_at_s = now.monotonic_s + pause_s

    def hasten(self) -> None:
        """Forget all waiting but that of the rates: the operator has mended something."""
        self.failures, self.retry_at_s, self._not_before_s = 0, 0.0, 0.0
