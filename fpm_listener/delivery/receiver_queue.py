"""What one receiver is owed: which alerts, in which order, and what it has heard already.

Laws:
1. One message is in flight at a time, so no receiver sees two alerts out of order.
2. Alerts of an incident keep their order; a resolution is told only to who heard its firing.
3. A newer firing alert takes the place of one that still waits: what is heard is the latest state.
4. Nothing leaves without an answer of the receiver, but what is counted as dropped.
5. Ages and delays are measured on the monotonic clock; a step of the wall clock neither drops an
   alert nor holds one back.
6. Where more incidents wait than may be told one by one, they share a message; one that is rejected
   is taken apart, so that none is lost for another's fault.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fpm_listener.delivery.attempt import Attempt, Delivered, DropReason, FailureReason, RetryLater
from fpm_listener.delivery.queued_alert import (
    STATES,
    Change,
    Drop,
    Forget,
    Hear,
    Put,
    QueuedAlertState,
    QueuePolicy,
    Remove,
    Row,
    Step,
)
from fpm_listener.delivery.rate_limiter import RateLimiter
from fpm_listener.delivery.receiver_counters import ReceiverCounters
from fpm_listener.incidents.alert import Reason, Status

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from fpm_listener.delivery.attempt import Attempted
    from fpm_listener.incidents.alert import Alert
    from fpm_listener.values import Instant


#: Times that a shared message is tried before it is taken apart.
_TRIES_TOGETHER = 3


class ReceiverQueue:
    """One receiver's alerts. Each method that alters something returns the changes."""

    def __init__(self, name: str, policy: QueuePolicy | None) -> None:
        """`policy`: None = no settings name this receiver; its alerts are kept, not sent."""
        self.name = name
        self.policy = policy
        self.heard: dict[str, float] = {}  # monotonic seconds, by incident
        self.pace = RateLimiter(policy.rates if policy else ())
        self.tally = ReceiverCounters()
        self._rows: dict[int, Row] = {}  # by number, oldest first
        self._queues: dict[str, list[Row]] = {}  # by incident
        self._leased: Attempt | None = None
        self._wake_s: float | None = None
        self._stale = True  # whether _wake_s has to be found anew

    def rows(self) -> Iterator[Row]:
        """Return all that is owed, oldest first."""
        return iter(list(self._rows.values()))

    def __len__(self) -> int:
        return len(self._rows)

    def pending(self) -> int:
        """Return how many alerts the receiver has not taken yet."""
        return len(self._rows)

    # -- what comes in -----------------------------------------------------------------------------

    def enqueue(self, number: int, alert: Alert, now: Instant) -> list[Change]:
        """Owe the receiver `alert`, unless it is not to hear of it."""
        policy, incident = self.policy, alert.incident_id
        if policy is None:
            return []
        queue = self._queues.get(incident)
        if incident not in self.heard and not queue and not policy.wants(alert):
            return []
        if alert.reason is Reason.REPEAT and self._heard_lately(incident, now.monotonic_s, policy):
            return []
        last = queue[-1] if queue else None
        firing = alert.status is Status.FIRING
        told = incident in self.heard or (last is not None and not _waits_to_fire(last))
        if policy.once and firing and told:
            return []
        if firing and last is not None and _waits_to_fire(last):
            self._queues[incident].remove(last)
            number = last.number  # and thus its place among all rows
            alert = replace(alert, known_at_s=min(alert.known_at_s, last.alert.known_at_s))
        if not self._rows:
            self.pace.failing_since_s = None  # of what was given up since; nothing has failed yet
        row = Row(
            number=number,
            alert=alert,
            since_s=now.monotonic_s,
        )
        self._add(row)
        changes = [*self._sweep(incident), *self._crowd()]
        return [*changes, *([_put(row)] if row.state is QueuedAlertState.PENDING else [])]

    def restore(self, row: Row) -> None:
        """Owe the receiver what it was owed before the listener started."""
        self._add(row)
        self._queues[row.alert.incident_id].sort(key=lambda one: one.number)
        self._rows = dict(sorted(self._rows.items()))

    def adopt(self, policy: QueuePolicy) -> list[Change]:
        """Go on under a new policy."""
        self.policy, self._stale = policy, True
        self.pace.adopt(policy.rates)
        swept = [change for incident in list(self._queues) for change in self._sweep(incident)]
        return [*swept, *self._crowd()]

    def release(self) -> None:
        """Expect no answer any more of a sender that was replaced; its successor begins at once."""
        self.hasten()
        self._leased = None
        for row in self.rows():
            _step(row, Step.RELEASED)

    def hasten(self) -> None:
        """Try again at once what waits for its retry."""
        self.pace.hasten()
        self._stale = True

    def drop(self, numbers: Collection[int]) -> list[Change]:
        """Give up alerts because the operator says so; what is in flight stays."""
        changes: list[Change] = []
        for number in numbers:
            row = self._rows.get(number)
            if row is not None and row.state is QueuedAlertState.PENDING:
                changes += self._give_up(row, DropReason.OPERATOR)
                changes += self._sweep(row.alert.incident_id)
        return changes

    # -- what goes out -----------------------------------------------------------------------------

    def wake_s(self, now: Instant) -> float | None:
        """Return the monotonic moment from which `lease` has something to give."""
        if self._stale:
            self._stale, self._wake_s = False, None
            if self.policy is not None and self._leased is None and self._queues:
                tried = all(queue[0].attempts for queue in self._queues.values())
                self._wake_s = max(self.pace.free_at_s(), self.pace.retry_at_s if tried else 0.0)
        if self._wake_s is None or self.policy is None:
            return None
        return self.policy.heard_from_s(self._wake_s, now)

    def lease(self, now: Instant) -> tuple[Attempt | None, list[Change]]:
        """Return what is to be attempted now: the oldest of the alerts with the fewest attempts.

        An alert that the receiver chokes on thus never holds up the others, and a new one need not
        wait for the next retry of an old one.
        """
        if not self._due(now):
            return None, []
        changes = self._expire(now)
        if not self._due(now):
            return None, changes
        rows = self._choose(now)
        for row in rows:
            _step(row, Step.LEASED)
            row.attempts += 1
        self.pace.begin(now)
        self._stale = True
        self._leased = Attempt(
            lane=self.name,
            number=rows[0].attempts,
            rows=tuple(row.number for row in rows),
            alerts=tuple(row.alert for row in rows),
        )
        return self._leased, changes

    def _choose(self, now: Instant) -> list[Row]:
        """Return the alerts of the next message: of one incident, or of as many as share one."""
        joins = self.policy.joins if self.policy else 1
        retries = now.monotonic_s >= self.pace.retry_at_s
        queues = [q for q in self._queues.values() if retries or not q[0].attempts]
        if joins == 1:
            return [min((queue[0] for queue in queues), key=_urgency)]
        queues.sort(key=lambda queue: _urgency(queue[0]))
        budget = self.pace.budget(now)
        crowded = budget is not None and len(queues) > budget
        if not crowded or queues[0][0].alone:
            return self._wanted(queues[0])
        together = [queue for queue in queues if not queue[0].alone]
        return [row for queue in together[:joins] for row in self._wanted(queue)]

    def _wanted(self, queue: list[Row]) -> list[Row]:
        """Return what is told of an incident in one message."""
        if self.policy is not None and self.policy.send_resolved:
            return list(queue)
        return [row for row in queue if row.alert.status is Status.FIRING]

    def settle(self, attempted: Attempted, now: Instant, random: float) -> list[Change]:
        """Take in how an attempt ended; random: from 0 up to 1, for the delay."""
        attempt, outcome = attempted.attempt, attempted.outcome
        self.tally.ended(outcome)
        awaited = attempt == self._leased
        if awaited:
            self._leased, self._stale = None, True
        elif not isinstance(outcome, Delivered):
            return []
        self.pace.settle(outcome, now, random)
        incidents = dict.fromkeys(alert.incident_id for alert in attempt.alerts)
        changes: list[Change] = []
        for number, alert in zip(attempt.rows, attempt.alerts, strict=True):
            row = self._rows.get(number)
            if row is None:
                continue
            self._stale = True
            if isinstance(outcome, Delivered):
                changes += self._delivered(row, alert, now)
            elif isinstance(outcome, RetryLater):
                # Perhaps one of them is why it is never taken: each is tried alone then.
                row.alone = row.alone or (len(incidents) > 1 and _is_odd(attempt, outcome))
                changes += self._came_back(row)
            elif len(incidents) > 1:
                row.alone = True
                _step(row, Step.FAILED)
            else:
                changes += self._remove(row, Step.REJECTED, DropReason.REJECTED)
        return [*changes, *(change for incident in incidents for change in self._sweep(incident))]

    # -- details -----------------------------------------------------------------------------------

    def _due(self, now: Instant) -> bool:
        wake_s = self.wake_s(now)
        return wake_s is not None and now.monotonic_s >= wake_s

    def _heard_lately(self, incident: str, now_s: float, policy: QueuePolicy) -> bool:
        told_s = self.heard.get(incident)
        # A second's grace: the engine's own sum may round the other way.
        return told_s is not None and now_s - told_s < policy.repeat_interval_s - 1.0

    def _delivered(self, row: Row, alert: Alert, now: Instant) -> list[Change]:
        changes: list[Change] = []
        if alert.status is Status.RESOLVED:
            changes += self._forget(alert.incident_id)
        elif alert.reason is not Reason.TEST:
            self.heard[alert.incident_id] = row.since_s
            changes.append(Hear(alert.incident_id, row.since_s))
        if row.alert.alert_id != alert.alert_id:
            return changes  # a late yes to what the row held before; its present alert still waits
        self.tally.seconds.observe(max(0.0, now.wall_s - row.alert.known_at_s))
        return [*changes, *self._remove(row, Step.DELIVERED, None)]

    def _came_back(self, row: Row) -> list[Change]:
        """Let a failed alert wait again, or let the newer firing behind it take its place."""
        _step(row, Step.FAILED)
        queue = self._queues[row.alert.incident_id]
        newer = queue[1] if queue[0] is row and len(queue) > 1 else None
        if newer is None or not _waits_to_fire(row) or not _waits_to_fire(newer):
            return []
        newer.alert = replace(
            newer.alert,
            known_at_s=min(newer.alert.known_at_s, row.alert.known_at_s),
        )
        newer.attempts = row.attempts
        self._discard(row)
        return [_put(newer), Remove(row.number)]

    def _sweep(self, incident: str) -> list[Change]:
        """Take away resolutions that the receiver is not to hear of."""
        changes: list[Change] = []
        while self.policy is not None and (queue := self._queues.get(incident)):
            head, heard = queue[0], incident in self.heard
            waits = head.state is QueuedAlertState.PENDING and head.alert.status is Status.RESOLVED
            if not waits or (heard and self.policy.send_resolved):
                break
            dropped = DropReason.NOT_HEARD if self.policy.send_resolved else None
            changes += self._remove(head, Step.DROPPED, dropped)
            changes += self._forget(incident)
        return changes

    def _expire(self, now: Instant) -> list[Change]:
        """Drop what is older than the operator wants to hear of; quiet time does not count."""
        changes: list[Change] = []
        policy = self.policy
        if policy is None:
            return changes
        for incident, queue in list(self._queues.items()):
            while queue and policy.age_s(queue[0].since_s, now) > policy.max_age_s:
                changes += self._give_up(queue[0], DropReason.MAX_AGE)
                changes += self._sweep(incident)
        return changes

    def _crowd(self) -> list[Change]:
        """Drop the oldest of more than the operator wants kept."""
        changes: list[Change] = []
        while self.policy is not None and len(self) > self.policy.max_alerts:
            waiting = (row for row in self._rows.values() if row.state is QueuedAlertState.PENDING)
            oldest = next(waiting, None)
            if oldest is None:
                break
            changes += self._give_up(oldest, DropReason.MAX_ALERTS)
            changes += self._sweep(oldest.alert.incident_id)
        return changes

    def _give_up(self, row: Row, reason: DropReason) -> list[Change]:
        over = row.alert.status is Status.RESOLVED
        changes = self._remove(row, Step.DROPPED, reason)
        return [*changes, *(self._forget(row.alert.incident_id) if over else ())]

    def _remove(self, row: Row, step: Step, dropped: DropReason | None) -> list[Change]:
        _step(row, step)
        self._discard(row)
        if dropped is None:
            return [Remove(row.number)]
        self.tally.dropped[dropped.value] += 1
        return [Remove(row.number), Drop(dropped)]

    def _add(self, row: Row) -> None:
        self._stale = True
        self._rows[row.number] = row
        self._queues.setdefault(row.alert.incident_id, []).append(row)

    def _discard(self, row: Row) -> None:
        self._stale = True
        del self._rows[row.number]
        queue = self._queues[row.alert.incident_id]
        queue.remove(row)
        if not queue:
            del self._queues[row.alert.incident_id]

    def _forget(self, incident: str) -> list[Change]:
        return [Forget(incident)] if self.heard.pop(incident, None) is not None else []


def _step(row: Row, step: Step) -> None:
    row.state = STATES[row.state][step]


def _is_odd(attempt: Attempt, outcome: RetryLater) -> bool:
    """Return whether a message came back some times for what may lie in it, not in the way."""
    reasons = {FailureReason.ANSWER, FailureReason.OTHER}
    return attempt.number >= _TRIES_TOGETHER and outcome.reason in reasons


def _urgency(row: Row) -> tuple[int, int]:
    return row.attempts, row.number


def _waits_to_fire(row: Row) -> bool:
    return row.state is QueuedAlertState.PENDING and row.alert.status is Status.FIRING


def _put(row: Row) -> Put:
    return Put(row.number, row.since_s, row.alert)
