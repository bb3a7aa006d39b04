"""Gives the engine its inputs at their moments, and answers what it asks."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from fpm_listener.incidents.effects import Notify
from fpm_listener.monitor.engine import Engine
from fpm_listener.monitor.messages import Identity, LogLines, ProcessesSeen, Tick
from fpm_listener.monitor.supervision import EngineSettings
from fpm_listener.monitor.timeline import Timeline
from fpm_listener.replay.answers import answer
from fpm_listener.replay.clock import ReplayClock
from fpm_listener.replay.fpm_programs import log_of
from fpm_listener.replay.incident_log import IncidentLog

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fpm_listener.monitor.engine import Input
    from fpm_listener.monitor.messages import Effect
    from fpm_listener.monitor.timeline import TimelineEvent
    from fpm_listener.phpfpm.log_facts import LogFact
    from fpm_listener.replay.reconstruction import Reconstruction, Step
    from fpm_listener.settings.policy import Policy
    from fpm_listener.supervisor.process import ProcessName
    from fpm_listener.values import Instant

#: Entries of the timeline.
ENTRIES = 100
#: It is in the hash of an incident's id, so that the same logs give the same ids.
_SALT = "replay"


class EngineDrive:
    """Its Replayer owns it."""

    def __init__(self, policy: Policy, runs: Reconstruction) -> None:
        """`runs`: answers questions about states."""
        settings = EngineSettings(policy=policy, identity=Identity(instance=""), fast_restart=False)
        self.engine = Engine(settings, _SALT)
        self.engine.timeline = Timeline(kept_s=float("inf"), most=ENTRIES)
        self.clock = ReplayClock()
        self.incidents = IncidentLog()
        self.is_paused = False  #: supervisord ends: a listener would end, too, and decide nothing
        self._runs = runs

    def take(self, at_s: float, steps: Iterable[Step]) -> None:
        """Give inputs; at_s: wall seconds of their line."""
        for step in steps:
            now, given = self.until(at_s), step.given
            if step.at_s is not None:  # of a program that is known only now
                now = self.clock.before(step.at_s)
            if isinstance(given, ProcessesSeen):
                self.engine.missed(now)  # so the answer counts at once
                given = given._replace(asked_at_s=now.monotonic_s)
            self._perform(now, given)

    def take_fact(self, at_s: float, name: ProcessName, fact: LogFact) -> None:
        """Give a line of the log of one php-fpm."""
        self._perform(self.until(at_s), LogLines(log_of(name), (fact,)))

    def give(self, given: Input) -> None:
        """Give an input at the latest moment."""
        self._perform(self.clock.now, given)

    def note(self, at_s: float, what: TimelineEvent) -> None:
        """Note what has happened to supervisord; at_s: wall seconds."""
        self.engine.timeline.note(self.until(at_s).wall_s, what)

    def until(self, at_s: float) -> Instant:
        """Let time pass until a moment in wall seconds, and return it."""
        before_s = self.clock.now.monotonic_s
        now = self.clock.read(at_s)
        while not self.is_paused and (due_s := self.engine.deadline_s()) is not None:
            if due_s > now.monotonic_s:
                break
            before_s = max(before_s, due_s)
            self._perform(self.clock.moment(before_s), Tick())
            if self.incidents.has_open:
                self.incidents.look(self.engine.views())
        return now

    def end(self) -> None:
        """Note which incidents are open. After a shutdown, they are as they were before it."""
        if not self.is_paused:
            self.incidents.end(self.engine.views())

    def _perform(self, now: Instant, given: Input) -> None:
        waiting: deque[Effect] = deque(self.engine.step(now, given))
        while waiting:
            effect = waiting.popleft()
            if isinstance(effect, Notify):
                self.incidents.take(effect)
            result = answer(effect, self._runs)
            if isinstance(result, ProcessesSeen):
                result = result._replace(asked_at_s=now.monotonic_s)
            if result is not None:
                waiting += self.engine.step(now, result)
