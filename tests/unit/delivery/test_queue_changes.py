"""The changes that a queue returns are complete: the file that they are written to equals it."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest

from fpm_listener.delivery.alertmanager_queue import AlertmanagerQueue
from fpm_listener.delivery.attempt import Attempt, DropReason, FailureReason, RetryLater
from fpm_listener.delivery.queued_alert import (
    Change,
    Dropped,
    QueuedAlert,
    RemoveAlert,
    RemoveNotified,
    SaveAlert,
    SaveNotified,
)
from fpm_listener.delivery.receiver_queue import ReceiverQueue
from fpm_listener.incidents.alert import Alert, Reason
from fpm_listener.settings.receiver_types import Rate
from fpm_listener.values import Instant
from tests.samples import DOWN, NO, YES, at, ended, fires, resolves
from tests.unit.delivery.queue_harness import POLICY

POLICIES = {
    "plain": replace(POLICY, max_alerts=4, max_age_s=3000.0),
    "no ends": replace(POLICY, send_resolved=False),
    "once": replace(POLICY, once=True),
    "shared": replace(POLICY, batch=3, rates=(Rate(1, 20.0),), max_alerts=6),
}
ANSWERS = (YES, YES, YES, DOWN, NO, RetryLater(reason=FailureReason.ANSWER, detail="?"))


class File:
    """The saved content of a queue."""

    def __init__(self) -> None:
        self.rows: dict[int, tuple[float, Alert]] = {}
        self.notified: dict[str, float] = {}
        self.drops: Counter[str] = Counter()

    def write(self, changes: list[Change]) -> None:
        """Write changes; what is removed or forgotten was there."""
        for change in changes:
            if isinstance(change, SaveAlert):
                self.rows[change.number] = change.since_s, change.alert
            elif isinstance(change, RemoveAlert):
                self.rows.pop(change.number, None)
            elif isinstance(change, SaveNotified):
                self.notified[change.incident_id] = change.since_s
            elif isinstance(change, RemoveNotified):
                del self.notified[change.incident_id]
            else:
                self.drops[change.reason.value] += 1

    def equals(self, queue: ReceiverQueue | AlertmanagerQueue) -> bool:
        """Return whether the queue holds what is written."""
        rows = {row.number: (row.since_s, row.alert) for row in queue.alerts()}
        drops = {name: count for name, count in queue.counters.dropped.items() if count}
        return (rows, queue.notified, drops) == (self.rows, self.notified, dict(self.drops))


def alert(dice: random.Random, number: int) -> Alert:
    """Return a random alert."""
    incident = dice.choice("abcde")
    if dice.random() < 0.4:
        return resolves(incident, number)
    kind = dice.choice((Reason.WORSE, Reason.REPEAT))
    return replace(fires(incident, number), reason=kind)


@pytest.mark.parametrize("kind", [ReceiverQueue, AlertmanagerQueue])
@pytest.mark.parametrize("name", POLICIES)
def test_the_file_equals_the_queue(
    name: str, kind: type[ReceiverQueue | AlertmanagerQueue]
) -> None:
    """After each step; a queue that is restored from it has the same content."""
    for seed in range(4):
        dice = random.Random(seed)  # noqa: S311 - no secret
        file, now = File(), at(0.0)
        queue = kind("ops", POLICIES[name])
        waiting: list[Attempt] = []
        for number in range(1, 160):
            step = dice.random()
            if step < 0.4:
                file.write(queue.enqueue(number, alert(dice, number), now))
            elif step < 0.6:
                attempt, changes = queue.start_attempt(now)
                file.write(changes)
                waiting += [attempt] if attempt else []
            elif step < 0.85 and waiting:
                answer = ended(waiting.pop(0), dice.choice(ANSWERS))
                file.write(queue.record_result(answer, now, dice.random()))
            elif step < 0.9:
                numbers = [row.number for row in queue.alerts()]
                file.write(queue.drop(dice.sample(numbers, len(numbers) // 3)))
            elif step < 0.92:
                queue.replace_sender()
            elif step < 0.94:
                file.write(queue.reconfigure(POLICIES[dice.choice(list(POLICIES))]))
            else:
                seconds = dice.choice((1.0, 30.0, 400.0, 2000.0))
                now = Instant(now.monotonic_s + seconds, now.wall_s + seconds)
            assert file.equals(queue), (seed, number)

        fresh = kind("ops", POLICIES[name])
        fresh.notified = dict(queue.notified)
        fresh.counters.dropped = dict(queue.counters.dropped)
        for number, (since_s, restored) in sorted(file.rows.items(), reverse=True):
            fresh.restore(QueuedAlert(number=number, alert=restored, since_s=since_s))
        assert file.equals(fresh)
        assert [row.number for row in fresh.alerts()] == sorted(file.rows)


@pytest.mark.parametrize("kind", [ReceiverQueue, AlertmanagerQueue])
def test_the_changes_of_one_alert(kind: type[ReceiverQueue | AlertmanagerQueue]) -> None:
    """It is saved and delivered; then it is resolved and dropped."""
    queue, firing, over = kind("ops", POLICY), fires("a"), resolves("a")

    assert queue.enqueue(7, firing, at(1.0)) == [SaveAlert(7, 1.0, firing)]
    attempt, changes = queue.start_attempt(at(2.0))
    assert changes == []
    assert attempt == Attempt(queue="ops", number=1, alert_numbers=(7,), alerts=(firing,))
    assert queue.start_attempt(at(2.0)) == (None, [])
    taken = queue.record_result(ended(attempt, YES), at(3.0), 0.0)
    assert taken[0] == SaveNotified("a", 1.0)
    kept = kind is AlertmanagerQueue
    assert taken[1:] == ([] if kept else [RemoveAlert(7)])
    assert queue.pending() == 0
    assert queue.enqueue(8, over, at(4.0)) == [SaveAlert(7 if kept else 8, 4.0, over)]
    assert queue.drop([7, 8]) == [
        RemoveAlert(7 if kept else 8),
        Dropped(DropReason.OPERATOR),
        RemoveNotified("a"),
    ]


@pytest.mark.parametrize("kind", [ReceiverQueue, AlertmanagerQueue])
@pytest.mark.parametrize(("after_s", "total"), [(0.25, 0.25), (2.0, 2.0), (-5.0, 0.0)])
def test_the_seconds_until_delivery(
    kind: type[ReceiverQueue | AlertmanagerQueue], after_s: float, total: float
) -> None:
    """They start when the fact is known; a clock that was set back does not make them negative."""
    queue, now = kind("ops", POLICY), at(0.0)
    queue.enqueue(1, fires("a", known_at_s=now.wall_s), now)
    queue.record_result(
        ended(queue.start_attempt(now)[0], YES), Instant(1.0, now.wall_s + after_s), 0.0
    )

    assert queue.counters.seconds.view().total == total


def test_an_alert_of_a_replaced_sender_is_pending() -> None:
    """It can be replaced and dropped, as every pending alert."""
    queue = ReceiverQueue("ops", POLICY)
    queue.enqueue(1, fires("a", 1), at(0.0))
    queue.start_attempt(at(0.0))
    assert queue.drop([1]) == []
    queue.replace_sender()
    queue.enqueue(2, fires("a", 2), at(0.0))

    assert [row.alert.alert_id for row in queue.alerts()] == ["a-2"]
    assert queue.drop([1]) == [RemoveAlert(1), Dropped(DropReason.OPERATOR)]


def test_a_newer_alert_keeps_the_attempts_of_the_one_it_replaces() -> None:
    """It waits for the retry, and does not count as new."""
    queue = ReceiverQueue("ops", POLICY)
    queue.enqueue(1, fires("a", 1), at(0.0))
    attempt, _ = queue.start_attempt(at(0.0))
    queue.enqueue(2, fires("a", 2), at(0.0))
    queue.record_result(ended(attempt, DOWN), at(0.0), 1.0)

    assert [row.attempts for row in queue.alerts()] == [1]
    assert queue.due_s(at(0.0)) == 1.0
    assert queue.start_attempt(at(0.5)) == (None, [])


def test_alerts_that_are_restored_in_another_order() -> None:
    """They are sent in the order of their numbers."""
    queue = ReceiverQueue("ops", POLICY)
    queue.restore(QueuedAlert(number=2, alert=resolves("a"), since_s=0.0))
    queue.restore(QueuedAlert(number=1, alert=fires("a"), since_s=0.0))
    delivered = []
    while (attempt := queue.start_attempt(at(1.0))[0]) is not None:
        delivered.append(attempt.alert_numbers)
        queue.record_result(ended(attempt, YES), at(1.0), 0.0)

    assert delivered == [(1,), (2,)]


def test_retry_now() -> None:
    """The retry starts at once."""
    queue = ReceiverQueue("ops", POLICY)
    queue.enqueue(1, fires("a"), at(0.0))
    queue.record_result(ended(queue.start_attempt(at(0.0))[0], DOWN), at(0.0), 1.0)
    assert queue.start_attempt(at(0.1)) == (None, [])
    queue.retry_now()

    assert queue.start_attempt(at(0.1))[0] is not None


@pytest.mark.parametrize(("before_s", "taken"), [(1.0, True), (1.1, False)])
def test_a_repeat_may_be_a_second_early(before_s: float, *, taken: bool) -> None:
    """The monitor may round its sum in the other direction."""
    queue = ReceiverQueue("ops", POLICY)
    queue.notified["a"] = 0.0
    again = replace(fires("a", 2), reason=Reason.REPEAT)
    queue.enqueue(1, again, at(POLICY.repeat_interval_s - before_s))

    assert len(queue) == taken


def test_an_alert_that_is_sent_alone() -> None:
    """The others still share a message."""
    queue = ReceiverQueue("ops", POLICIES["shared"])
    for number, incident in enumerate("abc", 1):
        queue.enqueue(number, fires(incident), at(0.0))
    first, *_ = queue.alerts()
    first.send_alone = True
    attempt = queue.start_attempt(at(0.0))[0]
    assert attempt is not None
    assert attempt.alert_numbers == (1,)
    queue.record_result(ended(attempt, YES), at(0.0), 0.0)
    attempt = queue.start_attempt(at(30.0))[0]
    assert attempt is not None
    assert attempt.alert_numbers == (2, 3)
