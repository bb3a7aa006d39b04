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
from tests.unit.delivery.queue_play import POLICY, Play


def test_oldest_first() -> None:
    """Alerts go out in the order in which they came."""
    play = Play()
    play.enqueue(fires("a"), fires("b"), fires("c"))

    assert play.drain() == ["a-1", "b-1", "c-1"]
    assert play.queue.due_s(play.now) is None


def test_one_at_a_time() -> None:
    """While an answer is awaited nothing else is sent, and nothing wakes the owner."""
    play = Play()
    play.enqueue(fires("a"), fires("b"))
    play.start_attempt()

    assert play.start_attempt() is None
    assert play.queue.due_s(play.now) is None


def test_a_resolution_waits_for_its_firing() -> None:
    """Whatever happens to the firing, the resolution comes after it."""
    play = Play()
    play.enqueue(fires("a"), resolves("a"))

    assert play.answer(DOWN) == "a-1"
    play.wait_for_retry()
    assert play.answer(YES) == "a-1"
    assert play.answer(YES) == "a-2"
    assert play.queue.notified == {}


def test_the_latest_state_takes_the_place_of_one_that_waits() -> None:
    """One firing alert is sent, the newest; the time that counts is the first one's."""
    play = Play()
    play.enqueue(fires("a", 1), fires("a", 2), fires("a", 3))

    attempt = play.start_attempt()

    assert attempt is not None
    assert attempt.alerts[0] == fires("a", 3, known_at_s=fires("a", 1).known_at_s)
    assert len(play.queue) == 1


def test_what_is_in_flight_keeps_its_place() -> None:
    """A newer firing alert waits behind it, and is sent after its yes."""
    play = Play()
    play.enqueue(fires("a", 1))
    attempt = play.start_attempt()
    play.enqueue(fires("a", 2))
    play.queue.record_result(ended(attempt, YES), play.now, 0.0)

    assert play.drain() == ["a-2"]


def test_what_came_back_gives_way_to_the_newer_one() -> None:
    """A firing alert that failed is not tried again when a newer one waits behind it."""
    play = Play()
    play.enqueue(fires("a", 1))
    attempt = play.start_attempt()
    play.enqueue(fires("a", 2))
    changes = play.queue.record_result(ended(attempt, DOWN), play.now, 1.0)

    assert RemoveAlert(1) in changes
    assert play.ids() == ["a-2"]
    assert next(play.queue.alerts()).alert.known_at_s == fires("a", 1).known_at_s
    play.wait_for_retry()
    assert play.drain() == ["a-2"]


def test_a_firing_after_a_resolution_replaces_nothing() -> None:
    """An incident that came back is told as fire, resolved, fire."""
    play = Play()
    play.enqueue(fires("a", 1), resolves("a", 2), fires("a", 3))

    assert play.drain() == ["a-1", "a-2", "a-3"]


@pytest.mark.parametrize("late", [False, True])
def test_no_resolution_without_its_firing(*, late: bool) -> None:
    """Who rejected the firing does not hear of the resolution, and it is counted."""
    play = Play()
    play.enqueue(fires("a"))
    if not late:
        play.enqueue(resolves("a"))
    assert play.answer(NO) == "a-1"
    if late:
        play.enqueue(resolves("a"))

    assert play.drain() == []
    assert play.dropped() == {"rejected": 1, "not_notified": 1}
    assert len(play.queue) == 0


def test_a_resolution_that_nobody_wants_is_not_counted() -> None:
    """Without send_resolved the firing goes out, the resolution goes away, and all is forgotten."""
    play = Play(replace(POLICY, send_resolved=False))
    play.enqueue(fires("a"), resolves("a"))

    assert play.drain() == ["a-1"]
    assert play.dropped() == {}
    assert (len(play.queue), play.queue.notified) == (0, {})


def test_a_repeat_that_comes_too_soon_is_left_out() -> None:
    """A receiver with a longer interval than the engine's hears every second repeat."""
    play = Play(replace(POLICY, repeat_interval_s=8 * 3600.0))
    play.enqueue(fires("a", 1))
    play.drain()
    told = []
    for sequence in range(2, 6):
        play.wait(4 * 3600.0)
        play.enqueue(replace(fires("a", sequence), reason=Reason.REPEAT))
        told += play.drain()

    assert told == ["a-3", "a-5"]


def test_once_is_once() -> None:
    """Whatever becomes of the incident, the latest state is told a single time; the next anew."""
    play = Play(replace(POLICY, once=True, send_resolved=False))
    play.enqueue(fires("a", 1), fires("a", 2))
    attempt = play.start_attempt()
    play.enqueue(fires("a", 3))
    play.queue.record_result(ended(attempt, YES), play.now, 0.0)
    play.enqueue(fires("a", 4), resolves("a", 5))
    assert attempt is not None
    assert [alert.alert_id for alert in attempt.alerts] == ["a-2"]
    assert play.drain() == []
    assert play.queue.notified == {}

    play.enqueue(fires("b", 1))
    assert play.drain() == ["b-1"]


def test_a_repeat_reaches_who_has_not_heard() -> None:
    """A receiver that never got the firing is told by the next alert, a repeat included."""
    play = Play()
    play.enqueue(fires("a", 1))
    play.answer(NO)
    play.enqueue(replace(fires("a", 2), reason=Reason.REPEAT))

    assert play.drain() == ["a-2"]
    assert "a" in play.queue.notified


def test_a_test_alert_is_no_incident() -> None:
    """It leaves nothing to be remembered."""
    play = Play()
    play.enqueue(replace(fires("test"), reason=Reason.TEST))

    assert play.drain() == ["test-1"]
    assert play.queue.notified == {}


def test_the_oldest_are_dropped_when_there_are_too_many() -> None:
    """The newest `max_alerts` stay, and the loss is counted."""
    play = Play(replace(POLICY, max_alerts=2))
    play.enqueue(fires("a"), fires("b"), fires("c"), fires("d"))

    assert play.ids() == ["c-1", "d-1"]
    assert play.dropped() == {"max_alerts": 2}


def test_a_dropped_firing_takes_its_resolution_along() -> None:
    """No receiver hears that something is over of which it did not hear that it began."""
    play = Play(replace(POLICY, max_alerts=2))
    play.enqueue(fires("a"), resolves("a"), fires("b"))

    assert play.ids() == ["b-1"]
    assert play.dropped() == {"max_alerts": 1, "not_notified": 1}


def test_what_is_in_flight_is_not_dropped() -> None:
    """The receiver may have it already."""
    play = Play(replace(POLICY, max_alerts=1))
    play.enqueue(fires("a"))
    attempt = play.start_attempt()
    play.enqueue(fires("b"))

    assert play.ids() == ["a-1"]
    play.queue.record_result(ended(attempt, YES), play.now, 0.0)
    assert play.queue.notified.keys() == {"a"}


def test_too_old_is_dropped() -> None:
    """After `max_age` an alert is given up, with its resolution; a younger one goes out."""
    play = Play(replace(POLICY, max_age_s=3600.0))
    play.enqueue(fires("a"), resolves("a"))
    play.wait(1800.0)
    play.enqueue(fires("b"))
    play.wait(1801.0)

    assert play.drain() == ["b-1"]
    assert play.dropped() == {"max_age": 1, "not_notified": 1}


def test_a_newer_state_is_young() -> None:
    """The age of an alert that was replaced is the age of the one that took its place."""
    play = Play(replace(POLICY, max_age_s=3600.0))
    play.enqueue(fires("a", 1))
    play.wait(3000.0)
    play.enqueue(fires("a", 2))
    play.wait(3000.0)

    assert play.drain() == ["a-2"]


@pytest.mark.parametrize("jump_s", [-30 * 86400.0, 30 * 86400.0])
def test_a_step_of_the_wall_clock_neither_drops_nor_delays(jump_s: float) -> None:
    """Ages and delays are measured on the monotonic clock."""
    play = Play()
    play.enqueue(fires("a"))
    play.answer(DOWN)
    play.now = Instant(play.now.monotonic_s + 1.0, play.now.wall_s + jump_s)

    assert play.drain() == ["a-1"]


def test_an_alert_that_the_receiver_chokes_on_does_not_hold_up_others() -> None:
    """One that fails for ever is tried again, but the others pass it."""
    play = Play()
    play.enqueue(fires("poison"), fires("a"), fires("b"))
    told = []
    for _ in range(20):
        attempt = play.start_attempt()
        if attempt is not None:
            poisoned = attempt.alerts[0].incident_id == "poison"
            play.queue.record_result(ended(attempt, DOWN if poisoned else YES), play.now, 1.0)
            told += [] if poisoned else [attempt.alerts[0].alert_id]
        play.wait(1.0)

    assert told == ["a-1", "b-1"]
    assert play.ids() == ["poison-1"]


def test_a_new_alert_does_not_wait_for_the_retry_of_an_old_one() -> None:
    """After a long outage the receiver may be back: news are tried at once."""
    play = Play()
    play.enqueue(fires("a"))
    for _ in range(8):
        play.answer(DOWN)
        play.wait_for_retry()
    play.answer(DOWN)
    play.enqueue(fires("b"))

    assert play.answer(YES) == "b-1"
    assert play.answer(YES) == "a-1", "a receiver that says yes gets all the rest at once"


def test_news_during_an_outage_do_not_lengthen_the_delay() -> None:
    """Only the scheduled retries count; a burst of alerts is one failure."""
    play = Play()
    play.enqueue(*(fires(name) for name in "abcdefghij"))
    for _ in range(10):
        play.answer(DOWN)

    assert play.queue.limiter.failures == 1
    assert play.queue.limiter.retry_at_s == 1.0


def test_delays_double_until_a_yes() -> None:
    """1, 2, 4 … seconds at most between the retries of a receiver that is down."""
    play = Play()
    play.enqueue(fires("a"))
    waits = []
    for _ in range(10):
        play.answer(DOWN)
        before = play.now.monotonic_s
        play.wait_for_retry()
        waits.append(play.now.monotonic_s - before)

    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 300.0]
    play.answer(YES)
    assert play.queue.limiter.failures == 0


def test_a_receiver_that_asks_for_rest_gets_it() -> None:
    """Until Retry-After is over not even a new alert is sent."""
    play = Play()
    play.enqueue(fires("a"))
    play.answer(RetryLater(reason=FailureReason.RATE_LIMITED, after_s=60.0), random=0.0)
    play.enqueue(fires("b"))
    play.wait(59.9)

    assert play.start_attempt() is None
    play.wait(0.1)
    assert play.drain() == ["b-1", "a-1"]


def test_a_late_yes_counts() -> None:
    """The yes to a sender that was replaced settles the alert; its successor need not send it."""
    play = Play()
    play.enqueue(fires("a"), resolves("a"))
    attempt = play.start_attempt()
    play.queue.replace_sender()
    play.queue.record_result(ended(attempt, YES), play.now, 0.0)

    assert play.drain() == ["a-2"]


def test_a_late_yes_to_what_was_replaced_since() -> None:
    """The receiver has heard of the incident; the newer state is still owed."""
    play = Play()
    play.enqueue(fires("a", 1))
    attempt = play.start_attempt()
    play.queue.replace_sender()
    play.enqueue(fires("a", 2))
    changes = play.queue.record_result(ended(attempt, YES), play.now, 0.0)

    assert [change for change in changes if isinstance(change, SaveNotified)]
    assert play.drain() == ["a-2"]


@pytest.mark.parametrize("outcome", [DOWN, NO])
def test_any_other_late_answer_is_nothing(outcome: Outcome) -> None:
    """What the former sender could not do says nothing about the present settings."""
    play = Play()
    play.enqueue(fires("a"))
    former = play.start_attempt()
    play.queue.replace_sender()
    present = play.start_attempt()
    changes = play.queue.record_result(ended(former, outcome), play.now, 1.0)

    assert changes == []
    assert play.start_attempt() is None, "the present attempt is still awaited"
    play.queue.record_result(ended(present, YES), play.now, 0.0)
    assert len(play.queue) == 0


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
    play = Play()
    play.enqueue(fires("a", known_at_s=EPOCH_S))
    play.answer(DOWN)
    play.wait(3.0)
    play.answer(YES)
    counters = play.queue.counters

    assert (counters.sent, counters.failed["refused"], play.queue.pending()) == (2, 1, 0)
    assert counters.seconds.view().total == 3.0


@given(steps=STEPS, max_alerts=st.integers(1, 5), random=st.floats(0, 1, exclude_max=True))
def test_any_sequence_keeps_the_laws(
    steps: list[tuple[str, Any]],
    max_alerts: int,
    random: float,
) -> None:
    """Order within incidents holds, no resolution comes unheard, every loss is counted."""
    play = Play(replace(POLICY, max_alerts=max_alerts, max_age_s=3600.0))
    story = Story(
        enqueue=play.enqueue,
        start_attempt=play.start_attempt,
        record_result=lambda result: void(play.queue.record_result(result, play.now, random)),
        wait=play.wait,
        restart=play.queue.replace_sender,
    )
    for what, how in steps:
        getattr(story, what)(how)
    story.finish()

    story.check(sum(play.dropped().values()))
    assert len(play.queue) == 0


def void(_: object) -> None:
    """Return nothing."""


def test_drops_are_changes_too() -> None:
    """The owner learns of each drop, so that it can say so."""
    queue = ReceiverQueue("ops", replace(POLICY, max_alerts=1))
    queue.enqueue(1, fires("a"), at(0.0))

    assert Dropped(DropReason.MAX_ALERTS) in queue.enqueue(2, fires("b"), at(0.0))
