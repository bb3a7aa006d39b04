"""The queue of one receiver: which alerts, in which order, and which firing alerts it got.

Laws:
1. One message is in flight at a time, so no receiver gets two alerts out of order.
2. Alerts of an incident keep their order. A resolved alert is sent only to a receiver that got the
   firing one.
3. A newer firing alert replaces a pending one: receivers get the latest state.
4. An alert leaves the queue only when the receiver answers, or when it is counted as dropped.
5. Ages and delays are measured on the monotonic clock. A step of the wall clock neither drops nor
   delays an alert.
6. If more incidents are pending than the rates allow, they share a message (batching.py).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fpm_listener.delivery import batching
from fpm_listener.delivery.alert_queue import QueueBase
from fpm_listener.delivery.attempt import Delivered, DropReason, RetryLater
from fpm_listener.delivery.queued_alert import Change, QueuedAlert, QueuePolicy
from fpm_listener.incidents.alert import Reason, Status

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from fpm_listener.delivery.attempt import Attempt, AttemptResult
    from fpm_listener.incidents.alert import Alert
    from fpm_listener.values import Instant


class ReceiverQueue(QueueBase):
    """An AlertQueue that sends each alert until the receiver accepts it."""

    def __init__(self, name: str, policy: QueuePolicy | None) -> None:
        """See QueueBase."""
        super().__init__(name, policy)
        self._alerts: dict[int, QueuedAlert] = {}  # by number, oldest first
        self._incidents: dict[str, list[QueuedAlert]] = {}  # the same alerts, by incident

    def alerts(self) -> Iterator[QueuedAlert]:
        """Return all alerts, oldest first."""
        return iter(list(self._alerts.values()))

    def __len__(self) -> int:
        return len(self._alerts)

    def pending(self) -> int:
        """Return how many alerts the receiver has not got yet."""
        return len(self._alerts)

    # -- what is added and removed -----------------------------------------------------------------

    def enqueue(self, number: int, alert: Alert, now: Instant) -> list[Change]:
        """Add `alert`, unless the receiver does not want it."""
        policy, incident = self.policy, alert.incident_id
        if policy is None:
            return []
        queue = self._incidents.get(incident)
        if incident not in self.notified and not queue and not policy.wants(alert):
            return []
        if alert.reason is Reason.REPEAT and self._notified_lately(incident, now, policy):
            return []
        last = queue[-1] if queue else None
        firing = alert.status is Status.FIRING
        if policy.once and firing and (incident in self.notified or _is_not_replaceable(last)):
            return []
        if firing and last is not None and last.is_pending_firing:
            self._incidents[incident].remove(last)
            number = last.number  # and thus its place among all alerts
            alert = _since_the_first(alert, last.alert)
        if not self._alerts:
            self.limiter.failing_since_s = None  # the alerts that failed were dropped
        queued = QueuedAlert(number=number, alert=policy.shown(alert), since_s=now.monotonic_s)
        self._add(queued)
        changes = [*self._drop_unwanted(incident), *self._drop_excess()]
        return [*changes, queued.saved()] if number in self._alerts else changes

    def restore(self, queued: QueuedAlert) -> None:
        """Add an alert that was in the file when the listener started."""
        self._add(queued)
        self._incidents[queued.alert.incident_id].sort(key=lambda one: one.number)
        self._alerts = dict(sorted(self._alerts.items()))

    def reconfigure(self, policy: QueuePolicy) -> list[Change]:
        """Use a new policy."""
        self.policy = policy
        self.limiter.set_rates(policy.rates)
        incidents = list(self._incidents)
        changes = [change for incident in incidents for change in self._drop_unwanted(incident)]
        return [*changes, *self._drop_excess()]

    def replace_sender(self) -> None:
        """Expect no result from the present sender; its successor starts at once."""
        self.retry_now()
        self._attempt = None
        for queued in self._alerts.values():
            queued.in_flight = False

    def retry_now(self) -> None:
        """End the waiting after failures."""
        self.limiter.retry_now()

    def drop(self, numbers: Collection[int]) -> list[Change]:
        """Drop alerts on request of the operator; an alert in flight stays."""
        changes: list[Change] = []
        for number in numbers:
            queued = self._alerts.get(number)
            if queued is not None and not queued.in_flight:
                changes += self._drop(queued, DropReason.OPERATOR)
        return changes

    # -- attempts ----------------------------------------------------------------------------------

    def due_s(self, now: Instant) -> float | None:
        """Return the monotonic moment of the next attempt; None = nothing is waiting for one."""
        if self.policy is None or self._attempt is not None or not self._incidents:
            return None
        tried = all(queue[0].attempts for queue in self._incidents.values())
        retry_at_s = self.limiter.retry_at_s if tried else 0.0
        return self.policy.unmuted_s(max(self.limiter.free_at_s(), retry_at_s), now)

    def start_attempt(self, now: Instant) -> tuple[Attempt | None, list[Change]]:
        """Return the attempt that is due now: the oldest of the alerts with the fewest attempts.

        So an alert that the receiver cannot process does not delay the others, and a new alert does
        not wait for the next retry of an old one.
        """
        if self.policy is None or not self._is_due(now):
            return None, []
        changes = self._drop_expired(now, self.policy)
        if not self._is_due(now):
            return None, changes
        retries = now.monotonic_s >= self.limiter.retry_at_s
        ready = [queue for queue in self._incidents.values() if retries or not queue[0].attempts]
        chosen = batching.choose(ready, self.policy, self.limiter.budget(now))
        for queued in chosen:
            queued.in_flight = True
        return self._start(chosen, now), changes

    def record_result(self, result: AttemptResult, now: Instant, random: float) -> list[Change]:
        """Apply the result of an attempt; random: from 0 up to 1, for the delay."""
        if not self._end(result, now, random):
            return []
        attempt, outcome = result.attempt, result.outcome
        incidents = dict.fromkeys(alert.incident_id for alert in attempt.alerts)
        shared = len(incidents) > 1
        changes: list[Change] = []
        for number, alert in zip(attempt.alert_numbers, attempt.alerts, strict=True):
            queued = self._alerts.get(number)
            if queued is None:
                continue
            if isinstance(outcome, Delivered):
                changes += self._delivered(queued, alert, now)
                continue
            queued.in_flight = False
            if isinstance(outcome, RetryLater):
                if shared and batching.must_split(attempt, outcome):
                    queued.send_alone = True
                changes += self._replace_with_newer(queued)
            elif shared:
                queued.send_alone = True
            else:
                changes += self._remove(queued, DropReason.REJECTED)
        return [*changes, *(one for incident in incidents for one in self._drop_unwanted(incident))]

    # -- details -----------------------------------------------------------------------------------

    def _is_due(self, now: Instant) -> bool:
        due_s = self.due_s(now)
        return due_s is not None and now.monotonic_s >= due_s

    def _notified_lately(self, incident: str, now: Instant, policy: QueuePolicy) -> bool:
        since_s = self.notified.get(incident)
        # Minus a second, because the monitor may round its own sum in the other direction.
        return since_s is not None and now.monotonic_s - since_s < policy.repeat_interval_s - 1.0

    def _delivered(self, queued: QueuedAlert, sent: Alert, now: Instant) -> list[Change]:
        if sent.status is Status.RESOLVED:
            changes = self._remove_notified(sent.incident_id)
        else:
            changes = self._save_notified(queued, sent)
        if queued.alert.alert_id != sent.alert_id:
            return changes  # a replaced sender delivered the former alert; the present one waits
        self.counters.seconds.observe(max(0.0, now.wall_s - queued.alert.known_at_s))
        return [*changes, *self._remove(queued, None)]

    def _replace_with_newer(self, queued: QueuedAlert) -> list[Change]:
        """Replace a firing alert that failed, if a newer firing one is behind it."""
        queue = self._incidents[queued.alert.incident_id]
        newer = queue[1] if queue[0] is queued and len(queue) > 1 else None
        if newer is None or not queued.is_pending_firing or not newer.is_pending_firing:
            return []
        newer.alert = _since_the_first(newer.alert, queued.alert)
        newer.attempts = queued.attempts
        return [newer.saved(), *self._remove(queued, None)]

    def _drop_unwanted(self, incident: str) -> list[Change]:
        """Drop pending resolved alerts whose firing one the receiver did not get or want."""
        changes: list[Change] = []
        while self.policy is not None and (queue := self._incidents.get(incident)):
            head, send_resolved = queue[0], self.policy.send_resolved
            pending = not head.in_flight and head.alert.status is Status.RESOLVED
            if not pending or (incident in self.notified and send_resolved):
                break
            changes += self._remove(head, DropReason.NOT_NOTIFIED if send_resolved else None)
            changes += self._remove_notified(incident)
        return changes

    def _drop_expired(self, now: Instant, policy: QueuePolicy) -> list[Change]:
        """Drop alerts above the maximum age; muted time does not count."""
        changes: list[Change] = []
        for queue in list(self._incidents.values()):
            while queue and policy.age_s(queue[0].since_s, now) > policy.max_age_s:
                changes += self._drop(queue[0], DropReason.MAX_AGE)
        return changes

    def _drop_excess(self) -> list[Change]:
        """Drop the oldest alerts above the maximum number."""
        changes: list[Change] = []
        while self.policy is not None and len(self) > self.policy.max_alerts:
            pending = (queued for queued in self._alerts.values() if not queued.in_flight)
            oldest = next(pending, None)
            if oldest is None:
                break
            changes += self._drop(oldest, DropReason.MAX_ALERTS)
        return changes

    def _drop(self, queued: QueuedAlert, reason: DropReason) -> list[Change]:
        incident = queued.alert.incident_id
        changes = self._remove(queued, reason)
        if queued.alert.status is Status.RESOLVED:
            changes += self._remove_notified(incident)
        return [*changes, *self._drop_unwanted(incident)]

    def _add(self, queued: QueuedAlert) -> None:
        self._alerts[queued.number] = queued
        self._incidents.setdefault(queued.alert.incident_id, []).append(queued)

    def _remove(self, queued: QueuedAlert, dropped: DropReason | None) -> list[Change]:
        del self._alerts[queued.number]
        queue = self._incidents[queued.alert.incident_id]
        queue.remove(queued)
        if not queue:
            del self._incidents[queued.alert.incident_id]
        return self._removed(queued, dropped)


def _is_not_replaceable(last: QueuedAlert | None) -> bool:
    return last is not None and not last.is_pending_firing


def _since_the_first(alert: Alert, replaced: Alert) -> Alert:
    """Return `alert`, which has been known since the alert that it replaces."""
    return replace(alert, known_at_s=min(alert.known_at_s, replaced.known_at_s))
