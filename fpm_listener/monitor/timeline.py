"""The last 24 hours: failures, starts after them, incidents.

Laws:
1. It never grows without bound: what happens again within a quarter of an hour is one entry with a
   count, there are at most ENTRIES of them, and none is older than KEPT_S.
2. It is for people to read: nothing is decided by it.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any

from fpm_listener.incidents.alert import Reason
from fpm_listener.incidents.effects import Notify
from fpm_listener.incidents.incident_facts import UNEXPLAINED
from fpm_listener.monitor.messages import RunEnded, RunStarted, SelfHeal
from fpm_listener.monitor.self_healing import Act
from fpm_listener.supervisor.exit_log import ExitReason
from fpm_listener.vocabulary import Cause

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fpm_listener.monitor.messages import Effect
    from fpm_listener.values import Instant

#: Seconds that an entry is kept, and that one entry spans at most.
KEPT_S, SPAN_S = 24 * 3600.0, 15 * 60.0
ENTRIES = 400
#: Seconds that one entry spans if nothing is forgotten.
_LONGEST_SPAN_S = 32 * 366 * 86400.0
#: Failures of each program whose time is kept.
FAILURES = 64
#: Processes with more data than their entries; the limit is for groups that come and go.
PROCESSES = 1000


class TimelineEvent(Enum):
    """The kind of an entry."""

    FAILED = "failed"  #: a failed start or a crash
    EXITED = "exited"  #: as expected
    STOPPED = "stopped"  #: by an operator
    STARTED = "started"  #: after an exit
    HEALED = "healed"  #: by self-healing
    PAUSED = "paused"  #: by self-healing, for a while, because of a restart loop
    SHUTDOWN = "shutdown"  #: self-healing shuts supervisord down because of this program
    INCIDENT = "incident"
    CHANGED = "changed"  #: the cause of an incident
    WORSE = "worse"
    RESOLVED = "resolved"
    LISTENER = "listener"  #: it was started itself
    SUPERVISORD = "supervisord"  #: only in a replay of logs: supervisord has started
    SUPERVISORD_ENDS = "supervisord_ends"  #: only in a replay of logs: it stops all programs


#: Values in the state of earlier listeners.
_FORMER_VALUES = {"died": "failed", "ended": "exited", "ending": "shutdown"}
_OF_ACTS = {
    Act.START: TimelineEvent.HEALED,
    Act.HALT: TimelineEvent.PAUSED,
    Act.SHUT_DOWN: TimelineEvent.SHUTDOWN,
}
_OF_ALERTS = {
    Reason.FIRST: TimelineEvent.INCIDENT,
    Reason.CAUSE_CHANGED: TimelineEvent.CHANGED,
    Reason.WORSE: TimelineEvent.WORSE,
    Reason.RESOLVED: TimelineEvent.RESOLVED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Something that has happened, once or several times."""

    what: TimelineEvent
    process: str  #: group:name
    exit_reason: ExitReason | None = None  #: how the process ended, if it is known
    cause: Cause | None = None  #: of the incident
    subject: str | None = None  #: the address, path, user or group that the cause is about
    first_s: float  #: wall seconds
    last_s: float
    count: int = 1
    away_s: float | None = None  #: STARTED: seconds since the exit; the longest of them

    def row(self) -> list[Any]:
        """Return the entry as JSON has it."""
        details = [
            None if self.exit_reason is None else self.exit_reason.as_metric,
            None if self.cause is None else self.cause.value,
            self.subject,
        ]
        what, process = self.what.value, self.process
        return [what, process, details, self.first_s, self.last_s, self.count, self.away_s]


class Timeline:
    """Owned by the engine."""

    def __init__(self, *, kept_s: float = KEPT_S, most: int = ENTRIES) -> None:
        """`kept_s`: infinite = nothing is forgotten, and one entry may span more than SPAN_S."""
        self._kept_s, self._most, self._span_s = kept_s, most, SPAN_S
        self._entries: OrderedDict[object, Entry] = OrderedDict()  # oldest last_s first
        self._failed: dict[str, deque[float]] = {}  # wall seconds, by process
        self._halted: dict[str, None] = {}  # whose next stop is already shown as a pause
        self._view: tuple[Entry, ...] | None = None

    # -- what comes in -----------------------------------------------------------------------------

    def began(self, now: Instant) -> None:
        """Tell that the listener was started."""
        self._add(now.wall_s, TimelineEvent.LISTENER, "fpm-listener")

    def note(self, at_s: float, what: TimelineEvent) -> None:
        """Add what has happened to supervisord; at_s: wall seconds."""
        self._add(at_s, what, "supervisord")

    def take(self, now: Instant, effects: Iterable[Effect]) -> None:
        """Add what a step has recorded, and what it is going to do."""
        for effect in effects:
            if isinstance(effect, RunStarted):
                started, process = TimelineEvent.STARTED, str(effect.process)
                self._add(now.wall_s, started, process, away_s=effect.down_s)
            elif isinstance(effect, RunEnded):
                self._end(now, effect)
            elif isinstance(effect, SelfHeal):
                self._add(now.wall_s, _OF_ACTS[effect.act], str(effect.process))
                if effect.act is Act.HALT:
                    self._halted[str(effect.process)] = None
                    _bound(self._halted)
            elif isinstance(effect, Notify) and effect.alert.reason in _OF_ALERTS:
                facts, subject = effect.facts, effect.facts.subject
                is_explained = subject is not None or facts.cause not in UNEXPLAINED
                self._add(
                    now.wall_s,
                    _OF_ALERTS[effect.alert.reason],
                    str(facts.name),
                    exit_reason=None if is_explained else facts.last_exit,
                    cause=facts.cause,
                    subject=subject,
                )

    def _end(self, now: Instant, record: RunEnded) -> None:
        process, ended = str(record.process), record.ended
        at_s = now.wall_s - (now.monotonic_s - ended.at_s)
        if ended.failed:
            what = TimelineEvent.FAILED
            self._failed.setdefault(process, deque(maxlen=FAILURES)).append(at_s)
            _bound(self._failed)
        elif ended.stopped:
            what = TimelineEvent.STOPPED
            if self._halted.pop(process, 0) is None:
                return
        else:
            what = TimelineEvent.EXITED
        reason = record.note.reason if record.note else None
        self._add(at_s, what, process, exit_reason=reason)

    def _add(
        self,
        at_s: float,
        what: TimelineEvent,
        process: str,
        *,
        exit_reason: ExitReason | None = None,
        cause: Cause | None = None,
        subject: str | None = None,
        away_s: float | None = None,
    ) -> None:
        self._view = None
        self._put(
            Entry(
                what=what,
                process=process,
                exit_reason=exit_reason,
                cause=cause,
                subject=subject,
                first_s=at_s,
                last_s=at_s,
                away_s=away_s,
            )
        )
        if len(self._entries) > self._most and self._kept_s == float("inf"):
            self._coarsen()
        while len(self._entries) > self._most or self._oldest_s() < at_s - self._kept_s:
            self._entries.popitem(last=False)

    def _coarsen(self) -> None:
        """Let one entry span more time, so that there are fewer entries."""
        while len(self._entries) > self._most // 2 and self._span_s < _LONGEST_SPAN_S:
            self._span_s *= 4
            entries = tuple(self._entries.values())
            self._entries.clear()
            for entry in entries:
                self._put(entry)

    def _put(self, entry: Entry) -> None:
        slot = entry.first_s // self._span_s
        key = replace(entry, first_s=slot, last_s=0.0, count=1, away_s=None)
        before = self._entries.pop(key, None)
        if before is not None:
            entry = replace(
                entry,
                first_s=before.first_s,
                count=before.count + entry.count,
                away_s=max(filter(None, (before.away_s, entry.away_s)), default=None),
            )
        self._entries[key] = entry

    def _oldest_s(self) -> float:
        return next(iter(self._entries.values())).last_s

    # -- what is shown, and what outlives the listener ---------------------------------------------

    def view(self) -> tuple[Entry, ...]:
        """Return all entries, the latest last."""
        if self._view is None:
            self._view = tuple(self._entries.values())
        return self._view

    def failures(self) -> dict[str, tuple[float, ...]]:
        """Return when each process failed lately, in wall seconds, oldest first."""
        return {process: tuple(moments) for process, moments in self._failed.items()}

    def memory(self) -> list[list[Any]]:
        """Return what must be remembered, as JSON has it."""
        return [entry.row() for entry in self.view()]

    def restore(self, saved: object) -> None:
        """Take up what `memory` returned; what is not understood is forgotten."""
        for row in saved if isinstance(saved, list) else ():
            try:
                self._put(_entry(*row))
            except (ValueError, TypeError, OverflowError):
                continue
        self._view = None


def _entry(
    what: str,
    process: str,
    details: Any,  # noqa: ANN401 - JSON
    first_s: float,
    last_s: float,
    count: int,
    away_s: float | None,
) -> Entry:
    """Return the entry of a saved row; the details of earlier versions were a text."""
    exit_code, cause, subject = details if isinstance(details, list) else (None, None, None)
    return Entry(
        what=TimelineEvent(_FORMER_VALUES.get(what, what)),
        process=str(process),
        exit_reason=None if exit_code is None else ExitReason.of(int(exit_code)),
        cause=None if cause is None else Cause(cause),
        subject=None if subject is None else str(subject),
        first_s=float(first_s),
        last_s=float(last_s),
        count=int(count),
        away_s=None if away_s is None else float(away_s),
    )


def _bound(known: dict[str, Any]) -> None:
    if len(known) > PROCESSES:
        del known[next(iter(known))]
