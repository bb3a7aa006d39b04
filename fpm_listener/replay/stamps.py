"""Finds the time in a line of a log."""

from __future__ import annotations

import re
from datetime import datetime

_SUPERVISORD = re.compile(
    rb"(\d{4})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d),(\d{3}) (?:CRIT|ERRO|WARN|INFO|DEBG|TRAC|BLAT) "
)
_FPM = re.compile(rb"\[(\d\d)-([A-Z][a-z]{2})-(\d{4}) (\d\d):(\d\d):(\d\d)(?:\.(\d{6}))?\] ")
_MONTHS = {
    name: number
    for number, name in enumerate(
        b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), start=1
    )
}


def find_time(line: bytes) -> tuple[str, datetime | None]:
    """Return whose stamp a line begins with (`supervisord`, `fpm` or empty), and local time."""
    try:
        if found := _SUPERVISORD.match(line):
            year, month, day, hour, minute, second, milli = map(int, found.groups())
            return "supervisord", datetime(  # noqa: DTZ001
                year, month, day, hour, minute, second, milli * 1000
            )
        if found := _FPM.match(line):
            name, *rest = found.group(2, 1, 3, 4, 5, 6, 7)
            day, year, hour, minute, second, micro = (int(group or 0) for group in rest)
            month = _MONTHS.get(name, 0)
            return "fpm", datetime(year, month, day, hour, minute, second, micro)  # noqa: DTZ001
    except ValueError:
        pass
    return "", None
