"""Durations: what people write, and what is refused."""

from __future__ import annotations

import pytest

from fpm_listener.durations import LONGEST_S, age, parse, short, show


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("1.5s", 1.5), (" 15m ", 900.0), ("36500d", LONGEST_S)]
)
def test_a_duration(text: str, seconds: float) -> None:
    """A number and a unit are seconds."""
    assert parse(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "m", "-1s", "1 s", "1e9s", "٣s"])
def test_what_is_no_duration(text: str) -> None:
    """Everything else is refused, with what is allowed."""
    with pytest.raises(ValueError, match="a number followed by ms, s, m, h or d"):
        parse(text)


@pytest.mark.parametrize("text", ["36501d", "9" * 400 + "s", "9" * 5000 + "ms"])
def test_a_duration_that_no_clock_reaches(text: str) -> None:
    """More digits would be infinity, which raises wherever seconds become a date or a timeout."""
    with pytest.raises(ValueError, match="at most 36500d"):
        parse(text)


def test_what_is_shown_can_be_written() -> None:
    """A duration as it is shown means the same."""
    for seconds in (0.25, 1.0, 90.0, 7200.0, LONGEST_S):
        assert parse(show(seconds)) == seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0s"),
        (0.4, "0s"),
        (40, "40s"),
        (303, "5m3s"),
        (720, "12m"),
        (11100, "3h5m"),
        (259_500, "3d"),
    ],
)
def test_an_age_has_its_two_largest_units(seconds: float, text: str) -> None:
    """A unit that is zero is left out."""
    assert age(seconds) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.038, "38 ms"), (4.12, "4.1 s"), (303, "5m3s")])
def test_a_short_time(seconds: float, text: str) -> None:
    """Below a minute there are fractions."""
    assert short(seconds) == text
