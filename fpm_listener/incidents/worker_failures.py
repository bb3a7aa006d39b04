"""Workers that fail while their master runs: supervisord does not see it, but php-fpm logs it.

Laws:
1. The text proves nothing: an application can print such a line. A failure counts only if the
   process does not exist any more; the listener checks that soon after the line.
2. SIGTERM and SIGQUIT end a worker on purpose, and so does a master that reloads or exits: with
   SIGKILL after process_control_timeout. That is not a failure. All other failures count at any
   time: log_level can hide that a reload is over, and an application can print that one begins.
3. php-fpm can log a thousand failures a second. The last ones are checked, once a second.
"""

from __future__ import annotations

import signal
from collections import Counter, deque
from typing import TYPE_CHECKING

from fpm_listener.incidents.effects import CheckGone
from fpm_listener.incidents.live_view import WorkersView
from fpm_listener.incidents.restart_loops import LoopDetector
from fpm_listener.phpfpm.log_facts import FactKind, LogFact
from fpm_listener.settings.policy import LoopPolicy
from fpm_listener.vocabulary import Cause, Tier

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm_listener.incidents.post_mortem import PostMortem
    from fpm_listener.settings.policy import Policy
    from fpm_listener.supervisor.process import ProcessName

#: Signals that are a fault of the worker itself (signal(7)).
_FAULTS = frozenset({signal.SIGILL, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGSEGV})
#: Signals that end a worker on purpose.
_ON_PURPOSE = frozenset({signal.SIGTERM, signal.SIGQUIT})
#: Exits with an error, and kills, that are a problem.
_FAILURES = {Tier.FAST: LoopPolicy(threshold=5, window_s=60.0)}
#: Seconds between two checks, and lines that wait for a check.
_CHECK_EVERY_S, _MOST = 1.0, 64
#: Lines that it takes.
WORKER_LINES = frozenset(
    {
        *(FactKind.CHILD_EXIT, FactKind.CHILD_SIGNAL, FactKind.ENDING, FactKind.EMERGENCY_RELOAD),
        *(FactKind.READY, FactKind.RELOAD),
    }
)
#: Lines with which a master begins and ends to end its workers.
_ENDING = frozenset({FactKind.ENDING, FactKind.EMERGENCY_RELOAD})
_ENDED = frozenset({FactKind.READY, FactKind.RELOAD})
#: Seconds for which a master kills its workers, if log_level hides the line about the end.
_ENDING_LASTS_S = 120.0
#: A worker that exits earlier could not start; one that works lasts longer.
_AT_ONCE_S = 1.0


class _Window:
    """The failures of one kind."""

    def __init__(self, policies: Mapping[Tier, LoopPolicy]) -> None:
        self.loops = LoopDetector(policies)
        self.count = 0
        self.last: LogFact | None = None
        self.line = ""  # the first of those that are like the last one
        self.calm_since_s = float("-inf")

    def add(self, now_s: float, fact: LogFact) -> None:
        """Count a failure."""
        last, self.last = self.last, fact
        self.loops.add(now_s)
        self.count += 1
        if last is None or _kind(last) != _kind(fact):
            self.line = fact.line

    @property
    def view(self) -> WorkersView:
        last = self.last
        if last is None:
            return WorkersView()
        at_once = last.lasted_s is not None and last.lasted_s < _AT_ONCE_S
        return WorkersView(self.count, last.signal, last.status, last.pool, at_once)


class WorkerFailures:
    """The failures of one php-fpm's workers. All moments are monotonic seconds."""

    def __init__(self, name: ProcessName, policy: Policy) -> None:
        self.problems: dict[Cause, str] = {}  #: each with the last line that shows it
        self.calm_since_s = float("-inf")  #: later than the last failure if failures are rare
        self.must_examine = False  #: the machine; `examine` has not been called yet
        self.deadline_s: float | None = None  #: of the next check
        self._name = name
        self._stable_for_s = policy.stable_for_s
        self._windows = {
            Cause.CRASH_SIGNAL: _Window(policy.loops),
            Cause.WORKER_FAILURE: _Window(_FAILURES),
        }
        self._waiting: deque[tuple[Cause, LogFact]] = deque()  # for the next check
        self._checked: list[tuple[Cause, LogFact]] = []  # their check has no result yet
        self._unchecked: Counter[Cause] = Counter()  # lines that came too fast to be checked
        self._checked_s = float("-inf")
        self._ending_until_s = float("-inf")  # the master kills its workers
        self._examined = self._is_oom = False
        self._folder: str | None = None  # that does not exist
        self._seen = ""  # what the machine shows about the failures

    # -- lines, and checks -------------------------------------------------------------------------

    def take_line(self, now_s: float, fact: LogFact) -> None:
        """Take a line of php-fpm's log."""
        if fact.kind in _ENDING:
            self._ending_until_s = max(self._ending_until_s, now_s + _ENDING_LASTS_S)
        elif fact.kind in _ENDED:
            self._ending_until_s = float("-inf")
        cause = _cause_of(fact)
        is_by_master = fact.signal == signal.SIGKILL and now_s < self._ending_until_s
        if cause is None or is_by_master:
            return
        self._waiting.append((cause, fact))
        if len(self._waiting) > _MOST:
            self._unchecked[self._waiting.popleft()[0]] += 1
        self.deadline_s = self._checked_s + _CHECK_EVERY_S

    def check(self, now_s: float) -> CheckGone:
        """Return the check that is due."""
        self._checked = [*self._waiting]
        self._waiting.clear()
        self._checked_s, self.deadline_s = now_s, None
        return CheckGone(self._name, frozenset(fact.pid or 0 for _, fact in self._checked))

    def take_result(self, now_s: float, gone: frozenset[int]) -> None:
        """Count the failures of the checked processes that do not exist any more."""
        for cause, fact in self._checked:
            if fact.pid in gone:
                window = self._windows[cause]
                window.add(now_s, fact)
                window.count += self._unchecked.pop(cause, 0)
                late_s = max(0.0, 2 * window.loops.usual_distance_s - self._stable_for_s)
                window.calm_since_s = now_s + late_s
        self._checked = []
        self._unchecked.clear()
        self._set_problems()

    def end_run(self) -> None:
        """Forget the lines that wait for a check: the run has ended."""
        self._waiting.clear()
        self._checked = []
        self.deadline_s = None

    # -- what it means -----------------------------------------------------------------------------

    def _set_problems(self) -> None:
        crashes, failures = self._windows.values()
        self.problems = {Cause.CRASH_SIGNAL: crashes.line} if crashes.loops.tiers else {}
        if failures.loops.tiers:
            cause = Cause.OUT_OF_MEMORY if self._is_oom else Cause.WORKER_FAILURE
            self.problems[cause] = self._seen or failures.line
        is_new = bool(failures.loops.recent)  # False: the incident is restored, and all is calm
        self.must_examine = bool(failures.loops.tiers) and is_new and not self._examined
        self.calm_since_s = max(window.calm_since_s for window in self._windows.values())

    def view(self, cause: Cause) -> WorkersView:
        """Return the failures that a cause of an incident is about."""
        crashes, failures = self._windows.values()
        if cause is Cause.CRASH_SIGNAL:
            return crashes.view
        return failures.view._replace(folder=self._folder)

    @property
    def failed_at_s(self) -> float:
        """Return the moment of the last failure; -inf = there is none."""
        recent = [
            window.loops.recent[-1] for window in self._windows.values() if window.loops.recent
        ]
        return max(recent, default=float("-inf"))

    @property
    def cannot_start(self) -> bool:
        """Return whether workers exit with an error at their start."""
        window = self._windows[Cause.WORKER_FAILURE]
        return bool(window.loops.tiers) and window.view.at_once

    def examine(self) -> float:
        """Return since when the machine must be examined, once in an incident."""
        self._examined, self.must_examine = True, False
        return self._windows[Cause.WORKER_FAILURE].loops.recent[0]

    def take_examination(self, found: PostMortem) -> None:
        """Take what the machine shows. The kernel kills workers first if memory is short."""
        last = self._windows[Cause.WORKER_FAILURE].last
        if last is None or not self._examined:
            return
        if last.signal == signal.SIGKILL and found.oom:
            self._is_oom, self._seen = True, f"seen: {found.oom}"
        elif last.status is not None and found.worker_folders_missing:
            self._folder = found.worker_folders_missing[0]
            self._seen = f"seen: {self._folder} does not exist"
        self._set_problems()

    # -- settings and the end of an incident -------------------------------------------------------

    def reconfigure(self, policy: Policy) -> None:
        """Use new settings; detected loops stay."""
        self._stable_for_s = policy.stable_for_s
        crashes = self._windows[Cause.CRASH_SIGNAL]
        crashes.loops = LoopDetector(policy.loops, crashes.loops.all_failures, crashes.loops.tiers)

    def restore(self, cause: Cause, seen: WorkersView, line: str) -> None:
        """Restore the failures that an incident with this cause is about, as `view` showed them."""
        is_crash = cause is Cause.CRASH_SIGNAL
        window = self._windows[cause if is_crash else Cause.WORKER_FAILURE]
        kind = FactKind.CHILD_EXIT if seen.signal is None else FactKind.CHILD_SIGNAL
        lasted_s = 0.0 if seen.at_once else None
        window.last = LogFact(
            kind=kind,
            line=line,
            pool=seen.pool,
            signal=seen.signal,
            status=seen.status,
            lasted_s=lasted_s,
        )
        window.count, window.line = seen.failures, line
        window.loops.tiers = frozenset({Tier.FAST})
        self._is_oom, self._folder = cause is Cause.OUT_OF_MEMORY, seen.folder
        self._set_problems()

    def clear(self) -> None:
        """Forget all failures: the incident is over."""
        for window in self._windows.values():
            window.loops.clear()
            window.count, window.last, window.calm_since_s = 0, None, float("-inf")
        self._examined = self._is_oom = False
        self._folder, self._seen = None, ""
        self._set_problems()


def _kind(fact: LogFact) -> tuple[object, ...]:
    return fact.status, fact.signal, fact.pool


def _cause_of(fact: LogFact) -> Cause | None:
    """Return what a line reports; None = no failure of a worker."""
    if not fact.pid:
        return None
    if fact.kind is FactKind.CHILD_EXIT:
        return Cause.WORKER_FAILURE
    if fact.kind is FactKind.CHILD_SIGNAL and fact.signal not in _ON_PURPOSE:
        return Cause.CRASH_SIGNAL if fact.signal in _FAULTS else Cause.WORKER_FAILURE
    return None
