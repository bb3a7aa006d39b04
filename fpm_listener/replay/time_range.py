"""Reads `--since`, `--until` and `--tz`."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fpm_listener import durations
from fpm_listener.values import FpmListenerError

if TYPE_CHECKING:
    from datetime import tzinfo

_MOMENT = re.compile(
    r"(?:(\d{4})-(\d\d)-(\d\d)(?:[T ](?=\d)|$))?(?:(\d\d):(\d\d)(?::(\d\d)(?:[.,]\d{1,9})?)?)?"
    r" ?(Z|[+-]\d\d:?\d\d)?",
    re.ASCII,
)
_NAME = re.compile(r"[A-Za-z0-9_+/-]{1,64}")
_OFFSET = re.compile(r"(?:UTC|GMT)?([+-])(\d{1,2})(?::?(\d\d))?", re.ASCII)


def read_moment(text: str, option: str, zone: tzinfo | None, now_s: float) -> float:
    """Return the Unix seconds of `30m` (ago), `2026-11-28`, `2026-11-28 10:00` or `10:00`.

    option: its name, for the error. zone: of a time without one; None = this machine's. Raises
    FpmListenerError.
    """
    word = text.strip()
    try:
        return now_s - durations.parse(word)
    except ValueError:
        pass
    found = _MOMENT.fullmatch(word) if word[:1].isdigit() else None
    if found is None:
        raise _no_time(option, text)
    year, month, day, hour, minute, second, offset = found.groups()
    try:
        today = datetime.fromtimestamp(now_s, zone)
        date = (int(year), int(month), int(day)) if year else (today.year, today.month, today.day)
        own = zone if offset is None else timezone.utc if offset == "Z" else _offset(offset)
        return datetime(
            *date, int(hour or 0), int(minute or 0), int(second or 0), tzinfo=own
        ).timestamp()
    except (ValueError, OverflowError, OSError):
        raise _no_time(option, text) from None


def _no_time(option: str, text: str) -> FpmListenerError:
    return FpmListenerError(
        f"{option} {text!r}: it is not a time. Use for example 30m, 2h, 2d (ago), 2026-11-28, "
        "'2026-11-28 10:00', 2026-11-28T10:00:00Z or 10:00 (today)"
    )


def read_zone(text: str) -> tzinfo:
    """Return the zone of `--tz`. Raises FpmListenerError."""
    word = text.strip()
    if word.upper() in {"UTC", "Z", "GMT"}:
        return timezone.utc
    if _OFFSET.fullmatch(word):
        try:
            return _offset(word)
        except ValueError:
            pass
    if (zone := _find_zone(word)) is not None:
        return zone
    if _find_zone("Etc/UTC") is None:
        raise FpmListenerError(
            f"--tz {text!r}: this machine has no data about time zones. Use the difference from "
            "UTC, for example --tz +02:00, or install the package tzdata"
        )
    raise FpmListenerError(
        f"--tz {text!r}: no such time zone. Use for example UTC, Europe/Berlin or +02:00"
    )


def _find_zone(name: str) -> tzinfo | None:
    if not _NAME.fullmatch(name):
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: it is a directory
        return None


def _offset(text: str) -> tzinfo:
    """Return the zone of `+02:00`, `+0200` or `+2`. Raises ValueError."""
    found = _OFFSET.fullmatch(text)
    if found is None:
        raise ValueError
    away = timedelta(hours=int(found[2]), minutes=int(found[3] or 0))
    return timezone(-away if found[1] == "-" else away)
