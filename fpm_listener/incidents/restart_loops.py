"""Sliding windows over failed lives, with hysteresis: steady, flapping, looping.

Laws:
1. A window slides; it is never cut into pieces, and never emptied by a verdict.
2. What has begun to loop loops until it is said to be stable (`forget`): one entry, one exit.
3. Times are those of receipt; supervisord's are smeared by about a second.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from itertools import islice, pairwise
from typing import TYPE_CHECKING

from fpm_listener.vocabulary import Tier

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fpm_listener.settings.policy import LoopPolicy

#: Failures that are remembered at the least; more where a policy needs more.
_KEPT = 512

#: Failures by which the usual distance between them is told.
_FOR_GAPS = 32


class Verdict(Enum):
    """What the windows say of a program now."""

    STEADY = "steady"
    FLAPPING = "flapping"  #: only the slow window is full
    LOOPING = "looping"


class LoopDetector:
    """The failed lives of one process, seen through the two windows."""

    def __init__(self, policies: Mapping[Tier, LoopPolicy], failures: Iterable[float] = ()) -> None:
        self._policies = dict(policies)
        kept = max(_KEPT, *(policy.threshold for policy in policies.values()))
        self._failures: deque[float] = deque(sorted(failures), maxlen=kept)
        self.tiers: frozenset[Tier] = frozenset()
        self._gap_s: float | None = None  # until it is asked for

    def fail(self, now_s: float) -> None:
        """Count a failed life; a window that is full now is latched."""
        self._failures.append(now_s)
        self._gap_s = None
        full = {tier for tier in self._policies if self._is_full(tier, now_s)}
        self.tiers = self.tiers | full

    def latch(self, tiers: Iterable[Tier]) -> None:
        """Take up loops that were seen before a restart of the listener."""
        self.tiers = self.tiers | frozenset(tiers)

    def count(self, tier: Tier, now_s: float) -> int:
        """Return the failed lives of the last `window_s` seconds."""
        since = now_s - self._policies[tier].window_s
        return sum(1 for at in self._failures if at > since)

    def _is_full(self, tier: Tier, now_s: float) -> bool:
        policy = self._policies[tier]
        if len(self._failures) < policy.threshold:
            return False
        return self._failures[-policy.threshold] > now_s - policy.window_s

    @property
    def verdict(self) -> Verdict:
        """Return what the latched windows say."""
        if Tier.FAST in self.tiers:
            return Verdict.LOOPING
        return Verdict.FLAPPING if Tier.SLOW in self.tiers else Verdict.STEADY

    def stable_after_s(self, stable_for_s: float) -> float:
        """Return for how many seconds the program must run to be called stable.

        Twice the usual distance between its failures where that is longer than `stable_for_s`: who
        dies every 150 seconds is not well after 120.
        """
        return max(stable_for_s, 2 * self.usual_distance_s)

    @property
    def usual_distance_s(self) -> float:
        """Return the median distance of the last failures in the slow window; 0 where none."""
        if self._gap_s is None:
            self._gap_s = self._usual_gap_s()
        return self._gap_s

    def _usual_gap_s(self) -> float:
        if not self._failures:
            return 0.0
        since = self._failures[-1] - self._policies[Tier.SLOW].window_s
        recent = [at for at in islice(reversed(self._failures), _FOR_GAPS) if at > since]
        gaps = sorted(later - sooner for later, sooner in pairwise(recent))
        return gaps[len(gaps) // 2] if gaps else 0.0

    def forget(self) -> None:
        """Begin anew: the program is stable, or its operator has ended the trouble."""
        self._failures.clear()
        self._gap_s = None
        self.tiers = frozenset()

    @property
    def all_failures(self) -> tuple[float, ...]:
        """Return all failures that are remembered, oldest first."""
        return tuple(self._failures)

    @property
    def failures(self) -> tuple[float, ...]:
        """Return the failures that a verdict may still need, oldest first."""
        needed = max(policy.threshold for policy in self._policies.values())
        return tuple(islice(reversed(self._failures), needed))[::-1]
