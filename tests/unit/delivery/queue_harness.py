"""A queue for tests, with a policy, a clock and numbers for its alerts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm_listener.delivery.queued_alert import QueuePolicy
from fpm_listener.delivery.receiver_queue import ReceiverQueue
from fpm_listener.values import Instant
from tests.samples import YES, at, ended

if TYPE_CHECKING:
    from fpm_listener.delivery.alertmanager_queue import AlertmanagerQueue
    from fpm_listener.delivery.attempt import Attempt, Outcome
    from fpm_listener.incidents.alert import Alert

POLICY = QueuePolicy(
    send_resolved=True,
    repeat_interval_s=4 * 3600.0,
    max_age_s=86400.0,
    max_alerts=1000,
)


class QueueHarness:
    """A queue, a clock, and numbers for the alerts."""

    def __init__(self, policy: QueuePolicy = POLICY) -> None:
        self.queue: ReceiverQueue | AlertmanagerQueue = ReceiverQueue("ops", policy)
        self.now = at(0.0)
        self.number = 0

    def enqueue(self, *alerts: Alert) -> None:
        """Enqueue `alerts`."""
        for alert in alerts:
            self.number += 1
            self.queue.enqueue(self.number, alert, self.now)

    def start_attempt(self) -> Attempt | None:
        """Start the attempt that is due now."""
        return self.queue.start_attempt(self.now)[0]

    def answer(self, outcome: Outcome, random: float = 1.0) -> str | None:
        """Start the attempt that is due now and record its result; return its id."""
        attempt = self.start_attempt()
        if attempt is None:
            return None
        self.queue.record_result(ended(attempt, outcome), self.now, random)
        return attempt.alerts[0].alert_id

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now = Instant(self.now.monotonic_s + seconds, self.now.wall_s + seconds)

    def wait_for_retry(self) -> None:
        """Let time pass until something is due."""
        due_s = self.queue.due_s(self.now)
        assert due_s is not None
        self.wait(max(0.0, due_s - self.now.monotonic_s))

    def drain(self) -> list[str]:
        """Let the receiver accept everything; return the ids in order."""
        delivered = []
        while (alert_id := self.answer(YES)) is not None:
            delivered.append(alert_id)
        return delivered

    def ids(self) -> list[str]:
        """Return the ids of all alerts."""
        return [queued.alert.alert_id for queued in self.queue.alerts()]

    def dropped(self) -> dict[str, int]:
        """Return the counts of drops that are not 0."""
        return {name: count for name, count in self.queue.counters.dropped.items() if count}
