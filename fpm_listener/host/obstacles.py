"""What alone makes a start fail, as a value."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from fpm_listener.vocabulary import Cause, Fault

#: The exit status of supervisord's child if it cannot execute the program (supervisor/process.py).
NOT_SPAWNED = (127,)


class Obstacle(NamedTuple):
    """One reason why a start cannot succeed."""

    cause: Cause
    named: str | None  #: path, address, `user NAME` or `group NAME`; a folder ends with `/`
    evidence: str  #: what was seen, as a line
    fault: Fault | None = None
    statuses: tuple[int, ...] = ()  #: exit statuses of such a start; empty = all but 0


def seen(fault: Fault, named: str, what: str, statuses: tuple[int, ...] = NOT_SPAWNED) -> Obstacle:
    """Return the obstacle of a fault; `what`: a clause about `named`."""
    return Obstacle(fault.cause, named, f"seen: {what}", fault, statuses)
