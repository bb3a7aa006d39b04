"""What one receiver is owed: which alerts, in which order, and what it has heard already.

Laws:
1. One alert is in flight at a time, so no receiver sees two of them out of order.
2. Alerts of an incident keep their order; a resolution is told only to who heard its firing.
3. A newer firing alert takes the place of one that still waits: what is heard is the latest state.
4. Nothing leaves without an answer of the receiver, but what is counted as dropped.
5. Ages and delays are measured on the monotonic clock; a step of the wall clock neither drops an
   alert nor holds one back.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fpm_listener.core.alerts import Reason, Status
from fpm_listener.core.histogram import Histogram
from fpm_listener.core.outcomes import DropReason, FailureReason
from fpm_listener.core.owed import (
    STATES,
    Change,
    Drop,
    Forget,
    Hear,
    LanePolicy,
    Put,
    Remove,
    Row,
    State,
    Step,
)
from fpm_listener.core.retry import Attempt, Delivered, RetryLater, delay
from fpm_listener.core.snapshot import ReceiverView

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fpm_listener.core.alerts import Alert
    from fpm_listener.core.retry import Attempted, Outcome
    from fpm_listener.core.values import Instant


#: Seconds from the moment a fact is known to the receiver's yes.
SECONDS_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 3600.0)


class Lane:
    """One receiver's alerts. Each method that alters something returns the changes."""

    def __init__(self, name: str, policy: LanePolicy | None) -> None:
        """`policy`: None = no settings name this receiver; its alerts are kept, not sent."""
        self.name = name
        self.policy = policy
        self.heard: dict[str, float] = {}
        self.failures = 0  # attempts in a row that the receiver failed, by its own schedule
        self.retry_at_s = 0.0  # monotonic: for alerts that were tried before
        self._not_before_s = 0.0  # monotonic: for all alerts, by the receiver's own wish
        self._queues: dict[str, list[Row]] = {}  # by incident
        self._leased: Attempt | None = None
        self._wake_s: float | None = None
        self._stale = True  # whether _wake_s has to be found anew
        self._sent = 0
        self._failed = {reason.value: 0 for reason in FailureReason}
        self._dropped = {reason.value: 0 for reason in DropReason}
        self._seconds = Histogram(SECONDS_BUCKETS)

    def rows(self) -> Iterator[Row]:
        """Return all that is owed, oldest first."""
        return iter(sorted((r for q in self._queues.values() for r in q), key=lambda r: r.number))

    def __len__(self) -> int:
        return sum(len(queue) for queue in self._queues.values())

    def view(self, kind: str) -> ReceiverView:
        """Return what other threads may know."""
        return ReceiverView(
            name=self.name,
            kind=kind,
            pending=len(self),
            sent=self._sent,
            failed=dict(self._failed),
            dropped=dict(self._dropped),
            seconds=self._seconds.view(),
        )

    # -- what comes in -----------------------------------------------------------------------------

    def enqueue(self, number: int, alert: Alert, now: Instant) -> list[Change]:
        """Owe the receiver `alert`, unless it is not to hear of it."""
        policy, incident = self.policy, alert.incident_id
        if policy is None:
            return []
        if alert.reason is Reason.REPEAT and self._heard_lately(incident, now.wall_s, policy):
            return []
        self._stale = True
        queue = self._queues.setdefault(incident, [])
        last = queue[-1] if queue else None
        if alert.status is Status.FIRING and last is not None and _waits_to_fire(last):
            queue.remove(last)
            number = last.number
            alert = replace(alert, known_at_s=min(alert.known_at_s, last.alert.known_at_s))
        row = Row(
            number=number,
            alert=alert,
            enqueued_at_s=now.wall_s,
            since_s=now.monotonic_s,
        )
        queue.append(row)
        changes = [*self._sweep(incident), *self._crowd()]
        return [*changes, *([_put(row)] if row.state is State.PENDING else [])]

    def restore(self, row: Row) -> None:
        """Owe the receiver what it was owed before the listener started."""
        self._stale = True
        queue = self._queues.setdefault(row.alert.incident_id, [])
        queue.append(row)
        queue.sort(key=lambda one: one.number)

    def adopt(self, policy: LanePolicy) -> list[Change]:
        """Go on under a new policy."""
        self.policy, self._stale = policy, True
        swept = [change for incident in list(self._queues) for change in self._sweep(incident)]
        return [*swept, *self._crowd()]

    def release(self) -> None:
        """Expect no answer any more of a sender that was replaced; its successor begins at once."""
        self.failures, self.retry_at_s, self._not_before_s = 0, 0.0, 0.0
        self._leased, self._stale = None, True
        for row in self.rows():
            _step(row, Step.RELEASED)

    # -- what goes out -----------------------------------------------------------------------------

    def wake_s(self) -> float | None:
        """Return the monotonic moment from which `lease` has something to give."""
        if self._stale:
            self._stale, self._wake_s = False, None
            if self.policy is not None and self._leased is None and self._queues:
                tried = all(queue[0].attempts for queue in self._queues.values())
                self._wake_s = max(self._not_before_s, self.retry_at_s if tried else 0.0)
        return self._wake_s

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
        heads = (queue[0] for queue in self._queues.values())
        row = min(heads, key=lambda head: (head.attempts, head.number))
        _step(row, Step.LEASED)
        row.attempts += 1
        self._stale = True
        self._leased = Attempt(
            receiver=self.name,
            row=row.number,
            number=row.attempts,
            alert=row.alert,
        )
        return self._leased, changes

    def settle(self, attempted: Attempted, now: Instant, random: float) -> list[Change]:
        """Take in how an attempt ended; random: from 0 up to 1, for the delay."""
        attempt, outcome = attempted.attempt, attempted.outcome
        self._sent += 1
        awaited = attempt == self._leased
        if awaited:
            self._leased, self._stale = None, True
        if not isinstance(outcome, Delivered):
            self._failed[outcome.reason.value] += 1
            if not awaited:
                return []
        self._pace(outcome, now, random)
        incident = attempt.alert.incident_id
        row = next((r for r in self._queues.get(incident, ()) if r.number == attempt.row), None)
        if row is None:
            return []
        self._stale = True
        if isinstance(outcome, Delivered):
            return [*self._delivered(row, attempt.alert, now), *self._sweep(incident)]
        if isinstance(outcome, RetryLater):
            return self._came_back(row)
        return [*self._remove(row, Step.REJECTED, DropReason.REJECTED), *self._sweep(incident)]

    # -- details -----------------------------------------------------------------------------------

    def _due(self, now: Instant) -> bool:
        wake_s = self.wake_s()
        return wake_s is not None and now.monotonic_s >= wake_s

    def _heard_lately(self, incident: str, wall_s: float, policy: LanePolicy) -> bool:
        told_at_s = self.heard.get(incident)
        # A second's grace: the engine's own sum may round the other way.
        return told_at_s is not None and 0 <= wall_s - told_at_s < policy.repeat_interval_s - 1.0

    def _pace(self, outcome: Outcome, now: Instant, random: float) -> None:
        """Decide when the receiver is next asked."""
        if not isinstance(outcome, RetryLater):
            self.failures, self.retry_at_s = 0, 0.0
            return
        pause_s = delay(self.failures + 1, random)
        if outcome.after_s is not None:
            pause_s += outcome.after_s
            self._not_before_s = max(self._not_before_s, now.monotonic_s + pause_s)
        if now.monotonic_s >= self.retry_at_s or outcome.after_s is not None:
            # New alerts that fail while an older one waits for its retry do not lengthen the wait.
            self.failures += 1
            self.retry_at_s = now.monotonic_s + pause_s

    def _delivered(self, row: Row, alert: Alert, now: Instant) -> list[Change]:
        changes: list[Change] = []
        if alert.status is Status.RESOLVED:
            changes += self._forget(alert.incident_id)
        elif alert.reason is not Reason.TEST:
            self.heard[alert.incident_id] = row.enqueued_at_s
            changes.append(Hear(alert.incident_id, row.enqueued_at_s))
        if row.alert.alert_id != alert.alert_id:
            return changes  # a late yes to what the row held before; its present alert still waits
        self._seconds.observe(max(0.0, now.wall_s - row.alert.known_at_s))
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
        queue.remove(row)
        return [_put(newer), Remove(row.number)]

    def _sweep(self, incident: str) -> list[Change]:
        """Take away resolutions that the receiver is not to hear of."""
        changes: list[Change] = []
        while self.policy is not None and (queue := self._queues.get(incident)):
            head, heard = queue[0], incident in self.heard
            waits = head.state is State.PENDING and head.alert.status is Status.RESOLVED
            if not waits or (heard and self.policy.send_resolved):
                break
            dropped = DropReason.NOT_HEARD if self.policy.send_resolved else None
            changes += self._remove(head, Step.DROPPED, dropped)
            changes += self._forget(incident)
        return changes

    def _expire(self, now: Instant) -> list[Change]:
        """Drop what is older than the operator wants to hear of."""
        changes: list[Change] = []
        for incident, queue in list(self._queues.items()):
            while (
                self.policy and queue and now.monotonic_s - queue[0].since_s > self.policy.max_age_s
            ):
                changes += self._give_up(queue[0], DropReason.MAX_AGE)
                changes += self._sweep(incident)
        return changes

    def _crowd(self) -> list[Change]:
        """Drop the oldest of more than the operator wants kept."""
        changes: list[Change] = []
        while self.policy is not None and len(self) > self.policy.max_alerts:
            waiting = (row for row in self.rows() if row.state is State.PENDING)
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
        incident = row.alert.incident_id
        queue = self._queues[incident]
        queue.remove(row)
        if not queue:
            del self._queues[incident]
        self._stale = True
        if dropped is None:
            return [Remove(row.number)]
        self._dropped[dropped.value] += 1
        return [Remove(row.number), Drop(dropped)]

    def _forget(self, incident: str) -> list[Change]:
        return [Forget(incident)] if self.heard.pop(incident, None) is not None else []


def _step(row: Row, step: Step) -> None:
    row.state = STATES[row.state][step]


def _waits_to_fire(row: Row) -> bool:
    return row.state is State.PENDING and row.alert.status is Status.FIRING


def _put(row: Row) -> Put:
    return Put(row.number, row.enqueued_at_s, row.alert)
