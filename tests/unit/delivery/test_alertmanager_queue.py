"""The queue of an Alertmanager: the state of each incident, sent again while it lasts."""

from dataclasses import replace

import pytest

from fpm_listener.delivery.alertmanager_queue import (
    LASTS_S,
    RESEND_S,
    RESOLVED_FOR_S,
    AlertmanagerQueue,
)
from fpm_listener.delivery.attempt import Outcome
from fpm_listener.delivery.queued_alert import QueuedAlert, QueuePolicy
from fpm_listener.incidents.alert import Reason
from fpm_listener.settings.receiver_types import Rate
from tests.samples import DOWN, NO, YES, at, ended, fires, resolves
from tests.unit.delivery.queue_harness import POLICY, QueueHarness

AM = replace(POLICY, batch=3)


class AlertmanagerHarness(QueueHarness):
    """A queue for an Alertmanager."""

    def __init__(self, policy: QueuePolicy = AM) -> None:
        super().__init__(policy)
        self.queue = AlertmanagerQueue("am", policy)

    def deliver(self, outcome: Outcome = YES) -> list[str]:
        """Let the receiver answer all that is due now; return the ids."""
        delivered: list[str] = []
        while (attempt := self.start_attempt()) is not None:
            delivered += [alert.alert_id for alert in attempt.alerts]
            self.queue.record_result(ended(attempt, outcome), self.now, 1.0)
        return delivered


def test_a_firing_incident_is_sent_every_minute() -> None:
    """Alertmanager resolves it otherwise; several attempts may fail before that."""
    harness = AlertmanagerHarness()
    harness.enqueue(fires("a"))

    assert harness.deliver() == ["a-1"]
    assert harness.start_attempt() is None
    assert harness.queue.due_s(harness.now) == RESEND_S
    for _ in range(3):
        harness.wait(RESEND_S)
        assert harness.deliver() == ["a-1"]
    assert harness.queue.pending() == 0
    assert len(harness.queue) == 1
    assert LASTS_S >= 3 * RESEND_S


def test_a_resolved_alert_is_sent_for_five_minutes() -> None:
    """Alertmanager may be down when the incident ends; then the queue is empty."""
    harness = AlertmanagerHarness()
    harness.enqueue(fires("a"))
    harness.deliver()
    harness.enqueue(resolves("a"))
    delivered = 0
    while len(harness.queue):
        delivered += harness.deliver() == ["a-2"]
        harness.wait(RESEND_S)
        assert delivered < 20

    assert delivered * RESEND_S >= RESOLVED_FOR_S
    assert harness.queue.notified == {}
    assert harness.queue.due_s(harness.now) is None


def test_a_resolved_alert_without_its_firing_one_is_not_sent() -> None:
    """As for every receiver; the drop is counted."""
    harness = AlertmanagerHarness()
    harness.enqueue(fires("a"))
    harness.deliver(DOWN)
    harness.enqueue(resolves("a"))

    assert len(harness.queue) == 0
    assert harness.dropped() == {"not_notified": 1}


def test_the_latest_alert_is_sent() -> None:
    """With all its annotations: Alertmanager uses the last ones."""
    harness = AlertmanagerHarness()
    harness.enqueue(fires("a", 1), fires("a", 2))
    assert harness.deliver() == ["a-2"]
    harness.enqueue(fires("a", 3))

    assert harness.deliver() == ["a-3"]


def test_an_alert_during_an_attempt_is_sent_at_once() -> None:
    """The delivered alert is the one before it."""
    harness = AlertmanagerHarness()
    harness.enqueue(fires("a", 1))
    attempt = harness.start_attempt()
    harness.enqueue(fires("a", 2))
    harness.queue.record_result(ended(attempt, YES), harness.now, 1.0)

    assert harness.queue.pending() == 1
    assert harness.deliver() == ["a-2"]


def test_many_share_a_message() -> None:
    """As many as a message may have."""
    harness = AlertmanagerHarness()
    harness.enqueue(*(fires(name) for name in "abcde"))
    attempt = harness.start_attempt()

    assert attempt is not None
    assert len(attempt.alerts) == 3
    harness.queue.record_result(ended(attempt, YES), harness.now, 1.0)
    assert harness.deliver() == ["d-1", "e-1"]


def test_a_rejected_alert_is_sent_alone() -> None:
    """The others of its message are delivered; it is dropped and counted."""
    harness = AlertmanagerHarness()
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


def test_everything_is_sent_again_after_a_failure() -> None:
    """By the schedule of failures; a new incident does not wait for it."""
    harness = AlertmanagerHarness()
    harness.enqueue(fires("a"))
    for _ in range(9):
        harness.wait(max(0.0, (harness.queue.due_s(harness.now) or 0.0) - harness.now.monotonic_s))
        assert harness.deliver(DOWN) == ["a-1"]
    harness.wait(0.5)
    assert harness.start_attempt() is None
    harness.enqueue(fires("b"))

    assert harness.deliver() == ["b-1", "a-1"]


def test_alertmanager_gets_a_firing_alert_before_it_resolves_it() -> None:
    """After an outage of any length, the delay is at most RESEND_S."""
    harness = AlertmanagerHarness()
    harness.enqueue(fires("a"))
    harness.deliver()
    for _ in range(20):
        due_s = harness.queue.due_s(harness.now)
        assert due_s is not None
        assert due_s - harness.now.monotonic_s <= RESEND_S
        harness.wait(due_s - harness.now.monotonic_s)
        harness.deliver(DOWN)


@pytest.mark.parametrize(("outcome", "delivered"), [(YES, ["a-2"]), (DOWN, []), (NO, [])])
def test_a_resolved_alert_during_the_attempt_with_the_firing_one(
    outcome: Outcome, delivered: list[str]
) -> None:
    """It is sent only if the firing one was delivered."""
    harness = AlertmanagerHarness()
    harness.enqueue(fires("a"))
    attempt = harness.start_attempt()
    harness.enqueue(resolves("a"))
    harness.queue.record_result(ended(attempt, outcome), harness.now, 0.0)

    assert harness.deliver() == delivered
    assert harness.dropped() == ({} if delivered else {"not_notified": 1})


def test_a_stale_incident() -> None:
    """An incident without a new alert for a long time is dropped."""
    harness = AlertmanagerHarness()
    harness.enqueue(fires("a"))
    harness.deliver()
    harness.wait(AM.max_age_s + 1.0)

    assert harness.deliver() == []
    assert harness.dropped() == {"stale": 1}


def test_repeats_keep_an_incident() -> None:
    """A repeat shows that the incident still lasts."""
    harness = AlertmanagerHarness()
    harness.enqueue(fires("a"))
    for hour in range(0, 72, 4):
        harness.enqueue(replace(fires("a", hour + 2), reason=Reason.REPEAT))
        assert harness.deliver() == [f"a-{hour + 2}"]
        harness.wait(4 * 3600.0)

    assert harness.dropped() == {}


def test_a_restored_alert_is_sent_again() -> None:
    """At once; its time to delivery is not measured again."""
    harness = AlertmanagerHarness()
    row = QueuedAlert(number=1, alert=fires("a"), since_s=-3600.0)
    harness.queue.restore(row)

    assert harness.deliver() == ["a-1"]
    assert harness.queue.counters.seconds.view().total == 0.0


def test_a_receiver_without_resolved_alerts() -> None:
    """Alertmanager resolves the alert itself."""
    harness = AlertmanagerHarness(replace(AM, send_resolved=False))
    harness.enqueue(fires("a"))
    harness.deliver()
    harness.enqueue(resolves("a"))

    assert harness.deliver() == []
    assert len(harness.queue) == 0
    assert harness.dropped() == {}


@pytest.mark.parametrize("count", [10, 100])
def test_the_maximum_number_of_alerts(count: int) -> None:
    """The oldest are dropped and counted."""
    harness = AlertmanagerHarness(replace(AM, max_alerts=10))
    harness.enqueue(*(fires(str(index)) for index in range(count)))

    assert len(harness.queue) == 10
    assert harness.dropped() == ({"max_alerts": count - 10} if count > 10 else {})


def test_the_operator_drops() -> None:
    """A dropped alert is not sent."""
    harness = AlertmanagerHarness()
    harness.enqueue(fires("a"), fires("b"))
    harness.queue.drop([1])

    assert harness.deliver() == ["b-1"]
    assert harness.dropped() == {"operator": 1}


def test_a_late_delivery_of_a_replaced_sender() -> None:
    """Its successor sends everything again; the late delivery counts."""
    harness = AlertmanagerHarness()
    harness.enqueue(fires("a"))
    attempt = harness.start_attempt()
    harness.queue.replace_sender()
    harness.queue.record_result(ended(attempt, YES), harness.now, 1.0)

    assert "a" in harness.queue.notified


def test_the_times_match_those_of_alertmanager() -> None:
    """Its clients send every minute, and a resolved alert for five; resolve_timeout is five too."""
    assert (RESEND_S, LASTS_S, RESOLVED_FOR_S) == (60.0, 240.0, 300.0)


def test_rates_count_from_the_first_message_on() -> None:
    """The rates come from the settings."""
    harness = AlertmanagerHarness(replace(AM, batch=1, rates=(Rate(1, 10.0),)))
    harness.enqueue(fires("a"), fires("b"))

    assert harness.deliver() == ["a-1"]
    harness.wait(10.0)
    assert harness.deliver() == ["b-1"]


def test_attempts_start_at_one_after_a_delivery() -> None:
    """An attempt after a delivery is a first attempt."""
    harness = AlertmanagerHarness()
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
    """Nothing is sent, and its alerts are kept."""
    queue = AlertmanagerQueue("gone", None)
    queue.restore(QueuedAlert(number=1, alert=fires("a"), since_s=0.0))

    assert queue.enqueue(2, fires("b"), at(1.0)) == []
    assert queue.start_attempt(at(1.0)) == (None, [])
    assert (queue.due_s(at(1.0)), len(queue)) == (None, 1)


def test_a_failure_of_a_dropped_incident() -> None:
    """It does not count for the next incident; a failure of one that lasts still does."""
    harness = AlertmanagerHarness()
    harness.enqueue(fires("a"))
    harness.deliver(DOWN)
    harness.enqueue(fires("b"))
    assert harness.queue.limiter.failing_since_s == 0.0
    harness.queue.drop([1, 2])
    harness.enqueue(fires("c"))
    assert harness.queue.limiter.failing_since_s is None


def test_a_new_sender_starts_at_once() -> None:
    """Though the result of the former one is missing."""
    harness = AlertmanagerHarness()
    harness.enqueue(fires("a"))
    assert harness.start_attempt() is not None
    assert harness.start_attempt() is None
    harness.queue.replace_sender()

    assert harness.deliver() == ["a-1"]
