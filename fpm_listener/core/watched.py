"""One watched process: its life, the lines of its log, its counts; its trouble, if it has one.

Laws:
1. Every fact about the process is joined here, in whatever order it arrives.
2. A log line with a stamp counts once, wherever and however often it is seen.
3. Nothing here knows another process.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any

from fpm_listener.core.belief import StartUp
from fpm_listener.core.effects import (
    AnswerGuard,
    Discover,
    Effect,
    FpmSite,
    GuardAsks,
    HolderFound,
    LetGo,
    Remember,
    StartAgain,
    WakeSupervisord,
    WatchPid,
)
from fpm_listener.core.facts import START_FAILURES, FactKind, LogFact
from fpm_listener.core.healing import Healing
from fpm_listener.core.histogram import RESTART_BUCKETS_S, Histogram
from fpm_listener.core.hold import Hold
from fpm_listener.core.lines import LineSplitter
from fpm_listener.core.lives import ENDINGS, Life, Outcome, Phase, signal_of
from fpm_listener.core.snapshot import ProcessView, State
from fpm_listener.core.trouble import Death, Policy, Trouble
from fpm_listener.core.waking import SHORTEST_LIFE_S, Waking

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm_listener.core.autopsy import Needs
    from fpm_listener.core.effects import DeathExamined
    from fpm_listener.core.events import ProcessState
    from fpm_listener.core.exits import ExitNote, ExitReason
    from fpm_listener.core.values import Instant, ProcessName

#: Seconds after which a process that died and was not started again counts as given up.
ABANDONED_S = 10.0
_KEPT_LINES = 256
_KEPT_MASTERS = 16


class Watched:
    """Owned by the engine."""

    def __init__(self, name: ProcessName, policy: Policy, linger_s: float) -> None:
        self.name = name
        self.is_fpm = False
        self.site = FpmSite()
        self._site_is_old = False  # a guard has read php-fpm's configuration since
        self.state = State.UNKNOWN
        self.life = Life()
        self.removed = False
        self.stderr = LineSplitter()
        self._trouble = Trouble(name, policy)
        self._start_up = StartUp()
        self._settled_at_s: float | None = None  # monotonic; runs, or rests as its operator wants
        self._died_at_s: float | None = None  # monotonic; died on its own, not started again yet
        self._given_up = False
        self._found_dead = False  # it was dead when we came: how it died is not known
        self._waking = Waking()
        self._healing = Healing(str(name))
        self._restart_fatal = policy.restart_fatal
        self._hold = Hold()
        self._linger_s = linger_s
        self._never_ran = False  # the last life: its log has not said that it runs
        self._watched_pid: int | None = None
        self._next_start_s: float | None = None  # monotonic; the end of a BACKOFF's delay
        self._log_spoke = False  # the log has told of a failed start in this life
        self._undecided: list[LogFact] = []  # lines of the last death, until its exit is known
        self._undecided_death: Death | None = None
        self._masters: deque[int] = deque(maxlen=_KEPT_MASTERS)
        self._lines: OrderedDict[object, None] = OrderedDict()
        self._starts = self._exits = self._unexpected_exits = 0
        self._failed_starts = self._fatal = self._restarts = 0
        self._facts = dict.fromkeys(FactKind, 0)
        self._restart_seconds = Histogram(RESTART_BUCKETS_S)
        self._start_time_s: float | None = None
        self._last_exit_s: float | None = None
        self._last_exit: ExitReason | None = None
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
            self._fatal += 1
            self._died_at_s = self._settled_at_s = None
            self._given_up = True
        elif outcome is Outcome.STOPPED and before is Phase.NONE:
            self._rests(now)  # stopped while it waited to be started again: nobody has died
        elif outcome in ENDINGS:
            return self._ended(now, outcome, pid)
        return None

    def _began(self, now: Instant) -> None:
        self._starts += 1
        if self._died_at_s is not None:
            self._restarts += 1
            self._restart_seconds.observe(now.monotonic_s - self._died_at_s)
        self._died_at_s = self._settled_at_s = None
        self._given_up = self._found_dead = False
        self._next_start_s = None
        self._start_time_s = now.wall_s
        self._start_up.began(now.monotonic_s)
        self._hold.began()
        self._log_spoke = False

    def _ended(self, now: Instant, outcome: Outcome, pid: int | None) -> Death:
        failed = self.life.failed(outcome, is_fpm=self.is_fpm)
        self._failed_starts += outcome is Outcome.FAILED_START
        self._exits += outcome in {Outcome.CRASH, Outcome.EXPECTED_EXIT}
        self._unexpected_exits += outcome is Outcome.CRASH
        self._last_exit_s = now.wall_s
        self._settled_at_s = None
        self.life.pid = None
        if pid is not None:
            self._masters.append(pid)
        self._never_ran = self._start_up.is_open
        death = Death(now.monotonic_s, failed)
        if failed:
            self._trouble.failed(death)
            if self.site.error_logs and not self._log_spoke:
                self._trouble.looking_for("log")  # its follower is a moment behind
        self._undecided = [*self._start_up.ended(now.monotonic_s, failed=failed)]
        self._undecided_death = death
        if outcome is Outcome.STOPPED:
            self._rests(now)
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
        self._start_time_s = started_s
        if state is State.RUNNING:
            self.life.phase, self.life.pid = Phase.RUNNING, pid
            # Not since its start: that is a spawn, in whole seconds; a looping program has one too.
            self._settled_at_s = now.monotonic_s
        elif state is State.STARTING:
            self.life.phase = Phase.STARTING
            self._start_up.began(now.monotonic_s)
        elif state is State.STOPPED:
            self._settled_at_s = now.monotonic_s
        elif state is State.EXITED:
            self._died_at_s, self._found_dead = now.monotonic_s, True
        if state is not State.EXITED:
            self._given_up = state is State.FATAL

    def hear(self, now: Instant, fact: LogFact) -> list[Effect]:
        """Take in what a line of its log states."""
        if self._was_seen(fact):
            return []
        self._view = None
        effects: list[Effect] = []
        if fact.kind is FactKind.BIND_CONFLICT and self._start_up.is_open:
            address = fact.address or next(iter(self.site.addresses), None)
            effects += self._trouble.look_for_holder(now, address, self._masters)
        heard = self._start_up.hear(now.monotonic_s, fact)
        if fact.kind is FactKind.READY:
            self._hold.serves()
        elif fact.kind is FactKind.RELOAD and self._hold.addresses:
            effects.append(Discover(anew=False))  # it may listen elsewhere from now on
        self._log_spoke = self._log_spoke or fact.kind in START_FAILURES
        if self._undecided_death is not None and fact.kind in START_FAILURES:
            self._undecided += heard
        else:
            self._believe(heard)
        return effects

    def _was_seen(self, fact: LogFact) -> bool:
        stamped = fact.line.startswith("[") and fact.line[1:2].isdigit()
        if not stamped and fact.kind not in START_FAILURES:
            return False
        key: object = fact.line if stamped else (self._starts, fact.line)
        if key in self._lines:
            return True
        self._lines[key] = None
        if len(self._lines) > _KEPT_LINES:
            self._lines.popitem(last=False)
        return False

    def _believe(self, facts: tuple[LogFact, ...]) -> None:
        for fact in facts:
            self._facts[fact.kind] += 1
        self._trouble.explained(fact for fact in facts if fact.kind in START_FAILURES)

    def exit_expected(self) -> None:
        """Let alerts wait a moment for the exit code, which is being looked up."""
        self._trouble.looking_for("exit")

    def exit_known(self, death: Death, note: ExitNote | None) -> None:
        """Take in how its life ended; None = that could not be found out.

        A signal refutes what the lines of a failed start said: php-fpm itself would have exited.
        """
        self._view = None
        self._last_exit = note.reason if note is not None else None
        self._trouble.exit_known(death, note)
        if death.failed and self._never_ran:
            self._hold.failed_to_start(self._last_exit, self.life.length_s)
        if death is self._undecided_death:
            self._undecided_death = None
            facts, self._undecided = self._undecided, []
            if note is not None and note.reason.signal is not None:
                self._start_up.refute()
            else:
                self._believe(tuple(facts))

    def found(self, now: Instant, answer: HolderFound | DeathExamined) -> None:
        """Take in what was looked up."""
        self._view = None
        if isinstance(answer, HolderFound):
            self._trouble.found_holder(now, answer.report)
        else:
            self._trouble.examined(answer.died_at_s, answer.autopsy)

    def adopt(self, policy: Policy, linger_s: float) -> None:
        """Go on under new settings."""
        self._trouble.adopt(policy)
        self._restart_fatal = policy.restart_fatal
        self._linger_s = linger_s

    # -- its listening sockets ---------------------------------------------------------------------

    def guard_asks(self, asked: GuardAsks) -> Effect:
        """Let a guard have what is held, or not."""
        self._view = None
        if self.life.pid is None and self.life.phase is Phase.STARTING:
            self.life.pid = asked.pid or None  # no event tells it before RUNNING
        return AnswerGuard(asked.ticket, self._hold.ask(wanted=asked.hold))

    def sockets_held(self, addresses: tuple[str, ...]) -> list[Effect]:
        """Know what is held. The guard has read php-fpm's configuration later than we have."""
        self._view = None
        self._hold.keep(addresses)
        if set(addresses) <= set(self.site.addresses):
            return []
        self._site_is_old = True
        return [Discover(anew=False)]

    def hold_failed(self) -> None:
        """Know that it does not serve on held sockets."""
        self._view = None
        self._hold.break_off()

    def _let_go(self, now: Instant, *, stopping: bool) -> list[Effect]:
        """Return what is held no longer."""
        if not self._hold.addresses:
            return []
        gone: tuple[str, ...] = ()
        over = self._hold.is_over(now.monotonic_s)
        if stopping or self.removed or self._given_up or over:
            gone = self._hold.let_go()
        elif self.site.addresses and not self._site_is_old:
            gone = self._hold.let_go(keep=frozenset(self.site.addresses))
        return [LetGo(self.name, gone)] if gone else []

    # -- what follows from it ----------------------------------------------------------------------

    def recognise(self, site: FpmSite | None, needs: Needs) -> None:
        """Know what kind of program it is; `site` = it is a php-fpm, and this is its own view."""
        self._view = None
        if site is not None and not self.is_fpm and self.life.phase is not Phase.NONE:
            self._start_up.close()  # its log was not read so far: it may have said that it runs
        self.is_fpm = site is not None
        self.site = site or FpmSite()
        self._trouble.recognise(self.site, needs)
        self._site_is_old = False

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
        effects = self._trouble.review(
            now,
            gave_up=self._given_up,
            settled_at_s=self._settled_at_s,
            labels={
                "alertname": "PhpFpmFailing" if self.is_fpm else "ProgramFailing",
                "group": self.name.group,
                "process": self.name.process,
                **labels,
            },
            last_exit=self._last_exit,
            former_masters=self._masters,
        )
        span = None if stopping or self.state is not State.FATAL else self._restart_fatal
        if self._healing.step(now.monotonic_s, span, over=not self._trouble.open):
            effects.append(StartAgain(self.name))
        if self._trouble.dirty:
            effects.append(Remember(self.name, self.memory(now)))
        if self.life.pid is not None and self.life.pid != self._watched_pid:
            self._watched_pid = self.life.pid
            effects.append(WatchPid(self.name, self.life.pid))
        if self._waking.take(now.monotonic_s) and not stopping:
            effects.append(WakeSupervisord(self.name))
        return effects + self._let_go(now, stopping=stopping)

    def deadline_s(self, now: Instant) -> float | None:
        """Return the monotonic moment at which `review` can have something new to say."""
        moments = [
            self._healing.deadline_s(),
            self._trouble.deadline_s(now, self._settled_at_s),
            self._waking.deadline_s(),
            self._hold.deadline_s(),
        ]
        if self._died_at_s is not None and now.monotonic_s < self._died_at_s + ABANDONED_S:
            moments.append(self._died_at_s + ABANDONED_S)
        return min((at for at in moments if at is not None), default=None)

    def memory(self, now: Instant) -> dict[str, Any] | None:
        """Return what must outlive the listener; None where there is nothing."""
        trouble = self._trouble.memory(now)
        return {**trouble, "masters": list(self._masters)} if trouble else None

    def restore(self, now: Instant, saved: Mapping[str, Any]) -> None:
        """Take up what `memory` returned. Raises KeyError, ValueError or TypeError."""
        self._masters.extend(int(pid) for pid in saved["masters"])
        self._trouble.restore(now, saved)
        self._given_up = self._trouble.gave_up

    @property
    def in_trouble(self) -> bool:
        """Return whether an incident is open."""
        return self._trouble.open

    @property
    def starting_up(self) -> bool:
        """Return whether it lives, and has not said yet that it runs."""
        return self.life.phase is not Phase.NONE and self._start_up.is_open

    def view(self) -> ProcessView:
        """Return what other threads may read."""
        if self._view is None:
            self._view = ProcessView(
                name=self.name,
                is_fpm=self.is_fpm,
                state=self.state,
                pid=self.life.pid,
                starts=self._starts,
                exits=self._exits,
                unexpected_exits=self._unexpected_exits,
                failed_starts=self._failed_starts,
                fatal=self._fatal,
                restarts=self._restarts,
                start_time_s=self._start_time_s,
                last_exit_s=self._last_exit_s,
                last_exit=self._last_exit,
                restart_seconds=self._restart_seconds.view(),
                loops=self._trouble.tiers,
                facts=dict(self._facts),
                incident=self._trouble.view(self._last_exit),
                error_logs=self.site.error_logs,
                addresses=self.site.addresses,
                held=self._hold.addresses,
                healed=self._healing.starts,
                worn_out=self._healing.worn_out,
            )
        return self._view
