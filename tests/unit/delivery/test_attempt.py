"""The result of an attempt, and the delay before the next one."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm_listener.delivery.attempt import (
    FIRST_DELAY_S,
    LONGEST_DELAY_S,
    LONGEST_RETRY_AFTER_S,
    Delivered,
    FailureReason,
    Rejected,
    RetryLater,
    classify_status,
    delay_s,
    retry_after,
)

#: Sun, 22 Nov 2026 08:42:29 GMT
NOW_S = 1795336949.0


@pytest.mark.parametrize("failures", range(1, 12))
def test_the_longest_delay_doubles_up_to_the_cap(failures: int) -> None:
    """From 1 s, doubled with each failure, to 5 minutes."""
    assert math.isclose(delay_s(failures, 1.0), min(300.0, 2.0 ** (failures - 1)))


@given(failures=st.integers(0, 10**9), random=st.floats(0, 1, exclude_max=True))
def test_any_delay_is_bounded(failures: int, random: float) -> None:
    """Full jitter: from nothing up to the cap, after any number of failures."""
    assert 0.0 <= delay_s(failures, random) <= LONGEST_DELAY_S


def test_a_fleet_is_spread_over_the_whole_delay() -> None:
    """Half of the jitter is half of the delay: no part of it is fixed."""
    assert (delay_s(1, 0.0), delay_s(1, 0.5)) == (0.0, FIRST_DELAY_S / 2)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1e9", None),
        ("\u0663", None),  # a digit to str.isdigit, not to HTTP
        ("0", 0.0),
        (" 120 ", 120.0),
        ("1.5", 1.5),
        ("86400", LONGEST_RETRY_AFTER_S),
        ("9" * 400, LONGEST_RETRY_AFTER_S),
        ("Sun, 22 Nov 2026 08:42:59 GMT", 30.0),
        ("Sun, 22 Nov 2026 08:42:00 GMT", 0.0),
        ("Thu, 22 Nov 2096 08:42:59 GMT", LONGEST_RETRY_AFTER_S),
        ("Sun, 22 Nov 2026 08:42:60 GMT", 30.0),
        ("Sun, 32 Nov 2026 08:42:59 GMT", None),
        ("Sun, 22 Nov 0000 08:42:59 GMT", None),
        ("Sun, 22 Nov 2026 08:42:59 CET", None),
        ("2026-11-22T08:42:59Z", None),
    ],
)
def test_retry_after_has_two_forms(header: str | None, seconds: float | None) -> None:
    """Seconds or a date, at most an hour; anything else counts as no header."""
    assert retry_after(header, NOW_S) == seconds


@given(st.text())
def test_every_header_has_a_bounded_result(header: str) -> None:
    """For any text, the delay is None or within bounds."""
    wish = retry_after(header, NOW_S)
    assert wish is None or 0.0 <= wish <= LONGEST_RETRY_AFTER_S


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_2xx_is_a_success(status: int) -> None:
    """Only a status of 2xx delivers an alert."""
    assert classify_status(status, None, NOW_S) == Delivered()


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (408, FailureReason.TIMEOUT),
        (425, FailureReason.CLIENT_ERROR),
        (429, FailureReason.RATE_LIMITED),
        (500, FailureReason.SERVER_ERROR),
        (503, FailureReason.SERVER_ERROR),
        (599, FailureReason.SERVER_ERROR),
        (101, FailureReason.OTHER),
        (600, FailureReason.OTHER),
    ],
)
def test_temporary_failures_are_retried(status: int, reason: FailureReason) -> None:
    """Timeouts, limits and server errors; the delay of the receiver counts."""
    outcome = RetryLater(reason=reason, detail=f"status {status}", after_s=7.0)
    assert classify_status(status, "7", NOW_S) == outcome


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (301, FailureReason.REDIRECT),
        (302, FailureReason.REDIRECT),
        (308, FailureReason.REDIRECT),
        (400, FailureReason.CLIENT_ERROR),
        (401, FailureReason.CLIENT_ERROR),
        (404, FailureReason.CLIENT_ERROR),
        (410, FailureReason.CLIENT_ERROR),
    ],
)
def test_permanent_failures_are_rejected(status: int, reason: FailureReason) -> None:
    """A redirect is not followed, and the same request would get the same 4xx."""
    assert classify_status(status, None, NOW_S) == Rejected(
        reason=reason, detail=f"status {status}"
    )


@given(st.integers(), st.none() | st.text())
def test_every_status_has_an_outcome(status: int, header: str | None) -> None:
    """The classification is total."""
    assert isinstance(classify_status(status, header, NOW_S), (Delivered, RetryLater, Rejected))
