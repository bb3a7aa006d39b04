"""Which alerts a receiver wants, when it gets them, and their format on disk."""

from __future__ import annotations

from dataclasses import replace
from datetime import timezone

import pytest

from fpm_listener.delivery.attempt import Delivered, FailureReason, RetryLater, delay_s
from fpm_listener.delivery.queued_alert import QueuePolicy, from_json, to_json
from fpm_listener.delivery.rate_limiter import RateLimiter
from fpm_listener.incidents.alert import Alert, Reason, Status
from fpm_listener.settings.mute_times import parse
from fpm_listener.settings.receiver_types import Rate
from fpm_listener.values import Instant
from fpm_listener.vocabulary import Severity

ALERT = Alert(
    incident_id="i",
    sequence=2,
    reason=Reason.FIRST,
    status=Status.FIRING,
    labels={"severity": "warning", "group": "web", "process": "php-fpm"},
    annotations={"cause": "bind_conflict", "summary": "s"},
    starts_at_s=1.5,
    ends_at_s=None,
    known_at_s=2.5,
)
POLICY = QueuePolicy(send_resolved=True, repeat_interval_s=60.0, max_age_s=100.0, max_alerts=9)
#: 2026-11-23 was a Monday; wall seconds of its midnight.
MONDAY = 1795392000.0


@pytest.mark.parametrize(
    ("policy", "alert", "wanted"),
    [
        ({}, {}, True),
        ({"min_severity": Severity.WARNING}, {}, True),
        ({"min_severity": Severity.CRITICAL}, {}, False),
        ({"min_severity": Severity.CRITICAL}, {"reason": Reason.WORSE}, True),
        ({"min_severity": Severity.CRITICAL}, {"reason": Reason.TEST}, True),
        ({"causes": ("bind_conflict", "x")}, {}, True),
        ({"causes": ("x",)}, {}, False),
        ({"causes": ("x",)}, {"reason": Reason.WORSE}, False),
        ({"causes": ("x",)}, {"annotations": {}}, False),
        ({"causes": ("x",)}, {"reason": Reason.TEST}, True),
        ({"programs": ("web:*",)}, {}, True),
        ({"programs": ("*:php-fpm",)}, {}, True),
        ({"programs": ("web:php-fpm",)}, {}, True),
        ({"programs": ("job:*", "web:p?p-fpm")}, {}, True),
        ({"programs": ("WEB:*",)}, {}, False),
        ({"programs": ("php-fpm",)}, {}, False),
        ({"programs": ("web:*",)}, {"labels": {"severity": "warning"}}, False),
        ({"programs": (":",)}, {"labels": {"severity": "warning"}}, True),
    ],
)
def test_what_a_receiver_wants(
    policy: dict[str, object], alert: dict[str, object], *, wanted: bool
) -> None:
    """Severity, cause and program must match; a test always does."""
    chosen = replace(POLICY, **policy)  # type: ignore[arg-type] # the table's own words

    assert chosen.wants(replace(ALERT, **alert)) is wanted  # type: ignore[arg-type] # the same


@pytest.mark.parametrize(
    "alert",
    [
        ALERT,
        replace(ALERT, ends_at_s=7.5, status=Status.RESOLVED, reason=Reason.RESOLVED),
        replace(ALERT, translations={"zh": {"summary": "已"}}),
    ],
)
def test_an_alert_on_disk(alert: Alert) -> None:
    """It is the same after saving and reading."""
    assert from_json(to_json(alert)) == alert


def test_mute_times() -> None:
    """An alert is sent after them; they do not count for its age."""
    quiet = replace(POLICY, mute_times=parse("Mon 00:00-06:00", timezone.utc))
    midnight, noon = Instant(1000.0, MONDAY), Instant(1000.0, MONDAY + 12 * 3600)

    assert POLICY.unmuted_s(900.0, midnight) == 900.0
    assert quiet.unmuted_s(900.0, noon) == 900.0
    assert quiet.unmuted_s(900.0, midnight) == 1000.0 + 6 * 3600
    assert quiet.unmuted_s(1000.0 + 3600, midnight) == 1000.0 + 6 * 3600
    assert quiet.unmuted_s(1000.0 + 7 * 3600, midnight) == 1000.0 + 7 * 3600
    before = Instant(1000.0, MONDAY - 60.0)
    assert quiet.unmuted_s(1059.0, before) == 1059.0
    assert quiet.unmuted_s(1060.0, before) == 1060.0 + 6 * 3600


def test_ages() -> None:
    """Muted seconds do not count if they decide about an alert."""
    quiet = replace(POLICY, mute_times=parse("Mon 00:00-06:00", timezone.utc))
    now = Instant(50_000.0, MONDAY + 6 * 3600 + 60.0)

    assert POLICY.age_s(49_800.0, now) == 200.0
    assert quiet.age_s(49_900.0, now) == 100.0
    assert quiet.age_s(49_800.0, now) == pytest.approx(60.0)
    assert quiet.age_s(50_000.0 - 6 * 3600 - 120.0, now) == pytest.approx(120.0)


# -- how often it is spoken to ---------------------------------------------------------------------


def at(second: float) -> Instant:
    return Instant(second, MONDAY + second)


def test_rates() -> None:
    """No window of a rate has more messages than it allows."""
    limiter = RateLimiter((Rate(1, 1.0), Rate(3, 60.0)))
    assert limiter.budget(at(10)) == 1
    assert limiter.free_at_s() == 0.0
    for second in (10.0, 11.0, 12.0):
        assert limiter.budget(at(second)) == 1
        limiter.count_attempt(at(second))
        assert limiter.budget(at(second)) == 0
    assert limiter.free_at_s() == 70.0
    assert limiter.budget(at(69.9)) == 0
    assert limiter.budget(at(70.0)) == 1
    limiter.count_attempt(at(70.0))
    assert limiter.free_at_s() == 71.0


def test_no_rates() -> None:
    """There is no limit, and no attempt is remembered."""
    limiter = RateLimiter()
    limiter.count_attempt(at(1.0))

    assert limiter.budget(at(1.0)) is None
    assert limiter.free_at_s() == 0.0
    limiter.set_rates((Rate(1, 10.0),))
    assert limiter.free_at_s() == 0.0
    assert limiter.budget(at(1.0)) == 1


def test_failures_in_a_row() -> None:
    """The delay follows the schedule; a delivery ends it."""
    limiter = RateLimiter()
    limiter.record(RetryLater(reason=FailureReason.REFUSED), at(10), 0.5)
    assert (limiter.failures, limiter.failing_since_s) == (1, 10)
    assert limiter.retry_at_s == 10 + delay_s(1, 0.5)
    due_s = limiter.retry_at_s
    limiter.record(RetryLater(reason=FailureReason.REFUSED), at(due_s - 0.1), 0.5)
    assert (limiter.failures, limiter.retry_at_s) == (1, due_s)
    limiter.record(RetryLater(reason=FailureReason.REFUSED), at(due_s), 0.5)
    assert (limiter.failures, limiter.retry_at_s) == (2, due_s + delay_s(2, 0.5))
    assert (limiter.failing_since_s, limiter.free_at_s()) == (10, 0.0)

    limiter.record(Delivered(), at(99), 0.5)
    assert (limiter.failures, limiter.retry_at_s, limiter.failing_since_s) == (0, 0.0, None)


def test_a_delay_on_request_of_the_receiver() -> None:
    """It is added to the delay, counts for all alerts, and has no limit."""
    limiter = RateLimiter(longest_delay_s=5.0)
    limiter.record(RetryLater(reason=FailureReason.REFUSED, after_s=600.0), at(10), 0.5)
    pause_s = 600.0 + min(5.0, delay_s(1, 0.5))
    assert limiter.free_at_s() == limiter.retry_at_s == 10 + pause_s

    limiter.record(RetryLater(reason=FailureReason.REFUSED, after_s=1.0), at(11), 0.5)
    assert limiter.failures == 2
    assert limiter.free_at_s() == 10 + pause_s
    assert limiter.retry_at_s < 20
    limiter.retry_now()
    assert (limiter.failures, limiter.retry_at_s, limiter.free_at_s()) == (0, 0.0, 0.0)
    assert limiter.failing_since_s == 10


def test_the_longest_delay() -> None:
    """After any number of failures."""
    limiter = RateLimiter(longest_delay_s=5.0)
    limiter.failures = 50
    limiter.record(RetryLater(reason=FailureReason.REFUSED), at(10), 1.0)

    assert limiter.retry_at_s == 15.0
