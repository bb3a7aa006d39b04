"""Programs that exit as expected again and again: supervisord restarts them without a delay.

Such exits are not failures, so they have a window of their own. A program with `startsecs=0` is
meant to exit, and so is one that supervisord does not start again. If `autorestart` is unknown,
nothing counts: a person or cron may start the program.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm_listener.incidents.live_view import RestartsView
from fpm_listener.incidents.restart_loops import LoopDetector
from fpm_listener.vocabulary import Tier

if TYPE_CHECKING:
    from fpm_listener.settings.policy import LoopPolicy
    from fpm_listener.supervisor.process import Program


class ExitLoop:
    """The expected exits of one program. All moments are monotonic seconds."""

    def __init__(self, policy: LoopPolicy, stable_for_s: float) -> None:
        self.line = ""  #: what is seen; empty = there is no loop
        #: The last restart at which the window was full; later if restarts are rare.
        self.calm_since_s = float("-inf")
        self._stable_for_s = stable_for_s
        self._is_meant_to_exit = True  # as long as its configuration is unknown
        self._restarts = LoopDetector({Tier.FAST: policy})
        self._count, self._first_s, self._last_s = 0, 0.0, 0.0

    def configure(self, program: Program) -> None:
        """Set what the configuration of the program says about its exits."""
        if program.autorestart is None and program.startsecs > 0:
            return  # unknown: an earlier answer stays
        self._is_meant_to_exit = program.startsecs <= 0 or program.autorestart != "true"
        if self._is_meant_to_exit:
            self.clear()

    def take_restart(self, now_s: float) -> None:
        """Count a start that follows an expected exit."""
        if self._is_meant_to_exit:
            return
        self._restarts.add(now_s)
        recent = self._restarts.recent
        if self._restarts.tiers and not self.line:
            self._count, self._first_s = len(recent) - 1, recent[0]
            span_s = now_s - self._first_s
            self.line = f"seen: {len(recent)} restarts after expected exits in {span_s:.0f} s"
        if self.line:
            self._count, self._last_s = self._count + 1, now_s
            if self._restarts.is_full(Tier.FAST, now_s):
                late_s = max(0.0, 2 * self._restarts.usual_distance_s - self._stable_for_s)
                self.calm_since_s = now_s + late_s

    @property
    def view(self) -> RestartsView:
        """Return the restarts in this incident."""
        return RestartsView(self._count, self._last_s - self._first_s if self._count else 0.0)

    def reconfigure(self, policy: LoopPolicy, stable_for_s: float) -> None:
        """Use new settings; a detected loop stays."""
        self._stable_for_s = stable_for_s
        restarts = self._restarts
        self._restarts = LoopDetector({Tier.FAST: policy}, restarts.all_failures, restarts.tiers)

    def clear(self) -> None:
        """Forget all restarts: the incident is over, or an operator has stopped the program."""
        self.line, self._count, self.calm_since_s = "", 0, float("-inf")
        self._restarts.clear()
