"""The engine's only source of time."""

from __future__ import annotations

import time

from fpm_listener.values import Instant


def read_clocks() -> Instant:
    """Return the present moment on both clocks."""
    return Instant(time.monotonic(), time.time())
