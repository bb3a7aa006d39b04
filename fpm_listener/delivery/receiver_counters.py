"""What came of telling one receiver: the numbers behind its metrics."""

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
    """One receiver, and what it is owed."""

    name: str
    kind: str
    pending: int = 0
    sent: int = 0  #: alerts that the receiver took, plus those it did not: all attempts ended
    failed: Mapping[str, int] = field(default_factory=dict)  #: attempts that failed, by reason
    dropped: Mapping[str, int] = field(default_factory=dict)  #: alerts given up, by reason
    seconds: HistogramView | None = None  #: fact known to receiver's yes
    failing: bool = False  #: the others were told that it cannot be told
    last_failure: str = ""  #: for people: why the last attempt failed; empty = it did not


#: Seconds from the moment a fact is known to the receiver's yes.
SECONDS_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 3600.0)


class ReceiverCounters:
    """Belongs to a lane."""

    def __init__(self) -> None:
        self.sent = 0  #: attempts that ended, whatever came of them
        self.failed = {reason.value: 0 for reason in FailureReason}
        self.dropped = {reason.value: 0 for reason in DropReason}
        self.seconds = Histogram(SECONDS_BUCKETS)
        self.last_failure = ""  #: for people: of what the last attempt failed; empty = it did not

    def ended(self, outcome: Outcome) -> None:
        """Count an attempt."""
        self.sent += 1
        self.last_failure = ""
        if not isinstance(outcome, Delivered):
            self.failed[outcome.reason.value] += 1
            self.last_failure = outcome.detail or outcome.reason.value


def add_up(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """Return the sums of counts that have the same names; of at least one."""
    return {name: sum(one[name] for one in counts) for name in counts[0]}
