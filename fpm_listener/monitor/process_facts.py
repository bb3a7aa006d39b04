"""What is known about one process, and the inputs that only change that.

Events, log lines and decisions are in `process_monitor`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from fpm_listener.host.output_lines import readable
from fpm_listener.incidents.effects import ExitExamined, Gone, HolderFound, OutputRead
from fpm_listener.incidents.live_failures import LiveFailures
from fpm_listener.incidents.pending_lookups import Lookup
from fpm_listener.incidents.process_news import ProcessNews
from fpm_listener.incidents.program_known import ProgramKnown
from fpm_listener.incidents.program_output import UNKNOWN
from fpm_listener.incidents.tracker import IncidentTracker
from fpm_listener.monitor import messages
from fpm_listener.monitor.lifecycle import Phase
from fpm_listener.monitor.liveness import Answer, Liveness
from fpm_listener.monitor.log_trust import LogTrust
from fpm_listener.monitor.messages import Effect
from fpm_listener.monitor.opcache_seen import OpcacheSeen
from fpm_listener.monitor.pid_search import PidFound, PidSearch
from fpm_listener.monitor.process_view import ProcessCounters, ProcessView
from fpm_listener.monitor.run_output import RunOutput
from fpm_listener.monitor.self_healing import SelfHealing
from fpm_listener.monitor.socket_hold import SocketHold
from fpm_listener.phpfpm.config import FpmSite
from fpm_listener.phpfpm.status_page import started_again
from fpm_listener.values import Instant
from fpm_listener.vocabulary import State, Tier

if TYPE_CHECKING:
    from fpm_listener.monitor.supervision import Supervision
    from fpm_listener.phpfpm.status_page import PoolView
    from fpm_listener.supervisor.process import ProcessName, ProcessSeen

#: By the type of an input: the method of a process that takes it.
Inputs = dict[type, Callable[[Any, Instant, Any], list[Effect]]]


class ProcessFacts:
    """All that is known about one process. All moments are monotonic seconds."""

    def __init__(self, name: ProcessName, supervision: Supervision) -> None:
        policy = supervision.settings.policy
        self.name = name
        self.is_fpm = False
        self.site = FpmSite()
        self.output = UNKNOWN
        self.liveness = Liveness()
        self.is_disputed = False  #: the last answer differs from the events: ask again
        self.is_over = False  #: supervisord does not know it any more, and no incident is open
        self.deadline_s: float | None = None  #: `Tick` has something to do then
        self._shared = supervision
        self._news = ProcessNews()
        self._unsaved = False  # something besides the incident has changed
        self._live = LiveFailures(name, policy)
        self._tracker = IncidentTracker(name, policy, self._live, supervision.id_token)
        self._trust = LogTrust()
        self._run_output = RunOutput()
        self._healing = SelfHealing(str(name))
        self._hold = SocketHold()
        self._counters = ProcessCounters()
        self._never_ran = False  # the log of the last run did not report that php-fpm runs
        self._watched_pid: int | None = None
        self._pid_search = PidSearch()
        self._pools: tuple[PoolView, ...] = ()
        self._view: ProcessView | None = None

    @property
    def is_starting_up(self) -> bool:
        """Return whether it runs, and its log has not reported that yet."""
        return self.liveness.run.phase is not Phase.NONE and self._trust.start_up.is_open

    @property
    def is_up(self) -> bool:
        """Return whether it runs, and nobody stops it."""
        return self.liveness.state in {State.STARTING, State.RUNNING}

    def _stop(self, now: Instant, *, paused: bool = False) -> None:
        """Note a stop; `paused`: by self-healing. Another stop resets the failures."""
        if paused:
            self.liveness.settled_at_s = None
        self._news.reset = not paused
        self._unsaved |= paused
        self._hold.stop(now.monotonic_s + self._shared.settings.hold_linger_s)

    def _remove(self, now: Instant, _: messages.Removed | None = None) -> list[Effect]:
        self.liveness.remove(now.monotonic_s)
        self._live.take_stop_timeout("")
        self._stop(now)
        return []

    # -- answers about its state -------------------------------------------------------------------

    def _take_answer(self, now: Instant, answer: messages.StateAnswer) -> list[Effect]:
        seen = answer.seen
        verdict = self.liveness.judge(seen, answer.asked_at_s, self._shared.gap.at_s)
        self.is_disputed = verdict is Answer.DISPUTED
        if seen is None:
            return self._remove(now) if verdict is Answer.ACCEPTED else []
        if verdict is Answer.OUTDATED:
            self.is_disputed = self.liveness.is_unconfirmed and seen.state is not State.FATAL
        else:
            self._news.finished.add(Lookup.STATE)
        if verdict is Answer.ACCEPTED:
            self._correct(now, seen, is_exact=answer.is_exact)
        return []

    def _correct(self, now: Instant, seen: ProcessSeen, *, is_exact: bool) -> None:
        """Apply a state that no event has reported."""
        now_s, state = now.monotonic_s, seen.state
        has_ended, is_new_run, is_first = self.liveness.correct(now_s, seen, is_exact=is_exact)
        if has_ended:
            self._live.end_run(now_s)
            self._counters.last_exit = None  # the exit status is unknown
        if seen.started_at_s is not None:
            self._counters.start_time_s = seen.started_at_s
        if state is State.STARTING:
            self._trust.begin(now_s)
            self._pid_search.begin(now_s)
        elif is_new_run:
            self._trust.start_up.close()  # its first lines may have been read already
        if is_new_run:
            self._hold.begin()
            self._run_output.begin()
        if state in {State.STARTING, State.RUNNING, State.BACKOFF}:
            self._unsaved |= self._healing.start(now_s)
        elif state is State.FATAL:
            self._news.reset = True  # earlier failures do not explain the lost ones
        elif state is State.STOPPED and not is_first:
            self._stop(now, paused=self._healing.stop())
        elif state is State.STOPPED and self._healing.paused:
            self.liveness.settled_at_s = None

    # -- other inputs ------------------------------------------------------------------------------

    def _end_output(self, *, failed: bool) -> list[str]:
        """End the output of a run; return the half line of php-fpm."""
        rest = self._run_output.end(failed=failed)
        self._news.output = tuple(readable(self._run_output.ended)) if failed else None
        return rest if self.is_fpm else []

    def _take_output(self, _now: Instant, answer: OutputRead) -> list[Effect]:
        if answer.lines is not None:
            output = self._run_output
            sent = output.present if answer.exited_at_s is None else output.ended
            self._news.output = (*answer.lines, *readable(sent))
        self._news.finished.add(Lookup.OUTPUT)
        return []

    def _take_result(self, now: Instant, answer: HolderFound | ExitExamined | Gone) -> list[Effect]:
        self._news.answer = answer
        if isinstance(answer, Gone):
            self._live.take_gone(now.monotonic_s, answer.pids)
        else:
            is_holder = isinstance(answer, HolderFound)
            if isinstance(answer, ExitExamined):
                self._live.take_examination(answer.post_mortem)
            self._news.finished.add(Lookup.HOLDER if is_holder else Lookup.MACHINE)
        return []

    def _take_pools(self, now: Instant, seen: messages.PoolsSeen) -> list[Effect]:
        is_other_run = started_again(self._pools, seen.pools)
        self._pools = seen.pools
        self._live.requests.take(seen.requests)
        self._live.take_pools(now.monotonic_s, self.liveness.state, seen.pools)
        return [messages.Discover(all_configs=False)] if is_other_run else []

    def _take_opcache(self, now: Instant, seen: OpcacheSeen) -> list[Effect]:
        self._live.take_opcache(now.monotonic_s, self.liveness.state, seen.view)
        return []

    def _take_pid(self, _now: Instant, found: PidFound) -> list[Effect]:
        if self.liveness.lacks_pid:
            self.liveness.run.pid = found.pid
            return []
        return [messages.WatchPid(self.name, found.pid)]

    def _take_guard(self, _now: Instant, asked: messages.GuardAsks) -> list[Effect]:
        run = self.liveness.run
        if self.liveness.lacks_pid:
            run.pid = asked.pid or None  # no event reports it before RUNNING
        return [messages.AnswerGuard(asked.ticket, self._hold.ask(asked.pid, wanted=asked.hold))]

    def _take_hold(
        self, _now: Instant, given: messages.SocketsHeld | messages.HoldFailed
    ) -> list[Effect]:
        if isinstance(given, messages.HoldFailed):
            self._hold.give_up()
            return []
        return [messages.Discover(all_configs=False)] if self._hold.hold(given.addresses) else []

    def _end_plan(
        self, now: Instant, given: messages.StopFailed | messages.LeaveProgram
    ) -> list[Effect]:
        is_refused = isinstance(given, messages.StopFailed)
        was_paused = self._healing.refuse_halt() if is_refused else self._healing.exclude()
        if was_paused:
            self.liveness.stop(now.monotonic_s)
            self._stop(now)
        self._unsaved = True
        return []

    def _configure(self, now: Instant, known: ProgramKnown) -> list[Effect]:
        if known.site and not self.is_fpm and self.liveness.run.phase is not Phase.NONE:
            # Its log was not read so far: it may have reported already that php-fpm runs.
            self._trust.start_up.close()
        if known.site and not self.is_fpm and self._run_output.ended:
            self._news.output = tuple(readable(self._run_output.ended))  # now as lines of php-fpm
        self.is_fpm = known.site is not None
        self.site = known.site or FpmSite()
        self._hold.configure(self.site.addresses)
        self.output = known.output
        self._tracker.configure(known)
        self._live.configure(known.program, self.site.pools)
        if not self.site.targets:
            self._live.end_polls(now.monotonic_s)
        return []

    def _take_kill(self, _now: Instant, killed: messages.StopTimedOut) -> list[Effect]:
        """Note that a stop has cut what the process was doing. It is not a failure."""
        self._live.take_kill(killed.pid, killed.line, is_free=self._tracker.incident is None)
        return []

    # -- settings, saved state, view ---------------------------------------------------------------

    def reconfigure(self) -> None:
        """Use the new settings of the supervision."""
        policy = self._shared.settings.policy
        self._tracker.reconfigure(policy)
        self._live.reconfigure(policy)
        if not self._shared.settings.keeps_requests:
            self._live.requests.clear()
        if not self._shared.settings.reads_opcache:
            self._live.opcache.view = None
        is_loop = self.liveness.state is State.BACKOFF and Tier.FAST in self._tracker.tiers
        if is_loop and policy.healing.loop_delay:
            self._healing.fail()
        self.deadline_s = 0.0  # the results are due at once

    def restore(self, now: Instant, saved: Mapping[str, Any]) -> None:
        """Restore what SaveState contained. Raises KeyError, ValueError or TypeError.

        Its `clock_shift_s`: seconds by which the wall clock was set since then, if known.
        """
        now = now._replace(wall_s=now.wall_s - float(saved.get("clock_shift_s", 0.0)))
        self.liveness.run.former_pids.extend(int(pid) for pid in saved["masters"])
        self._tracker.restore(now, saved)
        if saved.get("healing"):
            self._healing.restore(now, saved["healing"])
        incident = self._tracker.incident
        self.liveness.given_up = incident is not None and incident.gave_up

    def view(self) -> ProcessView:
        """Return what other threads may read."""
        if self._view is None:
            self._view = replace(
                self._counters.view(self.name, self.liveness.state, is_fpm=self.is_fpm),
                pid=self.liveness.run.pid,
                loops=self._tracker.tiers,
                incident=self._tracker.view(self._counters.last_exit),
                error_logs=self.site.error_logs,
                addresses=self.site.addresses,
                held=self._hold.addresses,
                healed=self._healing.starts,
                exhausted=self._healing.exhausted,
                paused=self._healing.paused,
                pools=self._live.saturation.marked(self._pools),
                opcache=self._live.opcache.view,
                next_start_s=self._healing.next_start_s,
                final_end=self._healing.final_end,
            )
        return self._view

    #: By the type of an input: what it changes. Other inputs only let time pass.
    LEARN: ClassVar[Inputs] = {
        messages.StateAnswer: _take_answer,
        messages.StopTimedOut: _take_kill,
        ProgramKnown: _configure,
        messages.Removed: _remove,
        HolderFound: _take_result,
        ExitExamined: _take_result,
        OutputRead: _take_output,
        Gone: _take_result,
        messages.PoolsSeen: _take_pools,
        OpcacheSeen: _take_opcache,
        messages.GuardAsks: _take_guard,
        PidFound: _take_pid,
        messages.SocketsHeld: _take_hold,
        messages.HoldFailed: _take_hold,
        messages.StopFailed: _end_plan,
        messages.LeaveProgram: _end_plan,
    }
