"""Durations as people write them: `500ms`, `10s`, `15m`, `4h`, `1d`."""

from __future__ import annotations

import re

UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

#: Seconds; a hundred years. More digits can mean infinity, which no clock can reach.
LONGEST_S = 36500 * UNITS_S["d"]

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", re.ASCII)


def parse(text: str) -> float:
    """Return the seconds that `text` stands for.

    Raises ValueError where it is no number followed by ms, s, m, h or d.
    """
    found = _DURATION.fullmatch(text.strip())
    if not found:
        raise ValueError("a number followed by ms, s, m, h or d, such as 500ms, 10s, 15m, 4h, 1d")
    seconds = float(found[1]) * UNITS_S[found[2]]
    if seconds > LONGEST_S:
        raise ValueError("a duration of at most 36500d")
    return seconds


def show(seconds: float) -> str:
    """Return `seconds` in the largest unit that keeps it short, such as `1.5s`, `2m`, `4h`."""
    if 0 < seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("m", 60.0)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.3g}s" if seconds < 100 else f"{seconds:.0f}s"


def rough(seconds: float) -> str:
    """Return `seconds` as people say them: `40s`, `12m`, `3h5m`, `2d4h`."""
    left = int(seconds)
    days, left = divmod(left, 86400)
    hours, left = divmod(left, 3600)
    minutes, left = divmod(left, 60)
    parts = [(days, "d"), (hours, "h"), (minutes, "m"), (left, "s")]
    first = next((at for at, (size, _) in enumerate(parts) if size), 3)
    second = first + 1 if first < 2 else first  # minutes and seconds are not worth two units
    return "".join(f"{size}{unit}" for size, unit in parts[first : second + 1] if size) or "0s"


def age(seconds: float) -> str:
    """Return a time by its two largest units, such as `3d4h`."""
    left = int(seconds)
    for size, unit, smaller, rest in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "m"),
        (60, "m", 1, "s"),
    ):
        if left >= size:
            return f"{left // size}{unit}{left % size // smaller}{rest}"
    return f"{left}s"


def short(seconds: float) -> str:
    """Return a short time: `38 ms`, `4.1 s`, `5m3s`."""
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    return f"{seconds:.1f} s" if seconds < 60 else age(seconds)
