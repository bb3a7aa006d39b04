"""Finds the runs of a php-fpm in its own log, if no log of supervisord shows them.

Laws:
1. A run begins with `fpm is running, pid N`. It ends with `exiting, bye-bye!`, or unseen before the
   next run.
2. A failed start ends with `FPM initialization failed`, or is a message of the guard. Nothing else
   is a failed start: an application can write any line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm_listener.monitor.messages import LogLines, ProcessesSeen
from fpm_listener.phpfpm import guard_messages
from fpm_listener.phpfpm.log_facts import START_FAILURES, FactKind, LogFact
from fpm_listener.replay.fpm_programs import log_of
from fpm_listener.replay.reconstruction import Step
from fpm_listener.supervisor.process import ProcessName, ProcessSeen
from fpm_listener.vocabulary import State

if TYPE_CHECKING:
    from fpm_listener.replay.reconstruction import Reconstruction

#: The name of a php-fpm that no log and no configuration names.
NAMELESS = ProcessName("php-fpm", "php-fpm")
#: The last line of a master that exits (php-src, sapi/fpm/fpm/fpm_process_ctl.c, fpm_pctl_exit).
GOODBYE = "exiting, bye-bye!"
#: Facts that only a running php-fpm writes.
_OF_RUNNING = frozenset(
    {
        *(FactKind.CHILD_SIGNAL, FactKind.CHILD_EXIT, FactKind.EMERGENCY_RELOAD),
        *(FactKind.MAX_CHILDREN, FactKind.SLOW, FactKind.TERMINATED),
    }
)
#: Seconds between the first line of a failed start and its last one.
_START_LASTS_S = 10.0
#: Lines of a failed start that are kept.
_MOST = 64


class FpmRuns:
    """The runs of one php-fpm without supervisord."""

    def __init__(self, runs: Reconstruction, name: ProcessName) -> None:
        self._runs = runs
        self.name = name
        self._failing: list[tuple[float, LogFact]] = []  # a start that may fail

    def take(self, at_s: float, fact: LogFact) -> list[Step]:
        """Return the inputs that a fact stands for; at_s: wall seconds."""
        seen = self._runs.find(self.name)
        if seen is None:
            return []
        line = Step(LogLines(log_of(self.name), (fact,)))
        if fact.kind in START_FAILURES:
            return self._fail(at_s, fact)
        self._failing.clear()
        if fact.kind is FactKind.READY:
            is_same = seen.state is State.RUNNING and fact.pid in {None, seen.pid}
            return [line] if is_same else self._begin(at_s, fact.pid, line)
        if fact.kind is FactKind.ENDING and not fact.line.endswith("Reloading in progress ..."):
            return [line, self._runs.change(at_s, self.name, State.STOPPING, pid=seen.pid)]
        if fact.kind in _OF_RUNNING and seen.state is State.UNKNOWN:
            seen.state = State.RUNNING  # it has begun before the log
            return [Step(ProcessesSeen((self._seen(None),), 0.0)), line]
        return [line]

    def goodbye(self, at_s: float) -> list[Step]:
        """Return the inputs for the last line of a master."""
        seen = self._runs.find(self.name)
        if seen is None or seen.state is not State.STOPPING:
            return []
        return [self._runs.change(at_s, self.name, State.STOPPED, pid=seen.pid)]

    def _seen(self, pid: int | None) -> ProcessSeen:
        return ProcessSeen(self.name, State.RUNNING, pid, None)

    def _begin(self, at_s: float, pid: int | None, line: Step) -> list[Step]:
        seen = self._runs.seen[self.name]
        steps = []
        if seen.state is State.RUNNING:  # the run before has ended without a word
            steps.append(
                self._runs.change(at_s, self.name, State.EXITED, pid=seen.pid, expected="0")
            )
        starting = self._runs.change(at_s, self.name, State.STARTING, pid=pid)
        running = self._runs.change(at_s, self.name, State.RUNNING, pid=pid)
        return [*steps, starting, line, running]

    def _fail(self, at_s: float, fact: LogFact) -> list[Step]:
        self._failing = [one for one in self._failing if at_s - one[0] <= _START_LASTS_S]
        self._failing.append((at_s, fact))
        del self._failing[:-_MOST]
        is_guard = fact.line.startswith(guard_messages.PREFIX)
        if fact.kind is not FactKind.INIT_FAILED and not is_guard:
            return []
        failing, self._failing = self._failing, []
        starting = self._runs.change(failing[0][0], self.name, State.STARTING)
        lines = Step(LogLines(log_of(self.name), tuple(one for _, one in failing)))
        return [starting, lines, self._runs.change(at_s, self.name, State.BACKOFF)]
