"""Times of the week at which a receiver is left in peace."""

from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm_listener.settings.mute_times import MuteTimes, parse

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str, location: timezone | ZoneInfo = timezone.utc) -> float:
    """Return wall seconds of a local moment; 2026-11-23 is a Monday."""
    return datetime.fromisoformat(text).replace(tzinfo=location).timestamp()


def ends(quiet: MuteTimes, text: str) -> str | None:
    """Return the end of the quiet at a moment, in UTC, without its year."""
    found = quiet.ends_s(at(text))
    return (
        None if found is None else f"{datetime.fromtimestamp(found, timezone.utc):%m-%d %H:%M:%S}"
    )


@pytest.mark.parametrize(
    ("times", "moment", "end"),
    [
        ("Mon-Fri 00:00-06:00", "2026-11-23 05:59:59", "11-23 06:00:00"),
        ("Mon-Fri 00:00-06:00", "2026-11-23 06:00:00", None),
        ("Mon-Fri 00:00-06:00", "2026-11-28 05:00:00", None),
        ("Sat", "2026-11-28 05:00:00", "11-29 00:00:00"),
        ("Sat-Sun", "2026-11-28 05:00:00", "11-30 00:00:00"),
        ("Mon-Fri 22:00-06:00", "2026-11-23 05:00:00", None),  # Sunday's night is not named
        ("Mon-Fri 22:00-06:00", "2026-11-24 05:00:00", "11-24 06:00:00"),
        ("Fri 22:00-06:00, Sat-Sun", "2026-11-27 23:00:00", "11-30 00:00:00"),
        ("Sun 22:00-06:00", "2026-11-23 05:00:00", "11-23 06:00:00"),  # over the week's end
        ("Fri-Mon 12:00-13:00", "2026-11-29 12:30:00", "11-29 13:00:00"),
        ("12:00-13:00", "2026-11-25 12:30:00", "11-25 13:00:00"),
        ("18:00-24:00", "2026-11-25 18:00:00", "11-26 00:00:00"),
    ],
)
def test_when_it_is_quiet(times: str, moment: str, end: str | None) -> None:
    """A range over midnight belongs to the day on which it begins."""
    assert ends(parse(times, timezone.utc), moment) == end


def test_local_time_and_its_changes() -> None:
    """The clocks go back in the night of 2026-10-25: the quiet lasts an hour longer."""
    quiet = parse("Sat 22:00-06:00", BERLIN)

    begins, over = at("2026-10-24 22:00:00", BERLIN), at("2026-10-25 06:00:00", BERLIN)
    assert over - begins == 9 * 3600
    assert quiet.ends_s(begins) == over
    assert quiet.ends_s(over) is None


def test_how_much_of_a_time_is_quiet() -> None:
    """Whole weeks and parts of ranges, over midnight and over the week's end."""
    quiet = parse("Mon-Fri 22:00-06:00, Sat-Sun", timezone.utc)
    week = 5 * 8 * 3600 + 2 * 86400 - 6 * 3600  # Friday's night is a part of Saturday's day

    assert quiet.within_s(at("2026-11-23 00:00:00"), at("2026-11-30 00:00:00")) == week
    assert quiet.within_s(at("2026-11-23 05:00:00"), at("2026-12-14 05:00:00")) == 3 * week
    assert quiet.within_s(at("2026-11-23 23:00:00"), at("2026-11-24 07:00:00")) == 7 * 3600
    assert quiet.within_s(at("2026-11-23 08:00:00"), at("2026-11-23 20:00:00")) == 0
    assert quiet.within_s(at("2026-11-28 08:00:30"), at("2026-11-28 08:01:00")) == 30


def test_an_hour_that_comes_twice() -> None:
    """The end is ahead in both of them."""
    quiet = parse("22:00-02:30", BERLIN)
    second = datetime(2026, 10, 25, 2, 10, fold=1, tzinfo=BERLIN).timestamp()

    assert quiet.ends_s(second) == second + 20 * 60


@given(
    times=st.sampled_from(
        ["Mon-Fri 22:00-06:00, Sat-Sun", "12:00-13:00", "Wed", "Sun 23:00-01:00"]
    ),
    hours=st.floats(0, 24 * 21),
)
def test_quiet_is_over_when_it_says_so(times: str, hours: float) -> None:
    """At the end that is told, and not a second before it."""
    quiet = parse(times, timezone.utc)
    moment = at("2026-11-23 00:00:00") + timedelta(hours=hours).total_seconds()
    end = quiet.ends_s(moment)

    if end is not None:
        assert moment < end <= moment + 7 * 86400
        assert quiet.ends_s(end) is None
        assert quiet.ends_s(end - 1) == end


@pytest.mark.parametrize(
    "times",
    [
        *("", "Mon-", "Mo", "25:00-26:00", "10:00-10:00", "10-12", "Mon Tue", "Mon-Sun"),
        *("00:00-24:00", "Xyz", "Mon-Xyz", "Xyz-Mon", "10:60-11:00", "10:00-11:60", "24:01-24:30"),
        *("Mon,", "Mon 10:00", "10:00-25:00"),
    ],
)
def test_what_is_no_time_of_the_week(times: str) -> None:
    """Some of the week must be left, else nothing was ever told."""
    with pytest.raises(ValueError, match="Mon-Fri 22:00-06:00"):
        parse(times)


@pytest.mark.parametrize(
    ("times", "ranges"),
    [
        ("Mon", ((0, 1440),)),
        ("tue 00:00-24:00", ((1440, 2880),)),
        ("Sun-Mon 23:59-00:01", ((1439, 1441), (6 * 1440 + 1439, 6 * 1440 + 1441))),
        ("Sat 10:00-10:59, Mon", ((0, 1440), (5 * 1440 + 600, 5 * 1440 + 659))),
    ],
)
def test_the_minutes_of_the_week(times: str, ranges: tuple[tuple[int, int], ...]) -> None:
    """They are sorted; a range over midnight ends on the next day."""
    assert parse(times, timezone.utc).ranges == ranges
