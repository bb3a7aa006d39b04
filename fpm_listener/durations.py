"""Durations in settings and in texts: `500ms`, `10s`, `15m`, `4h`, `1d`."""

from __future__ import annotations

import re

UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

#: Seconds; a hundred years. More digits can mean infinity, which no clock can reach.
LONGEST_S = 36500 * UNITS_S["d"]


def parse(text: str) -> float:
    """Return the seconds of `text`.

    Raises ValueError where it is not a number followed by ms, s, m, h or d.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", text.strip(), re.ASCII)
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
    for unit in ("d", "h", "m"):
        if seconds >= UNITS_S[unit] and seconds % UNITS_S[unit] == 0:
            return f"{seconds / UNITS_S[unit]:.0f}{unit}"
    return f"{seconds:.3g}s" if seconds < 100 else f"{seconds:.0f}s"


def age(seconds: float) -> str:
    """Return a time by its two largest units, such as `3d4h`, `12m` or `5m3s`; at least `0s`."""
    left = max(0, int(seconds))  # a clock can go back
    counts = []
    for unit in ("d", "h", "m", "s"):
        count, left = divmod(left, int(UNITS_S[unit]))
        counts.append(f"{count}{unit}" if count else "")
    first = next((at for at, text in enumerate(counts) if text), 3)
    return "".join(counts[first : first + 2]) or "0s"


def short(seconds: float) -> str:
    """Return a short time: `38 ms`, `4.1 s`, `5m3s`."""
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    return f"{seconds:.1f} s" if seconds < 60 else age(seconds)
