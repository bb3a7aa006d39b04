"""Times of the week at which a receiver gets no alerts: `Mon-Fri 00:00-06:00, Sat-Sun`.

Laws:
1. An alert is delayed, never lost: it is sent when the muted time is over.
2. A range whose end is before its beginning passes midnight, and belongs to its first day.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_MINUTES = 24 * 60
_WEEK_MINUTES = 7 * _DAY_MINUTES
_MONDAY = datetime(1970, 1, 5)  # noqa: DTZ001 - local time, of any place
_EXAMPLE = "such as Mon-Fri 22:00-06:00, Sat-Sun, 12:00-13:00"
_EXPECTED = f"times of the week, {_EXAMPLE}"


@dataclass(frozen=True, slots=True)
class MuteTimes:
    """Minutes of the local week, as ranges; an end can be in the next week."""

    ranges: tuple[tuple[int, int], ...]
    location: tzinfo | None = None  #: None = the time of this host

    def ends_s(self, wall_s: float) -> float | None:
        """Return the wall time at which the present muted time ends; None if it is not muted."""
        minute = self._minute(wall_s)
        end = minute
        for _ in range(len(self.ranges) + 1):  # ranges that touch are one
            further = max((e for e in self._ends(end)), default=end)
            if further <= end:
                break
            end = further
        if end == minute:
            return None
        # Elapsed time first, then corrected: the clocks may change in between.
        return self._moment(wall_s, end - minute)

    def within_s(self, begin_s: float, end_s: float) -> float:
        """Return how many seconds between two wall times are muted.

        By the local clock, so a change of the clocks adds or removes an hour.
        """
        begin, end = self._minutes_of(begin_s), self._minutes_of(end_s)
        muted, upto = 0.0, begin
        first_week = int(begin // _WEEK_MINUTES) - 1
        for week in range(first_week, int(end // _WEEK_MINUTES) + 1):
            for from_, to in self.ranges:
                low = max(upto, week * _WEEK_MINUTES + from_)
                high = min(end, week * _WEEK_MINUTES + to)
                if high > low:
                    muted, upto = muted + high - low, high
        return muted * 60.0

    def _minutes_of(self, wall_s: float) -> float:
        """Return local minutes since a Monday long ago."""
        local = self._local(wall_s)
        return (local - _MONDAY).total_seconds() / 60.0

    def _ends(self, minute: int) -> list[int]:
        """Return the ends of the ranges that contain `minute`, which can be in the next week."""
        base = minute - minute % _WEEK_MINUTES
        return [
            base + week + end
            for week in (-_WEEK_MINUTES, 0, _WEEK_MINUTES)
            for begin, end in self.ranges
            if base + week + begin <= minute < base + week + end
        ]

    def _local(self, wall_s: float) -> datetime:
        return datetime.fromtimestamp(wall_s, tz=self.location).replace(tzinfo=None)

    def _minute(self, wall_s: float) -> int:
        local = self._local(wall_s)
        return local.weekday() * _DAY_MINUTES + local.hour * 60 + local.minute

    def _moment(self, wall_s: float, minutes: int) -> float:
        """Return the wall time that is `minutes` local minutes after the minute of `wall_s`."""
        start_s = wall_s - wall_s % 60
        wanted = self._local(start_s) + timedelta(minutes=minutes)
        moment_s = start_s + minutes * 60
        # If the clocks change in between, add the difference, but never go back in time.
        return max(moment_s + (wanted - self._local(moment_s)).total_seconds(), start_s + 60)


def parse(text: str, location: tzinfo | None = None) -> MuteTimes:
    """Return the times in `text`. Raises ValueError with the expected format."""
    ranges = [one for part in text.split(",") for one in _part(part.strip())]
    if (
        len({at % _WEEK_MINUTES for begin, end in ranges for at in range(begin, end)})
        == _WEEK_MINUTES
    ):
        raise ValueError(f"times that leave a part of the week unmuted, {_EXAMPLE}")
    return MuteTimes(tuple(sorted(ranges)), location)


def _part(text: str) -> list[tuple[int, int]]:
    found = re.fullmatch(
        r"(?:([a-z]{3})(?:-([a-z]{3}))?)?\s*(?:(\d\d):(\d\d)-(\d\d):(\d\d))?",
        text.lower(),
    )
    if not text or not found:
        raise ValueError(_EXPECTED)
    first, last, *clock = found.groups()
    begin, end = 0, _DAY_MINUTES
    if clock[0] is not None:
        begin, end = _minutes(clock[0], clock[1]), _minutes(clock[2], clock[3])
    if begin == end:
        raise ValueError(_EXPECTED)
    if end < begin:
        end += _DAY_MINUTES
    return [(day * _DAY_MINUTES + begin, day * _DAY_MINUTES + end) for day in _days(first, last)]


def _days(first: str | None, last: str | None) -> list[int]:
    if first is None:
        return list(range(7))
    last = last or first
    if first not in _DAYS or last not in _DAYS:
        raise ValueError(_EXPECTED)
    begin, end = _DAYS.index(first), _DAYS.index(last)
    return [day % 7 for day in range(begin, end + 1 + (7 if end < begin else 0))]


def _minutes(hours: str, minutes: str) -> int:
    if int(hours) > 24 or int(minutes) > 59 or (int(hours) == 24 and int(minutes)):
        raise ValueError(_EXPECTED)
    return int(hours) * 60 + int(minutes)
