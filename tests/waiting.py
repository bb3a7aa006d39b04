"""Wait for a condition, with a deadline that a busy machine meets too."""

from __future__ import annotations

import http.client
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Value = TypeVar("Value")

#: Seconds until a test fails that waits. No test needs them all, unless it fails.
DEADLINE_S = 60.0
_LOOK_EVERY_S = 0.02


def wait_until(
    probe: Callable[[], Value | None], what: str = "the condition", deadline_s: float = DEADLINE_S
) -> Value:
    """Return the first true result of `probe`. Raises AssertionError after the deadline.

    A probe that raises OSError or HTTPException has no result yet: the server that it asks may
    be restarting.
    """
    end_s = time.monotonic() + deadline_s
    while True:
        why = ""
        try:
            if result := probe():
                return result
        except (OSError, http.client.HTTPException) as error:
            why = f" ({error!r})"
        assert time.monotonic() < end_s, f"waited {deadline_s:.0f} s for {what}{why}"
        time.sleep(_LOOK_EVERY_S)
