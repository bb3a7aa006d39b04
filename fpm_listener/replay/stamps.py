"""Finds the time in a line of a log, and converts it into Unix seconds.

Laws:
1. A line is untrusted text: an impossible date is not a time, and nothing raises.
2. A time without a zone is local time of the zone that `StampReader` got. The hour that a change
   of the clocks repeats is resolved with the lines before it, and counted.

Source of the formats: supervisor/loggers.py (4.2.5 and 4.3.0); php-src sapi/fpm/fpm/zlog.c (7.4 to
8.5; microseconds with log_level = debug); nginx and Monolog as seen in public logs.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from datetime import tzinfo

#: php-fpm's stamp, with microseconds in debug mode.
FPM_STAMP = rb"\[(\d\d)-([A-Z][a-z]{2})-(\d{4}) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?\] "
_FPM = re.compile(FPM_STAMP)
#: Of supervisord, of Docker, of nginx, of Monolog and others.
_ISO = re.compile(
    rb"\[?(\d{4})[-/](\d\d)[-/](\d\d)[T ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?"
    rb" ?(Z|UTC|[+-]\d\d:?\d\d)?(?=[\] \t,:]|$)"
)
#: Of syslog and journalctl: without a year.
_SYSLOG = re.compile(rb"([A-Z][a-z]{2}) ([ \d]\d) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))? ")
#: Bytes of a line that can belong to its time.
_LONGEST = 64
_MONTHS = {
    name: number
    for number, name in enumerate(
        b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), start=1
    )
}
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - local times are compared with it
_DAY_S = 86400.0
#: Hours whose offset from UTC is remembered: looking it up costs ten times as much.
_HOURS = 100
#: Seconds by which a line can be earlier than the line before it, without a change of the clocks.
_DISORDER_S = 120.0


class Stamp(NamedTuple):
    """The time that a line contains."""

    local: datetime  #: naive; without a year it has the year of `StampReader`
    zone: tzinfo | None  #: None = the line has no zone


def find(line: bytes, year: int) -> Stamp | None:
    """Return the time at the beginning of a line; year: of a time without a year."""
    head = line[:_LONGEST]
    try:
        if found := _FPM.match(head):
            day, name, *rest = found.groups()
            return Stamp(_local(int(rest[0]), _MONTHS[name], int(day), *rest[1:]), None)
        if found := _ISO.match(head):
            of_year, of_month, of_day, *rest = found.groups()
            local = _local(int(of_year), int(of_month), int(of_day), *rest[:4])
            return Stamp(local, _zone(rest[4]))
        if found := _SYSLOG.match(head):
            name, day, *rest = found.groups()
            return Stamp(_local(year, _MONTHS[name], int(day), *rest), None)
    except (ValueError, KeyError, OverflowError):
        pass
    return None


def _local(
    year: int, month: int, day: int, hour: bytes, minute: bytes, second: bytes, fraction: bytes
) -> datetime:
    micro = int((fraction or b"0").ljust(6, b"0")[:6])
    # 60 = a leap second
    return datetime(  # noqa: DTZ001 - its zone is another part of `Stamp`
        year, month, day, int(hour), int(minute), min(int(second), 59), micro
    )


def _zone(text: bytes | None) -> tzinfo | None:
    if text is None:
        return None
    if text in {b"Z", b"UTC"}:
        return timezone.utc
    minutes = int(text[1:3]) * 60 + int(text[-2:])
    return timezone(timedelta(minutes=-minutes if text[:1] == b"-" else minutes))


class StampReader:
    """Converts the times of one file, in the order of its lines."""

    def __init__(self, zone: tzinfo | None, latest_s: float) -> None:
        """zone: None = this machine's; latest_s: Unix seconds, no line of the file is later."""
        self.ambiguous = 0  #: times in an hour that a change of the clocks repeats
        self.without_zone = 0  #: times that needed `zone`
        self._zone = zone
        self._latest_s = latest_s
        self._year = datetime.fromtimestamp(latest_s, timezone.utc).year
        self._last_s: float | None = None
        self._hours: dict[bytes, float] = {}  # by the bytes of a stamp up to its hour
        self._offsets: dict[int, float | None] = {}  # of the last hours

    def read(self, line: bytes) -> float | None:
        """Return the Unix seconds of the time at the beginning of a line."""
        if (at_s := self._fast(line)) is not None:
            self._last_s = at_s
            self.without_zone += 1
            return at_s
        stamp = find(line, self._year)
        if stamp is None:
            return None
        try:
            at_s = self._convert(line, stamp)
        except (ValueError, OverflowError, OSError):  # the year 1 or 9999
            return None
        self._last_s = at_s
        return at_s

    def _fast(self, line: bytes) -> float | None:
        """Return the time of supervisord or php-fpm in an hour of which the beginning is known."""
        if line[:1] == b"[":
            key, digits, end = line[:16], line[16:18] + line[19:21], line[21:23] == b"] "
            milli = b"0"
        else:
            key, milli = line[:14], line[20:23]
            digits, end = line[14:16] + line[17:19], line[19:20] + line[23:24] == b", "
        hour_s = self._hours.get(key)
        if hour_s is None or not end or not (digits + milli).isdigit() or digits[2:] > b"59":
            return None
        return hour_s + int(digits[:2]) * 60 + int(digits[2:]) + int(milli) / 1000

    def _remember(self, line: bytes, local: datetime, offset_s: float) -> None:
        """Remember what the bytes of a stamp up to its hour stand for."""
        if len(self._hours) >= _HOURS:
            self._hours.clear()
        hour = local.replace(minute=0, second=0, microsecond=0)
        key = line[: 16 if line[:1] == b"[" else 14]
        self._hours[key] = (hour - _EPOCH).total_seconds() - offset_s

    def _convert(self, line: bytes, stamp: Stamp) -> float:
        if stamp.zone is not None:
            return stamp.local.replace(tzinfo=stamp.zone).timestamp()
        self.without_zone += 1
        local = stamp.local
        if line[:1].isalpha() and self._seconds(local, 0) > self._latest_s + _DAY_S:
            local = local.replace(year=local.year - 1)  # of syslog
        offset_s = self._offset_s(local)
        if offset_s is not None:
            self._remember(line, local, offset_s)
            return (local - _EPOCH).total_seconds() - offset_s
        first_s, second_s = self._seconds(local, 0), self._seconds(local, 1)
        if second_s <= first_s:  # equal, or a time that the clocks leave out
            return first_s
        self.ambiguous += 1
        is_second = self._last_s is not None and self._last_s > first_s + _DISORDER_S
        return second_s if is_second else first_s

    def _offset_s(self, local: datetime) -> float | None:
        """Return the offset from UTC in the hour of a time; None = it changes around this hour."""
        key = local.toordinal() * 24 + local.hour
        if key not in self._offsets:
            if len(self._offsets) >= _HOURS:
                self._offsets.clear()
            hour = local.replace(minute=0, second=0, microsecond=0)
            found = {
                (one - _EPOCH).total_seconds() - self._seconds(one, fold)
                for one in (hour, hour + timedelta(minutes=59, seconds=59))
                for fold in (0, 1)
            }
            self._offsets[key] = found.pop() if len(found) == 1 else None
        return self._offsets[key]

    def _seconds(self, local: datetime, fold: int) -> float:
        return local.replace(tzinfo=self._zone, fold=fold).timestamp()
