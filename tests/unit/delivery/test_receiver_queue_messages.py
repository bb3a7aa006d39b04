"""Which alerts share a message, which a receiver wants, and when it is muted."""

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


def ids(attempt: Attempt | None) -> list[str]:
    """Return the ids of the alerts in a message."""
    return [] if attempt is None else [alert.alert_id for alert in attempt.alerts]


def answer(harness: QueueHarness, attempt: Attempt | None, outcome: Outcome) -> None:
    """Let the receiver answer."""
    harness.queue.record_result(ended(attempt, outcome), harness.now, 0.0)


def messages(harness: QueueHarness, outcome: Outcome = YES) -> list[list[str]]:
    """Let the receiver answer all that may be sent now; return the messages."""
    found = []
    while attempt := harness.start_attempt():
        found.append(ids(attempt))
        answer(harness, attempt, outcome)
    return found


# -- one message for several -----------------------------------------------------------------------


def test_within_the_rate_each_alert_has_its_own_message() -> None:
    """Two may be sent, and two wait."""
    harness = QueueHarness(CHAT)
    harness.enqueue(fires("a"), fires("b"))

    assert messages(harness) == [["a-1"], ["b-1"]]


def test_alerts_above_the_rate_share_a_message() -> None:
    """Three wait where two may be sent: one message names them all."""
    harness = QueueHarness(CHAT)
    harness.enqueue(fires("a"), fires("b"), fires("c"))

    assert messages(harness) == [["a-1", "b-1", "c-1"]]


def test_a_message_has_a_maximum_of_alerts() -> None:
    """The next ones wait for their turn, and none is dropped."""
    harness = QueueHarness(CHAT)
    harness.enqueue(*(fires(name) for name in "abcdefghij"))

    assert messages(harness) == [["a-1", "b-1", "c-1", "d-1"], ["e-1", "f-1", "g-1", "h-1"]]
    harness.wait(10.0)
    assert messages(harness) == [["i-1"], ["j-1"]]
    assert harness.dropped() == {}


def test_a_receiver_without_shared_messages() -> None:
    """PagerDuty needs one event for each alert: they are sent within the rate."""
    harness = QueueHarness(replace(CHAT, batch=1))
    harness.enqueue(*(fires(name) for name in "abc"))

    assert messages(harness) == [["a-1"], ["b-1"]]
    harness.wait(10.0)
    assert messages(harness) == [["c-1"]]


def test_a_short_incident_is_one_message() -> None:
    """The firing and the resolved alert, in this order."""
    harness = QueueHarness(CHAT)
    harness.enqueue(fires("a"), resolves("a"))

    assert messages(harness) == [["a-1", "a-2"]]
    assert harness.queue.notified == {}


def test_a_failed_message_is_sent_again() -> None:
    """With all its alerts and later ones; the ids stay."""
    harness = QueueHarness(CHAT)
    harness.enqueue(fires("a"), fires("b"), fires("c"))
    answer(harness, harness.start_attempt(), DOWN)
    harness.enqueue(fires("d"))

    assert messages(harness) == [["d-1", "a-1", "b-1", "c-1"]]


def test_a_rejected_message_is_split() -> None:
    """Each alert is sent alone, and only the one that is rejected is dropped."""
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
        taken += [] if poisoned else ids(attempt)

    assert taken == ["a-1", "c-1"]
    assert harness.dropped() == {"rejected": 1}


def test_a_message_that_always_fails_is_split() -> None:
    """One of its alerts may be the reason; the others are delivered."""
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
        taken += [] if poisoned else ids(attempt)

    assert sorted(taken) == ["a-1", "b-1", "c-1"]
    assert harness.ids() == ["poison-1"]


def test_an_outage_does_not_split_messages() -> None:
    """Without a response, the content is not the reason."""
    harness = QueueHarness(CHAT)
    harness.enqueue(*(fires(name) for name in "abc"))
    for _ in range(6):
        answer(harness, harness.start_attempt(), DOWN)
        harness.wait(400.0)

    assert messages(harness) == [["a-1", "b-1", "c-1"]]


def test_no_resolved_alerts_in_shared_messages() -> None:
    """If send_resolved is off, also for a short incident."""
    harness = QueueHarness(replace(CHAT, send_resolved=False))
    harness.enqueue(fires("a"), resolves("a"))

    assert messages(harness) == [["a-1"]]
    assert len(harness.queue) == 0


def test_an_old_failure_does_not_count() -> None:
    """The alert that failed was dropped."""
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
    """Return whether a receiver gets it."""
    harness = QueueHarness(replace(POLICY, **policy))  # type: ignore[arg-type]  # the tests name the fields
    harness.enqueue(alert)
    return len(harness.queue) == 1


@pytest.mark.parametrize(
    ("word", "least", "wanted"),
    [
        ("critical", Severity.CRITICAL, True),
        ("warning", Severity.CRITICAL, False),
        ("warning", Severity.WARNING, True),
        ("info", Severity.WARNING, False),
        ("unheard-of", Severity.CRITICAL, True),
    ],
)
def test_min_severity(word: str, least: Severity, *, wanted: bool) -> None:
    """An unknown severity is sent to every receiver."""
    assert chosen(severe(word), min_severity=least) == wanted


def test_what_got_worse_is_critical() -> None:
    """The label does not change, because it is part of the identity."""
    worse = severe("warning", reason=Reason.WORSE)

    assert chosen(worse, min_severity=Severity.CRITICAL)


@pytest.mark.parametrize(
    ("programs", "wanted"),
    [
        (("www:*",), True),
        (("*:php-fpm",), True),
        (("web:*", "www:php-*"), True),
        (("web:*",), False),
    ],
)
def test_programs(programs: tuple[str, ...], *, wanted: bool) -> None:
    """Globs over group:name."""
    assert chosen(fires(), programs=programs) == wanted


def test_an_alert_without_a_program() -> None:
    """A receiver with `programs` does not get it."""
    labels = {"alertname": "NotificationFailing", "receiver": "chat"}

    assert chosen(replace(fires(), labels=labels))
    assert not chosen(replace(fires(), labels=labels), programs=("www:*",))


@pytest.mark.parametrize(
    ("causes", "wanted"),
    [((), True), (("bind_conflict",), True), (("gave_up", "restart_loop"), False)],
)
def test_causes(causes: tuple[str, ...], *, wanted: bool) -> None:
    """The words of the annotation."""
    assert chosen(fires(), causes=causes) == wanted


def test_a_test_is_always_sent() -> None:
    """With any filter."""
    alert = severe("info", reason=Reason.TEST)

    assert chosen(alert, min_severity=Severity.CRITICAL, programs=("x:*",), causes=("gave_up",))


def test_a_receiver_gets_an_incident_until_its_end() -> None:
    """Also if its cause changes; an unwanted incident is not counted as dropped."""
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


def test_mute_times_delay() -> None:
    """Nothing is sent before their end, which is the due time."""
    harness = quiet()
    harness.enqueue(fires("a"))

    assert harness.start_attempt() is None
    assert harness.queue.due_s(harness.now) == pytest.approx(ENDS_S)
    harness.wait(ENDS_S - 1.0)
    assert harness.start_attempt() is None
    harness.wait(1.0)
    assert harness.drain() == ["a-1"]


def test_mute_times_drop_nothing() -> None:
    """Muted time does not count for the age."""
    harness = quiet(max_age_s=600.0)
    harness.enqueue(fires("a"))
    harness.wait(ENDS_S)

    assert harness.drain() == ["a-1"]
    assert harness.dropped() == {}


def test_an_alert_that_is_too_old_without_muted_time_is_dropped() -> None:
    """The age counts from the end of the muted time."""
    harness = quiet(max_age_s=600.0)
    harness.enqueue(fires("a"))
    harness.wait(ENDS_S)
    assert harness.answer(DOWN) == "a-1"
    harness.wait(601.0)

    assert harness.start_attempt() is None
    assert harness.dropped() == {"max_age": 1}


def test_nightly_mute_times_do_not_keep_an_alert_forever() -> None:
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


def test_after_mute_times_the_latest_state_is_sent() -> None:
    """One message, not the history."""
    harness = quiet()
    harness.enqueue(fires("a", 1), fires("a", 2), fires("a", 3))
    harness.wait(ENDS_S)

    assert harness.drain() == ["a-3"]


def test_a_clock_that_was_set_during_mute_times() -> None:
    """The end of the muted time is computed again each time."""
    harness = quiet()
    harness.enqueue(fires("a"))
    harness.now = Instant(harness.now.monotonic_s, harness.now.wall_s + 7200.0)

    assert harness.start_attempt() is not None


# -- what the operator does ------------------------------------------------------------------------


def test_the_operator_drops() -> None:
    """Pending alerts are dropped and counted; an alert in flight stays."""
    harness = QueueHarness(POLICY)
    harness.enqueue(fires("a"), fires("b"))
    attempt = harness.start_attempt()
    harness.queue.drop([row.number for row in harness.queue.alerts()])

    assert harness.ids() == ["a-1"]
    answer(harness, attempt, YES)
    assert harness.queue.counters.dropped[DropReason.OPERATOR.value] == 1


def test_the_policy_of_the_samples_has_no_limits() -> None:
    """Otherwise the other tests are not valid."""
    assert QueuePolicy.wants(POLICY, fires())
    assert POLICY.mute_times is None
    assert POLICY.rates == ()
