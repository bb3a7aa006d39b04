"""The one owner of all state: a moment and an input go in, effects come out.

Laws:
1. The engine knows no clock: the moment is an argument, read once by the shell for each step.
2. What must last is an effect (`Notify`, `SaveState`) of the very step that learnt it, so that the
   shell can commit it before it acknowledges the event.
3. An event that was taken in before is taken in as nothing.
4. No input, however malformed, raises.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from fpm_listener.incidents.effects import ExitExamined, Gone, HolderFound
from fpm_listener.incidents.post_mortem import Needs
from fpm_listener.monitor.children import identify
from fpm_listener.monitor.event_gap import Gap
from fpm_listener.monitor.exit_matcher import Exits
from fpm_listener.monitor.messages import (
    AnswerGuard,
    AskProcesses,
    ChildrenSeen,
    Discover,
    Effect,
    ExitsRead,
    GuardAsks,
    HoldFailed,
    Identity,
    LeaveProgram,
    LogLines,
    PoolsSeen,
    ProcessesSeen,
    ProcessExited,
    ProgramsKnown,
    ReadLogsNow,
    ReleaseSockets,
    SaveState,
    SocketsHeld,
    StopFailed,
    Tick,
)
from fpm_listener.monitor.process_monitor import ProcessMonitor
from fpm_listener.monitor.timeline import Timeline
from fpm_listener.phpfpm.log_parser import classify
from fpm_listener.supervisor.events import (
    EVENT_NAMES,
    Counts,
    GroupChange,
    Malformed,
    ProcessLog,
    ProcessState,
    SupervisorChange,
    read,
)
from fpm_listener.supervisor.protocol import Event
from fpm_listener.vocabulary import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fpm_listener.monitor.process_view import ProcessView
    from fpm_listener.phpfpm.log_facts import LogFact
    from fpm_listener.settings.policy import Policy
    from fpm_listener.supervisor.process import ProcessName, ProcessSeen
    from fpm_listener.values import Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """What the engine is told by the operator."""

    policy: Policy
    identity: Identity
    programs: tuple[str, ...] = ()  #: globs over group:name; empty = every program
    fast_restart: bool = True  #: wake supervisord when a process dies
    hold_linger_s: float = 5.0  #: sockets of a stopped process are held for so long
    extra_logs: tuple[str, ...] = ()  #: log files that php-fpm's configuration does not name


#: Inputs about one process, that may be unknown by now.
AboutOne = (
    HolderFound
    | ExitExamined
    | Gone
    | PoolsSeen
    | ProcessExited
    | SocketsHeld
    | HoldFailed
    | StopFailed
    | LeaveProgram
)

Input = (
    Event
    | LogLines
    | ExitsRead
    | ProgramsKnown
    | ProcessesSeen
    | ChildrenSeen
    | GuardAsks
    | AboutOne
    | Tick
)


class Engine:
    """All that is known of supervisord's processes."""

    def __init__(self, settings: EngineSettings, id_token: str) -> None:
        """`id_token`: random, new for each start of the listener; makes ids of incidents unique."""
        self._id_token = id_token
        self.counts = Counts()
        self.timeline = Timeline()
        self._settings = settings
        self._watched: dict[ProcessName, ProcessMonitor] = {}
        self._deadlines: dict[ProcessName, float] = {}
        self._exits = Exits(self.timeline)
        self._stopping = False
        self._gap = Gap()
        self._startsecs: dict[ProcessName, float] = {}  # of the programs that are known
        self._labels = self._make_labels()

    # -- the one way in ----------------------------------------------------------------------------

    def step(self, now: Instant, given: Input) -> list[Effect]:
        """Take in one input and return what is to be done about it."""
        effects = self._take(now, given)
        self.timeline.heed(now, effects)
        return effects

    def _take(self, now: Instant, given: Input) -> list[Effect]:
        if isinstance(given, Event):
            return self._event(now, given)
        if isinstance(given, LogLines):
            return self._log_lines(now, given)
        if isinstance(given, Tick):
            return self._tick(now)
        if isinstance(given, ExitsRead):
            return self._exits_read(now, given)
        if isinstance(given, AboutOne):
            return self._about_one(now, given)
        if isinstance(given, ProgramsKnown):
            return self._programs_known(now, given)
        if isinstance(given, GuardAsks):
            return self._guard_asks(now, given)
        return self._seen(now, given)

    def deadline_s(self) -> float | None:
        """Return the monotonic moment at which `Tick` is due."""
        reviews = min(self._deadlines.values(), default=None)
        moments = (reviews, self._gap.deadline_s(), self._exits.deadline_s())
        return min((at for at in moments if at is not None), default=None)

    def missed(self, now: Instant, count: int = 0) -> list[Effect]:
        """Take in that events were lost, or could not be read; `count`: as far as it is known.

        What was known before is in doubt: also when the listener starts.
        """
        self.counts.missed += count
        self._gap.noticed(now.monotonic_s)
        return self._ask(now)

    def _ask(self, now: Instant) -> list[Effect]:
        return [AskProcesses()] if self._gap.asks(now.monotonic_s) else []

    def views(self) -> tuple[ProcessView, ...]:
        """Return all processes, for other threads."""
        return tuple(watched.view() for watched in self._watched.values())

    @property
    def supervisor(self) -> str:
        """Return supervisord's identifier."""
        return self._settings.identity.supervisor

    # -- inputs ------------------------------------------------------------------------------------

    def _event(self, now: Instant, event: Event) -> list[Effect]:
        counts = self.counts
        counts.events[event.name if event.name in EVENT_NAMES else "other"] += 1
        counts.last_event_s = now.wall_s
        if event.server and event.server != self._settings.identity.supervisor:
            self._identify(event.server)
        content = read(event.name, event.payload)
        if isinstance(content, ProcessState):
            return self._process_state(now, content)
        if isinstance(content, ProcessLog):
            return self._process_log(now, content)
        if isinstance(content, GroupChange):
            return self._group(now, content)
        if isinstance(content, SupervisorChange):
            self._stopping = not content.running
            return self._review_all(now)
        return self.missed(now) if isinstance(content, Malformed) else []

    def _process_state(self, now: Instant, event: ProcessState) -> list[Effect]:
        watched = self._find(event.process)
        if watched is None:
            return []
        effects: list[Effect] = []
        if watched.is_fpm:
            effects.append(ReadLogsNow())
        death = watched.changed(now, event)
        self.timeline.changed(now, event, died=death is not None)
        if death is not None:
            for line in watched.stderr.flush():
                effects += self._line(now, watched, line)
            effects += self._exits.died(now, watched, death)
            if self._hurries:
                watched.hurry(now)
        return effects + self._review(now, watched)

    def _exits_read(self, now: Instant, given: ExitsRead) -> list[Effect]:
        touched = self._exits.read(now, given)
        return [effect for watched in touched for effect in self._review(now, watched)]

    def _process_log(self, now: Instant, log: ProcessLog) -> list[Effect]:
        watched = self._watched.get(log.process)
        if watched is None or not watched.is_fpm:
            return []
        effects: list[Effect] = []
        for line in watched.stderr.feed(log.text):
            effects += self._line(now, watched, line)
        return effects + self._review(now, watched) if effects or watched.in_trouble else effects

    def _line(self, now: Instant, watched: ProcessMonitor, line: str) -> list[Effect]:
        fact = classify(line)
        return watched.hear(now, fact) if fact else []

    def _log_lines(self, now: Instant, lines: LogLines) -> list[Effect]:
        candidates = [
            watched
            for watched in self._watched.values()
            if lines.path in watched.site.error_logs
            or (watched.is_fpm and lines.path in self._settings.extra_logs)
        ]
        effects: list[Effect] = []
        touched: dict[ProcessName, ProcessMonitor] = {}
        for fact in lines.facts:
            watched = choose(fact, candidates)
            if watched is not None:
                effects += watched.hear(now, fact)
                touched[watched.name] = watched
        for watched in touched.values():
            effects += self._review(now, watched)
        return effects

    def _about_one(self, now: Instant, given: AboutOne) -> list[Effect]:
        watched = self._watched.get(given.process)
        if watched is None:
            return [ReleaseSockets(*given)] if isinstance(given, SocketsHeld) else []
        if isinstance(given, HolderFound | ExitExamined | Gone | PoolsSeen):
            watched.found(now, given)
        elif isinstance(given, SocketsHeld):
            return [*watched.sockets_held(given.addresses), *self._review(now, watched)]
        elif isinstance(given, HoldFailed):
            watched.hold.break_off()
        elif isinstance(given, StopFailed):
            watched.plan_ended(now, was_paused=watched.healing.halt_failed())
        elif isinstance(given, LeaveProgram):
            watched.plan_ended(now, was_paused=watched.healing.leave_alone())
        elif self._hurries:
            watched.hurry(now, given.pid)
        return self._review(now, watched)

    def _group(self, now: Instant, change: GroupChange) -> list[Effect]:
        if change.added:
            return [Discover(), AskProcesses()]
        effects: list[Effect] = []
        for watched in [w for name, w in self._watched.items() if name.group == change.group]:
            watched.remove(now)
            effects += self._review(now, watched)
        return effects

    def _programs_known(self, now: Instant, known: ProgramsKnown) -> list[Effect]:
        effects: list[Effect] = []
        self._startsecs = {program.name: program.startsecs for program in known.programs}
        for program in known.programs:
            watched = self._find(program.name)
            if watched is None:
                continue
            site = known.sites.get(program.name)
            watched.recognise(site, known.needs.get(program.name, Needs()))
            effects += self._review(now, watched)
        return effects

    def _seen(self, now: Instant, seen: ProcessesSeen | ChildrenSeen) -> list[Effect]:
        if isinstance(seen, ChildrenSeen):
            found = tuple(identify(now, seen.children, self._watched.values(), self._startsecs))
            young = any(one.state is State.STARTING for one in found)  # its RUNNING may be lost
            return self._answers(now, found, seen.asked_at_s, again=young)
        names, known = {process.name for process in seen.processes}, set(self._watched)
        absent = [self._watched[name] for name in known - names if names]
        doubted = [one.absent(now, seen.asked_at_s, self._gap.at_s) for one in absent]
        effects = self._answers(now, seen.processes, seen.asked_at_s, again=any(doubted))
        if self._startsecs and not (names - known).isdisjoint(self._watched):
            effects.append(Discover())  # the event of a group that was added is lost
        return effects

    def _answers(
        self, now: Instant, answers: Iterable[ProcessSeen], asked_at_s: float, *, again: bool
    ) -> list[Effect]:
        for answer in answers:
            watched = self._find(answer.name)
            if watched is not None:
                again |= watched.seen(now, answer, asked_at_s, self._gap.at_s)
        if again:
            self._gap.recheck(now.monotonic_s)
        else:
            self._gap.answered(asked_at_s)
        return [*self._review_all(now), *self._ask(now)]

    def _guard_asks(self, now: Instant, asked: GuardAsks) -> list[Effect]:
        if self._stopping:
            return [AnswerGuard(asked.ticket, "supervisord is shutting down")]
        watched = self._find(asked.process)
        if watched is None:
            return [AnswerGuard(asked.ticket, "the listener's settings leave this program out")]
        answer = watched.guard_asks(asked)
        return [answer, *self._review(now, watched)]

    def _tick(self, now: Instant) -> list[Effect]:
        if self._gap.expires(now.monotonic_s):
            for watched in self._watched.values():
                watched.liveness.confirm()
            return [*self._review_all(now), *self._ask(now)]
        due = [name for name, at in self._deadlines.items() if at <= now.monotonic_s]
        effects: list[Effect] = []
        for name in due:
            effects += self._review(now, self._watched[name])
        return [*effects, *self._ask(now), *self._exits.due(now)]

    @property
    def _hurries(self) -> bool:
        return self._settings.fast_restart and not self._stopping

    # -- details -----------------------------------------------------------------------------------

    def _review(self, now: Instant, watched: ProcessMonitor) -> list[Effect]:
        if self._watched.get(watched.name) is not watched:
            return []  # it was removed while something was being looked up for it
        effects = watched.review(
            now, self._labels, stopping=self._stopping, in_gap=self._gap.is_open
        )
        if watched.removed and not watched.in_trouble:
            self._let_go(watched)
            return effects
        deadline = watched.deadline_s(now)
        if deadline is None:
            self._deadlines.pop(watched.name, None)
        else:
            self._deadlines[watched.name] = deadline
        return effects

    def _review_all(self, now: Instant) -> list[Effect]:
        watched = list(self._watched.values())
        return [effect for one in watched for effect in self._review(now, one)]

    def _let_go(self, watched: ProcessMonitor) -> None:
        del self._watched[watched.name]
        self._deadlines.pop(watched.name, None)
        self._exits.forget(watched)

    def _find(self, name: ProcessName) -> ProcessMonitor | None:
        watched = self._watched.get(name)
        if watched is None and self._is_chosen(name):
            settings = self._settings
            watched = self._watched[name] = ProcessMonitor(
                name, settings.policy, settings.hold_linger_s, self._id_token
            )
        return watched

    def _is_chosen(self, name: ProcessName) -> bool:
        globs = self._settings.programs or ("*",)
        return any(fnmatchcase(str(name), glob) for glob in globs)

    def _identify(self, supervisor: str) -> None:
        instance = self._settings.identity.instance
        identity = Identity(instance=instance, supervisor=supervisor)
        self._settings = replace(self._settings, identity=identity)
        self._labels = self._make_labels()

    def _make_labels(self) -> dict[str, str]:
        known = self._settings.identity
        return {"instance": known.instance, "supervisor": known.supervisor}

    # -- settings and memory -----------------------------------------------------------------------

    def reads_exits(self, *, possible: bool) -> None:
        """Know whether supervisord's log can be read."""
        self._exits.readable = possible

    def adopt(self, settings: EngineSettings) -> None:
        """Go on under new settings; programs that are not chosen any more are let go."""
        supervisor = self._settings.identity.supervisor
        self._settings = settings
        self._identify(supervisor)
        for watched in [w for name, w in self._watched.items() if not self._is_chosen(name)]:
            self._let_go(watched)
        for watched in self._watched.values():
            watched.adopt(settings.policy, settings.hold_linger_s)
            self._deadlines[watched.name] = 0.0  # what follows from them is due at once

    def restore(
        self, now: Instant, memory: Mapping[ProcessName, Mapping[str, Any]]
    ) -> list[Effect]:
        """Take up what `SaveState` saved; what is not understood is forgotten."""
        effects: list[Effect] = []
        for name, saved in memory.items():
            watched = self._find(name)
            if watched is None:
                effects.append(SaveState(name, None))
                continue
            try:
                watched.restore(now, saved)
            except (KeyError, ValueError, TypeError, AttributeError, OverflowError):
                del self._watched[name]
                effects.append(SaveState(name, None))
            else:
                effects += self._review(now, watched)
        return effects


def choose(fact: LogFact, candidates: Iterable[ProcessMonitor]) -> ProcessMonitor | None:
    """Return the process that a line of a shared log belongs to; None where there is none.

    By address, by pid, by pool; then who is starting up rather than who runs; then the first.
    """
    left = list(candidates)
    if len(left) > 1:
        for matches in (
            lambda w: fact.address is not None and fact.address in w.site.addresses,
            lambda w: fact.pid is not None and fact.pid == w.life.pid,
            lambda w: fact.pool is not None and fact.pool in w.site.pools,
            lambda w: w.starting_up,
        ):
            matching = [watched for watched in left if matches(watched)]
            left = matching or left
    return left[0] if left else None
