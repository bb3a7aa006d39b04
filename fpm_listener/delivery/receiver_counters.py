"""Counts the attempts of one receiver: the numbers behind its metrics."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fpm_listener.delivery.attempt import Delivered, DropReason, FailureReason
from fpm_listener.histogram import Histogram

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fpm_listener.delivery.attempt import Outcome
    from fpm_listener.histogram import HistogramView


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverView:
    """One receiver, for other threads."""

    name: str
    kind: str
    pending: int = 0  #: alerts that the receiver has not got yet
    sent: int = 0  #: attempts that ended, with any result
    failed: Mapping[str, int] = field(default_factory=dict)  #: attempts that failed, by reason
    dropped: Mapping[str, int] = field(default_factory=dict)  #: alerts that were dropped, by reason
    seconds: HistogramView | None = None  #: from the moment a fact is known to its delivery
    failing: bool = False  #: the other receivers were notified of it
    last_failure: str = ""  #: for people: why the last attempt failed; empty = it did not


#: Seconds from the moment a fact is known to its delivery.
SECONDS_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 3600.0)


class ReceiverCounters:
    """The counters of one queue."""

    def __init__(self) -> None:
        self.sent = 0  #: attempts that ended, with any result
        self.failed = {reason.value: 0 for reason in FailureReason}
        self.dropped = {reason.value: 0 for reason in DropReason}
        self.seconds = Histogram(SECONDS_BUCKETS)
        self.last_failure = ""  #: for people: why the last attempt failed; empty = it did not

    def count(self, outcome: Outcome) -> None:
        """Count an attempt that ended."""
        self.sent += 1
        self.last_failure = ""
        if not isinstance(outcome, Delivered):
            self.failed[outcome.reason.value] += 1
            self.last_failure = outcome.detail or outcome.reason.value


def add_up(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """Return the sums of counts that have the same names; of at least one."""
    return {name: sum(one[name] for one in counts) for name in counts[0]}
