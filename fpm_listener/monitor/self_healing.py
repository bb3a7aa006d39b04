"""What ends a trouble without a human, only where the operator wants it: starts and pauses.

`restart_fatal`: what supervisord gave up on is started again. `loop_delay`: what loops is stopped
by us and started again later, instead of being hammered by supervisord. `on_fatal = shutdown`:
supervisord itself ends, and the container with it.

Laws:
1. The delay doubles with each start that did not last, and is forgotten when the trouble is over.
2. It is bounded: after MOST_A_DAY starts in a day nothing is started any more, and that is said.
3. Who stops the program, or starts it, wins: what is planned is forgotten.
4. What we have stopped, we start: that we did is remembered before it is done.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import TYPE_CHECKING, Any

from fpm_listener.settings.policy import MOST_A_DAY, HealingPolicy, Span
from fpm_listener.vocabulary import State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm_listener.values import Instant

_DAY_S = 86400.0

#: Seconds within which supervisord carries out, or refuses, a stop: some time-outs of its XML-RPC.
_ORDER_LASTS_S = 15.0

#: States in which supervisord lets a program be stopped (supervisor/states.py, RUNNING_STATES).
_STOPPABLE = frozenset({State.STARTING, State.RUNNING, State.BACKOFF})


class Act(Enum):
    """What is to be done now."""

    START = "start"
    HALT = "halt"  #: stop a program that loops
    SHUT_DOWN = "shut down"


class SelfHealing:
    """Belongs to one process."""

    def __init__(self, seed: str) -> None:
        """`seed`: of host and process, so that a fleet does not start in step."""
        self.starts = 0  #: over the life of the listener
        self.worn_out = False  #: the day's starts are used up
        self.paused = False  #: we have stopped it, and shall start it
        self._halting = False  # we have had it stopped; its STOPPED is still to come
        self._halted_at_s = 0.0  # monotonic; when that was ordered
        self._failing = False  # a life has failed in a loop: it is to be halted
        self._left_alone = False  # its operator has said so
        self._shut_down = False
        self._seed = seed
        self._failed = 0  # starts in a row that did not last
        self._due_s: float | None = None  # monotonic
        self._begun: deque[float] = deque(maxlen=MOST_A_DAY)  # monotonic
        self._offset_s = 0.0  # from monotonic to wall time

    # -- what happens to it ------------------------------------------------------------------------

    def failed(self) -> None:
        """A life has failed in a restart loop."""
        self._failing = True

    def began(self, now_s: float) -> bool:
        """It was started, by whomever; return whether there was anything to forget.

        It may have been supervisord, a moment before it carries out our stop.
        """
        before = (self.paused, self._halting, self._left_alone)
        self._halting = self._halting and now_s < self._halted_at_s + _ORDER_LASTS_S
        self.paused = self._left_alone = self._shut_down = False
        self._due_s = None
        return before != (False, self._halting, False)

    def stopped(self) -> bool:
        """It was stopped; return whether by us. Its operator's stop ends all plans."""
        self.paused = self._halting or self.paused
        self._halting = self._failing = False
        self._due_s = None
        return self.paused

    def halt_failed(self) -> bool:
        """supervisord has refused to stop it; return whether a stop was taken for ours."""
        was_paused, self.paused = self.paused, False
        self._halting = False
        return was_paused

    def leave_alone(self) -> bool:
        """Its operator wants it left as it is until a start; return whether we had stopped it."""
        was_paused, self.paused = self.paused, False
        self._left_alone = True
        return was_paused

    def suspend(self) -> None:
        """Plan nothing: supervisord ends. What we have stopped is remembered."""
        self._due_s = None

    # -- what follows from it ----------------------------------------------------------------------

    def step(
        self, now: Instant, policy: HealingPolicy, state: State, *, over: bool, told: bool
    ) -> Act | None:
        """Return what is to be done now.

        over: the trouble is over; told: the receivers know of it as it is now.
        """
        now_s, self._offset_s = now.monotonic_s, now.wall_s - now.monotonic_s
        if over:
            self._failed = 0
            self._failing = False
        if state not in {State.STOPPED, State.STOPPING, State.UNKNOWN}:
            self.paused = False  # somebody has started it while we were away
        if state is State.FATAL:
            self._halting = False  # there is nothing to be stopped any more
        if state is State.FATAL and policy.shutdown_on_fatal and told and not self._shut_down:
            self._shut_down = True
            return Act.SHUT_DOWN
        if self._failing and policy.loop_delay and state in _STOPPABLE and not self._halting:
            self._failing, self._halting, self._halted_at_s = False, True, now_s
            return Act.HALT
        return Act.START if self._is_due(now_s, self._span(policy, state)) else None

    def _span(self, policy: HealingPolicy, state: State) -> Span | None:
        """Return the delay before the next start; None = it is not to be started by us."""
        if self._left_alone:
            return None
        if state is State.STOPPED and (self.paused or self._halting):
            self.paused, self._halting = True, False
            if policy.loop_delay is None:  # switched off meanwhile: law 4 beats law 2
                self._begun.clear()
                self.worn_out = False
            return policy.loop_delay or Span(1.0, 1.0)
        return policy.restart_fatal if state is State.FATAL else None

    def _is_due(self, now_s: float, span: Span | None) -> bool:
        if span is None:
            if not self.paused:  # else supervisord has not told yet how it is
                self._due_s = None
            return False
        latest_s = now_s + (_DAY_S if self.worn_out else span.longest_s)
        if self._due_s is None or self._due_s > latest_s:  # the settings, or a clock, have changed
            delay_s = min(span.longest_s, span.first_s * 2.0 ** min(self._failed, 20))
            self._due_s = now_s + delay_s * (0.75 + 0.25 * self._spread())
        return now_s >= self._due_s and self._may_start(now_s)

    def _may_start(self, now_s: float) -> bool:
        self.worn_out = len(self._begun) == MOST_A_DAY and now_s - self._begun[0] < _DAY_S
        if self.worn_out:
            self._due_s = self._begun[0] + _DAY_S
            return False
        self._due_s = None
        self._failed += 1
        self.starts += 1
        self._begun.append(now_s)
        return True

    def deadline_s(self) -> float | None:
        """Return the moment of the planned start."""
        return self._due_s

    @property
    def next_start_s(self) -> float | None:
        """Return the planned start in wall seconds."""
        return None if self._due_s is None else self._due_s + self._offset_s

    def _spread(self) -> float:
        """Return a number from 0 up to 1 that is the same for the same program and failure."""
        value = self._failed
        for letter in self._seed:
            value = (value * 31 + ord(letter)) % 9973
        return value / 9973

    # -- what outlives the listener ----------------------------------------------------------------

    def memory(self, now: Instant) -> dict[str, Any]:
        """Return what must be remembered, in wall time."""
        offset = now.wall_s - now.monotonic_s
        return {
            "stopped_by_us": self.paused or self._halting,
            "due": None if self._due_s is None else self._due_s + offset,
            "left_alone": self._left_alone,
            "failed": self._failed,
            "begun": [at + offset for at in self._begun],
        }

    def restore(self, now: Instant, saved: Mapping[str, Any]) -> None:
        """Take up what `memory` returned. Raises KeyError, ValueError or TypeError."""
        offset = now.wall_s - now.monotonic_s
        self.paused = bool(saved["stopped_by_us"])
        self._left_alone = bool(saved.get("left_alone"))
        self._due_s = None if saved["due"] is None else float(saved["due"]) - offset
        self._failed = int(saved["failed"])
        self._begun.extend(min(float(at) - offset, now.monotonic_s) for at in saved["begun"])
