"""Self-healing of one process: starts, pauses and a shutdown, if the operator has enabled them.

`restart_fatal`: the listener starts a program again after supervisord gave up. `loop_delay`: the
listener stops a program in a restart loop and starts it again later. `on_fatal = shutdown`:
supervisord itself ends, and the container with it (`final_end` decides after which ends).

Laws:
1. The delay doubles with each start that does not last. It is reset when the incident is over.
2. The starts are bounded: after MOST_A_DAY starts in a day there are no more, and that is reported.
3. A stop or start by the operator cancels the plan, also a shutdown that is not performed yet.
4. The listener starts each program that it has stopped. It saves the stop before it requests it.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import TYPE_CHECKING, Any

from fpm_listener.settings.policy import MOST_A_DAY, HealingPolicy, Span
from fpm_listener.vocabulary import State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm_listener.monitor.final_end import FinalEnd
    from fpm_listener.values import Instant

_DAY_S = 86400.0

#: Seconds within which supervisord performs or refuses a stop: some timeouts of its XML-RPC.
_ORDER_LASTS_S = 15.0

#: States in which supervisord can stop a program (supervisor/states.py, RUNNING_STATES).
_STOPPABLE = frozenset({State.STARTING, State.RUNNING, State.BACKOFF})


class Act(Enum):
    """What the listener requests from supervisord."""

    START = "start"
    HALT = "halt"  #: stop a program in a restart loop
    SHUT_DOWN = "shut down"


class SelfHealing:
    """Its ProcessMonitor owns it."""

    def __init__(self, seed: str) -> None:
        """`seed`: the process's name; it spreads the starts of many programs."""
        self.starts = 0  #: since the start of the listener
        self.exhausted = False  #: the starts of a day are used up
        self.paused = False  #: the listener has stopped it, and is going to start it
        self.is_used = False  #: it has done or planned something, or the operator has excluded it
        self.due_s: float | None = None  #: monotonic; the planned start
        self.final_end: FinalEnd | None = None  #: a shutdown is requested because of it
        self._halting = False  # a stop is requested; STOPPED has not arrived yet
        self._halted_at_s = 0.0  # monotonic; of that request
        self._failed = False  # a run has failed in a restart loop
        self._excluded = False  # its operator wants no self-healing until it is started by hand
        self._seed = seed
        self._in_a_row = 0  # starts in a row that did not last
        self._begun: deque[float] = deque(maxlen=MOST_A_DAY)  # monotonic
        self._offset_s = 0.0  # from monotonic to wall time

    # -- inputs ------------------------------------------------------------------------------------

    def fail(self) -> None:
        """Note a failure in a restart loop."""
        self._failed = self.is_used = True

    def start(self, now_s: float) -> bool:
        """Note a start of any origin; return whether it has cancelled something.

        supervisord may start the program a moment before it performs the listener's stop.
        """
        before = (self.paused, self._halting, self._excluded)
        self._halting = self._halting and now_s < self._halted_at_s + _ORDER_LASTS_S
        self.paused = self._excluded = False
        self.due_s = self.final_end = None
        return before != (False, self._halting, False)

    def stop(self) -> bool:
        """Note a stop; return whether the listener requested it. Another stop cancels the plan."""
        self.paused = self._halting or self.paused
        self._halting = self._failed = False
        self.due_s = self.final_end = None
        return self.paused

    def refuse_halt(self) -> bool:
        """Note that supervisord refused the stop; return whether the program was paused."""
        was_paused, self.paused = self.paused, False
        self._halting = False
        return was_paused

    def exclude(self) -> bool:
        """Do nothing until the program is started by hand; return whether it was paused."""
        was_paused, self.paused = self.paused, False
        self._excluded = self.is_used = True
        return was_paused

    def suspend(self) -> None:
        """Plan nothing: supervisord ends. A pause stays saved."""
        self.due_s = self.final_end = None

    # -- the result --------------------------------------------------------------------------------

    def step(
        self,
        now: Instant,
        policy: HealingPolicy,
        state: State,
        *,
        over: bool,
        final_end: FinalEnd | None = None,
    ) -> Act | None:
        """Return what to request now.

        over: no incident is open; final_end: it is the end of the container, and the receivers know
        that nobody starts the program again.
        """
        now_s, self._offset_s = now.monotonic_s, now.wall_s - now.monotonic_s
        if over:
            self._in_a_row = 0
            self._failed = False
        if state not in {State.STOPPED, State.STOPPING, State.UNKNOWN}:
            self.paused = False  # it was started while the listener was away
        if state is State.FATAL:
            self._halting = False  # the program does not run
        before, self.final_end = self.final_end, None if self._excluded else final_end
        if self.final_end is not None and before is None:
            self.is_used = True
            return Act.SHUT_DOWN
        if self._failed and policy.loop_delay and state in _STOPPABLE and not self._halting:
            self._failed, self._halting, self._halted_at_s = False, True, now_s
            return Act.HALT
        return Act.START if self._is_due(now_s, self._span(policy, state)) else None

    def _span(self, policy: HealingPolicy, state: State) -> Span | None:
        """Return the range of the delay before the next start; None = there is no start."""
        if self._excluded:
            return None
        if state is State.STOPPED and (self.paused or self._halting):
            self.paused, self._halting = True, False
            if policy.loop_delay is None:  # disabled in the meantime: law 4 is stronger than law 2
                self._begun.clear()
                self.exhausted = False
            return policy.loop_delay or Span(1.0, 1.0)
        return policy.restart_fatal if state is State.FATAL else None

    def _is_due(self, now_s: float, span: Span | None) -> bool:
        if span is None:
            if not self.paused:  # else supervisord has not reported its state yet
                self.due_s = None
            return False
        latest_s = now_s + (_DAY_S if self.exhausted else span.longest_s)
        if self.due_s is None or self.due_s > latest_s:  # settings or a clock have changed
            delay_s = min(span.longest_s, span.first_s * 2.0 ** min(self._in_a_row, 20))
            self.is_used = True
            self.due_s = now_s + delay_s * (0.75 + 0.25 * self._spread())
        return now_s >= self.due_s and self._may_start(now_s)

    def _may_start(self, now_s: float) -> bool:
        self.exhausted = len(self._begun) == MOST_A_DAY and now_s - self._begun[0] < _DAY_S
        if self.exhausted:
            self.due_s = self._begun[0] + _DAY_S
            return False
        self.due_s = None
        self._in_a_row += 1
        self.starts += 1
        self._begun.append(now_s)
        return True

    @property
    def next_start_s(self) -> float | None:
        """Return the planned start in wall seconds."""
        return None if self.due_s is None else self.due_s + self._offset_s

    def _spread(self) -> float:
        """Return a number from 0 to 1 that depends only on the program and the failed starts."""
        value = self._in_a_row
        for letter in self._seed:
            value = (value * 31 + ord(letter)) % 9973
        return value / 9973

    # -- saved state -------------------------------------------------------------------------------

    def memory(self, now: Instant) -> dict[str, Any]:
        """Return the state to save, in wall time."""
        offset = now.wall_s - now.monotonic_s
        return {
            "stopped_by_us": self.paused or self._halting,
            "due": None if self.due_s is None else self.due_s + offset,
            "left_alone": self._excluded,
            "failed": self._in_a_row,
            "begun": [at + offset for at in self._begun],
        }

    def restore(self, now: Instant, saved: Mapping[str, Any]) -> None:
        """Restore a state that `memory` returned. Raises KeyError, ValueError or TypeError."""
        self.is_used = True
        offset = now.wall_s - now.monotonic_s
        self.paused = bool(saved["stopped_by_us"])
        self._excluded = bool(saved.get("left_alone"))
        self.due_s = None if saved["due"] is None else float(saved["due"]) - offset
        self._in_a_row = int(saved["failed"])
        self._begun.extend(min(float(at) - offset, now.monotonic_s) for at in saved["begun"])
