"""Workers that crash while their master lives: supervisord sees nothing of it, php-fpm says it.

Laws:
1. Text is no proof: an application can print the line. A crash counts only where the machine has no
   such process any more, which is asked soon after the line.
2. What ends a worker on purpose (SIGTERM, SIGQUIT, and SIGKILL of whomever) is no crash.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from fpm_listener.incidents.effects import CheckGone
from fpm_listener.incidents.restart_loops import LoopDetector
from fpm_listener.phpfpm.log_facts import FactKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm_listener.phpfpm.log_facts import LogFact
    from fpm_listener.settings.policy import LoopPolicy
    from fpm_listener.supervisor.process import ProcessName
    from fpm_listener.vocabulary import Tier

#: SIGILL, SIGABRT, SIGBUS, SIGFPE, SIGSEGV: a fault of the worker's own (signal(7)).
_FAULTS = frozenset({4, 6, 7, 8, 11})
#: Seconds between two questions, and lines that wait for an answer.
_ASK_AGAIN_S, _MOST = 1.0, 64


class WorkerCrashes:
    """Of one process."""

    def __init__(self, name: ProcessName, loops: Mapping[Tier, LoopPolicy]) -> None:
        self.last_line = ""
        self.last_signal = 0
        self.count = 0  #: in this trouble
        self._name = name
        self._loops = LoopDetector(loops)
        self._waiting: deque[LogFact] = deque(maxlen=_MOST)
        self._asked: frozenset[int] = frozenset()
        self._asked_s = float("-inf")
        self._last_s = float("-inf")

    @property
    def looping(self) -> bool:
        """Return whether it is more than an accident."""
        return bool(self._loops.tiers)

    def hear(self, fact: LogFact) -> None:
        """Take in a line of php-fpm's log."""
        if fact.kind is FactKind.CHILD_SIGNAL and fact.signal in _FAULTS and fact.pid:
            self._waiting.append(fact)

    def ask(self, now_s: float) -> list[CheckGone]:
        """Return what is to be asked now, if anything."""
        pids = frozenset(one.pid for one in self._waiting if one.pid)
        if not pids or now_s < self._asked_s + _ASK_AGAIN_S:
            return []
        self._asked, self._asked_s = pids, now_s
        return [CheckGone(self._name, pids)]

    def deadline_s(self) -> float | None:
        """Return the monotonic moment of the next question."""
        return self._asked_s + _ASK_AGAIN_S if self._waiting else None

    def gone(self, now_s: float, pids: frozenset[int]) -> None:
        """Know which of those that were asked for are no processes any more."""
        asked = [fact for fact in self._waiting if fact.pid in self._asked]
        for fact in asked:
            self._waiting.remove(fact)
            if fact.pid in pids:
                self._loops.fail(now_s)
                self.count += 1
                self.last_line, self.last_signal = fact.line, fact.signal or 0
                self._last_s = now_s

    def calm_since_s(self, stable_for_s: float) -> float:
        """Return since when all is calm: later than the last crash, where they are rare."""
        return self._last_s + max(0.0, 2 * self._loops.usual_distance_s - stable_for_s)

    def forget(self) -> None:
        """Begin anew: the trouble is over."""
        if self.count:
            self._loops.forget()
            self.count, self.last_line, self.last_signal = 0, "", 0
            self._last_s = float("-inf")
