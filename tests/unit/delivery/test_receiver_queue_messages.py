"""What shares a message, what a receiver chooses to hear of, and when it is left in peace."""

from dataclasses import replace
from datetime import timezone

import pytest

from fpm_listener.delivery.attempt import Attempt, DropReason, FailureReason, Outcome, RetryLater
from fpm_listener.delivery.queued_alert import QueuePolicy
from fpm_listener.incidents.alert import Alert, Reason
from fpm_listener.settings.mute_times import parse
from fpm_listener.settings.receiver_types import Rate
from fpm_listener.values import Instant
from fpm_listener.vocabulary import Severity
from tests.samples import DOWN, NO, YES, ended, fires, resolves
from tests.unit.delivery.queue_harness import POLICY, QueueHarness

CHAT = replace(POLICY, rates=(Rate(2, 10.0),), batch=4)


def told(attempt: Attempt | None) -> list[str]:
    """Return the ids of the alerts in a message."""
    return [] if attempt is None else [alert.alert_id for alert in attempt.alerts]


def answer(harness: QueueHarness, attempt: Attempt | None, outcome: Outcome) -> None:
    """Let the receiver answer."""
    harness.queue.record_result(ended(attempt, outcome), harness.now, 0.0)


def messages(harness: QueueHarness, outcome: Outcome = YES) -> list[list[str]]:
    """Let the receiver answer everything that may be sent now; return the messages."""
    found = []
    while attempt := harness.start_attempt():
        found.append(told(attempt))
        answer(harness, attempt, outcome)
    return found


# -- one message for several -----------------------------------------------------------------------


def test_as_long_as_the_rate_allows_each_has_a_message_of_its_own() -> None:
    """Two may be sent, and two wait."""
    harness = QueueHarness(CHAT)
    harness.enqueue(fires("a"), fires("b"))

    assert messages(harness) == [["a-1"], ["b-1"]]


def test_what_is_too_much_shares_a_message() -> None:
    """Three wait where two may be sent: one message names them all."""
    harness = QueueHarness(CHAT)
    harness.enqueue(fires("a"), fires("b"), fires("c"))

    assert messages(harness) == [["a-1", "b-1", "c-1"]]


def test_a_message_holds_so_many_and_no_more() -> None:
    """The next ones wait for their turn, and none is dropped."""
    harness = QueueHarness(CHAT)
    harness.enqueue(*(fires(name) for name in "abcdefghij"))

    assert messages(harness) == [["a-1", "b-1", "c-1", "d-1"], ["e-1", "f-1", "g-1", "h-1"]]
    harness.wait(10.0)
    assert messages(harness) == [["i-1"], ["j-1"]]
    assert harness.dropped() == {}


def test_where_nothing_is_joined_all_wait() -> None:
    """PagerDuty wants an event for each: they are sent as the rate allows."""
    harness = QueueHarness(replace(CHAT, batch=1))
    harness.enqueue(*(fires(name) for name in "abc"))

    assert messages(harness) == [["a-1"], ["b-1"]]
    harness.wait(10.0)
    assert messages(harness) == [["c-1"]]


def test_what_came_and_went_is_one_message() -> None:
    """Firing and end of an incident that the receiver has heard nothing of, in this order."""
    harness = QueueHarness(CHAT)
    harness.enqueue(fires("a"), resolves("a"))

    assert messages(harness) == [["a-1", "a-2"]]
    assert harness.queue.notified == {}


def test_a_message_that_comes_back_is_sent_again() -> None:
    """All that was in it, with what came meanwhile; the ids stay."""
    harness = QueueHarness(CHAT)
    harness.enqueue(fires("a"), fires("b"), fires("c"))
    answer(harness, harness.start_attempt(), DOWN)
    harness.enqueue(fires("d"))

    assert messages(harness) == [["d-1", "a-1", "b-1", "c-1"]]


def test_a_message_that_is_rejected_is_taken_apart() -> None:
    """One of them may be why: each is tried alone, and only the poisonous one is dropped."""
    harness = QueueHarness(CHAT)
    harness.enqueue(fires("a"), fires("poison"), fires("c"))
    answer(harness, harness.start_attempt(), NO)
    taken = []
    while len(harness.queue):
        attempt = harness.start_attempt()
        if attempt is None:
            harness.wait(10.0)
            continue
        assert len(attempt.alerts) == 1
        poisoned = attempt.alerts[0].incident_id == "poison"
        answer(harness, attempt, NO if poisoned else YES)
        taken += [] if poisoned else told(attempt)

    assert taken == ["a-1", "c-1"]
    assert harness.dropped() == {"rejected": 1}


def test_a_message_that_is_never_taken_is_taken_apart() -> None:
    """A service that says no in other words may mean one of them; the others are told."""
    odd = RetryLater(reason=FailureReason.ANSWER, detail="errcode 430102: ?")
    harness = QueueHarness(CHAT)
    harness.enqueue(*(fires(name) for name in "abc"), fires("poison"))
    taken: list[str] = []
    for _ in range(200):
        attempt = harness.start_attempt()
        if attempt is None:
            harness.wait(10.0)
            continue
        poisoned = any(alert.incident_id == "poison" for alert in attempt.alerts)
        answer(harness, attempt, odd if poisoned else YES)
        taken += [] if poisoned else told(attempt)

    assert sorted(taken) == ["a-1", "b-1", "c-1"]
    assert harness.ids() == ["poison-1"]


def test_what_is_down_keeps_its_messages_together() -> None:
    """A service that does not answer says nothing of what is in a message."""
    harness = QueueHarness(CHAT)
    harness.enqueue(*(fires(name) for name in "abc"))
    for _ in range(6):
        answer(harness, harness.start_attempt(), DOWN)
        harness.wait(400.0)

    assert messages(harness) == [["a-1", "b-1", "c-1"]]


def test_who_wants_no_ends_hears_none() -> None:
    """Not even of what came and went."""
    harness = QueueHarness(replace(CHAT, send_resolved=False))
    harness.enqueue(fires("a"), resolves("a"))

    assert messages(harness) == [["a-1"]]
    assert len(harness.queue) == 0


def test_a_failure_of_long_ago_is_no_failing() -> None:
    """What failed was given up since; nothing has failed now."""
    harness = QueueHarness(CHAT)
    harness.enqueue(fires("a"))
    answer(harness, harness.start_attempt(), DOWN)
    harness.queue.drop([row.number for row in harness.queue.alerts()])
    harness.wait(7200.0)
    harness.enqueue(fires("b"))

    assert harness.queue.limiter.failing_since_s is None


def test_a_retry_counts_for_the_rate_too() -> None:
    """The service counts it."""
    harness = QueueHarness(replace(CHAT, batch=1))
    harness.enqueue(fires("a"))
    for _ in range(2):
        answer(harness, harness.start_attempt(), DOWN)

    assert harness.start_attempt() is None
    harness.wait(10.0)
    assert harness.start_attempt() is not None


# -- what it wants to hear of ----------------------------------------------------------------------


def severe(word: str, incident: str = "a", **others: object) -> Alert:
    """Return a firing alert of that severity."""
    return replace(fires(incident), labels={**fires().labels, "severity": word}, **others)  # type: ignore[arg-type]  # the tests name the fields


def chosen(alert: Alert, **policy: object) -> bool:
    """Return whether a receiver hears of it."""
    harness = QueueHarness(replace(POLICY, **policy))  # type: ignore[arg-type]  # the tests name the fields
    harness.enqueue(alert)
    return len(harness.queue) == 1


@pytest.mark.parametrize(
    ("word", "least", "heard"),
    [
        ("critical", Severity.CRITICAL, True),
        ("warning", Severity.CRITICAL, False),
        ("warning", Severity.WARNING, True),
        ("info", Severity.WARNING, False),
        ("unheard-of", Severity.CRITICAL, True),
    ],
)
def test_min_severity(word: str, least: Severity, *, heard: bool) -> None:
    """A word that is no severity is not kept from anybody."""
    assert chosen(severe(word), min_severity=least) == heard


def test_what_got_worse_is_critical() -> None:
    """The label stays what it was, since it is the incident's identity."""
    worse = severe("warning", reason=Reason.WORSE)

    assert chosen(worse, min_severity=Severity.CRITICAL)


@pytest.mark.parametrize(
    ("programs", "heard"),
    [
        (("www:*",), True),
        (("*:php-fpm",), True),
        (("web:*", "www:php-*"), True),
        (("web:*",), False),
    ],
)
def test_programs(programs: tuple[str, ...], *, heard: bool) -> None:
    """Globs over group:name."""
    assert chosen(fires(), programs=programs) == heard


def test_what_is_of_no_program() -> None:
    """Who has chosen programs hears of programs only."""
    labels = {"alertname": "NotificationFailing", "receiver": "chat"}

    assert chosen(replace(fires(), labels=labels))
    assert not chosen(replace(fires(), labels=labels), programs=("www:*",))


@pytest.mark.parametrize(
    ("causes", "heard"),
    [((), True), (("bind_conflict",), True), (("gave_up", "restart_loop"), False)],
)
def test_causes(causes: tuple[str, ...], *, heard: bool) -> None:
    """The words of the annotation."""
    assert chosen(fires(), causes=causes) == heard


def test_a_test_is_always_heard() -> None:
    """Whatever a receiver chooses."""
    alert = severe("info", reason=Reason.TEST)

    assert chosen(alert, min_severity=Severity.CRITICAL, programs=("x:*",), causes=("gave_up",))


def test_who_has_heard_of_an_incident_hears_it_to_its_end() -> None:
    """Though its cause has become another; and no drop is counted for who never wanted it."""
    harness = QueueHarness(replace(POLICY, causes=("bind_conflict",)))
    other = {"cause": "gave_up", "summary": "it is down"}
    harness.enqueue(fires("a"), replace(fires("b"), annotations=other))
    assert harness.drain() == ["a-1"]
    harness.enqueue(replace(fires("a", 2), annotations=other), resolves("a", 3))
    harness.enqueue(replace(resolves("b"), annotations=other))

    assert harness.drain() == ["a-2", "a-3"]
    assert harness.dropped() == {}


# -- when it is left in peace ----------------------------------------------------------------------

#: at(0.0) of the samples is 2026-11-18 11:06:40 UTC, a Wednesday.
NOON = parse("Wed 11:00-12:00", timezone.utc)
ENDS_S = 53 * 60 + 20.0


def quiet(**others: object) -> QueueHarness:
    """Return a queue that is muted at the beginning."""
    return QueueHarness(replace(POLICY, mute_times=NOON, **others))  # type: ignore[arg-type]  # the tests name the fields


def test_quiet_delays() -> None:
    """Nothing is sent before its end; the owner is woken then."""
    harness = quiet()
    harness.enqueue(fires("a"))

    assert harness.start_attempt() is None
    assert harness.queue.due_s(harness.now) == pytest.approx(ENDS_S)
    harness.wait(ENDS_S - 1.0)
    assert harness.start_attempt() is None
    harness.wait(1.0)
    assert harness.drain() == ["a-1"]


def test_quiet_never_loses() -> None:
    """An age that was spent in quiet does not count."""
    harness = quiet(max_age_s=600.0)
    harness.enqueue(fires("a"))
    harness.wait(ENDS_S)

    assert harness.drain() == ["a-1"]
    assert harness.dropped() == {}


def test_what_is_too_old_without_the_quiet_is_dropped() -> None:
    """The receiver did not take it for as long as it may be kept, counted from the end on."""
    harness = quiet(max_age_s=600.0)
    harness.enqueue(fires("a"))
    harness.wait(ENDS_S)
    assert harness.answer(DOWN) == "a-1"
    harness.wait(601.0)

    assert harness.start_attempt() is None
    assert harness.dropped() == {"max_age": 1}


def test_nightly_quiet_does_not_keep_for_ever() -> None:
    """The hours between the nights count."""
    nights = parse("22:00-06:00", timezone.utc)
    harness = QueueHarness(replace(POLICY, mute_times=nights, max_age_s=24 * 3600.0))
    harness.enqueue(fires("a"))
    hours = 0
    while len(harness.queue) and hours < 100:
        if attempt := harness.start_attempt():
            answer(harness, attempt, DOWN)
        harness.wait(3600.0)
        hours += 1

    assert harness.dropped() == {"max_age": 1}
    assert 32 <= hours <= 40


def test_after_the_quiet_the_latest_state_is_told() -> None:
    """One message, not the history."""
    harness = quiet()
    harness.enqueue(fires("a", 1), fires("a", 2), fires("a", 3))
    harness.wait(ENDS_S)

    assert harness.drain() == ["a-3"]


def test_a_clock_that_was_set_back_does_not_hold_back_for_ever() -> None:
    """The moment is asked for anew with each look."""
    harness = quiet()
    harness.enqueue(fires("a"))
    harness.now = Instant(harness.now.monotonic_s, harness.now.wall_s + 7200.0)

    assert harness.start_attempt() is not None


# -- what the operator does ------------------------------------------------------------------------


def test_the_operator_drops() -> None:
    """What waits goes, and is counted; what is in flight stays until it is answered."""
    harness = QueueHarness(POLICY)
    harness.enqueue(fires("a"), fires("b"))
    attempt = harness.start_attempt()
    harness.queue.drop([row.number for row in harness.queue.alerts()])

    assert harness.ids() == ["a-1"]
    answer(harness, attempt, YES)
    assert harness.queue.counters.dropped[DropReason.OPERATOR.value] == 1


def test_the_policy_of_the_samples_has_no_limits() -> None:
    """Else the other tests would not test what they say."""
    assert QueuePolicy.wants(POLICY, fires())
    assert POLICY.mute_times is None
    assert POLICY.rates == ()
