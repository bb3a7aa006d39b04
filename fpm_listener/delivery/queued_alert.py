"""One alert in a receiver's queue: its policy, its changes, and its text on disk.

Law: an alert is written as itself, not in the format of a receiver.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, NamedTuple

from fpm_listener.incidents.alert import Alert, Reason, Status
from fpm_listener.vocabulary import Severity

if TYPE_CHECKING:
    from fpm_listener.delivery.attempt import DropReason
    from fpm_listener.settings.mute_times import MuteTimes
    from fpm_listener.settings.receiver_types import Rate
    from fpm_listener.values import Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuePolicy:
    """Which alerts the operator wants a receiver to get, and when."""

    send_resolved: bool
    repeat_interval_s: float  #: repeats that come sooner are skipped
    max_age_s: float
    max_alerts: int
    min_severity: Severity = Severity.INFO
    programs: tuple[str, ...] = ()  #: globs over group:name; empty = every program
    causes: tuple[str, ...] = ()  #: empty = every cause
    mute_times: MuteTimes | None = None
    rates: tuple[Rate, ...] = ()
    batch: int = 1  #: incidents in one message, if more are pending than the rates allow
    once: bool = False  #: send one firing alert of each incident
    evidence: bool = True  #: send lines of the program's output

    def wants(self, alert: Alert) -> bool:
        """Return whether the receiver wants an incident of which it has got nothing yet."""
        if alert.reason is Reason.TEST:
            return True
        labels = alert.labels
        if self.causes and alert.annotations.get("cause") not in self.causes:
            return False
        # After FATAL an incident is critical; its labels keep the first severity.
        urgent = alert.reason is Reason.WORSE
        if not urgent and Severity.of(labels.get("severity", "")) < self.min_severity:
            return False
        if not self.programs:
            return True
        name = f"{labels.get('group', '')}:{labels.get('process', '')}"  # of no program: `:`
        return any(fnmatchcase(name, glob) for glob in self.programs)

    def shown(self, alert: Alert) -> Alert:
        """Return the alert as the receiver may get it; so it is stored, too."""
        return alert if self.evidence else without_evidence(alert)

    def unmuted_s(self, monotonic_s: float, now: Instant) -> float:
        """Return the first monotonic moment from `monotonic_s` and from now that is not muted."""
        if self.mute_times is None:
            return monotonic_s
        ahead_s = max(0.0, monotonic_s - now.monotonic_s)
        ends_s = self.mute_times.ends_s(now.wall_s + ahead_s)
        return monotonic_s if ends_s is None else now.monotonic_s + ends_s - now.wall_s

    def age_s(self, since_s: float, now: Instant) -> float:
        """Return the seconds from `since_s` (monotonic) to now, without muted times."""
        age_s = now.monotonic_s - since_s
        if self.mute_times is None or age_s <= self.max_age_s:
            return age_s
        return age_s - self.mute_times.within_s(now.wall_s - age_s, now.wall_s)


def without_evidence(alert: Alert) -> Alert:
    """Return the alert without lines that the program has written."""
    if "process" not in alert.labels:
        return alert  # about a receiver: its evidence is our own text
    annotations = {name: text for name, text in alert.annotations.items() if name != "evidence"}
    return replace(alert, annotations=annotations)


@dataclass(slots=True, kw_only=True, eq=False)
class QueuedAlert:
    """One alert in a receiver's queue. It is pending or in flight; when it ends, it is removed."""

    number: int  #: increases with time, over all receivers and restarts
    alert: Alert
    since_s: float  #: monotonic seconds from which its age counts
    attempts: int = 0  #: since the listener started
    in_flight: bool = False  #: a sender has it; pending otherwise
    send_alone: bool = False  #: a message with this alert and others was rejected

    @property
    def is_pending_firing(self) -> bool:
        """Return whether a newer firing alert may replace this one."""
        return not self.in_flight and self.alert.status is Status.FIRING

    def saved(self) -> SaveAlert:
        """Return the change that writes this alert to the file."""
        return SaveAlert(self.number, self.since_s, self.alert)


class SaveAlert(NamedTuple):
    """Change: the alert is in the queue."""

    number: int
    since_s: float  #: monotonic seconds
    alert: Alert


class RemoveAlert(NamedTuple):
    """Change: the alert is no longer in the queue."""

    number: int


class SaveNotified(NamedTuple):
    """Change: the receiver got a firing alert of this incident, which was enqueued at that time."""

    incident_id: str
    since_s: float  #: monotonic seconds


class RemoveNotified(NamedTuple):
    """Change: the incident has ended for this receiver."""

    incident_id: str


class Dropped(NamedTuple):
    """Change: an alert was dropped."""

    reason: DropReason


Change = SaveAlert | RemoveAlert | SaveNotified | RemoveNotified | Dropped


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
