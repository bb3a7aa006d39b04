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
from tests.unit.delivery.queue_play import POLICY

AM = replace(POLICY, batch=3)


class Play:
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
    play = Play()
    play.enqueue(fires("a"))

    assert play.tell() == ["a-1"]
    assert play.start_attempt() is None
    assert play.queue.due_s(play.now) == RESEND_S
    for _ in range(3):
        play.wait(RESEND_S)
        assert play.tell() == ["a-1"]
    assert play.queue.pending() == 0
    assert len(play.queue) == 1
    assert LASTS_S >= 3 * RESEND_S


def test_an_end_is_told_for_five_minutes() -> None:
    """Since an Alertmanager may have been away when it came; then nothing is kept of it."""
    play = Play()
    play.enqueue(fires("a"))
    play.tell()
    play.enqueue(resolves("a"))
    told = 0
    while len(play.queue):
        told += play.tell() == ["a-2"]
        play.wait(RESEND_S)
        assert told < 20

    assert told * RESEND_S >= RESOLVED_FOR_S
    assert play.queue.notified == {}
    assert play.queue.due_s(play.now) is None


def test_an_end_whose_firing_was_not_heard_is_not_told() -> None:
    """As for every receiver; it is counted."""
    play = Play()
    play.enqueue(fires("a"))
    play.tell(DOWN)
    play.enqueue(resolves("a"))

    assert len(play.queue) == 0
    assert play.dropped() == {"not_notified": 1}


def test_the_latest_alert_is_told() -> None:
    """With all its annotations: the last ones win at Alertmanager."""
    play = Play()
    play.enqueue(fires("a", 1), fires("a", 2))
    assert play.tell() == ["a-2"]
    play.enqueue(fires("a", 3))

    assert play.tell() == ["a-3"]


def test_what_came_while_it_was_in_flight_is_told_at_once() -> None:
    """The yes was to the alert before it."""
    play = Play()
    play.enqueue(fires("a", 1))
    attempt = play.start_attempt()
    play.enqueue(fires("a", 2))
    play.queue.record_result(ended(attempt, YES), play.now, 1.0)

    assert play.queue.pending() == 1
    assert play.tell() == ["a-2"]


def test_many_share_a_message() -> None:
    """As many as it holds."""
    play = Play()
    play.enqueue(*(fires(name) for name in "abcde"))
    attempt = play.start_attempt()

    assert attempt is not None
    assert len(attempt.alerts) == 3
    play.queue.record_result(ended(attempt, YES), play.now, 1.0)
    assert play.tell() == ["d-1", "e-1"]


def test_one_that_is_rejected_is_told_alone() -> None:
    """The others of its message are taken; it is dropped, and counted."""
    play = Play()
    play.enqueue(fires("a"), fires("poison"), fires("c"))
    attempt = play.start_attempt()
    play.queue.record_result(ended(attempt, NO), play.now, 1.0)
    taken = []
    while (attempt := play.start_attempt()) is not None:
        (alert,) = attempt.alerts
        poisoned = alert.incident_id == "poison"
        play.queue.record_result(ended(attempt, NO if poisoned else YES), play.now, 1.0)
        taken += [] if poisoned else [alert.incident_id]

    assert taken == ["a", "c"]
    assert play.dropped() == {"rejected": 1}


def test_after_a_failure_all_is_told_again() -> None:
    """By the schedule of failures, and a new incident need not wait for it."""
    play = Play()
    play.enqueue(fires("a"))
    for _ in range(9):
        play.wait(max(0.0, (play.queue.due_s(play.now) or 0.0) - play.now.monotonic_s))
        assert play.tell(DOWN) == ["a-1"]
    play.wait(0.5)
    assert play.start_attempt() is None
    play.enqueue(fires("b"))

    assert play.tell() == ["b-1", "a-1"]


def test_who_is_back_is_told_before_it_takes_an_incident_to_be_over() -> None:
    """However long it was away, no two attempts are further apart than two tellings."""
    play = Play()
    play.enqueue(fires("a"))
    play.tell()
    for _ in range(20):
        due_s = play.queue.due_s(play.now)
        assert due_s is not None
        assert due_s - play.now.monotonic_s <= RESEND_S
        play.wait(due_s - play.now.monotonic_s)
        play.tell(DOWN)


@pytest.mark.parametrize(("outcome", "told"), [(YES, ["a-2"]), (DOWN, []), (NO, [])])
def test_an_end_that_comes_while_the_firing_is_in_flight(outcome: Outcome, told: list[str]) -> None:
    """The answer decides: who took the firing hears of the end, who did not does not."""
    play = Play()
    play.enqueue(fires("a"))
    attempt = play.start_attempt()
    play.enqueue(resolves("a"))
    play.queue.record_result(ended(attempt, outcome), play.now, 0.0)

    assert play.tell() == told
    assert play.dropped() == ({} if told else {"not_notified": 1})


def test_an_incident_of_which_nobody_speaks() -> None:
    """Who knew of it has lost it: it is not told for ever."""
    play = Play()
    play.enqueue(fires("a"))
    play.tell()
    play.wait(AM.max_age_s + 1.0)

    assert play.tell() == []
    assert play.dropped() == {"stale": 1}


def test_an_incident_that_is_repeated_is_told_on() -> None:
    """The engine's repeats say that it still lasts."""
    play = Play()
    play.enqueue(fires("a"))
    for hour in range(0, 72, 4):
        play.enqueue(replace(fires("a", hour + 2), reason=Reason.REPEAT))
        assert play.tell() == [f"a-{hour + 2}"]
        play.wait(4 * 3600.0)

    assert play.dropped() == {}


def test_what_was_told_before_a_restart_is_told_on() -> None:
    """At once; and its time is not measured again."""
    play = Play()
    row = QueuedAlert(number=1, alert=fires("a"), since_s=-3600.0)
    play.queue.restore(row)

    assert play.tell() == ["a-1"]
    assert play.queue.counters.seconds.view().total == 0.0


def test_who_does_not_want_ends() -> None:
    """Alertmanager finds out by itself."""
    play = Play(replace(AM, send_resolved=False))
    play.enqueue(fires("a"))
    play.tell()
    play.enqueue(resolves("a"))

    assert play.tell() == []
    assert len(play.queue) == 0
    assert play.dropped() == {}


@pytest.mark.parametrize("count", [10, 100])
def test_no_more_than_the_operator_wants_kept(count: int) -> None:
    """The oldest go, and are counted."""
    play = Play(replace(AM, max_alerts=10))
    play.enqueue(*(fires(str(index)) for index in range(count)))

    assert len(play.queue) == 10
    assert play.dropped() == ({"max_alerts": count - 10} if count > 10 else {})


def test_the_operator_drops() -> None:
    """It is told no more."""
    play = Play()
    play.enqueue(fires("a"), fires("b"))
    play.queue.drop([1])

    assert play.tell() == ["b-1"]
    assert play.dropped() == {"operator": 1}


def test_a_replaced_sender_is_not_waited_for() -> None:
    """Its successor tells everything anew; the late yes counts."""
    play = Play()
    play.enqueue(fires("a"))
    attempt = play.start_attempt()
    play.queue.replace_sender()
    play.queue.record_result(ended(attempt, YES), play.now, 1.0)

    assert "a" in play.queue.notified


def test_the_seconds_that_alertmanager_is_promised() -> None:
    """Its clients send every minute, and tell an end for five; resolve_timeout is five as well."""
    assert (RESEND_S, LASTS_S, RESOLVED_FOR_S) == (60.0, 240.0, 300.0)


def test_rates_count_from_the_first_message_on() -> None:
    """They are those of the settings."""
    play = Play(replace(AM, batch=1, rates=(Rate(1, 10.0),)))
    play.enqueue(fires("a"), fires("b"))

    assert play.tell() == ["a-1"]
    play.wait(10.0)
    assert play.tell() == ["b-1"]


def test_attempts_count_anew_after_a_yes() -> None:
    """Each telling is a first attempt where the one before succeeded."""
    play = Play()
    play.enqueue(fires("a"))
    numbers = []
    for outcome in (DOWN, YES, YES):
        attempt = play.start_attempt()
        assert attempt is not None
        numbers.append(attempt.number)
        play.queue.record_result(ended(attempt, outcome), play.now, 0.0)
        play.wait(RESEND_S)

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
    play = Play()
    play.enqueue(fires("a"))
    play.tell(DOWN)
    play.enqueue(fires("b"))
    assert play.queue.limiter.failing_since_s == 0.0
    play.queue.drop([1, 2])
    play.enqueue(fires("c"))
    assert play.queue.limiter.failing_since_s is None


def test_a_new_sender_begins_at_once() -> None:
    """Though the answer to the former one has not come."""
    play = Play()
    play.enqueue(fires("a"))
    assert play.start_attempt() is not None
    assert play.start_attempt() is None
    play.queue.replace_sender()

    assert play.tell() == ["a-1"]
