"""The incident of one process: it opens, changes, repeats and is resolved.

Laws:
1. `take` first learns all that is new, then decides. So the order of the facts does not matter.
2. An alert waits a moment for pending look-ups, never longer.
3. The state is saved in the step that changes it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fpm_listener.incidents import saved_incident
from fpm_listener.incidents.alert import Reason
from fpm_listener.incidents.effects import Gone, HolderFound, IncidentEffect, Notify, SaveIncident
from fpm_listener.incidents.exit_lookups import ExitLookups
from fpm_listener.incidents.failure_history import FailureHistory
from fpm_listener.incidents.holder_watch import HOLDER_FRESH_S, LOOK_AGAIN_S, HolderWatch
from fpm_listener.incidents.incident import Condition, Incident
from fpm_listener.incidents.incident_facts import UNEXPLAINED, IncidentFacts
from fpm_listener.incidents.incident_ids import incident_id
from fpm_listener.incidents.live_view import NOTHING
from fpm_listener.incidents.pending_lookups import Lookup, PendingLookups
from fpm_listener.incidents.program_known import ProgramKnown
from fpm_listener.incidents.recovery import find_recovery
from fpm_listener.incidents.request_history import WITH_REQUESTS
from fpm_listener.phpfpm.config import FpmSite
from fpm_listener.vocabulary import Cause, Tier

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm_listener.incidents.incident import IncidentView, Recovery
    from fpm_listener.incidents.live_failures import LiveFailures
    from fpm_listener.incidents.process_news import ProcessNews, ProcessStatus
    from fpm_listener.settings.policy import Policy
    from fpm_listener.supervisor.exit_log import ExitReason
    from fpm_listener.supervisor.process import ProcessName
    from fpm_listener.values import Instant


_Effects = list[IncidentEffect]

#: Causes about which the machine may show more.
_LOOKED_UP = UNEXPLAINED | {Cause.MISSING_PATH}
#: Causes about which the pools may show more: what they did, and their size.
_WITH_POOLS = WITH_REQUESTS | {Cause.WORKER_FAILURE}


class IncidentTracker:
    """Its ProcessMonitor owns it. All moments are monotonic seconds."""

    def __init__(
        self, name: ProcessName, policy: Policy, live: LiveFailures, id_token: str
    ) -> None:
        """`live`: the problems of the process while it runs."""
        self.incident: Incident | None = None
        self.failures = FailureHistory(policy)
        self.deadline_s: float | None = None  #: `take` has something to do then
        self._id_token = id_token
        self._name = name
        self._policy = policy
        self._live = live
        self._holders = HolderWatch(name)
        self._lookups = PendingLookups()
        self._exit_lookups = ExitLookups(name)
        self._unsaved = False  # the state to save has changed
        self._known, self._site = ProgramKnown(), FpmSite()

    def configure(self, known: ProgramKnown) -> None:
        """Set what the configuration of the program contains."""
        self._known, self._site = known, known.site or FpmSite()
        self._exit_lookups.configure(known)
        self.failures.configure(known.site)
        self._holders.configure(known)

    def take(self, now: Instant, news: ProcessNews, status: ProcessStatus) -> _Effects:
        """Learn what is new, and return what to do now."""
        effects = [*self._learn(now, news, status), *self._decide(now, status)]
        self.deadline_s = self._next_deadline_s(status.calm_since_s)
        if self._unsaved or status.unsaved:
            self._unsaved = False
            effects.append(SaveIncident(saved_incident.to_json(now, self.failures, self.incident)))
        return effects

    def _learn(self, now: Instant, news: ProcessNews, status: ProcessStatus) -> _Effects:
        effects: _Effects = []
        if news.reset and self.incident is None and self.failures.exits:
            self._clear()
        if news.conflict is not None:
            address = news.conflict.address or next(iter(self._site.addresses), None)
            effects = self._find_holder(now, address, status, LOOK_AGAIN_S)
        # A restart loop would save the same state many times: more failures of an incident that
        # is reported are not saved alone.
        if self.failures.take(news) and not (self.incident and self.incident.sent_cause):
            self._unsaved = True
        if news.failure is not None and self.incident is not None:
            self.incident.failures += 1
            self._live.take_stop_timeout("")
        if isinstance(news.answer, HolderFound):
            self._holders.take(now.monotonic_s, news.answer.report)
        elif isinstance(news.answer, Gone):
            self._holders.take_gone(news.answer.pids)
        self._lookups.pending = (self._lookups.pending - {Lookup.PROGRAMS}) | news.started
        self._lookups.pending -= news.finished
        return effects

    def _clear(self) -> None:
        self.incident = self._lookups.deadline_s = None
        self._exit_lookups.clear()
        self._holders.clear()
        self.failures.clear()
        self._unsaved = True

    # -- what to do --------------------------------------------------------------------------------

    def _decide(self, now: Instant, status: ProcessStatus) -> _Effects:
        problems = self._live.problems
        is_problem = bool(self.failures.loops.tiers or status.gave_up or problems)
        incident = self.incident
        if incident is not None and incident.sent_cause is None and not is_problem:
            self.incident = incident = None  # refuted before an alert was sent
            self._lookups.deadline_s = None
            self._unsaved = True
        if incident is None and is_problem:
            incident = self.incident = self._open(now, status)
        if incident is None:
            return []
        recovery = self._recovery(status.calm_since_s, incident)
        if recovery is not None and now.monotonic_s >= recovery.resolves_at_s:
            return self._resolve(now, incident, status)
        if problems:
            self.failures.evidence.add(problems.values())
        condition = Condition(
            explanations=(*self.failures.explanations, *problems),
            is_loop=bool(self.failures.loops.tiers),
            gave_up=status.gave_up,
            exhausted=status.exhausted,
            address=self.failures.address,
        )
        before = incident.cause
        reason = incident.review(now, condition, recovery, self._policy.repeat_interval_s)
        self._unsaved = self._unsaved or incident.cause is not before
        effects = self._look_up(now, incident, status)
        if reason is None:
            self._lookups.deadline_s = None
            return effects
        return effects + self._notify(now, incident, reason, status)

    def _open(self, now: Instant, status: ProcessStatus) -> Incident:
        is_urgent = status.gave_up or Tier.FAST in self.failures.loops.tiers or self._live.is_urgent
        labels = status.labels
        names = (labels["instance"], labels["supervisor"], str(self._name))
        self._unsaved = True
        if self._live.problems:
            self.failures.begin_incident(self._live.problems, gave_up=status.gave_up)
        return Incident(
            incident_id=incident_id(*names, started_at_s=now.wall_s, token=self._id_token),
            started_at_s=now.wall_s,
            labels={**labels, "severity": "critical" if is_urgent else "warning"},
            cause=Cause.RESTART_LOOP,
            failures=len(self.failures.loops.recent),
        )

    def _recovery(self, calm_since_s: float | None, incident: Incident) -> Recovery | None:
        if calm_since_s is None:
            return None
        loops, problems = self.failures.loops, self._live.problems
        return find_recovery(calm_since_s, incident, loops, self._policy, problems)

    def _resolve(self, now: Instant, incident: Incident, status: ProcessStatus) -> _Effects:
        effects: _Effects = []
        if incident.sent_cause is not None:
            alert = incident.alert(now, Reason.RESOLVED)
            effects.append(Notify(alert, self._facts(incident, status.last_exit)))
        self._live.clear()
        self._clear()
        return effects

    def _look_up(self, now: Instant, incident: Incident, status: ProcessStatus) -> _Effects:
        """Check the reported holders, and examine an exit that the log does not explain."""
        effects: _Effects = []
        verify_at_s = self._holders.verify_at_s
        if verify_at_s is not None and now.monotonic_s >= verify_at_s:
            effects.append(self._holders.verify(now.monotonic_s))
        pending, lookups = self._lookups.pending, self._exit_lookups
        if self._live.workers.must_examine:
            effects.append(lookups.examine_workers(self._live.workers.examine(), pending))
        if incident.cause in _LOOKED_UP or lookups.output.known:
            masters = status.former_masters
            effects += lookups.ask(
                *(now.monotonic_s, incident.cause, self.failures, pending, masters),
                is_running=bool(self._live.problems) and not self.failures.loops.tiers,
            )
        return effects

    def _notify(
        self, now: Instant, incident: Incident, reason: Reason, status: ProcessStatus
    ) -> _Effects:
        effects: _Effects = []
        lookups = self._lookups
        if lookups.deadline_s is None:
            incident.known_at_s = now.wall_s
        if incident.cause is Cause.BIND_CONFLICT:
            effects = self._find_holder(now, incident.address, status, HOLDER_FRESH_S)
        if lookups.pending and lookups.hold_back(now.monotonic_s):
            return effects
        if lookups.deadline_s is not None:
            lookups.end_grace()
        self._unsaved = True
        facts = self._facts(incident, status.last_exit)
        if incident.cause in _WITH_POOLS:
            facts = self._live.with_pools(now, facts, self.failures.exits)
        return [*effects, Notify(incident.alert(now, reason), facts)]

    def _find_holder(
        self, now: Instant, address: str | None, status: ProcessStatus, fresh_s: float
    ) -> _Effects:
        """Ask for the holder, unless the last question or report is fresh."""
        is_unnamed = not address and not self._holders.guess  # a line can still name it
        if is_unnamed or now.monotonic_s - self._holders.asked_at_s < fresh_s:
            return []
        self._lookups.pending.add(Lookup.HOLDER)
        return [self._holders.ask(now.monotonic_s, address, status.former_masters)]

    def _next_deadline_s(self, calm_since_s: float | None) -> float | None:
        if (incident := self.incident) is None:
            return None
        moments = [self._lookups.deadline_s, self._holders.verify_at_s]
        recovery = self._recovery(calm_since_s, incident)
        if recovery is not None:
            moments.append(recovery.resolves_at_s)
            if incident.recovering_s is None:
                moments.append(recovery.counts_at_s)
        elif incident.sent_cause is not None and self._lookups.deadline_s is None:
            moments.append(incident.sent_at_s + self._policy.repeat_interval_s)
        return min((at for at in moments if at is not None), default=None)

    # -- what is shown -----------------------------------------------------------------------------

    @property
    def is_notified(self) -> bool:
        """Return whether the receivers know whether supervisord gave up."""
        incident = self.incident
        return incident is not None and incident.sent_gave_up == incident.gave_up

    @property
    def tiers(self) -> frozenset[Tier]:
        """Return the windows in which the process is in a restart loop."""
        return self.failures.loops.tiers

    def view(self, last_exit: ExitReason | None) -> IncidentView | None:
        """Return the incident that is open, for the status page."""
        if (incident := self.incident) is None:
            return None
        facts = self._facts(incident, last_exit)
        if incident.cause in _WITH_POOLS:
            facts = replace(facts, sizes=self._live.pool_sizes(facts))
        return incident.view(facts)

    def _facts(self, incident: Incident, last_exit: ExitReason | None) -> IncidentFacts:
        report = self._holders.report if incident.cause is Cause.BIND_CONFLICT else None
        return IncidentFacts(
            name=self._name,
            cause=incident.cause,
            gave_up=incident.gave_up,
            address=incident.address or (report.address if report else None) or None,
            holder=report,
            last_exit=last_exit,
            failures=incident.failures,
            named=self.failures.subject,
            fault=self.failures.fault,
            every_s=self.failures.loops.usual_distance_s,
            line=self.failures.line,
            is_fpm=self._known.site is not None,
            commands=self._known.commands,
            site=self._site,
            needs=self._known.needs,
            output=self._known.output,
            post_mortem=self.failures.post_mortem,
            exhausted=incident.exhausted,
            recovering=incident.recovering_s is not None,
            live=self._live.view(incident.cause) if self._live.problems else NOTHING,
            evidence=tuple(self.failures.evidence.lines),
        )

    # -- saved state -------------------------------------------------------------------------------

    def restore(self, now: Instant, saved: Mapping[str, Any]) -> None:
        """Restore what SaveIncident contained. Raises KeyError, ValueError or TypeError."""
        self.incident = saved_incident.restore(now, saved, self.failures, self._policy)
        if self.incident is not None:
            lines = self.failures.evidence.lines
            self._live.restore(now.monotonic_s, self.incident.cause, lines, saved)

    def reconfigure(self, policy: Policy) -> None:
        """Use new settings."""
        self._policy = policy
        self.failures.reconfigure(policy)
