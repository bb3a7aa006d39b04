"""The queue of one receiver: its alerts, their order, and the incidents it got."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm_listener.delivery.attempt import DropReason, FailureReason, Outcome, RetryLater
from fpm_listener.delivery.queued_alert import Dropped, QueuedAlert, RemoveAlert, SaveNotified
from fpm_listener.delivery.receiver_queue import ReceiverQueue
from fpm_listener.incidents.alert import Reason
from fpm_listener.values import Instant
from tests.samples import DOWN, EPOCH_S, NO, STEPS, YES, AlertHistory, at, ended, fires, resolves
from tests.unit.delivery.queue_harness import POLICY, QueueHarness


def test_oldest_first() -> None:
    """Alerts are sent in the order of their arrival."""
    harness = QueueHarness()
    harness.enqueue(fires("a"), fires("b"), fires("c"))

    assert harness.drain() == ["a-1", "b-1", "c-1"]
    assert harness.queue.due_s(harness.now) is None


def test_one_at_a_time() -> None:
    """During an attempt nothing else is sent, and nothing is due."""
    harness = QueueHarness()
    harness.enqueue(fires("a"), fires("b"))
    harness.start_attempt()

    assert harness.start_attempt() is None
    assert harness.queue.due_s(harness.now) is None


def test_a_resolved_alert_waits_for_its_firing_one() -> None:
    """It is sent after the firing one, also if that one is retried."""
    harness = QueueHarness()
    harness.enqueue(fires("a"), resolves("a"))

    assert harness.answer(DOWN) == "a-1"
    harness.wait_for_retry()
    assert harness.answer(YES) == "a-1"
    assert harness.answer(YES) == "a-2"
    assert harness.queue.notified == {}


def test_a_newer_firing_alert_replaces_a_pending_one() -> None:
    """Only the newest is sent; the time of the first one counts."""
    harness = QueueHarness()
    harness.enqueue(fires("a", 1), fires("a", 2), fires("a", 3))

    attempt = harness.start_attempt()

    assert attempt is not None
    assert attempt.alerts[0] == fires("a", 3, known_at_s=fires("a", 1).known_at_s)
    assert len(harness.queue) == 1


def test_an_alert_in_flight_is_not_replaced() -> None:
    """A newer firing alert waits behind it, and is sent after its delivery."""
    harness = QueueHarness()
    harness.enqueue(fires("a", 1))
    attempt = harness.start_attempt()
    harness.enqueue(fires("a", 2))
    harness.queue.record_result(ended(attempt, YES), harness.now, 0.0)

    assert harness.drain() == ["a-2"]


def test_a_failed_alert_is_replaced_by_a_newer_one() -> None:
    """A firing alert that failed is not retried if a newer one waits behind it."""
    harness = QueueHarness()
    harness.enqueue(fires("a", 1))
    attempt = harness.start_attempt()
    harness.enqueue(fires("a", 2))
    changes = harness.queue.record_result(ended(attempt, DOWN), harness.now, 1.0)

    assert RemoveAlert(1) in changes
    assert harness.ids() == ["a-2"]
    assert next(harness.queue.alerts()).alert.known_at_s == fires("a", 1).known_at_s
    harness.wait_for_retry()
    assert harness.drain() == ["a-2"]


def test_a_firing_alert_after_a_resolved_one_replaces_nothing() -> None:
    """The receiver gets firing, resolved, firing."""
    harness = QueueHarness()
    harness.enqueue(fires("a", 1), resolves("a", 2), fires("a", 3))

    assert harness.drain() == ["a-1", "a-2", "a-3"]


@pytest.mark.parametrize("in_flight", [False, True])
@pytest.mark.parametrize(
    ("event", "pending_becomes", "in_flight_becomes"),
    [
        (YES, "removed", "removed"),
        (DOWN, "pending", "pending"),
        (NO, "pending", "rejected"),
        ("replace sender", "pending", "pending"),
        ("drop", "operator", "in flight"),
    ],
)
def test_states_of_an_alert(
    event: Outcome | str, pending_becomes: str, in_flight_becomes: str, *, in_flight: bool
) -> None:
    """As the table in docs/receivers.md; a pending alert can have the late result of a sender."""
    harness = QueueHarness()
    harness.enqueue(fires("a"))
    attempt = harness.start_attempt()
    if not in_flight:
        harness.queue.replace_sender()
    if event == "replace sender":
        harness.queue.replace_sender()
    elif event == "drop":
        harness.queue.drop([1])
    elif not isinstance(event, str):
        harness.queue.record_result(ended(attempt, event), harness.now, 0.0)
    states = ["in flight" if one.in_flight else "pending" for one in harness.queue.alerts()]

    wanted = in_flight_becomes if in_flight else pending_becomes
    assert [*states, *harness.dropped()] == ([] if wanted == "removed" else [wanted])


@pytest.mark.parametrize("late", [False, True])
def test_no_resolved_alert_without_its_firing_one(*, late: bool) -> None:
    """After a rejected firing alert the resolved one is dropped and counted."""
    harness = QueueHarness()
    harness.enqueue(fires("a"))
    if not late:
        harness.enqueue(resolves("a"))
    assert harness.answer(NO) == "a-1"
    if late:
        harness.enqueue(resolves("a"))

    assert harness.drain() == []
    assert harness.dropped() == {"rejected": 1, "not_notified": 1}
    assert len(harness.queue) == 0


def test_an_unwanted_resolved_alert_is_not_counted() -> None:
    """Without send_resolved only the firing alert is sent, and nothing is remembered."""
    harness = QueueHarness(replace(POLICY, send_resolved=False))
    harness.enqueue(fires("a"), resolves("a"))

    assert harness.drain() == ["a-1"]
    assert harness.dropped() == {}
    assert (len(harness.queue), harness.queue.notified) == (0, {})


def test_an_early_repeat_is_skipped() -> None:
    """A receiver with twice the interval gets every second repeat."""
    harness = QueueHarness(replace(POLICY, repeat_interval_s=8 * 3600.0))
    harness.enqueue(fires("a", 1))
    harness.drain()
    delivered = []
    for sequence in range(2, 6):
        harness.wait(4 * 3600.0)
        harness.enqueue(replace(fires("a", sequence), reason=Reason.REPEAT))
        delivered += harness.drain()

    assert delivered == ["a-3", "a-5"]


def test_once_is_once() -> None:
    """One firing alert of each incident is sent, its latest state."""
    harness = QueueHarness(replace(POLICY, once=True, send_resolved=False))
    harness.enqueue(fires("a", 1), fires("a", 2))
    attempt = harness.start_attempt()
    harness.enqueue(fires("a", 3))
    harness.queue.record_result(ended(attempt, YES), harness.now, 0.0)
    harness.enqueue(fires("a", 4), resolves("a", 5))
    assert attempt is not None
    assert [alert.alert_id for alert in attempt.alerts] == ["a-2"]
    assert harness.drain() == []
    assert harness.queue.notified == {}

    harness.enqueue(fires("b", 1))
    assert harness.drain() == ["b-1"]


def test_a_repeat_is_sent_if_the_firing_alert_was_not() -> None:
    """A receiver without the firing alert gets the next one, also a repeat."""
    harness = QueueHarness()
    harness.enqueue(fires("a", 1))
    harness.answer(NO)
    harness.enqueue(replace(fires("a", 2), reason=Reason.REPEAT))

    assert harness.drain() == ["a-2"]
    assert "a" in harness.queue.notified


def test_a_test_alert_is_not_remembered() -> None:
    """It is not an incident."""
    harness = QueueHarness()
    harness.enqueue(replace(fires("test"), reason=Reason.TEST))

    assert harness.drain() == ["test-1"]
    assert harness.queue.notified == {}


def test_the_oldest_are_dropped_when_there_are_too_many() -> None:
    """The newest `max_alerts` stay, and the loss is counted."""
    harness = QueueHarness(replace(POLICY, max_alerts=2))
    harness.enqueue(fires("a"), fires("b"), fires("c"), fires("d"))

    assert harness.ids() == ["c-1", "d-1"]
    assert harness.dropped() == {"max_alerts": 2}


def test_a_dropped_firing_alert_drops_its_resolved_one() -> None:
    """No receiver gets a resolved alert without the firing one."""
    harness = QueueHarness(replace(POLICY, max_alerts=2))
    harness.enqueue(fires("a"), resolves("a"), fires("b"))

    assert harness.ids() == ["b-1"]
    assert harness.dropped() == {"max_alerts": 1, "not_notified": 1}


def test_an_alert_in_flight_is_not_dropped() -> None:
    """The receiver may have it already."""
    harness = QueueHarness(replace(POLICY, max_alerts=1))
    harness.enqueue(fires("a"))
    attempt = harness.start_attempt()
    harness.enqueue(fires("b"))

    assert harness.ids() == ["a-1"]
    harness.queue.record_result(ended(attempt, YES), harness.now, 0.0)
    assert harness.queue.notified.keys() == {"a"}


def test_an_old_alert_is_dropped() -> None:
    """After `max_age` it is dropped with its resolved alert; a younger one is sent."""
    harness = QueueHarness(replace(POLICY, max_age_s=3600.0))
    harness.enqueue(fires("a"), resolves("a"))
    harness.wait(1800.0)
    harness.enqueue(fires("b"))
    harness.wait(1801.0)

    assert harness.drain() == ["b-1"]
    assert harness.dropped() == {"max_age": 1, "not_notified": 1}


def test_a_newer_state_is_young() -> None:
    """The age starts again with the alert that replaces another one."""
    harness = QueueHarness(replace(POLICY, max_age_s=3600.0))
    harness.enqueue(fires("a", 1))
    harness.wait(3000.0)
    harness.enqueue(fires("a", 2))
    harness.wait(3000.0)

    assert harness.drain() == ["a-2"]


@pytest.mark.parametrize("jump_s", [-30 * 86400.0, 30 * 86400.0])
def test_a_step_of_the_wall_clock_neither_drops_nor_delays(jump_s: float) -> None:
    """Ages and delays are measured on the monotonic clock."""
    harness = QueueHarness()
    harness.enqueue(fires("a"))
    harness.answer(DOWN)
    harness.now = Instant(harness.now.monotonic_s + 1.0, harness.now.wall_s + jump_s)

    assert harness.drain() == ["a-1"]


def test_an_alert_that_always_fails_does_not_delay_others() -> None:
    """It is retried, and the others are sent before it."""
    harness = QueueHarness()
    harness.enqueue(fires("poison"), fires("a"), fires("b"))
    delivered = []
    for _ in range(20):
        attempt = harness.start_attempt()
        if attempt is not None:
            poisoned = attempt.alerts[0].incident_id == "poison"
            harness.queue.record_result(ended(attempt, DOWN if poisoned else YES), harness.now, 1.0)
            delivered += [] if poisoned else [attempt.alerts[0].alert_id]
        harness.wait(1.0)

    assert delivered == ["a-1", "b-1"]
    assert harness.ids() == ["poison-1"]


def test_a_new_alert_does_not_wait_for_the_retry_of_an_old_one() -> None:
    """The receiver may work again, so a new alert is sent at once."""
    harness = QueueHarness()
    harness.enqueue(fires("a"))
    for _ in range(8):
        harness.answer(DOWN)
        harness.wait_for_retry()
    harness.answer(DOWN)
    harness.enqueue(fires("b"))

    assert harness.answer(YES) == "b-1"
    assert harness.answer(YES) == "a-1", "a receiver that says yes gets all the rest at once"


def test_new_alerts_during_an_outage_do_not_lengthen_the_delay() -> None:
    """Only the scheduled retries count; a burst of alerts is one failure."""
    harness = QueueHarness()
    harness.enqueue(*(fires(name) for name in "abcdefghij"))
    for _ in range(10):
        harness.answer(DOWN)

    assert harness.queue.limiter.failures == 1
    assert harness.queue.limiter.retry_at_s == 1.0


def test_delays_double_until_a_delivery() -> None:
    """1, 2, 4 … seconds at most between the retries of a receiver that is down."""
    harness = QueueHarness()
    harness.enqueue(fires("a"))
    waits = []
    for _ in range(10):
        harness.answer(DOWN)
        before = harness.now.monotonic_s
        harness.wait_for_retry()
        waits.append(harness.now.monotonic_s - before)

    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 300.0]
    harness.answer(YES)
    assert harness.queue.limiter.failures == 0


def test_no_attempt_before_retry_after() -> None:
    """Before that time, new alerts wait too."""
    harness = QueueHarness()
    harness.enqueue(fires("a"))
    harness.answer(RetryLater(reason=FailureReason.RATE_LIMITED, after_s=60.0), random=0.0)
    harness.enqueue(fires("b"))
    harness.wait(59.9)

    assert harness.start_attempt() is None
    harness.wait(0.1)
    assert harness.drain() == ["b-1", "a-1"]


def test_a_late_delivery_counts() -> None:
    """The delivery of a replaced sender removes the alert."""
    harness = QueueHarness()
    harness.enqueue(fires("a"), resolves("a"))
    attempt = harness.start_attempt()
    harness.queue.replace_sender()
    harness.queue.record_result(ended(attempt, YES), harness.now, 0.0)

    assert harness.drain() == ["a-2"]


def test_a_late_delivery_of_a_replaced_alert() -> None:
    """The receiver got the incident; the newer alert is still pending."""
    harness = QueueHarness()
    harness.enqueue(fires("a", 1))
    attempt = harness.start_attempt()
    harness.queue.replace_sender()
    harness.enqueue(fires("a", 2))
    changes = harness.queue.record_result(ended(attempt, YES), harness.now, 0.0)

    assert [change for change in changes if isinstance(change, SaveNotified)]
    assert harness.drain() == ["a-2"]


@pytest.mark.parametrize("outcome", [DOWN, NO])
def test_any_other_late_result_is_ignored(outcome: Outcome) -> None:
    """A failure with the former settings says nothing about the present ones."""
    harness = QueueHarness()
    harness.enqueue(fires("a"))
    former = harness.start_attempt()
    harness.queue.replace_sender()
    present = harness.start_attempt()
    changes = harness.queue.record_result(ended(former, outcome), harness.now, 1.0)

    assert changes == []
    assert harness.start_attempt() is None, "the present attempt is still awaited"
    harness.queue.record_result(ended(present, YES), harness.now, 0.0)
    assert len(harness.queue) == 0


def test_a_receiver_without_settings_keeps_its_alerts() -> None:
    """Nothing is sent, nothing is dropped, nothing is added."""
    queue = ReceiverQueue("gone", None)
    queue.restore(QueuedAlert(number=1, alert=fires("a"), since_s=0.0))

    assert queue.enqueue(2, fires("b"), at(10**6)) == []
    assert queue.start_attempt(at(10**6)) == (None, [])
    assert queue.due_s(at(0.0)) is None
    assert len(queue) == 1


def test_counters_begin_at_zero_for_every_reason() -> None:
    """Each series exists before its first event."""
    view = ReceiverQueue("ops", POLICY).counters

    assert view.failed == dict.fromkeys((reason.value for reason in FailureReason), 0)
    assert view.dropped == dict.fromkeys((reason.value for reason in DropReason), 0)


def test_what_is_counted() -> None:
    """All attempts, failures by reason, and the seconds from fact to delivery."""
    harness = QueueHarness()
    harness.enqueue(fires("a", known_at_s=EPOCH_S))
    harness.answer(DOWN)
    harness.wait(3.0)
    harness.answer(YES)
    counters = harness.queue.counters

    assert (counters.sent, counters.failed["refused"], harness.queue.pending()) == (2, 1, 0)
    assert counters.seconds.view().total == 3.0


@given(steps=STEPS, max_alerts=st.integers(1, 5), random=st.floats(0, 1, exclude_max=True))
def test_any_sequence_keeps_the_laws(
    steps: list[tuple[str, Any]],
    max_alerts: int,
    random: float,
) -> None:
    """Order within incidents holds, no resolved alert is alone, every loss is counted."""
    harness = QueueHarness(replace(POLICY, max_alerts=max_alerts, max_age_s=3600.0))
    history = AlertHistory(
        enqueue=harness.enqueue,
        start_attempt=harness.start_attempt,
        record_result=lambda result: void(harness.queue.record_result(result, harness.now, random)),
        wait=harness.wait,
        restart=harness.queue.replace_sender,
    )
    for what, how in steps:
        getattr(history, what)(how)
    history.finish()

    history.check(sum(harness.dropped().values()))
    assert len(harness.queue) == 0


def void(_: object) -> None:
    """Return nothing."""


def test_drops_are_changes_too() -> None:
    """The outbox gets each drop, so that it can log it."""
    queue = ReceiverQueue("ops", replace(POLICY, max_alerts=1))
    queue.enqueue(1, fires("a"), at(0.0))

    assert Dropped(DropReason.MAX_ALERTS) in queue.enqueue(2, fires("b"), at(0.0))
