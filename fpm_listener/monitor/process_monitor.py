"""One watched process: its life, the lines of its log, its counts; its trouble, if it has one.

Laws:
1. Every fact about the process is joined here, in whatever order it arrives.
2. A log line with a stamp counts once, wherever and however often it is seen.
3. Nothing here knows another process.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fpm_listener.incidents.effects import Gone, HolderFound
from fpm_listener.incidents.live_failures import LiveFailures
from fpm_listener.incidents.tracker import IncidentTracker, ProcessCondition, ProcessExit
from fpm_listener.monitor.lifecycle import ENDINGS, Outcome, Phase, ProcessRun, signal_of
from fpm_listener.monitor.liveness import Liveness
from fpm_listener.monitor.log_trust import LogTrust
from fpm_listener.monitor.messages import (
    AnswerGuard,
    AskProcesses,
    Discover,
    Effect,
    GuardAsks,
    PoolsSeen,
    ReleaseSockets,
    SaveState,
    SelfHeal,
    WakeSupervisord,
    WatchPid,
)
from fpm_listener.monitor.process_view import ProcessCounters
from fpm_listener.monitor.self_healing import SelfHealing
from fpm_listener.monitor.socket_hold import SocketHold
from fpm_listener.monitor.wake_schedule import WakeSchedule
from fpm_listener.phpfpm.line_splitter import LineSplitter
from fpm_listener.phpfpm.log_facts import START_FAILURES, FactKind, LogFact
from fpm_listener.phpfpm.site import FpmSite
from fpm_listener.vocabulary import State, Tier

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm_listener.incidents.effects import ExitExamined
    from fpm_listener.incidents.post_mortem import Needs
    from fpm_listener.monitor.process_view import ProcessView
    from fpm_listener.phpfpm.status_page import PoolView
    from fpm_listener.settings.policy import Policy
    from fpm_listener.supervisor.events import ProcessState
    from fpm_listener.supervisor.exit_log import ExitNote
    from fpm_listener.supervisor.process import ProcessName, ProcessSeen
    from fpm_listener.values import Instant

_KEPT_MASTERS = 16
_RUNNING = State.RUNNING


class ProcessMonitor:
    """Owned by the engine."""

    def __init__(self, name: ProcessName, policy: Policy, linger_s: float, id_token: str) -> None:
        self.name = name
        self.is_fpm = False
        self.site = FpmSite()
        self.liveness = Liveness()
        self.life = ProcessRun()
        self.removed = False
        self.stderr = LineSplitter()
        self._trouble = IncidentTracker(name, policy, id_token)
        self._hearing = LogTrust()
        self._waking = WakeSchedule()
        self.healing = SelfHealing(str(name))
        self._healing_policy = policy.healing
        self.hold = SocketHold()
        self._linger_s = linger_s
        self._never_ran = False  # the last life: its log has not said that it runs
        self._watched_pid: int | None = None
        self._masters: deque[int] = deque(maxlen=_KEPT_MASTERS)
        self._record = ProcessCounters()
        self._pools: tuple[PoolView, ...] = ()
        self._ailments = LiveFailures(name, policy)
        self._view: ProcessView | None = None

    # -- what happens to it ------------------------------------------------------------------------

    def changed(self, now: Instant, event: ProcessState) -> ProcessExit | None:
        """Take in an event; return the death that it tells of, if it does."""
        self._view = None
        self.removed = False
        before, pid = self.life.phase, event.pid or self.life.pid
        signal = signal_of(event.state, expected=event.expected)
        outcome = self.life.step(now.monotonic_s, signal, event.pid)
        self.liveness.heard(now.monotonic_s, event.state)
        if event.state is not State.EXITED:
            self._waking.end()
        if event.state is State.BACKOFF and event.tries:
            self._waking.next_start_s = now.monotonic_s + event.tries
        if outcome is Outcome.BEGAN or (outcome is Outcome.CONFIRMED and before is Phase.NONE):
            self._began(now)
        if outcome is Outcome.CONFIRMED:
            self.liveness.settled_at_s = now.monotonic_s
        elif outcome is Outcome.GAVE_UP:
            self._record.fatal += 1
            self.liveness.gave_up()
        elif outcome is Outcome.STOPPED and before is Phase.NONE:
            self._stopped(now)  # while it waited to be started again: nobody has died
        elif outcome in ENDINGS:
            return self._ended(now, outcome, pid)
        return None

    def _began(self, now: Instant) -> None:
        self._record.began(now, self.liveness.died_at_s)
        self.liveness.began()
        self._waking.next_start_s = None
        self._hearing.began(now.monotonic_s)
        self.hold.began()
        if self.healing.began(now.monotonic_s):
            self._trouble.dirty = True

    def _ended(self, now: Instant, outcome: Outcome, pid: int | None) -> ProcessExit:
        failed = self.life.failed(outcome, is_fpm=self.is_fpm)
        self._record.ended(now, outcome)
        self.liveness.settled_at_s = None
        self.life.pid = None
        if pid is not None:
            self._masters.append(pid)
        self._never_ran = self._hearing.start_up.is_open
        death = ProcessExit(now.monotonic_s, failed)
        self.hold.ended(stopped=outcome is Outcome.STOPPED)
        if failed:
            self._trouble.failed(death)
            if Tier.FAST in self._trouble.tiers:
                self.healing.failed()
            if self.site.error_logs and not self._hearing.spoke:
                self._trouble.looking_for("log")  # its follower is a moment behind
        self._ailments.silence.forget()
        self._hearing.ended(now.monotonic_s, death, failed=failed)
        if outcome is Outcome.STOPPED:
            self._stopped(now)
        else:
            self.liveness.ended(now.monotonic_s, settled=not failed and not self.is_fpm)
        return death

    def hurry(self, now: Instant, pid: int | None = None) -> None:
        """Have supervisord see a death, or follow it by a start, without delay.

        pid: of who has died, where the kernel has told it; supervisord may not know it yet.
        """
        if pid is not None and (pid != self.life.pid or self.life.phase is Phase.STOPPING):
            return  # an operator's stop is supervisord's own business
        died = pid is not None or self.liveness.died_at_s is not None
        self._waking.hurry(now.monotonic_s, self.life.began_at, died=died)

    def _stopped(self, now: Instant) -> None:
        if self.healing.stopped():
            self.liveness.died_at_s = None
            self._trouble.dirty = True
            self.hold.rests(now.monotonic_s + self._linger_s)
        else:
            self._rests(now)

    def plan_ended(self, now: Instant, *, was_paused: bool) -> None:
        """Its operator wants nothing more done to it, or it was not stopped by us."""
        if was_paused:
            self._rests(now)
        self._trouble.dirty = True

    def _rests(self, now: Instant) -> None:
        """Its operator has stopped it: that is no failure, and ends a trouble if it lasts."""
        self.liveness.rests(now.monotonic_s)
        self._trouble.forget()
        self.hold.rests(now.monotonic_s + self._linger_s)

    def remove(self, now: Instant) -> None:
        """supervisord does not know it any more (`update`); it may be back at once."""
        self._view = None
        self.removed = True
        self.liveness.heard(now.monotonic_s, State.STOPPED)
        self.life = ProcessRun()
        self._rests(now)

    def seen(self, now: Instant, seen: ProcessSeen, asked_at_s: float, gap_at_s: float) -> bool:
        """Take in an answer; return whether to ask again; `gap_at_s`: of the latest lost events."""
        liveness, state = self.liveness, seen.state
        if liveness.is_newer(asked_at_s):
            return liveness.is_uncertain and state is not State.FATAL
        self._trouble.looked("state")
        if state is State.UNKNOWN and not liveness.is_doubted(gap_at_s):
            return False  # nothing shows that the events are wrong
        same_pid = seen.pid is None or self.life.pid in {None, seen.pid}
        if state is liveness.state and not self.removed and (state is not _RUNNING or same_pid):
            liveness.agrees(asked_at_s)
            if state is _RUNNING and self.life.pid is None:
                self.life.pid = seen.pid
            return False
        if not liveness.accepts(asked_at_s, state, seen.pid, gap_at_s):
            return True
        self._correct(now, seen)
        return False

    def absent(self, now: Instant, asked_at_s: float, gap_at_s: float) -> bool:
        """Take in that supervisord does not know it; return whether to ask again."""
        unknown = self.removed or self.liveness.state is State.UNKNOWN
        if unknown or self.liveness.is_newer(asked_at_s):
            return False
        if not self.liveness.accepts(asked_at_s, State.UNKNOWN, None, gap_at_s):
            return True
        self.remove(now)
        return False

    def _correct(self, now: Instant, seen: ProcessSeen) -> None:
        """Take over a state that no event has told."""
        self._view, self.removed = None, False
        state, is_first = seen.state, self.liveness.state is State.UNKNOWN
        ended, is_new = self.life.correct(state, seen.pid)
        if ended is not None:
            self._masters.append(ended)
            self._ailments.silence.forget()
            self._record.last_exit = None  # nobody has seen how that run ended
        if state is State.FATAL:
            self._trouble.forget()  # earlier failures do not explain the lost ones
        self._waking.end()
        self._waking.next_start_s = None
        if seen.started_at_s is not None:
            self._record.start_time_s = seen.started_at_s
        if state is State.STARTING:
            self._hearing.began(now.monotonic_s)
        elif is_new and not is_first:
            self._hearing.start_up.close()  # its first lines may have been read already
        if is_new and not is_first:
            self.hold.began()
        self.liveness.corrected(now.monotonic_s, state)
        if state in {State.STARTING, _RUNNING, State.BACKOFF}:
            self._trouble.dirty |= self.healing.began(now.monotonic_s)
        elif state is State.STOPPED and is_first and self.healing.paused:
            self.liveness.settled_at_s = None
        elif state is State.STOPPED and not is_first:
            self.liveness.settled_at_s = None
            self._stopped(now)

    def hear(self, now: Instant, fact: LogFact) -> list[Effect]:
        """Take in what a line of its log states."""
        if not self._hearing.is_news(fact, self._record.starts):
            return []
        self._view = None
        effects: list[Effect] = []
        self._ailments.crashes.hear(fact)
        if fact.kind is FactKind.BIND_CONFLICT and self._hearing.start_up.is_open:
            address = fact.address or next(iter(self.site.addresses), None)
            effects += self._trouble.look_for_holder(now, address, self._masters)
        self._believe(self._hearing.hear(now.monotonic_s, fact))
        if fact.kind is FactKind.READY:
            self.hold.serves()
        elif fact.kind is FactKind.RELOAD and self.hold.addresses:
            effects.append(Discover(anew=False))  # it may listen elsewhere from now on
        return effects

    def _believe(self, facts: tuple[LogFact, ...]) -> None:
        for fact in facts:
            self._record.facts[fact.kind] += 1
        self._trouble.explained(fact for fact in facts if fact.kind in START_FAILURES)

    def exit_expected(self) -> None:
        """Let alerts wait a moment for the exit code, which is being looked up."""
        self._trouble.looking_for("exit")

    def exit_known(self, death: ProcessExit, note: ExitNote | None) -> None:
        """Take in how its life ended; None = that could not be found out."""
        self._view = None
        self._record.last_exit = note.reason if note is not None else None
        self._trouble.exit_known(death, note)
        if death.failed and self._never_ran:
            self.hold.failed_to_start(self._record.last_exit, self.life.length_s)
        killed = note is not None and note.reason.signal is not None
        self._believe(self._hearing.exit_known(death, killed=killed))

    def found(self, now: Instant, answer: HolderFound | ExitExamined | Gone | PoolsSeen) -> None:
        """Take in what was looked up."""
        if isinstance(answer, HolderFound):
            self._trouble.found_holder(now, answer.report)
        elif isinstance(answer, Gone):
            self._ailments.crashes.gone(now.monotonic_s, answer.pids)
            self._trouble.holders.gone(answer.pids)
        elif isinstance(answer, PoolsSeen):
            self._pools = answer.pools
            self._ailments.silence.hear(now.monotonic_s, self.liveness.state, answer.pools)
        else:
            self._trouble.examined(answer.died_at_s, answer.autopsy)

    def adopt(self, policy: Policy, linger_s: float) -> None:
        """Go on under new settings."""
        self._trouble.adopt(policy)
        self._healing_policy = policy.healing
        self._linger_s = linger_s

    # -- its listening sockets ---------------------------------------------------------------------

    def guard_asks(self, asked: GuardAsks) -> Effect:
        """Let a guard have what is held, or not."""
        if self.life.pid is None and self.life.phase is Phase.STARTING:
            self.life.pid = asked.pid or None  # no event tells it before RUNNING
        return AnswerGuard(asked.ticket, self.hold.ask(wanted=asked.hold))

    def sockets_held(self, addresses: tuple[str, ...]) -> list[Effect]:
        """Know what is held."""
        return [Discover(anew=False)] if self.hold.keep(addresses) else []

    # -- what follows from it ----------------------------------------------------------------------

    def recognise(self, site: FpmSite | None, needs: Needs) -> None:
        """Know what kind of program it is; `site` = it is a php-fpm, and this is its own view."""
        if site is not None and not self.is_fpm and self.life.phase is not Phase.NONE:
            # Its log was not read so far: it may have said that it runs.
            self._hearing.start_up.close()
        self.is_fpm = site is not None
        self.site = site or FpmSite()
        self.hold.configured(self.site.addresses)
        self._trouble.recognise(self.site, needs)

    def review(
        self, now: Instant, labels: Mapping[str, str], *, stopping: bool, in_gap: bool
    ) -> list[Effect]:
        """Return what is to be done now; `in_gap`: events were lost, and no answer has come yet."""
        self._view = None
        if not stopping:
            self.liveness.abandon(now.monotonic_s, certainly_failed=self.is_fpm)
        effects: list[Effect] = []
        if self.liveness.is_to_be_checked():
            self._trouble.looking_for("state")  # a start may be known to supervisord only
            effects.append(AskProcesses())
        mine = {
            "alertname": "PhpFpmFailing" if self.is_fpm else "ProgramFailing",
            "group": self.name.group,
            "process": self.name.process,
            **labels,
        }
        state = ProcessCondition(
            gave_up=self.liveness.surely_given_up(in_gap=in_gap),
            settled_at_s=self._ailments.calm_since_s(self.liveness.settled_at_s),
            worn_out=self.healing.worn_out,
            last_exit=self._record.last_exit,
            former_masters=tuple(self._masters),
            ailments=self._ailments,
        )
        effects += self._trouble.review(now, state, mine)
        if state.gave_up and self._trouble.is_told:
            self.liveness.confirm()
        effects += self._ailments.crashes.ask(now.monotonic_s) + self._heal(now, stopping=stopping)
        if self.healing.worn_out and not state.worn_out:  # told now: nothing else may happen today
            effects += self._trouble.review(now, state._replace(worn_out=True), mine)
        if self._trouble.dirty:
            effects.append(SaveState(self.name, self.memory(now)))
        if self.life.pid is not None and self.life.pid != self._watched_pid:
            self._watched_pid = self.life.pid
            effects.append(WatchPid(self.name, self.life.pid))
        if self._waking.take(now.monotonic_s) and not stopping:
            effects.append(WakeSupervisord(self.name))
        everything = stopping or self.removed or state.gave_up
        if gone := self.hold.let_go(now.monotonic_s, everything=everything):
            effects.append(ReleaseSockets(self.name, gone))
        return effects

    def _heal(self, now: Instant, *, stopping: bool) -> list[Effect]:
        if stopping:
            self.healing.suspend()
        if stopping or self.liveness.held_back:
            return []  # the answer that is awaited may refute that it is down
        over, told = not self._trouble.open, self._trouble.is_told
        policy, state = self._healing_policy, self.liveness.state
        act = self.healing.step(now, policy, state, over=over, told=told)
        if act is None:
            return []
        self._trouble.dirty = True  # remembered before it is done
        return [SelfHeal(self.name, act)]

    def deadline_s(self, now: Instant) -> float | None:
        """Return the monotonic moment at which `review` can have something new to say."""
        moments = [
            None if self.liveness.held_back else self.healing.deadline_s(),
            self.liveness.deadline_s(now.monotonic_s),
            self._ailments.crashes.deadline_s(),
            self._trouble.deadline_s(self._ailments.calm_since_s(self.liveness.settled_at_s)),
            self._waking.deadline_s(),
            self.hold.deadline_s(),
        ]
        return min((at for at in moments if at is not None), default=None)

    def memory(self, now: Instant) -> dict[str, Any] | None:
        """Return what must outlive the listener; None where there is nothing."""
        trouble = self._trouble.memory(now)
        if trouble is None:
            return None
        return {**trouble, "masters": list(self._masters), "healing": self.healing.memory(now)}

    def restore(self, now: Instant, saved: Mapping[str, Any]) -> None:
        """Take up what `memory` returned. Raises KeyError, ValueError or TypeError.

        Its `clock_shift_s` is by how much the wall clock was set since, where that is known.
        """
        now = now._replace(wall_s=now.wall_s - float(saved.get("clock_shift_s", 0.0)))
        self._masters.extend(int(pid) for pid in saved["masters"])
        self._trouble.restore(now, saved)
        if saved.get("healing"):
            self.healing.restore(now, saved["healing"])
        self.liveness.given_up = self._trouble.gave_up

    @property
    def in_trouble(self) -> bool:
        """Return whether an incident is open."""
        return self._trouble.open

    @property
    def starting_up(self) -> bool:
        """Return whether it lives, and has not said yet that it runs."""
        return self.life.phase is not Phase.NONE and self._hearing.start_up.is_open

    def view(self) -> ProcessView:
        """Return what other threads may read."""
        if self._view is None:
            self._view = replace(
                self._record.view(self.name, self.liveness.state, is_fpm=self.is_fpm),
                pid=self.life.pid,
                loops=self._trouble.tiers,
                incident=self._trouble.view(self._record.last_exit),
                error_logs=self.site.error_logs,
                addresses=self.site.addresses,
                held=self.hold.addresses,
                healed=self.healing.starts,
                worn_out=self.healing.worn_out,
                paused=self.healing.paused,
                pools=self._pools,
                next_start_s=self.healing.next_start_s,
            )
        return self._view
