"""One supervised process: its run, its state, its log, its counters, its incident.

Laws:
1. `take` is the only entry for facts. They may arrive in any order.
2. `take` first learns from the input, then decides once (`_review`).
3. A process knows no other process.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from fpm_listener.incidents.effects import MarkOutput, SaveIncident
from fpm_listener.incidents.pending_lookups import Lookup
from fpm_listener.incidents.process_news import ProcessExit, ProcessNews, ProcessStatus
from fpm_listener.incidents.worker_failures import WORKER_LINES
from fpm_listener.monitor import messages
from fpm_listener.monitor.exit_matcher import Run
from fpm_listener.monitor.final_end import Ended, final_end, is_abandoned
from fpm_listener.monitor.lifecycle import Outcome, Phase
from fpm_listener.monitor.pid_search import FindPid
from fpm_listener.monitor.process_facts import Inputs, ProcessFacts
from fpm_listener.phpfpm.log_facts import START_FAILURES, FactKind
from fpm_listener.phpfpm.log_parser import classify_all
from fpm_listener.settings.policy import NO_HEALING
from fpm_listener.supervisor.events import ProcessLog, ProcessState
from fpm_listener.vocabulary import State, Tier

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fpm_listener.monitor.lifecycle import RunChange
    from fpm_listener.monitor.messages import Effect, ProcessInput
    from fpm_listener.monitor.self_healing import Act
    from fpm_listener.phpfpm.log_facts import LogFact
    from fpm_listener.supervisor.exit_log import ExitNote
    from fpm_listener.values import Instant


class ProcessMonitor(ProcessFacts):
    """The engine owns it. All moments are monotonic seconds."""

    def take(self, now: Instant, given: ProcessInput) -> list[Effect]:
        """Learn from an input and return what to do now. `Tick` only lets time pass."""
        if isinstance(given, ProcessLog):
            lines = self._run_output.feed(given.text, given.channel)
            given = messages.LogFacts(classify_all(lines) if self.is_fpm else ())
            if not given.facts:
                return []
        self._view, self._news = None, ProcessNews(started=set(self._shared.awaited))
        learn = self.LEARN.get(type(given))
        effects = learn(self, now, given) if learn else []
        return effects + self._review(now)

    # -- events ------------------------------------------------------------------------------------

    def _take_event(self, now: Instant, event: ProcessState) -> list[Effect]:
        effects: list[Effect] = [messages.ReadLogsNow()] if self.is_fpm else []
        exited_at_s = self.liveness.exited_at_s
        fast = self._shared.settings.fast_restart and not self._shared.is_stopping
        change = self.liveness.take(
            now.monotonic_s, event, self._shared.gap.at_s, is_fpm=self.is_fpm, fast_restart=fast
        )
        self._counters.outcomes[change.outcome] += 1
        if change.began and self.liveness.is_done:
            self._live.take_restart(now.monotonic_s)
        if self._hold.is_used:
            self._hold.take(change)
        if change.began:
            self._counters.start(now, exited_at_s)
            self._trust.begin(now.monotonic_s)
            if self._run_output.is_used:
                self._run_output.begin()
            self._pid_search.begin(now.monotonic_s)
            self._unsaved |= self._healing.start(now.monotonic_s)
        if change.down_s is not None:
            effects.append(messages.RunStarted(self.name, change.down_s))
        if change.outcome is Outcome.STOPPED:
            self._stop(now, paused=self._healing.stop())
        elif event.state is State.EXITED:
            policy = self._shared.settings.policy.healing
            if is_abandoned(self.name, policy, self._live.program, change.outcome):
                self.liveness.abandon(now.monotonic_s)
        return effects + self._end(now, event, change) if change.ended else effects

    def _end(self, now: Instant, event: ProcessState, change: RunChange) -> list[Effect]:
        rest = self._end_output(failed=change.failed) if self._run_output.is_used else []
        effects = self._take_facts(now, messages.LogFacts(classify_all(rest)))
        if self.output.known:
            effects.append(MarkOutput(self.name, now.monotonic_s, self.output))
        is_stop = change.outcome is Outcome.STOPPED
        times = change.stop_s, change.run_s
        ended = ProcessExit(now.monotonic_s, change.failed, is_stop, *times, pid=change.pid)
        self._counters.last_exit_s = now.wall_s
        live = self._live
        is_seen = live.silent or live.saturation.line or live.opcache.view is not None
        if is_seen or live.workers.deadline_s is not None:
            live.end_run(now.monotonic_s)
        run, has_delay = Run(self.name, change.pid), event.state is not State.EXITED
        match = self._shared.exits.take_exit(now.monotonic_s, run, ended, has_delay=has_delay)
        killed = _is_kill(match.note) if match.is_final else None
        log = self._trust.end(now.monotonic_s, ended, failed=change.failed, killed=killed)
        self._never_ran = ended.never_ran = log.never_ran
        if change.failed:
            self._news.failure = ended
            if self.site.error_logs and not log.is_explained:
                self._news.started.add(Lookup.LOG)  # its follower is a moment behind
        if match.is_final:
            effects.append(self._learn_reason(ended, match.note, log.facts))
        else:
            self._news.started.add(Lookup.EXIT)  # a read that comes later brings it, too
            effects += [] if match.read is None else [match.read]
        return effects

    def _take_exits(self, _now: Instant, known: messages.ExitsKnown) -> list[Effect]:
        return [
            self._learn_reason(ended, note, self._trust.explain(ended, killed=_is_kill(note)))
            for ended, note in known.exits
        ]

    def _take_kernel_exit(self, now: Instant, exited: messages.ProcessExited) -> list[Effect]:
        """Let supervisord see an exit at once. A stop by the operator is not hurried."""
        run = self.liveness.run
        effects: list[Effect] = []
        if exited.reason is not None:
            its = Run(self.name, exited.pid)
            effects = self._take_exits(now, self._shared.exits.take_kernel(its, exited.reason))
        is_present = exited.pid == run.pid and run.phase is not Phase.STOPPING
        is_present = is_present and not self.liveness.is_done  # it will exit as expected again
        if is_present and self._shared.settings.fast_restart and not self._shared.is_stopping:
            self.liveness.waking.wake_soon(now.monotonic_s, run.began_at_s, exited=True)
        return effects

    def _learn_reason(
        self, ended: ProcessExit, note: ExitNote | None, facts: Iterable[LogFact]
    ) -> Effect:
        """Learn how a run ended; None = that stays unknown."""
        self._news.exits.append((ended, note))
        if ended.stop_s is not None:
            self._live.take_stop(ended, note, is_free=self._tracker.incident is None)
        self._news.finished.add(Lookup.EXIT)
        self._counters.last_exit = note.reason if note is not None else None
        if ended.failed and self._never_ran and self._hold.is_used:
            self._hold.fail(self._counters.last_exit, ended.run_s)
        self._count(facts, ended)
        return messages.RunEnded(self.name, ended, note)

    # -- its log -----------------------------------------------------------------------------------

    def _take_facts(self, now: Instant, log: messages.LogFacts) -> list[Effect]:
        effects: list[Effect] = []
        for fact in log.facts:
            if not self._trust.is_new(fact, self._counters.starts):
                continue
            if fact.kind in WORKER_LINES and self.is_up:
                self._live.workers.take_line(now.monotonic_s, fact)
            elif fact.kind is FactKind.BIND_CONFLICT and self._trust.start_up.is_open:
                self._news.conflict = self._news.conflict or fact
            self._count(self._trust.take(now.monotonic_s, fact))
            if fact.kind is FactKind.READY:
                self._hold.succeed()
            elif fact.kind is FactKind.RELOAD:  # with another address or pm.max_children, perhaps
                effects.append(messages.Discover(all_configs=False))
        return effects

    def _count(self, facts: Iterable[LogFact], ended: ProcessExit | None = None) -> None:
        for fact in facts:
            self._counters.facts[fact.kind] += 1
            if fact.kind in START_FAILURES:
                self._news.facts.append((fact, ended))
                self._news.finished.add(Lookup.LOG)

    LEARN: ClassVar[Inputs] = {
        **ProcessFacts.LEARN,
        ProcessState: _take_event,
        messages.LogFacts: _take_facts,
        messages.ExitsKnown: _take_exits,
        messages.ProcessExited: _take_kernel_exit,
    }

    # -- what to do --------------------------------------------------------------------------------

    def _review(self, now: Instant) -> list[Effect]:
        now_s, liveness, shared = now.monotonic_s, self.liveness, self._shared
        effects: list[Effect] = []
        if liveness.given_up or now_s >= liveness.abandoned_at_s:
            asks = liveness.review(
                now_s, is_fpm=self.is_fpm, in_gap=shared.gap.is_open, stopping=shared.is_stopping
            )
            if asks:
                self._news.started.add(Lookup.STATE)  # only supervisord may know of a start
                self._news.finished.discard(Lookup.STATE)
                effects.append(messages.AskProcesses())
        gave_up = liveness.given_up and not liveness.held_back
        effects += self._decide(now, gave_up=gave_up)
        run, search = liveness.run, self._pid_search
        if run.phase is not Phase.NONE and run.pid is not None and run.pid in run.former_pids:
            shared.exits.disown(Run(self.name, run.pid))
        if run.pid is not None and run.pid != self._watched_pid:
            self._watched_pid = run.pid
            effects.append(messages.WatchPid(self.name, run.pid))
        if run.pid is not None or run.phase is not Phase.STARTING:
            search.deadline_s = None
        elif search.deadline_s is not None and now_s >= search.deadline_s and search.is_due(now_s):
            effects.append(FindPid(self.name))
        waking = liveness.waking
        is_late = waking.deadline_s is not None and now_s >= waking.deadline_s
        if is_late and waking.is_due(now_s) and not shared.is_stopping:
            effects.append(messages.WakeSupervisord(self.name))
        if self._hold.addresses:
            everything = shared.is_stopping or liveness.is_removed or gave_up
            released = self._hold.release(now_s, everything=everything)
            effects += [messages.ReleaseSockets(self.name, released)] if released else []
        self.is_over = liveness.is_removed and self._tracker.incident is None
        moments = (
            None if liveness.held_back else self._healing.due_s,
            liveness.abandoned_at_s,
            self._live.workers.deadline_s,
            self._tracker.deadline_s,
            waking.deadline_s,
            self._pid_search.deadline_s,
            self._hold.release_at_s,
        )
        later = [at_s for at_s in moments if at_s is not None and now_s < at_s < float("inf")]
        self.deadline_s = min(later, default=None)
        return effects

    def _decide(self, now: Instant, *, gave_up: bool) -> list[Effect]:
        """Review the incident and self-healing; save what has changed."""
        identity, settled_at_s = self._shared.settings.identity, self.liveness.settled_at_s
        status = ProcessStatus(
            gave_up=gave_up,
            calm_since_s=None
            if settled_at_s is None
            else self._live.calm_since_s(settled_at_s, self.liveness.state),
            exhausted=self._healing.exhausted,
            last_exit=self._counters.last_exit,
            former_masters=tuple(self.liveness.run.former_pids),
            labels={
                "alertname": "PhpFpmFailing" if self.is_fpm else "ProgramFailing",
                "group": self.name.group,
                "process": self.name.process,
                "instance": identity.instance,
                "supervisor": identity.supervisor,
            },
            unsaved=self._unsaved,
        )
        effects: list[Effect | SaveIncident] = [*self._tracker.take(now, self._news, status)]
        if gave_up and self._tracker.is_notified:
            self.liveness.confirm()
        check_at_s = self._live.workers.deadline_s
        if check_at_s is not None and now.monotonic_s >= check_at_s:
            effects.append(self._live.workers.check(now.monotonic_s))
        act = self._heal(now)
        effects += [] if act is None else [messages.SelfHeal(self.name, act)]
        if act is not None or self._healing.exhausted is not status.exhausted:
            # Saved before it is done; and receivers get to know that there are no more starts.
            status = replace(status, exhausted=self._healing.exhausted, unsaved=act is not None)
            effects += self._tracker.take(now, ProcessNews(), status)
        self._unsaved = False
        saved = [effect.memory for effect in effects if isinstance(effect, SaveIncident)]
        done: list[Effect] = [one for one in effects if not isinstance(one, SaveIncident)]
        return (
            [*done, messages.SaveState(self.name, self._memory(now, saved[-1]))] if saved else done
        )

    def _heal(self, now: Instant) -> Act | None:
        policy, healing = self._shared.settings.policy.healing, self._healing
        if self._news.failure and policy.loop_delay and Tier.FAST in self._tracker.tiers:
            healing.fail()
        if self._shared.is_stopping:
            healing.suspend()
        if self._shared.is_stopping or self.liveness.held_back:
            return None  # an answer may still refute that it is given up
        if policy == NO_HEALING and not healing.is_used:
            return None
        over, state, end = self._tracker.incident is None, self.liveness.state, None
        if self.liveness.given_up and self._tracker.is_notified:
            ended = Ended(self.liveness.ended_as, *self._tracker.failures.last_result)
            program = self._live.program
            end = final_end(self.name, policy, program, state, ended, is_fpm=self.is_fpm)
        return healing.step(now, policy, state, over=over, final_end=end)

    def _memory(self, now: Instant, incident: dict[str, Any] | None) -> dict[str, Any] | None:
        if incident is None:
            return None
        healing = self._healing.memory(now) if self._healing.is_used else None
        opened = self._tracker.incident
        return {
            **incident,
            "masters": list(self.liveness.run.former_pids),
            "healing": healing,
            **(self._live.memory(opened.cause) if opened and self._live.problems else {}),
        }


def _is_kill(note: ExitNote | None) -> bool:
    return note is not None and note.reason.signal is not None
