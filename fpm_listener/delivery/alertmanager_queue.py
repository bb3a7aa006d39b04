"""What an Alertmanager is owed: the state of each incident, told again and again while it lasts.

Laws:
1. One row for each incident: its latest alert takes the place of the one before.
2. A firing incident is told every RESEND_S, since Alertmanager takes it to be over otherwise; its
   end is told for RESOLVED_FOR_S, since an Alertmanager may have been away when it came.
3. An end is told only where the firing was heard.
4. An incident of which nobody has spoken for long is told no more: whoever knew of it has lost it.

Source: alertmanager docs/alerts_api.md: "clients are expected to re-send firing alerts at regular
intervals until resolved", "for up to five minutes" after that; its own resolve_timeout is 5 min.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fpm_listener.delivery.attempt import Attempt, Delivered, DropReason, RetryLater
from fpm_listener.delivery.queued_alert import (
    Change,
    Drop,
    Forget,
    Hear,
    Put,
    QueuePolicy,
    Remove,
    Row,
)
from fpm_listener.delivery.rate_limiter import RateLimiter
from fpm_listener.delivery.receiver_counters import ReceiverCounters
from fpm_listener.incidents.alert import Reason, Status

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from fpm_listener.delivery.attempt import Attempted
    from fpm_listener.incidents.alert import Alert
    from fpm_listener.values import Instant

#: Seconds between two tellings of a firing incident; Prometheus' own is a minute.
RESEND_S = 60.0
#: Seconds for which a firing incident is said to go on; several tellings may fail until then.
LASTS_S = 4 * 60.0
#: Seconds for which an end is told.
RESOLVED_FOR_S = 5 * 60.0


@dataclass(slots=True, kw_only=True, eq=False)
class _Told:
    """How far one incident has come."""

    row: Row
    due_s: float  #: monotonic
    taken: bool = False  #: the receiver has the row's present alert
    fresh: bool = True  #: it is of this life of the listener, so its time is measured


class AlertmanagerQueue:
    """One Alertmanager's incidents; has the methods of a Lane."""

    def __init__(self, name: str, policy: QueuePolicy | None) -> None:
        """As Lane."""
        self.name = name
        self.policy = policy
        self.heard: dict[str, float] = {}
        # Who is back is told before it takes a firing incident to be over.
        self.pace = RateLimiter(policy.rates if policy else (), longest_s=RESEND_S)
        self.tally = ReceiverCounters()
        self._incidents: dict[str, _Told] = {}
        self._leased: Attempt | None = None

    def rows(self) -> Iterator[Row]:
        """Return all that is told, oldest first."""
        return iter(sorted((t.row for t in self._incidents.values()), key=lambda row: row.number))

    def __len__(self) -> int:
        return len(self._incidents)

    def pending(self) -> int:
        """Return how many incidents the receiver does not know the latest of."""
        return sum(not told.taken for told in self._incidents.values())

    # -- what comes in -----------------------------------------------------------------------------

    def enqueue(self, number: int, alert: Alert, now: Instant) -> list[Change]:
        """Tell the receiver of `alert` from now on, unless it is not to hear of it."""
        policy, incident = self.policy, alert.incident_id
        if policy is None:
            return []
        before = self._incidents.get(incident)
        if before is None and incident not in self.heard and not policy.wants(alert):
            return []
        if before is not None:
            number = before.row.number
        row = Row(
            number=number,
            alert=alert,
            since_s=now.monotonic_s,
        )
        if not self._incidents:
            self.pace.failing_since_s = None  # of what is told no more; nothing has failed yet
        self._incidents[incident] = _Told(row=row, due_s=now.monotonic_s)
        if alert.status is Status.RESOLVED:
            if not policy.send_resolved:
                return self._end(incident, None)  # Alertmanager finds out by itself: LASTS_S
            if incident not in self.heard and not self._in_flight(incident):
                return self._end(incident, DropReason.NOT_HEARD)
        changes = self._crowd()
        return [*changes, *([_put(row)] if incident in self._incidents else [])]

    def restore(self, row: Row) -> None:
        """Go on telling what was told before the listener started."""
        self._incidents[row.alert.incident_id] = _Told(row=row, due_s=0.0, fresh=False)

    def adopt(self, policy: QueuePolicy) -> list[Change]:
        """Go on under a new policy."""
        self.policy = policy
        self.pace.adopt(policy.rates)
        return self._crowd()

    def release(self) -> None:
        """Expect no answer any more of a sender that was replaced; tell everything anew."""
        self._leased = None
        self.hasten()

    def hasten(self) -> None:
        """Tell everything at once."""
        self.pace.hasten()
        for told in self._incidents.values():
            told.due_s = 0.0

    def drop(self, numbers: Collection[int]) -> list[Change]:
        """Tell these incidents no more, because the operator says so."""
        gone = [one for one, told in self._incidents.items() if told.row.number in numbers]
        return [change for one in gone for change in self._end(one, DropReason.OPERATOR)]

    # -- what goes out -----------------------------------------------------------------------------

    def wake_s(self, now: Instant) -> float | None:
        """Return the monotonic moment from which `lease` has something to give."""
        if self.policy is None or self._leased is not None or not self._incidents:
            return None
        retry_at_s = self.pace.retry_at_s
        due_s = min(
            max(told.due_s, retry_at_s) if told.row.attempts else told.due_s
            for told in self._incidents.values()
        )
        wake_s = max(due_s, self.pace.free_at_s())
        return self.policy.heard_from_s(wake_s, now)

    def lease(self, now: Instant) -> tuple[Attempt | None, list[Change]]:
        """Return what is to be told now: what is due, as much as one message holds."""
        changes = self._forget_lost(now)
        wake_s = self.wake_s(now)
        if self.policy is None or wake_s is None or now.monotonic_s < wake_s:
            return None, changes
        due = [told.row for told in self._incidents.values() if told.due_s <= now.monotonic_s]
        due.sort(key=lambda row: (row.attempts, row.number))
        together = [row for row in due if not row.alone]
        rows = together[: self.policy.joins] or due[:1]
        for row in rows:
            row.attempts += 1
        self.pace.begin(now)
        self._leased = Attempt(
            lane=self.name,
            number=rows[0].attempts,
            rows=tuple(row.number for row in rows),
            alerts=tuple(row.alert for row in rows),
        )
        return self._leased, changes

    def settle(self, attempted: Attempted, now: Instant, random: float) -> list[Change]:
        """Take in how an attempt ended; random: from 0 up to 1, for the delay."""
        attempt, outcome = attempted.attempt, attempted.outcome
        self.tally.ended(outcome)
        if attempt == self._leased:
            self._leased = None
        elif not isinstance(outcome, Delivered):
            return []
        self.pace.settle(outcome, now, random)
        changes: list[Change] = []
        for alert in attempt.alerts:
            told = self._incidents.get(alert.incident_id)
            if told is None:
                continue
            if isinstance(outcome, Delivered):
                changes += self._taken(told, alert, now)
            elif self._ended_unheard(told):
                changes += self._end(alert.incident_id, DropReason.NOT_HEARD)
            elif isinstance(outcome, RetryLater):
                told.due_s = min(told.due_s, now.monotonic_s)
            elif len(attempt.alerts) > 1:
                told.row.alone, told.due_s = True, now.monotonic_s
            else:
                changes += self._end(alert.incident_id, DropReason.REJECTED)
        return changes

    # -- details -----------------------------------------------------------------------------------

    def _in_flight(self, incident: str) -> bool:
        leased = self._leased.alerts if self._leased else ()
        return any(alert.incident_id == incident for alert in leased)

    def _ended_unheard(self, told: _Told) -> bool:
        over = told.row.alert.status is Status.RESOLVED
        return over and told.row.alert.incident_id not in self.heard

    def _taken(self, told: _Told, alert: Alert, now: Instant) -> list[Change]:
        changes: list[Change] = []
        row, incident = told.row, alert.incident_id
        if alert.status is Status.FIRING and alert.reason is not Reason.TEST:
            self.heard[incident] = row.since_s
            changes.append(Hear(incident, row.since_s))
        if row.alert.alert_id != alert.alert_id:
            return changes  # a newer one waits already
        row.attempts = 0
        told.due_s = now.monotonic_s + RESEND_S
        if told.fresh:
            self.tally.seconds.observe(max(0.0, now.wall_s - alert.known_at_s))
        told.taken, told.fresh = True, False
        over = alert.status is Status.RESOLVED
        if over and now.monotonic_s - row.since_s >= RESOLVED_FOR_S - RESEND_S / 2:
            changes += self._end(incident, None)
        return changes

    def _forget_lost(self, now: Instant) -> list[Change]:
        """End what is too old: ends that cannot be told, and incidents that nobody speaks of."""
        policy = self.policy
        if policy is None or self._leased is not None:
            return []
        silence_s = max(policy.max_age_s, 3 * policy.repeat_interval_s)
        changes: list[Change] = []
        for incident, told in list(self._incidents.items()):
            age_s = now.monotonic_s - told.row.since_s
            if told.row.alert.status is Status.FIRING:
                if age_s > silence_s:
                    changes += self._end(incident, DropReason.FORGOTTEN)
            elif age_s > policy.max_age_s:
                changes += self._end(incident, DropReason.MAX_AGE)
        return changes

    def _crowd(self) -> list[Change]:
        changes: list[Change] = []
        while self.policy is not None and len(self) > self.policy.max_alerts:
            oldest = next(iter(self._incidents))
            changes += self._end(oldest, DropReason.MAX_ALERTS)
        return changes

    def _end(self, incident: str, dropped: DropReason | None) -> list[Change]:
        told = self._incidents.pop(incident)
        changes: list[Change] = [Remove(told.row.number)]
        if dropped is not None:
            self.tally.dropped[dropped.value] += 1
            changes.append(Drop(dropped))
        if told.row.alert.status is Status.RESOLVED and self.heard.pop(incident, None) is not None:
            changes.append(Forget(incident))
        return changes


def _put(row: Row) -> Put:
    return Put(row.number, row.since_s, row.alert)
