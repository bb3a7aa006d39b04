"""The failures of one process, and the incident that they make: opens, worsens, repeats, resolves.

Laws:
1. `review` is the only place where an alert is made, and it decides from what is known, not from
   what has just happened: so the order in which things become known does not matter.
2. An alert waits a moment for what is being looked up, never longer.
3. What is remembered is in wall time, so that it outlives a restart of the machine.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from fpm_listener.incidents import post_mortem
from fpm_listener.incidents.alert import Reason
from fpm_listener.incidents.effects import ExamineExit, IncidentEffect, Notify
from fpm_listener.incidents.holder_watch import HOLDER_FRESH_S, LOOK_AGAIN_S, HolderWatch
from fpm_listener.incidents.incident import (
    CAUSES,
    Evidence,
    Incident,
    IncidentView,
    root_cause,
    saved_text,
)
from fpm_listener.incidents.incident_facts import UNEXPLAINED, IncidentFacts
from fpm_listener.incidents.incident_ids import incident_id
from fpm_listener.incidents.post_mortem import SHORT_LIFE_S
from fpm_listener.incidents.restart_loops import LoopDetector
from fpm_listener.incidents.worker_crashes import WorkerCrashes
from fpm_listener.phpfpm.site import FpmSite
from fpm_listener.vocabulary import Cause, Tier

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fpm_listener.host.address_holders import HolderReport
    from fpm_listener.incidents.live_failures import LiveFailures
    from fpm_listener.incidents.post_mortem import Needs, PostMortem
    from fpm_listener.phpfpm.log_facts import LogFact
    from fpm_listener.settings.policy import Policy
    from fpm_listener.supervisor.exit_log import ExitNote, ExitReason
    from fpm_listener.supervisor.process import ProcessName
    from fpm_listener.values import Instant

#: Seconds that an alert waits for what is being looked up (holder, exit code).
GRACE_S = 0.2
#: Causes that say how it ends, not why.
_SYMPTOMS = frozenset({None, Cause.CRASH_SIGNAL})


@dataclass(slots=True)
class ProcessExit:
    """One end of a life, and why, as far as it is known."""

    at_s: float  # monotonic
    failed: bool
    cause: Cause | None = None
    exit: ExitReason | None = None
    examined: bool = False  #: the machine was looked at, or is being looked at


class ProcessCondition(NamedTuple):
    """How a process is, as far as an incident depends on it."""

    gave_up: bool
    settled_at_s: float | None  #: monotonic; runs, or rests as its operator wants; None = neither
    worn_out: bool  #: healing has used up its starts of a day
    last_exit: ExitReason | None
    former_masters: tuple[int, ...]
    ailments: LiveFailures


class IncidentTracker:
    """Owned by the process that has it."""

    def __init__(self, name: ProcessName, policy: Policy, id_token: str) -> None:
        self._id_token = id_token
        self._name = name
        self._policy = policy
        self._loops = LoopDetector(policy.loops)
        self._deaths: deque[ProcessExit] = deque(maxlen=policy.loops[Tier.FAST].threshold)
        self._incident: Incident | None = None
        self._evidence = Evidence()
        self._address: str | None = None
        self._named: str | None = None  # the path, user or group that the cause is about
        self._autopsy: PostMortem | None = None  # of the last death that was looked into
        self._autopsy_at_s = float("-inf")  # monotonic
        self._site, self._needs = FpmSite(), post_mortem.Needs()
        self.holders = HolderWatch(name)
        self._ailing: dict[Cause, str] = {}  # what is wrong with a life that goes on
        self._crashes = WorkerCrashes(name, policy.loops)
        self._looking: set[str] = set()  # "holder", "exit", "log", "machine": is being looked up
        self._tell_at_s: float | None = None  # monotonic; until then an alert waits
        self.dirty = False  #: there is something new to remember

    # -- what becomes known ------------------------------------------------------------------------

    def failed(self, death: ProcessExit) -> None:
        """Count a failed life."""
        self._deaths.append(death)
        self._loops.fail(death.at_s)
        if self._incident:
            self._incident.failed_lives += 1
        self._learned()

    def explained(self, facts: Iterable[LogFact]) -> None:
        """Take in the believed lines of the life that failed last."""
        for fact in facts:
            self.looked("log")
            self._evidence.add(fact.line)
            cause = CAUSES.get(fact.kind)
            if not cause or not self._deaths or self._deaths[-1].cause is Cause.CRASH_SIGNAL:
                continue
            death = self._deaths[-1]
            death.cause = root_cause((death.cause, cause), gave_up=False, looping=True)
            if fact.address:
                self._address = fact.address
            if death.cause is cause:
                self._named = fact.named
            self._learned()

    def exit_known(self, death: ProcessExit, note: ExitNote | None) -> None:
        """Take in how a process ended. A signal refutes what a line said: php-fpm exits itself.

        note: None = it could not be found out.
        """
        self.looked("exit")
        if note is None:
            return
        self._evidence.add(note.line)
        death.exit = note.reason
        if death.failed and note.reason.signal is not None:
            death.cause = Cause.CRASH_SIGNAL
            self._learned()

    def examined(self, died_at_s: float, found: PostMortem) -> None:
        """Take in what the machine shows after a death."""
        self.looked("machine")
        self._autopsy = found
        death = next((one for one in self._deaths if one.at_s == died_at_s), None)
        if death is None or death.cause not in _SYMPTOMS:
            return
        proof = post_mortem.find(found, death.exit)
        if proof is not None:
            death.cause, self._named = proof.cause, proof.named
            self._evidence.add(proof.evidence)
            self._learned()

    def recognise(self, site: FpmSite, needs: Needs) -> None:
        """Know what its configuration says."""
        self._site, self._needs = site, needs

    def _examine(self, now: Instant) -> list[IncidentEffect]:
        """Have the machine looked at, where the last death is not explained by its log."""
        death = self._deaths[-1] if self._deaths else None
        if (
            death is None
            or death.examined
            or not (death.cause in _SYMPTOMS or self._is_program_missing(death))
            or "exit" in self._looking
            or now.monotonic_s - self._autopsy_at_s < LOOK_AGAIN_S
        ):
            return []
        death.examined, self._autopsy_at_s = True, now.monotonic_s
        self.looking_for("machine")
        return [ExamineExit(self._name, death.at_s, self._needs)]

    def _is_program_missing(self, death: ProcessExit) -> bool:
        """Return whether a log line, such as the guard's, says that the program is not there.

        The look at the machine finds which other versions are.
        """
        return death.cause is Cause.MISSING_PATH and self._named == self._needs.program

    def _learned(self) -> None:
        """Have it remembered, unless it is one more failure of what was told already.

        A storm would write the same verdict again and again; what changes it is remembered anyway.
        """
        if self._incident is None or self._incident.told_cause is None:
            self.dirty = True

    def looking_for(self, what: str) -> None:
        """Let alerts wait a moment for what is being looked up."""
        self._looking.add(what)

    def looked(self, what: str) -> None:
        """Have the answer, or know that there is none."""
        self._looking.discard(what)

    def found_holder(self, now: Instant, report: HolderReport) -> None:
        """Take in who has the address."""
        self.looked("holder")
        self.holders.found(now.monotonic_s, report)

    def look_for_holder(
        self,
        now: Instant,
        address: str | None,
        former_masters: Iterable[int],
        fresh_s: float = LOOK_AGAIN_S,
    ) -> list[IncidentEffect]:
        """Ask who has the address, unless that was asked a moment ago."""
        effects = self.holders.look(now.monotonic_s, address, former_masters, fresh_s)
        if effects:
            self.looking_for("holder")
        return effects

    def forget(self) -> None:
        """Begin anew, where no incident is open: its operator has stopped the program."""
        if self._incident is None and self._deaths:
            self._clear()

    def _clear(self) -> None:
        self._incident = self._address = self._tell_at_s = None
        self._named = self._autopsy = None
        self.holders.clear()
        self._autopsy_at_s = float("-inf")
        self._loops.forget()
        self._deaths.clear()
        self._evidence.clear()
        self.dirty = True

    # -- what follows from it ----------------------------------------------------------------------

    def review(
        self, now: Instant, state: ProcessCondition, labels: Mapping[str, str]
    ) -> list[IncidentEffect]:
        """Return what is to be told now, if anything."""
        self._ailing, self._crashes = state.ailments.evidence, state.ailments.crashes
        incident = self._incident
        has_grounds = bool(self._loops.tiers or state.gave_up or self._ailing)
        if incident is not None and incident.told_cause is None and not has_grounds:
            self._incident = incident = self._tell_at_s = None  # refuted before it was sent
            self.dirty = True
        if incident is None:
            if not has_grounds:
                return []
            incident = self._incident = self._open(now, labels, gave_up=state.gave_up)
        settled = self._settles_at_s(state.settled_at_s)
        if settled is not None and now.monotonic_s >= settled:
            effects = self._resolve(now, incident, state.last_exit)
            self._crashes.forget()  # not before: the alert says what the problem was
            return effects
        self._update(incident, gave_up=state.gave_up)
        incident.worn_out = state.worn_out
        incident.recovers(now, state.settled_at_s, self._recovers_at_s(state.settled_at_s), settled)
        effects = self.holders.verify(now.monotonic_s)
        is_open = incident.cause in UNEXPLAINED or incident.cause is Cause.MISSING_PATH
        effects += self._examine(now) if is_open else []
        reason = incident.reason(now.monotonic_s, self._policy.repeat_interval_s)
        if reason is None or (reason is Reason.REPEAT and state.settled_at_s is not None):
            self._tell_at_s = None
            return effects
        if self._tell_at_s is None:
            incident.known_at_s = now.wall_s
            if incident.cause is Cause.BIND_CONFLICT:
                effects += self.look_for_holder(
                    now, incident.address, state.former_masters, HOLDER_FRESH_S
                )
            self._tell_at_s = now.monotonic_s + GRACE_S
        if self._looking and now.monotonic_s < self._tell_at_s:
            return effects
        self._tell_at_s = None
        self.looked("log")
        self.dirty = True
        return [*effects, self._tell(now, incident, reason, state.last_exit)]

    def _open(self, now: Instant, labels: Mapping[str, str], *, gave_up: bool) -> Incident:
        urgent = gave_up or Tier.FAST in self._loops.tiers or Cause.NOT_ANSWERING in self._ailing
        severity = "critical" if urgent else "warning"
        self.dirty = True
        return Incident(
            incident_id=incident_id(
                labels.get("instance", ""),
                labels.get("supervisor", ""),
                str(self._name),
                started_at_s=now.wall_s,
                token=self._id_token,
            ),
            started_at_s=now.wall_s,
            labels={**labels, "severity": severity},
            cause=Cause.RESTART_LOOP,
            failed_lives=len(self._loops.failures),
        )

    def _update(self, incident: Incident, *, gave_up: bool) -> None:
        explanations = [death.cause for death in self._deaths]
        for cause, line in self._ailing.items():
            explanations.append(cause)
            self._evidence.add(line)
        cause = incident.cause
        if any(explanations) or gave_up or self._loops.tiers:  # else it runs again: nothing is new
            looping = bool(self._loops.tiers)
            cause = root_cause(explanations, gave_up=gave_up, looping=looping)
        self.dirty = self.dirty or cause is not incident.cause
        incident.cause, incident.gave_up = cause, gave_up
        incident.address = self._address

    def _resolve(
        self,
        now: Instant,
        incident: Incident,
        last_exit: ExitReason | None,
    ) -> list[IncidentEffect]:
        effects: list[IncidentEffect] = []
        if incident.told_cause is not None:
            effects.append(self._tell(now, incident, Reason.RESOLVED, last_exit))
        self._clear()
        return effects

    def _tell(
        self,
        now: Instant,
        incident: Incident,
        reason: Reason,
        last_exit: ExitReason | None,
    ) -> Notify:
        facts = self._facts(incident, last_exit)
        return Notify(incident.tell(now, reason), facts)

    def _settles_at_s(self, settled_at_s: float | None) -> float | None:
        if settled_at_s is None:
            return None
        return settled_at_s + self._loops.stable_after_s(self._policy.stable_for_s)

    def _recovers_at_s(self, settled_at_s: float | None) -> float | None:
        """Return from when on it counts as recovering: RUNNING alone proves nothing."""
        if settled_at_s is None:
            return None
        distance_s = SHORT_LIFE_S if self._ailing else self._loops.usual_distance_s
        return settled_at_s + min(SHORT_LIFE_S, distance_s)

    def deadline_s(self, settled_at_s: float | None) -> float | None:
        """Return the monotonic moment at which `review` can have something new to say."""
        incident = self._incident
        if incident is None:
            return None
        moments = [self._tell_at_s, self._settles_at_s(settled_at_s), self.holders.deadline_s()]
        if incident.recovering_s is None:
            moments.append(self._recovers_at_s(settled_at_s))
        told = incident.told_cause is not None
        if told and settled_at_s is None and self._tell_at_s is None:
            moments.append(incident.told_s + self._policy.repeat_interval_s)
        return min((at for at in moments if at is not None), default=None)

    # -- what is shown -----------------------------------------------------------------------------

    @property
    def open(self) -> bool:
        """Return whether there is an incident."""
        return self._incident is not None

    @property
    def gave_up(self) -> bool:
        """Return whether nobody will start the process again, as far as is remembered."""
        return self._incident is not None and self._incident.gave_up

    @property
    def is_told(self) -> bool:
        """Return whether receivers know how bad it is."""
        incident = self._incident
        return incident is not None and incident.told_gave_up == incident.gave_up

    @property
    def tiers(self) -> frozenset[Tier]:
        """Return the windows that the process loops in."""
        return self._loops.tiers

    def view(self, last_exit: ExitReason | None) -> IncidentView | None:
        """Return the incident that is open, for the status page."""
        incident = self._incident
        if incident is None:
            return None
        return IncidentView(
            incident_id=incident.incident_id,
            severity=incident.labels["severity"],
            started_at_s=incident.started_at_s,
            facts=self._facts(incident, last_exit),
            recovering_s=incident.recovering_s,
            resolves_s=incident.resolves_s,
        )

    def _facts(self, incident: Incident, last_exit: ExitReason | None) -> IncidentFacts:
        return IncidentFacts(
            name=self._name,
            cause=incident.cause,
            gave_up=incident.gave_up,
            address=incident.address,
            holder=self.holders.report if incident.cause is Cause.BIND_CONFLICT else None,
            last_exit=last_exit,
            failures=incident.failed_lives,
            named=self._named,
            every_s=self._loops.usual_distance_s,
            site=self._site,
            needs=self._needs,
            post_mortem=self._autopsy,
            worn_out=incident.worn_out,
            recovering=incident.recovering_s is not None,
            worker_crashes=self._crashes.count,
            worker_signal=self._crashes.last_signal or None,
            evidence=tuple(self._evidence.lines),
        )

    # -- what outlives the listener ----------------------------------------------------------------

    def memory(self, now: Instant) -> dict[str, Any] | None:
        """Return what must be remembered; None where there is nothing."""
        self.dirty = False
        offset = now.wall_s - now.monotonic_s
        if not self._deaths and not self._incident:
            return None
        return {
            "failures": [at + offset for at in self._loops.failures],
            "tiers": sorted(tier.value for tier in self._loops.tiers),
            "causes": [death.cause.value if death.cause else None for death in self._deaths],
            "address": self._address,
            "named": self._named,
            "evidence": self._evidence.lines,
            "incident": self._incident.to_json(offset) if self._incident else None,
        }

    def restore(self, now: Instant, saved: Mapping[str, Any]) -> None:
        """Take up what `memory` returned in an earlier life of the listener.

        Raises KeyError, ValueError or TypeError where it is not of that shape.
        """
        offset = now.wall_s - now.monotonic_s
        failures = [min(float(at) - offset, now.monotonic_s) for at in saved["failures"]]
        self._loops = LoopDetector(self._policy.loops, failures)
        self._loops.latch(Tier(word) for word in saved["tiers"])
        causes = [Cause(word) if word else None for word in saved["causes"]]
        self._deaths.extend(
            ProcessExit(at, failed=True, cause=cause)
            for at, cause in zip(failures[-len(causes) :], causes, strict=False)
        )
        self._address = saved_text(saved["address"])
        self._named = saved_text(saved.get("named"))
        for line in saved["evidence"]:
            self._evidence.add(str(line))
        if saved["incident"]:
            self._incident = Incident.from_json(saved["incident"], now)

    def adopt(self, policy: Policy) -> None:
        """Go on under new settings."""
        tiers = self._loops.tiers
        self._policy = policy
        self._loops = LoopDetector(policy.loops, self._loops.all_failures)
        self._loops.latch(tiers)
        self._deaths = deque(self._deaths, maxlen=policy.loops[Tier.FAST].threshold)
