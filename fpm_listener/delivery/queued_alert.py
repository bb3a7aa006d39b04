"""The values of what receivers are owed: an alert's states, its text on disk, and what changes.

Laws:
1. The table of states is total: every step is defined in every state.
2. An alert is written as itself, in no receiver's format.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, NamedTuple

from fpm_listener.incidents.alert import Alert, Reason, Status
from fpm_listener.vocabulary import Severity

if TYPE_CHECKING:
    from fpm_listener.delivery.attempt import DropReason
    from fpm_listener.settings.mute_times import MuteTimes
    from fpm_listener.settings.receiver_types import Rate
    from fpm_listener.values import Instant


class QueuedAlertState(Enum):
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


_P, _F = QueuedAlertState.PENDING, QueuedAlertState.IN_FLIGHT
_S, _R, _D = QueuedAlertState.SETTLED, QueuedAlertState.REJECTED, QueuedAlertState.DROPPED

#: State and step → state; total. A yes always counts, even of a sender that was replaced since; its
#: other answers do not. What is in flight is not given up: its answer decides.
STATES: dict[QueuedAlertState, dict[Step, QueuedAlertState]] = {
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
class QueuePolicy:
    """What the operator wants this receiver to hear of, and when."""

    send_resolved: bool
    repeat_interval_s: float  #: repeats that come sooner are left out
    max_age_s: float
    max_alerts: int
    min_severity: Severity = Severity.INFO
    programs: tuple[str, ...] = ()  #: globs over group:name; empty = every program
    causes: tuple[str, ...] = ()  #: empty = every cause
    quiet: MuteTimes | None = None
    rates: tuple[Rate, ...] = ()
    joins: int = 1  #: the most incidents in one message, where more wait than may be sent
    once: bool = False  #: what it has heard of, it hears of no more

    def wants(self, alert: Alert) -> bool:
        """Return whether the receiver is to hear of an incident that it has not heard of yet."""
        if alert.reason is Reason.TEST:
            return True
        labels = alert.labels
        if self.causes and alert.annotations.get("cause") not in self.causes:
            return False
        # What supervisord gave up on is critical, whatever the incident began as.
        urgent = alert.reason is Reason.WORSE
        if not urgent and Severity.of(labels.get("severity", "")) < self.min_severity:
            return False
        if not self.programs:
            return True
        name = f"{labels.get('group', '')}:{labels.get('process', '')}"  # of no program: `:`
        return any(fnmatchcase(name, glob) for glob in self.programs)

    def heard_from_s(self, monotonic_s: float, now: Instant) -> float:
        """Return the first moment from `monotonic_s` on, and from now on, that is not quiet."""
        if self.quiet is None:
            return monotonic_s
        ahead_s = max(0.0, monotonic_s - now.monotonic_s)
        ends_s = self.quiet.ends_s(now.wall_s + ahead_s)
        return monotonic_s if ends_s is None else now.monotonic_s + ends_s - now.wall_s

    def age_s(self, since_s: float, now: Instant) -> float:
        """Return the seconds from `since_s` (monotonic) to now, quiet times left out."""
        age_s = now.monotonic_s - since_s
        if self.quiet is None or age_s <= self.max_age_s:
            return age_s
        return age_s - self.quiet.within_s(now.wall_s - age_s, now.wall_s)


@dataclass(slots=True, kw_only=True, eq=False)
class Row:
    """One alert that is owed. Belongs to its lane."""

    number: int  #: rising with time, over all receivers and restarts
    alert: Alert
    since_s: float  #: monotonic seconds from which its age counts
    attempts: int = 0  #: since the listener started
    alone: bool = False  #: was in a message that was rejected, and might not be why
    state: QueuedAlertState = QueuedAlertState.PENDING


class Put(NamedTuple):
    """Change: this is owed now."""

    number: int
    since_s: float  #: monotonic seconds
    alert: Alert


class Remove(NamedTuple):
    """Change: this is owed no more."""

    number: int


class Hear(NamedTuple):
    """Change: the receiver heard a firing of this incident, enqueued at that moment."""

    incident_id: str
    told_s: float  #: monotonic seconds


class Forget(NamedTuple):
    """Change: the incident is over for this receiver."""

    incident_id: str


class Drop(NamedTuple):
    """Change: an alert was given up."""

    reason: DropReason


Change = Put | Remove | Hear | Forget | Drop


def to_json(alert: Alert) -> str:
    """Return all of an alert as text."""
    saved: dict[str, Any] = {
        "incident_id": alert.incident_id,
        "sequence": alert.sequence,
        "reason": alert.reason.value,
        "status": alert.status.value,
        "labels": dict(alert.labels),
        "annotations": dict(alert.annotations),
        "starts_at": alert.starts_at_s,
        "ends_at": alert.ends_at_s,
        "known_at": alert.known_at_s,
    }
    if alert.translations:
        saved["translations"] = {tongue: dict(t) for tongue, t in alert.translations.items()}
    return json.dumps(saved)


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
        translations={
            str(tongue): {str(name): str(value) for name, value in texts.items()}
            for tongue, texts in saved.get("translations", {}).items()
        },
    )
