"""Moments as machines read them."""

from __future__ import annotations

from datetime import datetime, timezone


def rfc3339(wall_s: float | None) -> str:
    """Return RFC 3339, in UTC, with milliseconds."""
    moment = datetime.fromtimestamp(wall_s or 0.0, tz=timezone.utc)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"
