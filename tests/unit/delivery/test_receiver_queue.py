"""What one receiver is owed, in which order, and what it has heard."""

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
from tests.samples import DOWN, EPOCH_S, NO, STEPS, YES, Story, at, ended, fires, resolves
from tests.unit.delivery.queue_harness import POLICY, QueueHarness


def test_oldest_first() -> None:
    """Alerts go out in the order in which they came."""
    harness = QueueHarness()
    harness.enqueue(fires("a"), fires("b"), fires("c"))

    assert harness.drain() == ["a-1", "b-1", "c-1"]
    assert harness.queue.due_s(harness.now) is None


def test_one_at_a_time() -> None:
    """While an answer is awaited nothing else is sent, and nothing wakes the owner."""
    harness = QueueHarness()
    harness.enqueue(fires("a"), fires("b"))
    harness.start_attempt()

    assert harness.start_attempt() is None
    assert harness.queue.due_s(harness.now) is None


def test_a_resolution_waits_for_its_firing() -> None:
    """Whatever happens to the firing, the resolution comes after it."""
    harness = QueueHarness()
    harness.enqueue(fires("a"), resolves("a"))

    assert harness.answer(DOWN) == "a-1"
    harness.wait_for_retry()
    assert harness.answer(YES) == "a-1"
    assert harness.answer(YES) == "a-2"
    assert harness.queue.notified == {}


def test_the_latest_state_takes_the_place_of_one_that_waits() -> None:
    """One firing alert is sent, the newest; the time that counts is the first one's."""
    harness = QueueHarness()
    harness.enqueue(fires("a", 1), fires("a", 2), fires("a", 3))

    attempt = harness.start_attempt()

    assert attempt is not None
    assert attempt.alerts[0] == fires("a", 3, known_at_s=fires("a", 1).known_at_s)
    assert len(harness.queue) == 1


def test_what_is_in_flight_keeps_its_place() -> None:
    """A newer firing alert waits behind it, and is sent after its yes."""
    harness = QueueHarness()
    harness.enqueue(fires("a", 1))
    attempt = harness.start_attempt()
    harness.enqueue(fires("a", 2))
    harness.queue.record_result(ended(attempt, YES), harness.now, 0.0)

    assert harness.drain() == ["a-2"]


def test_what_came_back_gives_way_to_the_newer_one() -> None:
    """A firing alert that failed is not tried again when a newer one waits behind it."""
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


def test_a_firing_after_a_resolution_replaces_nothing() -> None:
    """An incident that came back is told as fire, resolved, fire."""
    harness = QueueHarness()
    harness.enqueue(fires("a", 1), resolves("a", 2), fires("a", 3))

    assert harness.drain() == ["a-1", "a-2", "a-3"]


@pytest.mark.parametrize("late", [False, True])
def test_no_resolution_without_its_firing(*, late: bool) -> None:
    """Who rejected the firing does not hear of the resolution, and it is counted."""
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


def test_a_resolution_that_nobody_wants_is_not_counted() -> None:
    """Without send_resolved the firing goes out, the resolution goes away, and all is forgotten."""
    harness = QueueHarness(replace(POLICY, send_resolved=False))
    harness.enqueue(fires("a"), resolves("a"))

    assert harness.drain() == ["a-1"]
    assert harness.dropped() == {}
    assert (len(harness.queue), harness.queue.notified) == (0, {})


def test_a_repeat_that_comes_too_soon_is_left_out() -> None:
    """A receiver with a longer interval than the engine's hears every second repeat."""
    harness = QueueHarness(replace(POLICY, repeat_interval_s=8 * 3600.0))
    harness.enqueue(fires("a", 1))
    harness.drain()
    told = []
    for sequence in range(2, 6):
        harness.wait(4 * 3600.0)
        harness.enqueue(replace(fires("a", sequence), reason=Reason.REPEAT))
        told += harness.drain()

    assert told == ["a-3", "a-5"]


def test_once_is_once() -> None:
    """Whatever becomes of the incident, the latest state is told a single time; the next anew."""
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


def test_a_repeat_reaches_who_has_not_heard() -> None:
    """A receiver that never got the firing is told by the next alert, a repeat included."""
    harness = QueueHarness()
    harness.enqueue(fires("a", 1))
    harness.answer(NO)
    harness.enqueue(replace(fires("a", 2), reason=Reason.REPEAT))

    assert harness.drain() == ["a-2"]
    assert "a" in harness.queue.notified


def test_a_test_alert_is_no_incident() -> None:
    """It leaves nothing to be remembered."""
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


def test_a_dropped_firing_takes_its_resolution_along() -> None:
    """No receiver hears that something is over of which it did not hear that it began."""
    harness = QueueHarness(replace(POLICY, max_alerts=2))
    harness.enqueue(fires("a"), resolves("a"), fires("b"))

    assert harness.ids() == ["b-1"]
    assert harness.dropped() == {"max_alerts": 1, "not_notified": 1}


def test_what_is_in_flight_is_not_dropped() -> None:
    """The receiver may have it already."""
    harness = QueueHarness(replace(POLICY, max_alerts=1))
    harness.enqueue(fires("a"))
    attempt = harness.start_attempt()
    harness.enqueue(fires("b"))

    assert harness.ids() == ["a-1"]
    harness.queue.record_result(ended(attempt, YES), harness.now, 0.0)
    assert harness.queue.notified.keys() == {"a"}


def test_too_old_is_dropped() -> None:
    """After `max_age` an alert is given up, with its resolution; a younger one goes out."""
    harness = QueueHarness(replace(POLICY, max_age_s=3600.0))
    harness.enqueue(fires("a"), resolves("a"))
    harness.wait(1800.0)
    harness.enqueue(fires("b"))
    harness.wait(1801.0)

    assert harness.drain() == ["b-1"]
    assert harness.dropped() == {"max_age": 1, "not_notified": 1}


def test_a_newer_state_is_young() -> None:
    """The age of an alert that was replaced is the age of the one that took its place."""
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


def test_an_alert_that_the_receiver_chokes_on_does_not_hold_up_others() -> None:
    """One that fails for ever is tried again, but the others pass it."""
    harness = QueueHarness()
    harness.enqueue(fires("poison"), fires("a"), fires("b"))
    told = []
    for _ in range(20):
        attempt = harness.start_attempt()
        if attempt is not None:
            poisoned = attempt.alerts[0].incident_id == "poison"
            harness.queue.record_result(ended(attempt, DOWN if poisoned else YES), harness.now, 1.0)
            told += [] if poisoned else [attempt.alerts[0].alert_id]
        harness.wait(1.0)

    assert told == ["a-1", "b-1"]
    assert harness.ids() == ["poison-1"]


def test_a_new_alert_does_not_wait_for_the_retry_of_an_old_one() -> None:
    """After a long outage the receiver may be back: news are tried at once."""
    harness = QueueHarness()
    harness.enqueue(fires("a"))
    for _ in range(8):
        harness.answer(DOWN)
        harness.wait_for_retry()
    harness.answer(DOWN)
    harness.enqueue(fires("b"))

    assert harness.answer(YES) == "b-1"
    assert harness.answer(YES) == "a-1", "a receiver that says yes gets all the rest at once"


def test_news_during_an_outage_do_not_lengthen_the_delay() -> None:
    """Only the scheduled retries count; a burst of alerts is one failure."""
    harness = QueueHarness()
    harness.enqueue(*(fires(name) for name in "abcdefghij"))
    for _ in range(10):
        harness.answer(DOWN)

    assert harness.queue.limiter.failures == 1
    assert harness.queue.limiter.retry_at_s == 1.0


def test_delays_double_until_a_yes() -> None:
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


def test_a_receiver_that_asks_for_rest_gets_it() -> None:
    """Until Retry-After is over not even a new alert is sent."""
    harness = QueueHarness()
    harness.enqueue(fires("a"))
    harness.answer(RetryLater(reason=FailureReason.RATE_LIMITED, after_s=60.0), random=0.0)
    harness.enqueue(fires("b"))
    harness.wait(59.9)

    assert harness.start_attempt() is None
    harness.wait(0.1)
    assert harness.drain() == ["b-1", "a-1"]


def test_a_late_yes_counts() -> None:
    """The yes to a sender that was replaced settles the alert; its successor need not send it."""
    harness = QueueHarness()
    harness.enqueue(fires("a"), resolves("a"))
    attempt = harness.start_attempt()
    harness.queue.replace_sender()
    harness.queue.record_result(ended(attempt, YES), harness.now, 0.0)

    assert harness.drain() == ["a-2"]


def test_a_late_yes_to_what_was_replaced_since() -> None:
    """The receiver has heard of the incident; the newer state is still owed."""
    harness = QueueHarness()
    harness.enqueue(fires("a", 1))
    attempt = harness.start_attempt()
    harness.queue.replace_sender()
    harness.enqueue(fires("a", 2))
    changes = harness.queue.record_result(ended(attempt, YES), harness.now, 0.0)

    assert [change for change in changes if isinstance(change, SaveNotified)]
    assert harness.drain() == ["a-2"]


@pytest.mark.parametrize("outcome", [DOWN, NO])
def test_any_other_late_answer_is_nothing(outcome: Outcome) -> None:
    """What the former sender could not do says nothing about the present settings."""
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


def test_a_receiver_without_settings_keeps_what_it_is_owed() -> None:
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
    """All attempts, failures by reason, and the seconds from fact to yes."""
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
    """Order within incidents holds, no resolution comes unheard, every loss is counted."""
    harness = QueueHarness(replace(POLICY, max_alerts=max_alerts, max_age_s=3600.0))
    story = Story(
        enqueue=harness.enqueue,
        start_attempt=harness.start_attempt,
        record_result=lambda result: void(harness.queue.record_result(result, harness.now, random)),
        wait=harness.wait,
        restart=harness.queue.replace_sender,
    )
    for what, how in steps:
        getattr(story, what)(how)
    story.finish()

    story.check(sum(harness.dropped().values()))
    assert len(harness.queue) == 0


def void(_: object) -> None:
    """Return nothing."""


def test_drops_are_changes_too() -> None:
    """The owner learns of each drop, so that it can say so."""
    queue = ReceiverQueue("ops", replace(POLICY, max_alerts=1))
    queue.enqueue(1, fires("a"), at(0.0))

    assert Dropped(DropReason.MAX_ALERTS) in queue.enqueue(2, fires("b"), at(0.0))
