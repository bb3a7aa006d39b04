"""Replays lines of logs to the engine of the listener, and keeps what it would have reported.

Laws:
1. The engine decides, as it does live. There is no second set of rules.
2. What the engine asks of the machine is answered from the logs, or as not known.
3. Memory is bounded, however long the logs are.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

from fpm_listener.monitor.liveness import LIVING
from fpm_listener.monitor.timeline import TimelineEvent
from fpm_listener.phpfpm.log_parser import classify, is_of_php
from fpm_listener.replay import supervisord_lines
from fpm_listener.replay.engine_drive import EngineDrive
from fpm_listener.replay.fpm_programs import FpmPrograms
from fpm_listener.replay.fpm_runs import GOODBYE, NAMELESS, FpmRuns
from fpm_listener.replay.line_order import LineOrder, WrittenLine
from fpm_listener.replay.log_lines import Source
from fpm_listener.replay.log_owners import LogOwners
from fpm_listener.replay.reconstruction import Reconstruction
from fpm_listener.replay.supervisord_lines import (
    Ended,
    Spawned,
    SupervisordEnds,
    SupervisordStarted,
)
from fpm_listener.vocabulary import State

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fpm_listener.monitor.known_programs import ProgramsKnown
    from fpm_listener.replay.log_lines import LogLine
    from fpm_listener.settings.policy import Policy
    from fpm_listener.supervisor.process import ProcessName

#: Lines before the first time of the logs.
_MOST_EARLY = 10_000
#: Lines of output before an exit.
_LATEST = 8
#: Characters of a line of output that are kept.
_LONGEST = 2048


class Replayer:
    """Takes lines in order of time."""

    def __init__(
        self,
        policy: Policy,
        known: ProgramsKnown | None = None,
        owners: LogOwners | None = None,
    ) -> None:
        """`known`: the configuration of the programs; None = it is not known."""
        self.runs = Reconstruction(() if known is None else [one.name for one in known.programs])
        self.drive = EngineDrive(policy, self.runs)
        self.programs = FpmPrograms(known)
        self.owners = owners or LogOwners()
        self.has_fpm_log = False  #: the logs have a line of php-fpm
        self.killed_supervisors = 0  #: that ended without a word
        self.begins_late = False  #: supervisord's log begins after its start
        self.untimed: Counter[str] = Counter()  #: by path: lines without a time
        self.unassigned: Counter[str] = Counter()  #: by path: lines of one of several php-fpm
        self._is_stopping = False  # supervisord stops
        self._alone = FpmRuns(self.runs, self.programs.only or NAMELESS)
        self._order = LineOrder()
        self._early: deque[LogLine] = deque(maxlen=_MOST_EARLY)
        self._supervisord_path = ""
        self._loose: deque[tuple[float, str]] = deque(maxlen=_LATEST)  # output of any program

    def take(self, line: LogLine) -> None:
        """Take one line."""
        if line.at is None:
            if not self.drive.clock.is_set:
                self._early.append(line)
            else:
                self.untimed[line.path] += 1
            return
        if not self.drive.clock.is_set:
            self._begin(line, line.at)
        text = line.text.decode("utf-8", "replace")
        if line.source is Source.SUPERVISORD:
            self._take_supervisord(line, line.at, text)
        else:
            self._take_written(line, line.at, text)

    def learn(self, line: LogLine) -> None:
        """Learn only which program has written each file."""
        text = line.text.decode("utf-8", "replace")
        if line.at is None:
            return
        if line.source is Source.SUPERVISORD:
            started = supervisord_lines.parse(text)
            self.owners.take_supervisord(line.path)
            if isinstance(started, Spawned):
                name = self.runs.name_of(started.process)
                self.owners.take_start(line.at, name, started.pid)
        elif (fact := classify(text)) is not None:
            self.owners.take_fact(line.at, line.path, fact)

    def end(self, last_s: float | None = None) -> None:
        """Take what still waits; last_s: wall seconds of the end of the logs, if it is later."""
        self._take_lines(self._order.rest())
        if last_s is not None and self.drive.clock.is_set:
            self.drive.until(last_s)
        self.drive.end()

    def _begin(self, line: LogLine, at_s: float) -> None:
        self.drive.until(at_s)
        if (known := self.programs.known) is not None:
            self.drive.give(known)
        early, self._early = self._early, deque()
        for one in early:
            if one.path == line.path:
                self.take(one._replace(at=at_s))
            else:
                self.untimed[one.path] += 1

    # -- supervisord's log -------------------------------------------------------------------------

    def _take_supervisord(self, line: LogLine, at_s: float, text: str) -> None:
        fact = supervisord_lines.parse(text)
        if fact is None:
            return
        is_start = isinstance(fact, SupervisordStarted)
        self.begins_late |= not self._supervisord_path and not is_start
        self._supervisord_path = line.path
        self.runs.shows_starts |= supervisord_lines.is_info(text)
        self.owners.take_supervisord(line.path)
        self._take_lines(self._order.due(at_s))
        if isinstance(fact, Ended):
            self._end_run(self.runs.name_of(fact.process))
            self._take_loose(at_s, self.runs.name_of(fact.process))
        elif isinstance(fact, Spawned):
            self.owners.take_start(at_s, self.runs.name_of(fact.process), fact.pid)
        elif is_start:
            if self.runs.is_used and not self._is_stopping:
                self.killed_supervisors += 1
            self._is_stopping = False
            self.drive.note(at_s, TimelineEvent.SUPERVISORD)
        elif isinstance(fact, SupervisordEnds):
            if not self._is_stopping:
                self.drive.end()  # the exits of the shutdown say nothing about an incident
            self.drive.note(at_s, TimelineEvent.SUPERVISORD_ENDS)
            self._is_stopping = True
        before = len(self.runs.seen)
        steps = self.runs.take(at_s, fact)
        self._meet(at_s, before)
        self.drive.take(at_s, steps)
        self.drive.is_paused = self._is_stopping
        if self._order.is_waiting:
            pids = {seen.pid for seen in self.runs.seen.values() if seen.pid is not None}
            self._take_lines(self._order.begin_runs(pids))

    def _meet(self, at_s: float, before: int) -> None:
        """Learn from the names of new programs; before: how many were known."""
        if len(self.runs.seen) > before:
            for name in [*self.runs.seen][before:]:
                self._learn(at_s, self.programs.meet(name))

    def _end_run(self, name: ProcessName) -> None:
        seen = self.runs.seen.get(name)
        names = self.runs.seen

        def is_own(path: str) -> bool:
            return self.owners.find(path, names) in {None, name}

        self._take_lines(self._order.end_run(seen.pid if seen is not None else None, is_own))

    def _take_loose(self, at_s: float, name: ProcessName) -> None:
        """Take the output before an exit as that of this run, if no other program lived."""
        loose, self._loose = [*self._loose], deque(maxlen=_LATEST)
        own = self.runs.seen.get(name)
        if not loose or own is None or own.state is not State.STARTING:
            return
        others = [one for other, one in self.runs.seen.items() if other != name]
        if any(one.state in LIVING or one.since_s >= own.since_s for one in others):
            return
        lines = [text for written_s, text in loose if written_s >= own.since_s]
        self.drive.take(at_s, [self.runs.output(name, text) for text in lines])

    # -- lines of programs -------------------------------------------------------------------------

    def _take_written(self, line: LogLine, at_s: float, text: str) -> None:
        fact, is_output = classify(text), line.source is Source.OUTPUT
        if fact is None and not is_output and GOODBYE not in text:
            return
        written = WrittenLine(at_s, line.path, line.program, text[:_LONGEST], fact, is_output)
        if fact is not None:
            self.owners.take_fact(at_s, line.path, fact)
        if line.path == self._supervisord_path:
            self._take_line(written)
            return
        self._take_lines(self._order.add(written))
        self._take_lines(self._order.due(at_s))

    def _take_lines(self, lines: Iterable[WrittenLine]) -> None:
        for line in lines:
            self._take_line(line)

    def _take_line(self, line: WrittenLine) -> None:
        self.has_fpm_log |= line.fact is not None
        if not self.runs.is_used:
            self._take_alone(line)
            return
        is_certain = line.fact is not None and not (line.is_output and is_of_php(line.text))
        if line.fact is not None and is_certain:
            self._learn(line.at_s, self.programs.learn(line.at_s, line.fact, self.runs.seen))
        name = self._owner(line)
        if line.is_output and name is not None:
            if name in self.runs.seen:
                self.drive.take(line.at_s, [self.runs.output(name, line.text)])
        elif line.fact is None or not is_certain:
            self._loose.append((line.at_s, line.text))
        else:
            name = name or self.programs.choose(line.at_s, line.fact, self.runs.seen)
            if name is None:
                self.unassigned[line.path] += 1
            else:
                self.drive.take_fact(line.at_s, name, line.fact)

    def _owner(self, line: WrittenLine) -> ProcessName | None:
        """Return the program of a line, if its file shows it."""
        if line.program:
            return self.runs.name_of(line.program.rpartition(":")[2])
        found = self.owners.find(line.path, self.runs.seen)
        is_possible = line.is_output or found in self.programs
        return found if is_possible else None

    def _take_alone(self, line: WrittenLine) -> None:
        """Take a line of php-fpm without supervisord's log."""
        name = self._alone.name
        if name not in self.runs.seen:
            self._learn(line.at_s, self.programs.meet(name))
        if line.fact is None:
            is_end = GOODBYE in line.text
            self.drive.take(line.at_s, self._alone.goodbye(line.at_s) if is_end else [])
        else:
            self.drive.take(line.at_s, self._alone.take(line.at_s, line.fact))

    def _learn(self, at_s: float, news: ProgramsKnown | None) -> None:
        if news is not None:
            self.drive.until(at_s)
            self.drive.give(news)
