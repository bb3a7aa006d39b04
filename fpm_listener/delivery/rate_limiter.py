"""How often the listener sends to one receiver: after failures, on request, and by its rates.

Laws:
1. Delays are measured on the monotonic clock.
2. Every attempt counts, with any result, because the service counts it too.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from fpm_listener.delivery.attempt import LONGEST_DELAY_S, Delivered, RetryLater, delay_s

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fpm_listener.delivery.attempt import Outcome
    from fpm_listener.settings.receiver_types import Rate
    from fpm_listener.values import Instant


class RateLimiter:
    """The schedule of one receiver's attempts."""

    def __init__(
        self, rates: Sequence[Rate] = (), longest_delay_s: float = LONGEST_DELAY_S
    ) -> None:
        """`longest_delay_s`: after a failure, unless the receiver requests a longer delay."""
        self._longest_delay_s = longest_delay_s
        self._rates = tuple(rates)
        self._attempts: deque[float] = deque()  # monotonic start of the last attempts
        self.failures = 0  #: in a row; those before the next retry is due count once
        self.retry_at_s = 0.0  #: monotonic: for alerts that were tried before
        self._not_before_s = 0.0  # monotonic: for all alerts, on request of the receiver
        self.failing_since_s: float | None = None  #: monotonic: of the first failure in a row

    def set_rates(self, rates: Sequence[Rate]) -> None:
        """Use other rates."""
        self._rates = tuple(rates)

    def count_attempt(self, now: Instant) -> None:
        """Count an attempt that starts now."""
        self._attempts.append(now.monotonic_s)
        while len(self._attempts) > max((rate.messages for rate in self._rates), default=0):
            self._attempts.popleft()

    def budget(self, now: Instant) -> int | None:
        """Return how many messages may be sent now; None = any number."""
        now_s = now.monotonic_s
        left = [
            rate.messages - sum(1 for at_s in self._attempts if at_s > now_s - rate.window_s)
            for rate in self._rates
        ]
        return min(left, default=None)

    def free_at_s(self) -> float:
        """Return the monotonic moment from which a new alert may be sent."""
        full = [rate for rate in self._rates if len(self._attempts) >= rate.messages]
        free = (self._attempts[-rate.messages] + rate.window_s for rate in full)
        return max(self._not_before_s, *free, 0.0)

    def record(self, outcome: Outcome, now: Instant, random: float) -> None:
        """Compute the time of the next attempt; random: from 0 up to 1."""
        if isinstance(outcome, Delivered):
            self.failing_since_s = None
        elif self.failing_since_s is None:
            self.failing_since_s = now.monotonic_s
        if not isinstance(outcome, RetryLater):
            self.failures, self.retry_at_s = 0, 0.0
            return
        pause_s = min(self._longest_delay_s, delay_s(self.failures + 1, random))
        if outcome.after_s is not None:
            pause_s += outcome.after_s
            self._not_before_s = max(self._not_before_s, now.monotonic_s + pause_s)
        if now.monotonic_s >= self.retry_at_s or outcome.after_s is not None:
            # New alerts that fail before the retry of an older one do not delay that retry.
            self.failures += 1
            self.retry_at_s = now.monotonic_s + pause_s

    def retry_now(self) -> None:
        """End all waiting except that of the rates: the operator has fixed something."""
        self.failures, self.retry_at_s, self._not_before_s = 0, 0.0, 0.0
