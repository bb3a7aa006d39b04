"""What is counted: lives of a process, observations, attempts; and how durations are written."""

from __future__ import annotations

import pytest

from fpm_listener import durations
from fpm_listener.delivery.attempt import Delivered, DropReason, FailureReason, RetryLater
from fpm_listener.delivery.receiver_counters import SECONDS_BUCKETS, ReceiverCounters, add_up
from fpm_listener.histogram import Histogram, merge
from fpm_listener.monitor.process_view import RESTART_BUCKETS_S
from tests.unit.monitor.engine_scenario import EPOCH, Scenario


@pytest.mark.parametrize(
    ("lines", "counts"),
    [
        (["0 starting", "3 running"], (1, 0, 0, 0, 0, 0)),
        (["0 starting", "1 backoff"], (1, 0, 0, 1, 0, 0)),
        (["0 starting", "1 backoff", "2 fatal"], (1, 0, 0, 1, 1, 0)),
        (["0 starting", "3 running", "9 crash"], (1, 1, 1, 0, 0, 0)),
        (["0 starting", "3 running", "9 exit"], (1, 1, 0, 0, 0, 0)),
        (["0 starting", "3 running", "9 stopping", "10 stopped"], (1, 0, 0, 0, 0, 0)),
        (["0 starting", "3 running", "9 crash", "11 starting"], (2, 1, 1, 0, 0, 1)),
    ],
)
def test_counters_of_one_run(lines: list[str], counts: tuple[int, ...]) -> None:
    """Starts, exits, unexpected ones, failed starts, FATAL, and starts that follow a death."""
    view = Scenario().play(*lines).view()

    assert counts == (
        *(view.starts, view.exits, view.unexpected_exits, view.failed_starts),
        *(view.fatal, view.restarts),
    )


def test_start_and_end_of_a_run() -> None:
    """Moments are wall time; the time down goes into the histogram."""
    view = Scenario().play("1 starting", "4 running", "9 crash", "9.2 starting").view()

    assert (view.start_time_s, view.last_exit_s) == (EPOCH + 9.2, EPOCH + 9)
    assert view.restart_seconds is not None
    assert view.restart_seconds.counts == (0, 0, 1, *[0] * 9)
    assert view.restart_seconds.total == pytest.approx(0.2)


def test_a_histogram() -> None:
    """An observation is in the first bucket whose bound it does not exceed."""
    one, other = Histogram((1.0, 2.0)), Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 9.0):
        one.observe(value)
    other.observe(2.0)

    assert one.view().counts == (2, 1, 1)
    assert one.view().total == 12.0
    both = merge([one.view(), other.view()])
    assert (both.bounds, both.counts, both.total) == ((1.0, 2.0), (2, 2, 1), 14.0)


def test_the_bounds_in_metrics() -> None:
    """Dashboards and rules know them."""
    assert RESTART_BUCKETS_S == (0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 30, 60)
    assert SECONDS_BUCKETS == (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 3600)


def test_attempts() -> None:
    """Each is counted; the last failure is shown until a yes."""
    tally = ReceiverCounters()
    assert (tally.sent, tally.last_failure) == (0, "")
    assert set(tally.failed) == {reason.value for reason in FailureReason}
    assert set(tally.dropped) == {reason.value for reason in DropReason}
    assert not any((*tally.failed.values(), *tally.dropped.values()))

    tally.count(RetryLater(reason=FailureReason.REFUSED, detail="status 500"))
    assert (tally.sent, tally.failed["refused"], tally.last_failure) == (1, 1, "status 500")
    tally.count(RetryLater(reason=FailureReason.TIMEOUT))
    assert (tally.sent, tally.failed["timeout"], tally.last_failure) == (2, 1, "timeout")
    tally.count(Delivered())
    assert (tally.sent, sum(tally.failed.values()), tally.last_failure) == (3, 2, "")
    assert add_up([{"a": 1, "b": 2}, {"a": 3, "b": 0}]) == {"a": 4, "b": 2}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("10s", 10),
        (" 1.5s ", 1.5),
        ("15m", 900),
        ("4h", 14400),
        ("1d", 86400),
        ("36500d", 36500 * 86400),
    ],
)
def test_a_duration(text: str, seconds: float) -> None:
    """A number and its unit."""
    assert durations.parse(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "s", "10 s", "1s2m", "36501d", "-1s", "1.s", "1w"])
def test_what_is_no_duration(text: str) -> None:
    """It is refused with an example."""
    with pytest.raises(ValueError, match="36500d" if text == "36501d" else "such as 500ms"):
        durations.parse(text)


@pytest.mark.parametrize(
    ("seconds", "short", "age"),
    [
        (0, "0s", "0s"),
        (0.25, "250ms", "0s"),
        (1, "1s", "1s"),
        (1.5, "1.5s", "1s"),
        (59, "59s", "59s"),
        (60, "1m", "1m"),
        (90, "90s", "1m30s"),
        (99.96, "100s", "1m39s"),
        (100, "100s", "1m40s"),
        (1234, "1234s", "20m34s"),
        (3600, "1h", "1h"),
        (5400, "90m", "1h30m"),
        (11100, "185m", "3h5m"),
        (86400, "1d", "1d"),
        (90000, "25h", "1d1h"),
        (86460, "1441m", "1d"),
        (187200 + 59, "187259s", "2d4h"),
    ],
)
def test_a_duration_is_shown(seconds: float, short: str, age: str) -> None:
    """Exactly, in the largest unit that fits; or roughly."""
    assert durations.show(seconds) == short
    assert durations.age(seconds) == age
