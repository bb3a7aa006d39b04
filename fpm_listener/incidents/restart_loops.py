"""Restart loops: sliding windows over the failures of one process.

Laws:
1. A window slides. It is never reset at fixed times, and a detected loop does not empty it.
2. A detected loop ends only when the process is stable (`clear`), not when the window gets empty.
3. The times are those of receipt; supervisord's own times are inexact by about a second.
"""

from __future__ import annotations

from collections import deque
from itertools import islice, pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fpm_listener.settings.policy import LoopPolicy
    from fpm_listener.vocabulary import Tier

#: Failures that are remembered; more if a policy needs more.
_KEPT = 512

#: Failures whose distances give the usual distance.
_FOR_DISTANCE = 32


class LoopDetector:
    """The failures of one process, seen through windows. All moments are monotonic seconds."""

    def __init__(
        self,
        policies: Mapping[Tier, LoopPolicy],
        failures: Iterable[float] = (),
        tiers: Iterable[Tier] = (),
    ) -> None:
        """Restore failures and loops that were detected before, if there are any."""
        self._policies = dict(policies)
        self._needed = max(policy.threshold for policy in policies.values())
        self._longest_s = max(policy.window_s for policy in policies.values())
        self._failures = deque(sorted(failures), maxlen=max(_KEPT, self._needed))
        self.tiers = frozenset(tiers)  #: the windows in which the process is in a loop
        self.usual_distance_s = 0.0  #: median distance of the last failures; 0 = unknown
        self.recent: tuple[float, ...] = ()  #: failures that the windows can need, oldest first
        self._summarize()

    def add(self, now_s: float) -> None:
        """Count a failure."""
        self._failures.append(now_s)
        self._summarize()
        self.tiers |= {tier for tier in self._policies if self.is_full(tier, now_s)}

    def is_full(self, tier: Tier, now_s: float) -> bool:
        """Return whether the window that ends now has enough failures for a loop."""
        policy = self._policies[tier]
        if len(self._failures) < policy.threshold:
            return False
        return self._failures[-policy.threshold] > now_s - policy.window_s

    def _summarize(self) -> None:
        self.recent = tuple(islice(reversed(self._failures), self._needed))[::-1]
        since = self._failures[-1] - self._longest_s if self._failures else 0.0
        last = [at for at in islice(reversed(self._failures), _FOR_DISTANCE) if at > since]
        distances = sorted(later - sooner for later, sooner in pairwise(last))
        self.usual_distance_s = distances[len(distances) // 2] if distances else 0.0

    def stable_after_s(self, stable_for_s: float) -> float:
        """Return the seconds that the program must run to count as stable.

        It is twice the usual distance of failures if that is longer than `stable_for_s`: a program
        that fails every 150 seconds is not stable after 120.
        """
        return max(stable_for_s, 2 * self.usual_distance_s)

    def clear(self) -> None:
        """Forget all failures: the program is stable, or its operator has stopped it."""
        self._failures.clear()
        self._summarize()
        self.tiers = frozenset()

    @property
    def all_failures(self) -> tuple[float, ...]:
        """Return all failures that are remembered, oldest first."""
        return tuple(self._failures)
