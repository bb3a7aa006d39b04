"""`--since`, `--until` and `--tz`."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from fpm_listener.replay.time_range import read_moment, read_zone
from fpm_listener.values import FpmListenerError

#: 2026-11-28 10:00:00 UTC
NOW_S = 1795860000.0


@pytest.mark.parametrize(
    ("text", "away_s"),
    [
        ("30m", -1800.0),
        ("2d", -2 * 86400.0),
        ("2026-11-28", -10 * 3600.0),
        ("2026-11-28 09:30", -1800.0),
        ("2026-11-28T09:30:15Z", -1785.0),
        ("2026-11-28T09:30:00+01:00", -5400.0),
        ("09:00", -3600.0),
    ],
)
def test_moments(text: str, away_s: float) -> None:
    """A duration before now, a date, a time of today, with and without a zone."""
    assert read_moment(text, "--since", timezone.utc, NOW_S) == NOW_S + away_s


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2026-13-01", "25:00", "2026", "2026-11-28 ", "-5m"]
)
def test_texts_that_are_no_moment(text: str) -> None:
    """The error names the option, and shows what is possible; a space at the end is no mistake."""
    if text.endswith(" "):
        assert read_moment(text, "--until", timezone.utc, NOW_S) < NOW_S
        return
    with pytest.raises(FpmListenerError, match=r"--until .*Use for example 30m"):
        read_moment(text, "--until", timezone.utc, NOW_S)


@pytest.mark.parametrize(
    ("text", "hours"),
    [("UTC", 0), ("+02:00", 2), ("-0500", -5), ("+1", 1), ("Asia/Tokyo", 9), ("UTC+3", 3)],
)
def test_zones(text: str, hours: int) -> None:
    """Names, and differences from UTC."""
    offset = datetime(2026, 11, 28, tzinfo=read_zone(text)).utcoffset()

    assert offset == timedelta(hours=hours)


@pytest.mark.parametrize(
    "text", ["", "Mars/Base", "../../etc/passwd", "+99:00", "Europe", "x" * 9999]
)
def test_texts_that_are_no_zone(text: str) -> None:
    """The error shows what is possible."""
    with pytest.raises(FpmListenerError, match=r"--tz .*no such time zone. Use for example UTC"):
        read_zone(text)
