"""How often the listener sends to a receiver."""

from hypothesis import given
from hypothesis import strategies as st

from fpm_listener.delivery.attempt import FailureReason, RetryLater
from fpm_listener.delivery.rate_limiter import RateLimiter
from fpm_listener.settings.receiver_types import Rate
from tests.samples import DOWN, NO, YES, at


def test_a_window_is_full_until_its_oldest_message_is_over() -> None:
    """Two in ten seconds: the third waits for the first to be ten seconds old."""
    limiter = RateLimiter([Rate(2, 10.0)])
    for second in (0.0, 4.0):
        limiter.count_attempt(at(second))

    assert limiter.budget(at(5.0)) == 0
    assert limiter.free_at_s() == 10.0
    assert limiter.budget(at(10.0)) == 1


def test_the_lowest_of_several_rates_counts() -> None:
    """One a second, but three a minute."""
    limiter = RateLimiter([Rate(1, 1.0), Rate(3, 60.0)])
    for second in (0.0, 1.0, 2.0):
        assert limiter.free_at_s() <= second
        limiter.count_attempt(at(second))

    assert limiter.free_at_s() == 60.0


def test_without_rates_nothing_waits() -> None:
    """No attempt is remembered."""
    limiter = RateLimiter()
    for second in range(1000):
        limiter.count_attempt(at(second))

    assert limiter.budget(at(1000.0)) is None
    assert limiter.free_at_s() == 0.0
    assert len(limiter._attempts) == 0


@given(waits=st.lists(st.floats(0, 30), max_size=80))
def test_no_window_ever_holds_more(waits: list[float]) -> None:
    """At any times: at most 2 in any 10 s, at most 5 in any 60 s."""
    rates = [Rate(2, 10.0), Rate(5, 60.0)]
    limiter, sent, now = RateLimiter(rates), [], 0.0
    for wait in waits:
        now = max(now + wait, limiter.free_at_s())
        limiter.count_attempt(at(now))
        sent.append(now)

    for rate in rates:
        for index in range(len(sent) - rate.messages):
            assert sent[index + rate.messages] - sent[index] >= rate.window_s - 1e-6


def test_the_start_of_a_failure() -> None:
    """From the first failure to the next delivery; a rejection is a failure too."""
    limiter = RateLimiter()
    for second, outcome in ((1.0, DOWN), (2.0, DOWN), (3.0, NO)):
        limiter.record(outcome, at(second), 0.5)
    assert limiter.failing_since_s == 1.0

    limiter.record(YES, at(4.0), 0.5)
    assert limiter.failing_since_s is None


def test_the_operator_retries() -> None:
    """The delay after failures ends; the rates stay."""
    limiter = RateLimiter([Rate(1, 60.0)])
    limiter.count_attempt(at(0.0))
    asked = RetryLater(reason=FailureReason.RATE_LIMITED, after_s=600.0)
    limiter.record(asked, at(0.0), 1.0)
    assert limiter.free_at_s() == 601.0

    limiter.retry_now()
    assert (limiter.free_at_s(), limiter.retry_at_s) == (60.0, 0.0)
