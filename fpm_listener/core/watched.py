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

from fpm_listener.core.ailments import Ailments
from fpm_listener.core.belief import Hearing
from fpm_listener.core.effects import (
    AnswerGuard,
    Discover,
    Effect,
    FpmSite,
    Gone,
    GuardAsks,
    Heal,
    HolderFound,
    LetGo,
    PoolsSeen,
    Remember,
    WakeSupervisord,
    WatchPid,
)
from fpm_listener.core.facts import START_FAILURES, FactKind, LogFact
from fpm_listener.core.healing import Healing
from fpm_listener.core.hold import Hold
from fpm_listener.core.lines import LineSplitter
from fpm_listener.core.lives import ENDINGS, Life, Outcome, Phase, signal_of
from fpm_listener.core.record import Record
from fpm_listener.core.snapshot import State, Tier
from fpm_listener.core.trouble import Condition, Death, Trouble
from fpm_listener.core.waking import SHORTEST_LIFE_S, Waking

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm_listener.core.autopsy import Needs
    from fpm_listener.core.effects import DeathExamined
    from fpm_listener.core.events import ProcessState
    from fpm_listener.core.exits import ExitNote
    from fpm_listener.core.fpmstatus import PoolView
    from fpm_listener.core.policy import Policy
    from fpm_listener.core.snapshot import ProcessView
    from fpm_listener.core.values import Instant, ProcessName

#: Seconds after which a process that died and was not started again counts as given up.
ABANDONED_S = 10.0
_KEPT_MASTERS = 16


class Watched:
    """Owned by the engine."""

    def __init__(self, name: ProcessName, policy: Policy, linger_s: float, id_token: str) -> None:
        self.name = name
        self.is_fpm = False
        self.site = FpmSite()
        self.state = State.UNKNOWN
        self.life = Life()
        self.removed = False
        self.stderr = LineSplitter()
        self._trouble = Trouble(name, policy, id_token)
        self._hearing = Hearing()
        self._settled_at_s: float | None = None  # monotonic; runs, or rests as its operator wants
        self._died_at_s: float | None = None  # monotonic; died on its own, not started again yet
        self._given_up = False
        self._found_dead = False  # it was dead when we came: how it died is not known
        self._waking = Waking()
        self.healing = Healing(str(name))
        self._healing_policy = policy.healing
        self._hold = Hold()
        self._linger_s = linger_s
        self._never_ran = False  # the last life: its log has not said that it runs
        self._watched_pid: int | None = None
        self._next_start_s: float | None = None  # monotonic; the end of a BACKOFF's delay
        self._masters: deque[int] = deque(maxlen=_KEPT_MASTERS)
        self._record = Record()
        self._pools: tuple[PoolView, ...] = ()
        self._ailments = Ailments(name, policy)
        self._view: ProcessView | None = None

    # -- what happens to it ------------------------------------------------------------------------

    def changed(self, now: Instant, event: ProcessState) -> Death | None:
        """Take in an event; return the death that it tells of, if it does."""
        self._view = None
        self.removed = False
        before, pid = self.life.phase, event.pid or self.life.pid
        signal = signal_of(event.state, expected=event.expected)
        outcome = self.life.step(now.monotonic_s, signal, event.pid)
        self.state = event.state
        if event.state is not State.EXITED:
            self._waking.end()
        if event.state is State.BACKOFF and event.tries:
            self._next_start_s = now.monotonic_s + event.tries
        if outcome is Outcome.BEGAN or (outcome is Outcome.CONFIRMED and before is Phase.NONE):
            self._began(now)
        if outcome is Outcome.CONFIRMED:
            self._settled_at_s = now.monotonic_s
        elif outcome is Outcome.GAVE_UP:
            self._record.fatal += 1
            self._died_at_s = self._settled_at_s = None
            self._given_up = True
        elif outcome is Outcome.STOPPED and before is Phase.NONE:
            self._stopped(now)  # while it waited to be started again: nobody has died
        elif outcome in ENDINGS:
            return self._ended(now, outcome, pid)
        return None

    def _began(self, now: Instant) -> None:
        self._record.began(now, self._died_at_s)
        self._died_at_s = self._settled_at_s = None
        self._given_up = self._found_dead = False
        self._next_start_s = None
        self._hearing.began(now.monotonic_s)
        self._hold.began()
        if self.healing.began(now.monotonic_s):
            self._trouble.dirty = True

    def _ended(self, now: Instant, outcome: Outcome, pid: int | None) -> Death:
        failed = self.life.failed(outcome, is_fpm=self.is_fpm)
        self._record.ended(now, outcome)
        self._settled_at_s = None
        self.life.pid = None
        if pid is not None:
            self._masters.append(pid)
        self._never_ran = self._hearing.start_up.is_open
        death = Death(now.monotonic_s, failed)
        self._hold.ended(stopped=outcome is Outcome.STOPPED)
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
            self._died_at_s = now.monotonic_s
            if not failed and not self.is_fpm:
                self._settled_at_s = now.monotonic_s  # a job that has done its work
        return death

    def hurry(self, now: Instant, pid: int | None = None) -> None:
        """Have supervisord see a death, or follow it by a start, without delay.

        pid: of who has died, where the kernel has told it; supervisord may not know it yet.
        """
        if pid is not None and (pid != self.life.pid or self.life.phase is Phase.STOPPING):
            return  # an operator's stop is supervisord's own business
        if self._next_start_s is not None:
            self._waking.begin(self._next_start_s)
            self._next_start_s = None
        elif not self._waking.under_way and (pid is not None or self._died_at_s is not None):
            began_at = self.life.began_at
            if began_at is None or now.monotonic_s - began_at >= SHORTEST_LIFE_S:
                self._waking.begin(now.monotonic_s)

    def _stopped(self, now: Instant) -> None:
        if self.healing.stopped():
            self._died_at_s = None
            self._trouble.dirty = True
            self._hold.rests(now.monotonic_s + self._linger_s)
        else:
            self._rests(now)

    def leave_alone(self, now: Instant) -> None:
        """Do nothing more to it until somebody starts it: its operator has said so."""
        if self.healing.leave_alone():
            self._rests(now)
        self._trouble.dirty = True

    def halt_failed(self, now: Instant) -> None:
        """It was not stopped by us; if it is stopped all the same, that was its operator."""
        if self.healing.halt_failed():
            self._rests(now)
        self._trouble.dirty = True

    def _rests(self, now: Instant) -> None:
        """Its operator has stopped it: that is no failure, and ends a trouble if it lasts."""
        self._died_at_s = None
        self._given_up = False
        self._settled_at_s = now.monotonic_s
        self._trouble.forget()
        self._hold.rests(now.monotonic_s + self._linger_s)

    def remove(self, now: Instant) -> None:
        """supervisord does not know it any more (`update`); it may be back at once."""
        self._view = None
        self.removed = True
        self.state = State.STOPPED
        self.life = Life()
        self._rests(now)

    def seen(self, now: Instant, state: State, pid: int | None, started_s: float | None) -> None:
        """Take up what supervisord says when asked; where an event has come, it knows better."""
        if self.state is not State.UNKNOWN:
            return
        self._view = None
        self.state = state
        started = state in {State.STARTING, State.RUNNING, State.BACKOFF}
        if started and self.healing.began(now.monotonic_s):  # while we were away
            self._trouble.dirty = True
        self._record.start_time_s = started_s
        if state is State.RUNNING:
            self.life.phase, self.life.pid = Phase.RUNNING, pid
            # Not since its start: that is a spawn, in whole seconds; a looping program has one too.
            self._settled_at_s = now.monotonic_s
        elif state is State.STARTING:
            self.life.phase = Phase.STARTING
            self._hearing.began(now.monotonic_s)
        elif state is State.STOPPED and not self.healing.paused:
            self._settled_at_s = now.monotonic_s
        elif state is State.EXITED:
            self._died_at_s, self._found_dead = now.monotonic_s, True
        if state is not State.EXITED:
            self._given_up = state is State.FATAL

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
            self._hold.serves()
        elif fact.kind is FactKind.RELOAD and self._hold.addresses:
            effects.append(Discover(anew=False))  # it may listen elsewhere from now on
        return effects

    def _believe(self, facts: tuple[LogFact, ...]) -> None:
        for fact in facts:
            self._record.facts[fact.kind] += 1
        self._trouble.explained(fact for fact in facts if fact.kind in START_FAILURES)

    def exit_expected(self) -> None:
        """Let alerts wait a moment for the exit code, which is being looked up."""
        self._trouble.looking_for("exit")

    def exit_known(self, death: Death, note: ExitNote | None) -> None:
        """Take in how its life ended; None = that could not be found out.

        A signal refutes what the lines of a failed start said: php-fpm itself would have exited.
        """
        self._view = None
        self._record.last_exit = note.reason if note is not None else None
        self._trouble.exit_known(death, note)
        if death.failed and self._never_ran:
            self._hold.failed_to_start(self._record.last_exit, self.life.length_s)
        killed = note is not None and note.reason.signal is not None
        self._believe(self._hearing.exit_known(death, killed=killed))

    def found(self, now: Instant, answer: HolderFound | DeathExamined | Gone | PoolsSeen) -> None:
        """Take in what was looked up."""
        if isinstance(answer, HolderFound):
            self._trouble.found_holder(now, answer.report)
        elif isinstance(answer, Gone):
            self._ailments.crashes.gone(now.monotonic_s, answer.pids)
        elif isinstance(answer, PoolsSeen):
            self._pools = answer.pools
            self._ailments.silence.hear(now.monotonic_s, self.state, answer.pools)
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
        return AnswerGuard(asked.ticket, self._hold.ask(wanted=asked.hold))

    def sockets_held(self, addresses: tuple[str, ...]) -> list[Effect]:
        """Know what is held."""
        return [Discover(anew=False)] if self._hold.keep(addresses) else []

    def hold_failed(self) -> None:
        """Know that it does not serve on held sockets."""
        self._hold.break_off()

    # -- what follows from it ----------------------------------------------------------------------

    def recognise(self, site: FpmSite | None, needs: Needs) -> None:
        """Know what kind of program it is; `site` = it is a php-fpm, and this is its own view."""
        if site is not None and not self.is_fpm and self.life.phase is not Phase.NONE:
            # Its log was not read so far: it may have said that it runs.
            self._hearing.start_up.close()
        self.is_fpm = site is not None
        self.site = site or FpmSite()
        self._hold.configured(self.site.addresses)
        self._trouble.recognise(self.site, needs)

    def review(self, now: Instant, labels: Mapping[str, str], *, stopping: bool) -> list[Effect]:
        """Return what is to be done now."""
        self._view = None
        if (
            self._died_at_s is not None
            and now.monotonic_s >= self._died_at_s + ABANDONED_S
            and self.state in {State.EXITED, State.UNKNOWN}
            and self._settled_at_s is None
            and (self.is_fpm or not self._found_dead)  # else a job that may have done its work
            and not stopping
        ):
            self._given_up = True
        mine = {
            "alertname": "PhpFpmFailing" if self.is_fpm else "ProgramFailing",
            "group": self.name.group,
            "process": self.name.process,
        }
        state = Condition(
            gave_up=self._given_up,
            settled_at_s=self._ailments.calm_since_s(self._settled_at_s),
            worn_out=self.healing.worn_out,
            last_exit=self._record.last_exit,
            former_masters=tuple(self._masters),
            ailments=self._ailments,
        )
        mine |= labels
        effects = self._trouble.review(now, state, mine)
        effects += [
            *self._ailments.crashes.ask(now.monotonic_s),
            *self._heal(now, stopping=stopping),
        ]
        if self.healing.worn_out and not state.worn_out:  # told now: nothing else may happen today
            effects += self._trouble.review(now, state._replace(worn_out=True), mine)
        if self._trouble.dirty:
            effects.append(Remember(self.name, self.memory(now)))
        if self.life.pid is not None and self.life.pid != self._watched_pid:
            self._watched_pid = self.life.pid
            effects.append(WatchPid(self.name, self.life.pid))
        if self._waking.take(now.monotonic_s) and not stopping:
            effects.append(WakeSupervisord(self.name))
        everything = stopping or self.removed or self._given_up
        if gone := self._hold.let_go(now.monotonic_s, everything=everything):
            effects.append(LetGo(self.name, gone))
        return effects

    def _heal(self, now: Instant, *, stopping: bool) -> list[Effect]:
        if stopping:
            self.healing.suspend()
            return []
        act = self.healing.step(
            now,
            self._healing_policy,
            self.state,
            over=not self._trouble.open,
            told=self._trouble.is_told,
        )
        if act is None:
            return []
        self._trouble.dirty = True  # remembered before it is done
        return [Heal(self.name, act)]

    def deadline_s(self, now: Instant) -> float | None:
        """Return the monotonic moment at which `review` can have something new to say."""
        moments = [
            self.healing.deadline_s(),
            self._ailments.crashes.deadline_s(),
            self._trouble.deadline_s(now, self._ailments.calm_since_s(self._settled_at_s)),
            self._waking.deadline_s(),
            self._hold.deadline_s(),
        ]
        if self._died_at_s is not None and now.monotonic_s < self._died_at_s + ABANDONED_S:
            moments.append(self._died_at_s + ABANDONED_S)
        return min((at for at in moments if at is not None), default=None)

    def memory(self, now: Instant) -> dict[str, Any] | None:
        """Return what must outlive the listener; None where there is nothing."""
        trouble = self._trouble.memory(now)
        if trouble is None:
            return None
        return {**trouble, "masters": list(self._masters), "healing": self.healing.memory(now)}

    def restore(self, now: Instant, saved: Mapping[str, Any]) -> None:
        """Take up what `memory` returned. Raises KeyError, ValueError or TypeError."""
        self._masters.extend(int(pid) for pid in saved["masters"])
        self._trouble.restore(now, saved)
        if saved.get("healing"):
            self.healing.restore(now, saved["healing"])
        self._given_up = self._trouble.gave_up

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
                self._record.view(self.name, self.state, is_fpm=self.is_fpm),
                pid=self.life.pid,
                loops=self._trouble.tiers,
                incident=self._trouble.view(self._record.last_exit),
                error_logs=self.site.error_logs,
                addresses=self.site.addresses,
                held=self._hold.addresses,
                healed=self.healing.starts,
                worn_out=self.healing.worn_out,
                paused=self.healing.paused,
                pools=self._pools,
                next_start_s=self.healing.next_start_s,
            )
        return self._view
