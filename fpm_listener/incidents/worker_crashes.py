"""Workers that crash while their master runs: supervisord does not see it, but php-fpm logs it.

Laws:
1. The text proves nothing: an application can print such a line. A crash counts only if the process
   does not exist any more; the listener checks that soon after the line.
2. SIGTERM, SIGQUIT and SIGKILL end a worker on purpose. That is no crash.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from fpm_listener.incidents.effects import CheckGone
from fpm_listener.incidents.restart_loops import LoopDetector
from fpm_listener.phpfpm.log_facts import FactKind

if TYPE_CHECKING:
    from fpm_listener.phpfpm.log_facts import LogFact
    from fpm_listener.settings.policy import Policy
    from fpm_listener.supervisor.process import ProcessName

#: SIGILL, SIGABRT, SIGBUS, SIGFPE, SIGSEGV: a fault of the worker itself (signal(7)).
_FAULTS = frozenset({4, 6, 7, 8, 11})
#: Seconds between two checks, and lines that wait for a check.
_CHECK_EVERY_S, _MOST = 1.0, 64


class WorkerCrashes:
    """The crashes of one php-fpm's workers. All moments are monotonic seconds."""

    def __init__(self, name: ProcessName, policy: Policy) -> None:
        self.last_line = ""
        self.last_signal = 0
        self.count = 0  #: in this incident
        self.is_loop = False  #: there are so many crashes that they are a problem
        self.calm_since_s = float("-inf")  #: later than the last crash if crashes are rare
        self.deadline_s: float | None = None  #: of the next check
        self._name = name
        self._stable_for_s = policy.stable_for_s
        self._loops = LoopDetector(policy.loops)
        self._waiting: deque[LogFact] = deque(maxlen=_MOST)
        self._checked: frozenset[int] = frozenset()
        self._checked_s = float("-inf")

    def take_line(self, fact: LogFact) -> None:
        """Take a line of php-fpm's log."""
        if fact.kind is FactKind.CHILD_SIGNAL and fact.signal in _FAULTS and fact.pid:
            self._waiting.append(fact)
            self.deadline_s = self._checked_s + _CHECK_EVERY_S

    def check(self, now_s: float) -> CheckGone:
        """Return the check that is due."""
        self._checked = frozenset(one.pid for one in self._waiting if one.pid)
        self._checked_s = now_s
        self.deadline_s = now_s + _CHECK_EVERY_S
        return CheckGone(self._name, self._checked)

    def take_result(self, now_s: float, gone: frozenset[int]) -> None:
        """Count the crashes of the checked processes that do not exist any more."""
        for fact in [fact for fact in self._waiting if fact.pid in self._checked]:
            self._waiting.remove(fact)
            if fact.pid in gone:
                self._loops.add(now_s)
                self.count += 1
                self.last_line, self.last_signal = fact.line, fact.signal or 0
                self.is_loop = bool(self._loops.tiers)
                late_s = max(0.0, 2 * self._loops.usual_distance_s - self._stable_for_s)
                self.calm_since_s = now_s + late_s
        if not self._waiting:
            self.deadline_s = None

    def clear(self) -> None:
        """Forget all crashes: the incident is over."""
        if self.count:
            self._loops.clear()
            self.count, self.last_line, self.last_signal = 0, "", 0
            self.is_loop, self.calm_since_s = False, float("-inf")
