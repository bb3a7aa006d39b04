"""One receiver's queue: what the outbox uses of it, and what both kinds of queues share.

`ReceiverQueue` sends each alert once. `AlertmanagerQueue` sends the state of each incident again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from fpm_listener.delivery.attempt import LONGEST_DELAY_S, Attempt, Delivered
from fpm_listener.delivery.queued_alert import (
    Change,
    Dropped,
    RemoveAlert,
    RemoveNotified,
    SaveNotified,
)
from fpm_listener.delivery.rate_limiter import RateLimiter
from fpm_listener.delivery.receiver_counters import ReceiverCounters
from fpm_listener.incidents.alert import Reason

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from fpm_listener.delivery.attempt import AttemptResult, DropReason
    from fpm_listener.delivery.queued_alert import QueuedAlert, QueuePolicy
    from fpm_listener.incidents.alert import Alert
    from fpm_listener.values import Instant


class AlertQueue(Protocol):
    """The alerts of one receiver. Each method that alters something returns the changes."""

    name: str
    policy: QueuePolicy | None  #: None = the settings do not name this receiver
    notified: dict[str, float]  #: by incident: monotonic seconds of the firing that it got
    limiter: RateLimiter
    counters: ReceiverCounters

    def __len__(self) -> int:
        """Return how many alerts the queue holds."""

    def alerts(self) -> Iterator[QueuedAlert]:
        """Return all alerts, oldest first."""

    def pending(self) -> int:
        """Return how many alerts the receiver has not got yet."""

    def enqueue(self, number: int, alert: Alert, now: Instant) -> list[Change]:
        """Add `alert`, unless the receiver does not want it."""

    def restore(self, queued: QueuedAlert) -> None:
        """Add an alert that was in the file when the listener started."""

    def reconfigure(self, policy: QueuePolicy) -> list[Change]:
        """Use a new policy."""

    def replace_sender(self) -> None:
        """Expect no result from the present sender; its successor starts at once."""

    def retry_now(self) -> None:
        """End the waiting after failures."""

    def drop(self, numbers: Collection[int]) -> list[Change]:
        """Drop alerts on request of the operator."""

    def due_s(self, now: Instant) -> float | None:
        """Return the monotonic moment of the next attempt; None = nothing is waiting for one."""

    def start_attempt(self, now: Instant) -> tuple[Attempt | None, list[Change]]:
        """Return the attempt that is due now, if there is one."""

    def record_result(self, result: AttemptResult, now: Instant, random: float) -> list[Change]:
        """Apply the result of an attempt; random: from 0 up to 1, for the delay."""


class QueueBase:
    """What both kinds of queues do in the same way."""

    def __init__(
        self, name: str, policy: QueuePolicy | None, longest_delay_s: float = LONGEST_DELAY_S
    ) -> None:
        """`policy`: None = the settings do not name this receiver; its alerts are only kept."""
        self.name = name
        self.policy = policy
        self.notified: dict[str, float] = {}
        self.limiter = RateLimiter(policy.rates if policy else (), longest_delay_s)
        self.counters = ReceiverCounters()
        self._attempt: Attempt | None = None  # its result is awaited

    def _start(self, chosen: Sequence[QueuedAlert], now: Instant) -> Attempt:
        for queued in chosen:
            queued.attempts += 1
        self.limiter.count_attempt(now)
        self._attempt = Attempt(
            queue=self.name,
            number=chosen[0].attempts,
            alert_numbers=tuple(queued.number for queued in chosen),
            alerts=tuple(queued.alert for queued in chosen),
        )
        return self._attempt

    def _end(self, result: AttemptResult, now: Instant, random: float) -> bool:
        """Count a result; return whether it matters. Of a replaced sender only a success does."""
        self.counters.count(result.outcome)
        if result.attempt == self._attempt:
            self._attempt = None
        elif not isinstance(result.outcome, Delivered):
            return False
        self.limiter.record(result.outcome, now, random)
        return True

    def _save_notified(self, queued: QueuedAlert, sent: Alert) -> list[Change]:
        """Remember that the receiver got the firing alert `sent`."""
        if sent.reason is Reason.TEST:
            return []
        self.notified[sent.incident_id] = queued.since_s
        return [SaveNotified(sent.incident_id, queued.since_s)]

    def _remove_notified(self, incident: str) -> list[Change]:
        if self.notified.pop(incident, None) is None:
            return []
        return [RemoveNotified(incident)]

    def _removed(self, queued: QueuedAlert, dropped: DropReason | None) -> list[Change]:
        """Return the changes after an alert was removed; dropped: why, if it was not sent."""
        if dropped is None:
            return [RemoveAlert(queued.number)]
        self.counters.dropped[dropped.value] += 1
        return [RemoveAlert(queued.number), Dropped(dropped)]
