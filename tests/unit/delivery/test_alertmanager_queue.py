"""What an Alertmanager is told: the state of each incident, again and again."""

from dataclasses import replace

import pytest

from fpm_listener.delivery.alertmanager_queue import (
    LASTS_S,
    RESEND_S,
    RESOLVED_FOR_S,
    AlertmanagerQueue,
)
from fpm_listener.delivery.attempt import Attempt, Outcome
from fpm_listener.delivery.queued_alert import QueuedAlert, QueuePolicy
from fpm_listener.incidents.alert import Alert, Reason
from fpm_listener.settings.receiver_types import Rate
from fpm_listener.values import Instant
from tests.samples import DOWN, NO, YES, at, ended, fires, resolves
from tests.unit.delivery.queue_harness import POLICY

AM = replace(POLICY, batch=3)


class QueueHarness:
    """A queue and a clock."""

    def __init__(self, policy: QueuePolicy = AM) -> None:
        self.queue = AlertmanagerQueue("am", policy)
        self.now = at(0.0)
        self.number = 0

    def enqueue(self, *alerts: Alert) -> None:
        """Enqueue `alerts`."""
        for alert in alerts:
            self.number += 1
            self.queue.enqueue(self.number, alert, self.now)

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now = Instant(self.now.monotonic_s + seconds, self.now.wall_s + seconds)

    def start_attempt(self) -> Attempt | None:
        """Start the attempt that is due now."""
        return self.queue.start_attempt(self.now)[0]

    def tell(self, outcome: Outcome = YES) -> list[str]:
        """Let the receiver answer all that is due now; return the ids."""
        told: list[str] = []
        while (attempt := self.start_attempt()) is not None:
            told += [alert.alert_id for alert in attempt.alerts]
            self.queue.record_result(ended(attempt, outcome), self.now, 1.0)
        return told

    def dropped(self) -> dict[str, int]:
        """Return the counts of drops that are not 0."""
        return {name: count for name, count in self.queue.counters.dropped.items() if count}


def test_a_firing_incident_is_told_every_minute() -> None:
    """Alertmanager takes it to be over otherwise; the constants leave room for failures."""
    harness = QueueHarness()
    harness.enqueue(fires("a"))

    assert harness.tell() == ["a-1"]
    assert harness.start_attempt() is None
    assert harness.queue.due_s(harness.now) == RESEND_S
    for _ in range(3):
        harness.wait(RESEND_S)
        assert harness.tell() == ["a-1"]
    assert harness.queue.pending() == 0
    assert len(harness.queue) == 1
    assert LASTS_S >= 3 * RESEND_S


def test_an_end_is_told_for_five_minutes() -> None:
    """Since an Alertmanager may have been away when it came; then nothing is kept of it."""
    harness = QueueHarness()
    harness.enqueue(fires("a"))
    harness.tell()
    harness.enqueue(resolves("a"))
    told = 0
    while len(harness.queue):
        told += harness.tell() == ["a-2"]
        harness.wait(RESEND_S)
        assert told < 20

    assert told * RESEND_S >= RESOLVED_FOR_S
    assert harness.queue.notified == {}
    assert harness.queue.due_s(harness.now) is None


def test_an_end_whose_firing_was_not_heard_is_not_told() -> None:
    """As for every receiver; it is counted."""
    harness = QueueHarness()
    harness.enqueue(fires("a"))
    harness.tell(DOWN)
    harness.enqueue(resolves("a"))

    assert len(harness.queue) == 0
    assert harness.dropped() == {"not_notified": 1}


def test_the_latest_alert_is_told() -> None:
    """With all its annotations: the last ones win at Alertmanager."""
    harness = QueueHarness()
    harness.enqueue(fires("a", 1), fires("a", 2))
    assert harness.tell() == ["a-2"]
    harness.enqueue(fires("a", 3))

    assert harness.tell() == ["a-3"]


def test_what_came_while_it_was_in_flight_is_told_at_once() -> None:
    """The yes was to the alert before it."""
    harness = QueueHarness()
    harness.enqueue(fires("a", 1))
    attempt = harness.start_attempt()
    harness.enqueue(fires("a", 2))
    harness.queue.record_result(ended(attempt, YES), harness.now, 1.0)

    assert harness.queue.pending() == 1
    assert harness.tell() == ["a-2"]


def test_many_share_a_message() -> None:
    """As many as it holds."""
    harness = QueueHarness()
    harness.enqueue(*(fires(name) for name in "abcde"))
    attempt = harness.start_attempt()

    assert attempt is not None
    assert len(attempt.alerts) == 3
    harness.queue.record_result(ended(attempt, YES), harness.now, 1.0)
    assert harness.tell() == ["d-1", "e-1"]


def test_one_that_is_rejected_is_told_alone() -> None:
    """The others of its message are taken; it is dropped, and counted."""
    harness = QueueHarness()
    harness.enqueue(fires("a"), fires("poison"), fires("c"))
    attempt = harness.start_attempt()
    harness.queue.record_result(ended(attempt, NO), harness.now, 1.0)
    taken = []
    while (attempt := harness.start_attempt()) is not None:
        (alert,) = attempt.alerts
        poisoned = alert.incident_id == "poison"
        harness.queue.record_result(ended(attempt, NO if poisoned else YES), harness.now, 1.0)
        taken += [] if poisoned else [alert.incident_id]

    assert taken == ["a", "c"]
    assert harness.dropped() == {"rejected": 1}


def test_after_a_failure_all_is_told_again() -> None:
    """By the schedule of failures, and a new incident need not wait for it."""
    harness = QueueHarness()
    harness.enqueue(fires("a"))
    for _ in range(9):
        harness.wait(max(0.0, (harness.queue.due_s(harness.now) or 0.0) - harness.now.monotonic_s))
        assert harness.tell(DOWN) == ["a-1"]
    harness.wait(0.5)
    assert harness.start_attempt() is None
    harness.enqueue(fires("b"))

    assert harness.tell() == ["b-1", "a-1"]


def test_who_is_back_is_told_before_it_takes_an_incident_to_be_over() -> None:
    """However long it was away, no two attempts are further apart than two tellings."""
    harness = QueueHarness()
    harness.enqueue(fires("a"))
    harness.tell()
    for _ in range(20):
        due_s = harness.queue.due_s(harness.now)
        assert due_s is not None
        assert due_s - harness.now.monotonic_s <= RESEND_S
        harness.wait(due_s - harness.now.monotonic_s)
        harness.tell(DOWN)


@pytest.mark.parametrize(("outcome", "told"), [(YES, ["a-2"]), (DOWN, []), (NO, [])])
def test_an_end_that_comes_while_the_firing_is_in_flight(outcome: Outcome, told: list[str]) -> None:
    """The answer decides: who took the firing hears of the end, who did not does not."""
    harness = QueueHarness()
    harness.enqueue(fires("a"))
    attempt = harness.start_attempt()
    harness.enqueue(resolves("a"))
    harness.queue.record_result(ended(attempt, outcome), harness.now, 0.0)

    assert harness.tell() == told
    assert harness.dropped() == ({} if told else {"not_notified": 1})


def test_an_incident_of_which_nobody_speaks() -> None:
    """Who knew of it has lost it: it is not told for ever."""
    harness = QueueHarness()
    harness.enqueue(fires("a"))
    harness.tell()
    harness.wait(AM.max_age_s + 1.0)

    assert harness.tell() == []
    assert harness.dropped() == {"stale": 1}


def test_an_incident_that_is_repeated_is_told_on() -> None:
    """The engine's repeats say that it still lasts."""
    harness = QueueHarness()
    harness.enqueue(fires("a"))
    for hour in range(0, 72, 4):
        harness.enqueue(replace(fires("a", hour + 2), reason=Reason.REPEAT))
        assert harness.tell() == [f"a-{hour + 2}"]
        harness.wait(4 * 3600.0)

    assert harness.dropped() == {}


def test_what_was_told_before_a_restart_is_told_on() -> None:
    """At once; and its time is not measured again."""
    harness = QueueHarness()
    row = QueuedAlert(number=1, alert=fires("a"), since_s=-3600.0)
    harness.queue.restore(row)

    assert harness.tell() == ["a-1"]
    assert harness.queue.counters.seconds.view().total == 0.0


def test_who_does_not_want_ends() -> None:
    """Alertmanager finds out by itself."""
    harness = QueueHarness(replace(AM, send_resolved=False))
    harness.enqueue(fires("a"))
    harness.tell()
    harness.enqueue(resolves("a"))

    assert harness.tell() == []
    assert len(harness.queue) == 0
    assert harness.dropped() == {}


@pytest.mark.parametrize("count", [10, 100])
def test_no_more_than_the_operator_wants_kept(count: int) -> None:
    """The oldest go, and are counted."""
    harness = QueueHarness(replace(AM, max_alerts=10))
    harness.enqueue(*(fires(str(index)) for index in range(count)))

    assert len(harness.queue) == 10
    assert harness.dropped() == ({"max_alerts": count - 10} if count > 10 else {})


def test_the_operator_drops() -> None:
    """It is told no more."""
    harness = QueueHarness()
    harness.enqueue(fires("a"), fires("b"))
    harness.queue.drop([1])

    assert harness.tell() == ["b-1"]
    assert harness.dropped() == {"operator": 1}


def test_a_replaced_sender_is_not_waited_for() -> None:
    """Its successor tells everything anew; the late yes counts."""
    harness = QueueHarness()
    harness.enqueue(fires("a"))
    attempt = harness.start_attempt()
    harness.queue.replace_sender()
    harness.queue.record_result(ended(attempt, YES), harness.now, 1.0)

    assert "a" in harness.queue.notified


def test_the_seconds_that_alertmanager_is_promised() -> None:
    """Its clients send every minute, and tell an end for five; resolve_timeout is five as well."""
    assert (RESEND_S, LASTS_S, RESOLVED_FOR_S) == (60.0, 240.0, 300.0)


def test_rates_count_from_the_first_message_on() -> None:
    """They are those of the settings."""
    harness = QueueHarness(replace(AM, batch=1, rates=(Rate(1, 10.0),)))
    harness.enqueue(fires("a"), fires("b"))

    assert harness.tell() == ["a-1"]
    harness.wait(10.0)
    assert harness.tell() == ["b-1"]


def test_attempts_count_anew_after_a_yes() -> None:
    """Each telling is a first attempt where the one before succeeded."""
    harness = QueueHarness()
    harness.enqueue(fires("a"))
    numbers = []
    for outcome in (DOWN, YES, YES):
        attempt = harness.start_attempt()
        assert attempt is not None
        numbers.append(attempt.number)
        harness.queue.record_result(ended(attempt, outcome), harness.now, 0.0)
        harness.wait(RESEND_S)

    assert numbers == [1, 2, 1]


def test_an_alertmanager_without_settings() -> None:
    """It is told nothing, and keeps what it was told."""
    queue = AlertmanagerQueue("gone", None)
    queue.restore(QueuedAlert(number=1, alert=fires("a"), since_s=0.0))

    assert queue.enqueue(2, fires("b"), at(1.0)) == []
    assert queue.start_attempt(at(1.0)) == (None, [])
    assert (queue.due_s(at(1.0)), len(queue)) == (None, 1)


def test_a_failure_of_an_incident_that_is_gone() -> None:
    """It is no failing of the next one; a failure of one that lasts still is."""
    harness = QueueHarness()
    harness.enqueue(fires("a"))
    harness.tell(DOWN)
    harness.enqueue(fires("b"))
    assert harness.queue.limiter.failing_since_s == 0.0
    harness.queue.drop([1, 2])
    harness.enqueue(fires("c"))
    assert harness.queue.limiter.failing_since_s is None


def test_a_new_sender_begins_at_once() -> None:
    """Though the answer to the former one has not come."""
    harness = QueueHarness()
    harness.enqueue(fires("a"))
    assert harness.start_attempt() is not None
    assert harness.start_attempt() is None
    harness.queue.replace_sender()

    assert harness.tell() == ["a-1"]
