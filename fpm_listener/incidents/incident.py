"""One incident: its cause, and the alerts that receivers get about it.

Laws:
1. A process has at most one open incident. A later fact updates it and opens no second one.
2. Receivers get these alerts: first, cause changed, got worse, repeat, resolved. Nothing else.
3. The labels of an incident do not change while it is open; severity is one of them.
4. The next alert depends only on the alerts that were sent and on the known facts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.incidents.alert import Alert, Reason, Status
from fpm_listener.phpfpm.log_facts import FactKind
from fpm_listener.vocabulary import Cause

if TYPE_CHECKING:
    from fpm_listener.incidents.incident_facts import IncidentFacts
    from fpm_listener.values import Instant

#: Seconds by which a wall clock's float may be rounded; without it a deadline could come too early.
CLOCK_GRAIN_S = 0.001

#: The cause that a log line about a failed start proves.
CAUSES: dict[FactKind, Cause] = {
    FactKind.BIND_CONFLICT: Cause.BIND_CONFLICT,
    FactKind.ADDRESS_ABSENT: Cause.ADDRESS_ABSENT,
    FactKind.MISSING_PATH: Cause.MISSING_PATH,
    FactKind.PERMISSION: Cause.PERMISSION,
    FactKind.UNKNOWN_USER: Cause.UNKNOWN_USER,
    FactKind.DISK_FULL: Cause.DISK_FULL,
    FactKind.FD_LIMIT: Cause.FD_LIMIT,
    FactKind.PROCESS_LIMIT: Cause.PROCESS_LIMIT,
    FactKind.OUT_OF_MEMORY: Cause.OUT_OF_MEMORY,
    FactKind.CONFIG_ERROR: Cause.CONFIG_ERROR,
}

#: The smaller, the closer to the root.
RANK = {cause: rank for rank, cause in enumerate(Cause)}


class Condition(NamedTuple):
    """What is known about the failures of a process now."""

    explanations: tuple[Cause | None, ...]  #: of its last failures and present problems
    is_loop: bool
    gave_up: bool  #: nobody starts it again
    exhausted: bool  #: self-healing has used up its starts of a day
    address: str | None


class Recovery(NamedTuple):
    """When a process is well again; all monotonic seconds."""

    since_s: float
    counts_at_s: float  #: from then on it is shown
    resolves_at_s: float


def root_cause(known: Condition) -> Cause:
    """Return the root among the explanations and the symptom."""
    symptom = Cause.GAVE_UP if known.gave_up and not known.is_loop else Cause.RESTART_LOOP
    causes = [cause for cause in known.explanations if cause is not None]
    if known.is_loop or known.gave_up or not causes:
        causes.append(symptom)
    return min(causes, key=RANK.__getitem__)


@dataclass(slots=True, kw_only=True)
class Incident:
    """Its IncidentTracker owns it. Moments are wall seconds if nothing else is stated."""

    incident_id: str
    started_at_s: float
    labels: dict[str, str]  #: they never change
    cause: Cause
    failures: int = 0
    gave_up: bool = False
    exhausted: bool = False  #: self-healing has used up its starts of a day
    address: str | None = None
    sent_cause: Cause | None = None  #: None = no alert was sent yet
    sent_gave_up: bool = False
    sent_exhausted: bool = False
    sent_at_s: float = 0.0  #: monotonic; of the last alert
    sequence: int = 0
    known_at_s: float = 0.0  #: when the fact of the next alert became known
    recovering_s: float | None = None  #: since when it is up, or stopped on purpose; None = no
    resolves_s: float | None = None  #: when it is resolved if nothing happens

    def review(
        self,
        now: Instant,
        known: Condition,
        recovery: Recovery | None,
        repeat_interval_s: float,
    ) -> Reason | None:
        """Apply what is known now; return why receivers get an alert now, or None."""
        if known.gave_up or known.is_loop or any(known.explanations):  # else it runs again
            self.cause = root_cause(known)
        self.gave_up, self.exhausted = known.gave_up, known.exhausted
        self.address = known.address
        self.recovering_s = self.resolves_s = None
        if recovery is not None and now.monotonic_s >= recovery.counts_at_s:
            offset_s = now.wall_s - now.monotonic_s
            self.recovering_s = recovery.since_s + offset_s
            self.resolves_s = recovery.resolves_at_s + offset_s
        if self.sent_cause is None:
            return Reason.FIRST
        if self.gave_up and not self.sent_gave_up:
            return Reason.WORSE
        if self.exhausted and not self.sent_exhausted:
            return Reason.WORSE
        if self.cause is not self.sent_cause:
            return Reason.CAUSE_CHANGED
        is_due = now.monotonic_s >= self.sent_at_s + repeat_interval_s - CLOCK_GRAIN_S
        is_over = recovery is not None or self.cause is Cause.STOP_TIMEOUT
        return Reason.REPEAT if is_due and not is_over else None

    def alert(self, now: Instant, reason: Reason) -> Alert:
        """Return the alert, and note that it is sent."""
        is_resolved = reason is Reason.RESOLVED
        known_at_s = now.wall_s if reason in {Reason.REPEAT, Reason.RESOLVED} else self.known_at_s
        self.sent_cause, self.sent_gave_up = self.cause, self.gave_up or self.sent_gave_up
        self.sent_exhausted = self.exhausted
        self.sent_at_s = now.monotonic_s
        self.sequence += 1
        return Alert(
            incident_id=self.incident_id,
            sequence=self.sequence,
            reason=reason,
            status=Status.RESOLVED if is_resolved else Status.FIRING,
            labels=self.labels,
            starts_at_s=self.started_at_s,
            ends_at_s=now.wall_s if is_resolved else None,
            known_at_s=known_at_s,
        )

    def view(self, facts: IncidentFacts) -> IncidentView:
        """Return it for the status page."""
        return IncidentView(
            incident_id=self.incident_id,
            severity=self.labels["severity"],
            started_at_s=self.started_at_s,
            facts=facts,
            recovering_s=self.recovering_s,
            resolves_s=self.resolves_s,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentView:
    """An incident that is firing."""

    incident_id: str
    severity: str
    started_at_s: float  #: wall seconds
    facts: IncidentFacts
    recovering_s: float | None = None  #: wall seconds since when it is well; None = it is not
    resolves_s: float | None = None  #: wall seconds of the resolution, if it stays well
