"""Wait for a condition, with a deadline that a busy machine meets too."""

from __future__ import annotations

import http.client
import socket
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Value = TypeVar("Value")

#: Seconds until a test fails that waits. No test needs them all, unless it fails.
DEADLINE_S = 150.0
#: Seconds between two looks, and after a long wait. A look at the metrics needs 8 ms of CPU.
_LOOK_EVERY_S, _LATER_EVERY_S = 0.05, 0.1
_LONG_S = 2.0


def wait_until(
    probe: Callable[[], Value | None], what: str = "the condition", deadline_s: float = DEADLINE_S
) -> Value:
    """Return the first true result of `probe`. Raises AssertionError after the deadline.

    A probe that raises OSError or HTTPException has no result yet: the server that it asks may
    be restarting.
    """
    began_s = time.monotonic()
    while True:
        why = ""
        try:
            if result := probe():
                return result
        except (OSError, http.client.HTTPException) as error:
            why = f" ({error!r})"
        waited_s = time.monotonic() - began_s
        assert waited_s < deadline_s, f"waited {deadline_s:.0f} s for {what}{why}"
        time.sleep(_LOOK_EVERY_S if waited_s < _LONG_S else _LATER_EVERY_S)


def with_longer_timeouts(
    attempt: Callable[[float], Value],
    expected: object,
    timeouts_s: tuple[float, ...] = (0.3, 3.0, 20.0),
) -> Value:
    """Return `expected` as soon as an attempt with one of the timeouts has this result.

    For attempts that always last as long as their timeout: the first one is short, and a busy
    machine needs a longer one. Returns the last result if none is the expected one.
    """
    first_s, *longer_s = timeouts_s
    result = attempt(first_s)
    for timeout_s in longer_s:
        if result == expected:
            break
        result = attempt(timeout_s)
    return result


def accepts(path: Path) -> bool:
    """Return whether a server listens on a unix socket. Raises OSError as long as none does.

    The path exists a moment before the server listens.
    """
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    return True
