"""What is wrong with a program that lives: its workers crash, or it answers nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm_listener.incidents.worker_crashes import WorkerCrashes
from fpm_listener.vocabulary import Cause, State

if TYPE_CHECKING:
    from fpm_listener.phpfpm.status_page import (
        PoolView,
    )
    from fpm_listener.settings.policy import Policy
    from fpm_listener.supervisor.process import ProcessName

#: Silent probes in a row, and the seconds that they must last, before it is said.
SILENT_PROBES, SILENT_FOR_S = 3, 20.0


class UnresponsivePools:
    """Whether a php-fpm that runs answers nobody. Belongs to one process."""

    def __init__(self) -> None:
        self.why = ""  #: a sentence; empty = it answers, as far as is known
        self.ended_s = float("-inf")  #: monotonic; when it answered again
        self._count = 0
        self._since_s = 0.0  # monotonic

    def hear(self, now_s: float, state: State, pools: tuple[PoolView, ...]) -> None:
        """Take in what its pools have said, and whether supervisord says that it runs."""
        silent = [pool for pool in pools if pool.silent and state is State.RUNNING]
        if not silent:
            if self.why:
                self.ended_s = now_s
            self.forget()
            return
        if not self._count:
            self._since_s = now_s
        self._count += 1
        lasted_s = now_s - self._since_s
        if not self.why and self._count >= SILENT_PROBES and lasted_s >= SILENT_FOR_S:
            names = ", ".join(pool.pool for pool in silent)
            self.why = (
                f"seen: pool {names}: {silent[0].detail}; asked {self._count} times "
                f"in {lasted_s:.0f} s"
            )

    def forget(self) -> None:
        """It has answered, or lives anew."""
        self.why, self._count = "", 0


class LiveFailures:
    """Of one process."""

    def __init__(self, name: ProcessName, policy: Policy) -> None:
        self.crashes = WorkerCrashes(name, policy.loops)
        self._stable_for_s = policy.stable_for_s
        self.silence = UnresponsivePools()

    @property
    def evidence(self) -> dict[Cause, str]:
        """Return what is wrong now, and the line that shows it."""
        found = {}
        if self.crashes.looping:
            found[Cause.CRASH_SIGNAL] = self.crashes.last_line
        if self.silence.why:
            found[Cause.NOT_ANSWERING] = self.silence.why
        return found

    def calm_since_s(self, settled_at_s: float | None) -> float | None:
        """Return since when all is well (monotonic); None = it is not.

        settled_at_s: since when the program itself is as its operator wants it.
        """
        if settled_at_s is None or self.silence.why:
            return None
        crashes_s = self.crashes.calm_since_s(self._stable_for_s)
        return max(settled_at_s, crashes_s, self.silence.ended_s)
