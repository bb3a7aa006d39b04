"""Replays lines of logs to the engine of the listener, and keeps what it would have reported.

Laws:
1. The engine decides, as it does live. There is no second set of rules.
2. What the engine asks of the machine is answered from the logs, or as not known.
3. Memory is bounded, however long the logs are.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from fpm_listener.incidents.effects import Notify
from fpm_listener.monitor.engine import Engine
from fpm_listener.monitor.messages import Identity, LogLines, ProcessesSeen, Tick
from fpm_listener.monitor.supervision import EngineSettings
from fpm_listener.monitor.timeline import Timeline, TimelineEvent
from fpm_listener.phpfpm.log_facts import FactKind
from fpm_listener.phpfpm.log_parser import classify
from fpm_listener.replay import supervisord_lines
from fpm_listener.replay.answers import answer
from fpm_listener.replay.clock import ReplayClock
from fpm_listener.replay.fpm_programs import FpmPrograms
from fpm_listener.replay.fpm_runs import GOODBYE, NAMELESS, FpmRuns
from fpm_listener.replay.incident_log import IncidentLog
from fpm_listener.replay.log_lines import Source
from fpm_listener.replay.reconstruction import Reconstruction, Step
from fpm_listener.replay.supervisord_lines import Ended, SupervisordEnds, SupervisordStarted

if TYPE_CHECKING:
    from fpm_listener.monitor.engine import Input
    from fpm_listener.monitor.known_programs import ProgramsKnown
    from fpm_listener.monitor.messages import Effect
    from fpm_listener.replay.log_lines import LogLine
    from fpm_listener.settings.policy import Policy
    from fpm_listener.values import Instant

#: Entries of the timeline.
ENTRIES = 1000
#: Seconds that a line of php-fpm waits for its order: it has whole seconds.
_WHOLE_S = 1.0
#: Lines that wait for their order, and lines before the first time of the logs.
_MOST_HELD = 10_000
#: It is in the hash of an incident's id, so that the same logs give the same ids.
_SALT = "replay"


class Replayer:
    """Takes lines in order of time."""

    def __init__(self, policy: Policy, known: ProgramsKnown | None = None) -> None:
        """`known`: the configuration of the programs; None = it is not known."""
        self._settings = EngineSettings(
            policy=policy, identity=Identity(instance=""), fast_restart=False, polls_pools=False
        )
        self.engine = Engine(self._settings, _SALT)
        self.engine.timeline = Timeline(kept_s=float("inf"), most=ENTRIES)
        self.clock = ReplayClock()
        self.incidents = IncidentLog()
        self.runs = Reconstruction(() if known is None else [one.name for one in known.programs])
        self.programs = FpmPrograms(known)
        self.has_fpm_log = False  #: the logs have a line of php-fpm
        self.is_stopping = False  #: supervisord stops
        self.killed_supervisors = 0  #: that ended without a word
        self._has_supervisord = False
        self._known = known
        only = [*known.sites] if known is not None else []
        self._alone = FpmRuns(self.runs, only[0] if len(only) == 1 else NAMELESS)
        self._held: deque[tuple[float, str, str]] = deque()  # time, path, line of php-fpm
        self._early: deque[LogLine] = deque(maxlen=_MOST_HELD)
        self._paths: set[str] = set()
        self._supervisord_path = ""

    def take(self, line: LogLine) -> None:
        """Take one line."""
        if line.at is None:
            if self.clock.first_s is None:
                self._early.append(line)
                return
            line = line._replace(at=self.clock.last_s)
        elif self.clock.first_s is None:
            self.clock.read(line.at)
            self._begin()
            while self._early:
                self.take(self._early.popleft())
        text = line.text.decode("utf-8", "replace")
        if line.source is Source.SUPERVISORD:
            self._take_supervisord(line, text)
        else:
            self._take_fpm(line, text)

    def end(self) -> None:
        """Take what still waits, and note which incidents are open."""
        self._release()
        self.incidents.end(self.engine.views())

    def _begin(self) -> None:
        if self._known is not None:
            self._step(None, self._known)

    # -- supervisord's log -------------------------------------------------------------------------

    def _take_supervisord(self, line: LogLine, text: str) -> None:
        fact = supervisord_lines.parse(text)
        if fact is None or line.at is None:
            return
        self._has_supervisord, self._supervisord_path = True, line.path
        self._release(before_s=line.at - _WHOLE_S)
        if isinstance(fact, Ended) and self.runs.name_of(fact.process) in self.programs:
            self._release_run(self.runs.seen.get(self.runs.name_of(fact.process)))
        if isinstance(fact, SupervisordStarted):
            self._note(line.at, TimelineEvent.SUPERVISORD, unexpected=not self.is_stopping)
            self.is_stopping = False
        elif isinstance(fact, SupervisordEnds):
            self._note(line.at, TimelineEvent.SUPERVISORD_ENDS)
            self.is_stopping = True
        before = len(self.runs.seen)
        steps = self.runs.take(line.at, fact)
        if len(self.runs.seen) > before:
            for name in list(self.runs.seen)[before:]:
                self._learn(line.at, self.programs.meet(name))
        self._take_steps(line.at, steps)
        self._release_ready()

    def _note(self, at_s: float, what: TimelineEvent, *, unexpected: bool = False) -> None:
        if unexpected and self.runs.is_used:
            self.killed_supervisors += 1
        self.engine.timeline.note(self._drive(at_s).wall_s, what)

    # -- php-fpm's log -----------------------------------------------------------------------------

    def _take_fpm(self, line: LogLine, text: str) -> None:
        at_s = line.at or 0.0
        if GOODBYE not in text and classify(text) is None:
            return
        self._held.append((at_s, line.path, text))
        if line.path == self._supervisord_path or len(self._held) > _MOST_HELD:
            self._release()
        else:
            self._release(before_s=at_s - _WHOLE_S)

    def _release(self, before_s: float = float("inf")) -> None:
        """Take the lines of php-fpm that need not wait any more."""
        while self._held and self._held[0][0] <= before_s:
            self._take_fact(*self._held.popleft())

    def _release_run(self, seen: object) -> None:
        """Take the lines of the run that ends now, and none of the next run."""
        pid = getattr(seen, "pid", None)
        while self._held:
            fact = classify(self._held[0][2])
            if fact is not None and fact.kind is FactKind.READY and fact.pid not in {None, pid}:
                return
            self._take_fact(*self._held.popleft())

    def _release_ready(self) -> None:
        """Take the lines up to that of a php-fpm whose start is known now."""
        pids = {seen.pid for seen in self.runs.seen.values() if seen.pid}
        count = 0
        for number, (_, _, text) in enumerate(self._held, start=1):
            fact = classify(text)
            if fact is not None and fact.kind is FactKind.READY and fact.pid in pids:
                count = number
        for _ in range(count):
            self._take_fact(*self._held.popleft())

    def _take_fact(self, at_s: float, path: str, text: str) -> None:
        self.has_fpm_log = True
        fact = classify(text)
        if self._has_supervisord and self.runs.is_used:
            if fact is not None:
                self._learn(at_s, self.programs.learn(at_s, fact, self.runs.seen))
                self._follow(path)
                self._take_steps(at_s, [Step(LogLines(path, (fact,)))])
            return
        self._follow(path)
        if NAMELESS not in self.runs.seen:
            self._learn(at_s, self.programs.meet(NAMELESS))
        if fact is None:
            self._take_steps(at_s, self._alone.goodbye(at_s))
        else:
            self._take_steps(at_s, self._alone.take(at_s, path, fact))

    def _follow(self, path: str) -> None:
        """Let a line of this path be one of any php-fpm, unless the configuration names it."""
        if path in self._paths:
            return
        self._paths.add(path)
        sites = self._known.sites.values() if self._known is not None else ()
        if not any(path in site.error_logs for site in sites):
            extra = (*self._settings.extra_logs, path)
            self._settings = replace(self._settings, extra_logs=extra)
            self.engine.reconfigure(self._settings)

    # -- the engine --------------------------------------------------------------------------------

    def _learn(self, at_s: float, news: ProgramsKnown | None) -> None:
        if news is not None:
            self._step(at_s, news)

    def _take_steps(self, at_s: float, steps: list[Step]) -> None:
        for step in steps:
            if step.at_s is None:
                self._step(at_s, step.given)
            else:  # of a program that is known only now
                self._give(self.clock.before(step.at_s), step.given)

    def _step(self, at_s: float | None, given: Input) -> None:
        now = self._drive(at_s)
        if isinstance(given, ProcessesSeen):
            self.engine.missed(now)  # so the answer counts at once
            given = given._replace(asked_at_s=now.monotonic_s)
        self._give(now, given)

    def _drive(self, at_s: float | None) -> Instant:
        """Let time pass until a line, and return its moment."""
        before_s = self.clock.now.monotonic_s
        now = self.clock.now if at_s is None else self.clock.read(at_s)
        while (due_s := self.engine.deadline_s()) is not None and due_s <= now.monotonic_s:
            before_s = max(before_s, due_s)
            self._give(self.clock.moment(before_s), Tick())
            if self.incidents.has_open:
                self.incidents.look(self.engine.views())
        return now

    def _give(self, now: Instant, given: Input) -> None:
        self._perform(now, self.engine.step(now, given))

    def _perform(self, now: Instant, effects: list[Effect]) -> None:
        waiting = deque(effects)
        while waiting:
            effect = waiting.popleft()
            if isinstance(effect, Notify):
                self.incidents.take(effect)
            given = answer(effect, self.runs)
            if isinstance(given, ProcessesSeen):
                given = given._replace(asked_at_s=now.monotonic_s)
            if given is not None:
                waiting += self.engine.step(now, given)
