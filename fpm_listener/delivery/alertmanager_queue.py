"""The queue of one Alertmanager: the state of each incident, sent again while the incident lasts.

Laws:
1. The queue holds one alert of each incident: a newer alert replaces the one before.
2. A firing alert is sent every RESEND_S, because Alertmanager resolves it otherwise. A resolved
   alert is sent for RESOLVED_FOR_S, because Alertmanager may be down when the incident ends.
3. A resolved alert is sent only if Alertmanager got the firing one.
4. An incident without a new alert for a long time is dropped: the listener has lost it.

Source: alertmanager docs/alerts_api.md: "clients are expected to re-send firing alerts at regular
intervals until resolved", "for up to five minutes" after that; its own resolve_timeout is 5 min.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fpm_listener.delivery import batching
from fpm_listener.delivery.alert_queue import QueueBase
from fpm_listener.delivery.attempt import Delivered, DropReason, RetryLater
from fpm_listener.delivery.queued_alert import Change, QueuedAlert, QueuePolicy
from fpm_listener.incidents.alert import Status

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from fpm_listener.delivery.attempt import Attempt, AttemptResult
    from fpm_listener.incidents.alert import Alert
    from fpm_listener.values import Instant

#: Seconds between two attempts with a firing alert; Prometheus uses a minute.
RESEND_S = 60.0
#: Seconds until Alertmanager resolves a firing alert; several attempts may fail until then.
LASTS_S = 4 * 60.0
#: Seconds for which a resolved alert is sent.
RESOLVED_FOR_S = 5 * 60.0


@dataclass(slots=True, kw_only=True, eq=False)
class _Incident:
    """The latest alert of one incident."""

    queued: QueuedAlert
    due_s: float  #: monotonic
    delivered: bool = False  #: Alertmanager has this alert
    is_new: bool = True  #: enqueued since the listener started, so the time to delivery is known


class AlertmanagerQueue(QueueBase):
    """An AlertQueue that sends the state of each incident again while it lasts."""

    def __init__(self, name: str, policy: QueuePolicy | None) -> None:
        """See QueueBase."""
        # After an outage, Alertmanager gets a firing alert before it resolves the alert.
        super().__init__(name, policy, longest_delay_s=RESEND_S)
        self._incidents: dict[str, _Incident] = {}

    def alerts(self) -> Iterator[QueuedAlert]:
        """Return all alerts, oldest first."""
        found = (incident.queued for incident in self._incidents.values())
        return iter(sorted(found, key=lambda queued: queued.number))

    def __len__(self) -> int:
        return len(self._incidents)

    def pending(self) -> int:
        """Return how many alerts the receiver has not got yet."""
        return sum(not incident.delivered for incident in self._incidents.values())

    # -- what is added and removed -----------------------------------------------------------------

    def enqueue(self, number: int, alert: Alert, now: Instant) -> list[Change]:
        """Replace the alert of this incident, unless the receiver does not want it."""
        policy, name = self.policy, alert.incident_id
        if policy is None:
            return []
        before = self._incidents.get(name)
        if before is None and name not in self.notified and not policy.wants(alert):
            return []
        if before is not None:
            number = before.queued.number
        if not self._incidents:
            self.limiter.failing_since_s = None  # the alerts that failed were dropped
        queued = QueuedAlert(number=number, alert=policy.shown(alert), since_s=now.monotonic_s)
        self._incidents[name] = _Incident(queued=queued, due_s=now.monotonic_s)
        if alert.status is Status.RESOLVED:
            if not policy.send_resolved:
                return self._remove(name, None)  # Alertmanager resolves the alert after LASTS_S
            if name not in self.notified and not self._is_in_flight(name):
                return self._remove(name, DropReason.NOT_NOTIFIED)
        changes = self._drop_excess()
        return [*changes, queued.saved()] if name in self._incidents else changes

    def restore(self, queued: QueuedAlert) -> None:
        """Add an alert that was in the file when the listener started."""
        name = queued.alert.incident_id
        self._incidents[name] = _Incident(queued=queued, due_s=0.0, is_new=False)

    def reconfigure(self, policy: QueuePolicy) -> list[Change]:
        """Use a new policy."""
        self.policy = policy
        self.limiter.set_rates(policy.rates)
        return self._drop_excess()

    def replace_sender(self) -> None:
        """Expect no result from the present sender; its successor starts at once."""
        self._attempt = None
        self.retry_now()

    def retry_now(self) -> None:
        """End the waiting after failures, and send everything again."""
        self.limiter.retry_now()
        for incident in self._incidents.values():
            incident.due_s = 0.0

    def drop(self, numbers: Collection[int]) -> list[Change]:
        """Drop alerts on request of the operator."""
        names = [name for name, one in self._incidents.items() if one.queued.number in numbers]
        return [change for name in names for change in self._remove(name, DropReason.OPERATOR)]

    # -- attempts ----------------------------------------------------------------------------------

    def due_s(self, now: Instant) -> float | None:
        """Return the monotonic moment of the next attempt; None = nothing is waiting for one."""
        if self.policy is None or self._attempt is not None or not self._incidents:
            return None
        retry_at_s = self.limiter.retry_at_s
        due_s = min(
            max(incident.due_s, retry_at_s if incident.queued.attempts else 0.0)
            for incident in self._incidents.values()
        )
        return self.policy.unmuted_s(max(due_s, self.limiter.free_at_s()), now)

    def start_attempt(self, now: Instant) -> tuple[Attempt | None, list[Change]]:
        """Return the attempt that is due now, with as many alerts as one message may have."""
        changes = self._drop_expired(now)
        due_s = self.due_s(now)
        if self.policy is None or due_s is None or now.monotonic_s < due_s:
            return None, changes
        due = [one.queued for one in self._incidents.values() if one.due_s <= now.monotonic_s]
        due.sort(key=batching.urgency)
        shared = [queued for queued in due if not queued.send_alone]
        return self._start(shared[: self.policy.batch] or due[:1], now), changes

    def record_result(self, result: AttemptResult, now: Instant, random: float) -> list[Change]:
        """Apply the result of an attempt; random: from 0 up to 1, for the delay."""
        if not self._end(result, now, random):
            return []
        sent, outcome = result.attempt.alerts, result.outcome
        changes: list[Change] = []
        for alert in sent:
            name = alert.incident_id
            incident = self._incidents.get(name)
            if incident is None:
                continue
            resolved = incident.queued.alert.status is Status.RESOLVED
            if isinstance(outcome, Delivered):
                changes += self._delivered(incident, alert, now)
            elif resolved and name not in self.notified:
                changes += self._remove(name, DropReason.NOT_NOTIFIED)
            elif isinstance(outcome, RetryLater):
                incident.due_s = min(incident.due_s, now.monotonic_s)
            elif len(sent) > 1:
                incident.queued.send_alone, incident.due_s = True, now.monotonic_s
            else:
                changes += self._remove(name, DropReason.REJECTED)
        return changes

    # -- details -----------------------------------------------------------------------------------

    def _is_in_flight(self, name: str) -> bool:
        alerts = self._attempt.alerts if self._attempt else ()
        return any(alert.incident_id == name for alert in alerts)

    def _delivered(self, incident: _Incident, sent: Alert, now: Instant) -> list[Change]:
        queued, firing = incident.queued, sent.status is Status.FIRING
        changes = self._save_notified(queued, sent) if firing else []
        if queued.alert.alert_id != sent.alert_id:
            return changes  # a newer alert is pending
        queued.attempts = 0
        incident.due_s = now.monotonic_s + RESEND_S
        if incident.is_new:
            self.counters.seconds.observe(max(0.0, now.wall_s - sent.known_at_s))
        incident.delivered, incident.is_new = True, False
        if not firing and now.monotonic_s - queued.since_s >= RESOLVED_FOR_S - RESEND_S / 2:
            changes += self._remove(sent.incident_id, None)
        return changes

    def _drop_expired(self, now: Instant) -> list[Change]:
        """Drop resolved alerts above the maximum age, and firing ones without news for long."""
        policy = self.policy
        if policy is None or self._attempt is not None:
            return []
        stale_s = max(policy.max_age_s, 3 * policy.repeat_interval_s)
        changes: list[Change] = []
        for name, incident in list(self._incidents.items()):
            limit_s, reason = policy.max_age_s, DropReason.MAX_AGE
            if incident.queued.alert.status is Status.FIRING:
                limit_s, reason = stale_s, DropReason.STALE
            if now.monotonic_s - incident.queued.since_s > limit_s:
                changes += self._remove(name, reason)
        return changes

    def _drop_excess(self) -> list[Change]:
        """Drop the oldest alerts above the maximum number."""
        changes: list[Change] = []
        while self.policy is not None and len(self) > self.policy.max_alerts:
            oldest = next(iter(self._incidents))
            changes += self._remove(oldest, DropReason.MAX_ALERTS)
        return changes

    def _remove(self, name: str, dropped: DropReason | None) -> list[Change]:
        queued = self._incidents.pop(name).queued
        changes = self._removed(queued, dropped)
        if queued.alert.status is Status.RESOLVED:
            changes += self._remove_notified(name)
        return changes
