"""One trouble of one process, from first to last: when it opens, what is told of it, when it ends.

Laws:
1. A process has at most one incident; what is learnt later updates it and opens no second one.
2. A receiver hears: first, cause changed, got worse, repeat, resolved. Nothing else is worth waking
   somebody for.
3. The labels of an incident, severity among them, do not change while it lives.
4. What is told next is a pure function of what was told before and what is known now.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fpm_listener.incidents.alert import Alert, Reason, Status
from fpm_listener.phpfpm.log_facts import FactKind
from fpm_listener.vocabulary import Cause

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fpm_listener.incidents.incident_facts import IncidentFacts
    from fpm_listener.values import Instant

#: Seconds by which a wall clock's float may be rounded; without it a deadline could come too early.
CLOCK_GRAIN_S = 0.001

#: The cause that a believed fact of a failed start stands for.
CAUSES: dict[FactKind, Cause] = {
    FactKind.BIND_CONFLICT: Cause.BIND_CONFLICT,
    FactKind.ADDRESS_ABSENT: Cause.ADDRESS_ABSENT,
    FactKind.MISSING_PATH: Cause.MISSING_PATH,
    FactKind.PERMISSION: Cause.PERMISSION,
    FactKind.UNKNOWN_USER: Cause.UNKNOWN_USER,
    FactKind.DISK_FULL: Cause.DISK_FULL,
    FactKind.FD_LIMIT: Cause.FD_LIMIT,
    FactKind.CONFIG_ERROR: Cause.CONFIG_ERROR,
}

_RANK = {cause: rank for rank, cause in enumerate(Cause)}


def root_cause(explanations: Iterable[Cause | None], *, gave_up: bool, looping: bool) -> Cause:
    """Return the root of what explains the latest failed lives, or else the symptom."""
    known = [cause for cause in explanations if cause is not None]
    if known:
        return min(known, key=_RANK.__getitem__)
    return Cause.GAVE_UP if gave_up and not looping else Cause.RESTART_LOOP


@dataclass(slots=True, kw_only=True)
class Incident:
    """One trouble. Owned by the engine; times are wall seconds, unless it says something else."""

    incident_id: str
    started_at_s: float
    labels: dict[str, str]  #: its identity: they never change
    cause: Cause
    failed_lives: int = 0
    gave_up: bool = False
    worn_out: bool = False  #: we have started it as often as may be in a day
    address: str | None = None
    told_cause: Cause | None = None  #: None = nobody was told yet
    told_gave_up: bool = False
    told_worn_out: bool = False
    told_s: float = 0.0  #: monotonic: when somebody was told last
    sequence: int = 0
    known_at_s: float = 0.0  #: when the fact that is to be told next was known
    recovering_s: float | None = None  #: since when it is up again, or stopped; None = it is not
    resolves_s: float | None = None  #: when it will be resolved, if that lasts

    def recovers(
        self,
        now: Instant,
        settled_at_s: float | None,
        from_s: float | None,
        until_s: float | None,
    ) -> None:
        """Know since when the process is well (all monotonic); `from_s`: when that counts."""
        self.recovering_s = self.resolves_s = None
        if None not in {settled_at_s, from_s, until_s} and now.monotonic_s >= (from_s or 0.0):
            offset_s = now.wall_s - now.monotonic_s
            self.recovering_s = (settled_at_s or 0.0) + offset_s
            self.resolves_s = (until_s or 0.0) + offset_s

    def reason(self, now_s: float, repeat_interval_s: float) -> Reason | None:
        """Return why a receiver should be told now; None where there is no reason."""
        if self.told_cause is None:
            return Reason.FIRST
        if self.gave_up and not self.told_gave_up:
            return Reason.WORSE
        if self.worn_out and not self.told_worn_out:
            return Reason.WORSE
        if self.cause is not self.told_cause:
            return Reason.CAUSE_CHANGED
        if now_s >= self.told_s + repeat_interval_s - CLOCK_GRAIN_S:
            return Reason.REPEAT
        return None

    def tell(
        self,
        now: Instant,
        reason: Reason,
    ) -> Alert:
        """Return the alert that tells `reason`, and remember that it was told."""
        resolved = reason is Reason.RESOLVED
        known_at_s = now.wall_s if reason in {Reason.REPEAT, Reason.RESOLVED} else self.known_at_s
        self.told_cause, self.told_gave_up = self.cause, self.gave_up or self.told_gave_up
        self.told_worn_out = self.worn_out
        self.told_s = now.monotonic_s
        self.sequence += 1
        return Alert(
            incident_id=self.incident_id,
            sequence=self.sequence,
            reason=reason,
            status=Status.RESOLVED if resolved else Status.FIRING,
            labels=self.labels,
            starts_at_s=self.started_at_s,
            ends_at_s=now.wall_s if resolved else None,
            known_at_s=known_at_s,
        )

    def to_json(self, offset_s: float) -> dict[str, Any]:
        """Return all that must outlive the listener; `offset_s`: wall clock minus monotonic."""
        return {
            "id": self.incident_id,
            "started_at": self.started_at_s,
            "labels": self.labels,
            "cause": self.cause.value,
            "failed_lives": self.failed_lives,
            "gave_up": self.gave_up,
            "address": self.address,
            "told_cause": self.told_cause.value if self.told_cause else None,
            "told_gave_up": self.told_gave_up,
            "told_worn_out": self.told_worn_out,
            "told_at": self.told_s + offset_s,
            "sequence": self.sequence,
            "known_at": self.known_at_s,
        }

    @classmethod
    def from_json(cls, saved: Mapping[str, Any], now: Instant) -> Incident:
        """Return the incident that `to_json` saved. Raises KeyError, ValueError or TypeError."""
        told = saved["told_cause"]
        labels = {str(name): str(value) for name, value in saved["labels"].items()}
        if missing := {"group", "process", "severity"} - labels.keys():
            raise KeyError(*missing)  # whatever shows an incident uses them
        return cls(
            incident_id=str(saved["id"]),
            started_at_s=float(saved["started_at"]),
            labels=labels,
            cause=Cause(saved["cause"]),
            failed_lives=int(saved["failed_lives"]),
            gave_up=bool(saved["gave_up"]),
            address=saved_text(saved["address"]),
            told_cause=Cause(told) if told else None,
            told_gave_up=bool(saved["told_gave_up"]),
            told_worn_out=bool(saved.get("told_worn_out")),
            told_s=now.monotonic_s - max(0.0, now.wall_s - float(saved["told_at"])),
            sequence=int(saved["sequence"]),
            known_at_s=float(saved["known_at"]),
        )


def saved_text(value: object) -> str | None:
    """Return a text or nothing, as it was saved. Raises TypeError for anything else."""
    if value is not None and not isinstance(value, str):
        raise TypeError(type(value).__name__)
    return value


#: Lines that an alert carries.
EVIDENCE_LINES = 8

#: The times that supervisord and php-fpm put before their lines.
_STAMP = re.compile(r"\d{4}-\d\d-\d\d [\d:,]+ |\[\d\d-\w{3}-\d{4} [\d:.]+\] ")


class Evidence:
    """Of one trouble."""

    def __init__(self) -> None:
        self._lines: dict[str, str] = {}  # by what they say without their time, oldest first

    @property
    def lines(self) -> list[str]:
        """Return the lines, oldest first."""
        return list(self._lines.values())

    def add(self, line: str) -> None:
        """Keep a line, in place of an older one that says the same."""
        said = _STAMP.sub("", line, count=1)
        self._lines.pop(said, None)
        self._lines[said] = line
        while len(self._lines) > EVIDENCE_LINES:
            del self._lines[next(iter(self._lines))]

    def clear(self) -> None:
        """Begin anew."""
        self._lines.clear()


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentView:
    """An incident that is firing."""

    incident_id: str
    severity: str
    started_at_s: float  #: wall seconds
    facts: IncidentFacts
    recovering_s: float | None = None  #: wall seconds since when it is well; None = it is not
    resolves_s: float | None = None  #: wall seconds of the resolution, if it stays well
