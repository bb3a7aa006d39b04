"""Problems of a running php-fpm: its workers crash, or its pools do not answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm_listener.incidents.worker_crashes import WorkerCrashes
from fpm_listener.vocabulary import Cause, State

if TYPE_CHECKING:
    from fpm_listener.phpfpm.status_page import PoolView
    from fpm_listener.settings.policy import Policy
    from fpm_listener.supervisor.process import ProcessName

#: Probes in a row without an answer, and the seconds that they must last, until it is a problem.
SILENT_PROBES, SILENT_FOR_S = 3, 20.0


class LiveFailures:
    """The problems of one running process. All moments are monotonic seconds."""

    def __init__(self, name: ProcessName, policy: Policy) -> None:
        self.crashes = WorkerCrashes(name, policy)
        self.problems: dict[Cause, str] = {}  #: each with the line that shows it
        self.silent_probes = 0  #: in a row, in this run
        self._silence = ""  # the line about pools that do not answer; empty = they answer
        self._silent_since_s = 0.0
        self._answered_at_s = float("-inf")  # after a silence

    def take_pools(self, now_s: float, state: State, pools: tuple[PoolView, ...]) -> None:
        """Take the answers of the pools; they count while supervisord reports RUNNING."""
        silent = [pool for pool in pools if pool.silent and state is State.RUNNING]
        if not silent:
            if self._silence:
                self._answered_at_s = now_s
            self.end_run()
            return
        if not self.silent_probes:
            self._silent_since_s = now_s
        self.silent_probes += 1
        lasted_s = now_s - self._silent_since_s
        if not self._silence and self.silent_probes >= SILENT_PROBES and lasted_s >= SILENT_FOR_S:
            names = ", ".join(pool.pool for pool in silent)
            self._silence = (
                f"seen: pool {names}: {silent[0].detail}; asked {self.silent_probes} times "
                f"in {lasted_s:.0f} s"
            )
            self._set_problems()

    def take_gone(self, now_s: float, pids: frozenset[int]) -> None:
        """Take the processes that do not exist any more."""
        self.crashes.take_result(now_s, pids)
        self._set_problems()

    def end_run(self) -> None:
        """Forget the silence: the pools answer, or the run has ended."""
        self._silence, self.silent_probes = "", 0
        self._set_problems()

    def clear_crashes(self) -> None:
        """Forget all crashes: the incident is over."""
        self.crashes.clear()
        self._set_problems()

    def _set_problems(self) -> None:
        self.problems = {}
        if self.crashes.is_loop:
            self.problems[Cause.CRASH_SIGNAL] = self.crashes.last_line
        if self._silence:
            self.problems[Cause.NOT_ANSWERING] = self._silence

    def calm_since_s(self, settled_at_s: float) -> float | None:
        """Return since when there is no problem; None = there is one.

        settled_at_s: since when the process itself is in the state that its operator wants.
        """
        if self._silence:
            return None
        return max(settled_at_s, self.crashes.calm_since_s, self._answered_at_s)
