"""What is wrong with a program that lives: its workers crash, or it answers nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm_listener.core.fpmstatus import Silence
from fpm_listener.core.snapshot import Cause
from fpm_listener.core.workercrashes import WorkerCrashes

if TYPE_CHECKING:
    from fpm_listener.core.policy import Policy
    from fpm_listener.core.values import ProcessName


class Ailments:
    """Of one process."""

    def __init__(self, name: ProcessName, policy: Policy) -> None:
        self.crashes = WorkerCrashes(name, policy.loops)
        self._stable_for_s = policy.stable_for_s
        self.silence = Silence()

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
