"""The values of what receivers are owed: an alert's states, its text on disk, and what changes.

Laws:
1. The table of states is total: every step is defined in every state.
2. An alert is written as itself, in no receiver's format.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from fpm_listener.core.alerts import Alert, Reason, Status

if TYPE_CHECKING:
    from fpm_listener.core.outcomes import DropReason


class State(Enum):
    """What can be the case with an alert that a receiver is owed."""

    PENDING = "pending"
    IN_FLIGHT = "in flight"
    SETTLED = "settled"  #: the receiver said yes; gone
    REJECTED = "rejected"  #: the receiver will never take it; gone
    DROPPED = "dropped"  #: given up; gone


class Step(Enum):
    """What can befall it."""

    LEASED = "leased"  #: handed to the sender
    DELIVERED = "delivered"
    FAILED = "failed"  #: to be tried again
    REJECTED = "rejected"
    RELEASED = "released"  #: its sender was replaced, or the listener started anew
    DROPPED = "dropped"


_P, _F = State.PENDING, State.IN_FLIGHT
_S, _R, _D = State.SETTLED, State.REJECTED, State.DROPPED

#: State and step → state; total. A yes always counts, even of a sender that was replaced since; its
#: other answers do not. What is in flight is not given up: its answer decides.
STATES: dict[State, dict[Step, State]] = {
    state: dict(zip(Step, row, strict=True))
    for state, row in {
        # leased, delivered, failed, rejected, released, dropped
        _P: (_F, _S, _P, _P, _P, _D),
        _F: (_F, _S, _P, _R, _P, _F),
        _S: (_S, _S, _S, _S, _S, _S),
        _R: (_R, _R, _R, _R, _R, _R),
        _D: (_D, _D, _D, _D, _D, _D),
    }.items()
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LanePolicy:
    """What the operator wants this receiver to hear of."""

    send_resolved: bool
    repeat_interval_s: float  #: repeats that come sooner are left out
    max_age_s: float
    max_alerts: int


@dataclass(slots=True, kw_only=True, eq=False)
class Row:
    """One alert that is owed. Belongs to its lane."""

    number: int  #: rising with time, over all receivers and restarts
    alert: Alert
    enqueued_at_s: float  #: wall seconds
    since_s: float  #: monotonic seconds from which its age counts
    attempts: int = 0  #: since the listener started
    state: State = State.PENDING


class Put(NamedTuple):
    """Change: this is owed now."""

    number: int
    enqueued_at_s: float
    alert: Alert


class Remove(NamedTuple):
    """Change: this is owed no more."""

    number: int


class Hear(NamedTuple):
    """Change: the receiver heard a firing of this incident, enqueued at that moment."""

    incident_id: str
    told_at_s: float


class Forget(NamedTuple):
    """Change: the incident is over for this receiver."""

    incident_id: str


class Drop(NamedTuple):
    """Change: an alert was given up."""

    reason: DropReason


Change = Put | Remove | Hear | Forget | Drop


def to_json(alert: Alert) -> str:
    """Return all of an alert as text."""
    return json.dumps(
        {
            "incident_id": alert.incident_id,
            "sequence": alert.sequence,
            "reason": alert.reason.value,
            "status": alert.status.value,
            "labels": dict(alert.labels),
            "annotations": dict(alert.annotations),
            "starts_at": alert.starts_at_s,
            "ends_at": alert.ends_at_s,
            "known_at": alert.known_at_s,
        },
    )


def from_json(text: str) -> Alert:
    """Return the alert of `to_json`. Raises ValueError, KeyError, TypeError or AttributeError."""
    saved: dict[str, Any] = json.loads(text)
    ends_at = saved["ends_at"]
    return Alert(
        incident_id=str(saved["incident_id"]),
        sequence=int(saved["sequence"]),
        reason=Reason(saved["reason"]),
        status=Status(saved["status"]),
        labels={str(name): str(value) for name, value in saved["labels"].items()},
        annotations={str(name): str(value) for name, value in saved["annotations"].items()},
        starts_at_s=float(saved["starts_at"]),
        ends_at_s=None if ends_at is None else float(ends_at),
        known_at_s=float(saved["known_at"]),
    )
