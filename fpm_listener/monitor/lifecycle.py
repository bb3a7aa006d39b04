"""One process's lives: when each began, how it ended, and whether that was a failure.

Laws:
1. A failed start (BACKOFF) and a crash (EXITED, not expected) are both failed lives; an operator's
   stop never is.
2. RUNNING proves nothing: supervisord says it of a php-fpm that could not bind its port.
3. An exit of php-fpm within seconds of its start is a failure whatever its code: the recipe of 2015
   calls the very failure that it fears *expected* (`exitcodes=0,2,70`).
4. Events can be missing (the listener pool's buffer overflows): each signal makes sense in each
   phase.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from fpm_listener.incidents.post_mortem import SHORT_LIFE_S
from fpm_listener.vocabulary import State


class Phase(Enum):
    """Where a life is."""

    NONE = "none"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"


class Signal(Enum):
    """What supervisord's event says of a life."""

    STARTING = "STARTING"
    RUNNING = "RUNNING"
    BACKOFF = "BACKOFF"
    EXITED_UNEXPECTEDLY = "EXITED expected:0"
    EXITED_EXPECTEDLY = "EXITED expected:1"
    STOPPING = "STOPPING"
    STOPPED = "STOPPED"
    FATAL = "FATAL"
    UNKNOWN = "UNKNOWN"


class Outcome(Enum):
    """What has become of the life."""

    BEGAN = "began"
    CONFIRMED = "confirmed"  #: supervisord says RUNNING
    FAILED_START = "failed start"
    CRASH = "crash"
    EXPECTED_EXIT = "expected exit"
    STOPPED = "stopped"
    GAVE_UP = "gave up"
    NOTHING = "nothing"


def _row(phase: Phase) -> dict[tuple[Phase, Signal], tuple[Phase, Outcome]]:
    """Return the row of a phase in which no stop has been asked for: it is the same for three."""
    return {
        (phase, Signal.STARTING): (Phase.STARTING, Outcome.BEGAN),
        (phase, Signal.RUNNING): (Phase.RUNNING, Outcome.CONFIRMED),
        (phase, Signal.BACKOFF): (Phase.NONE, Outcome.FAILED_START),
        (phase, Signal.EXITED_UNEXPECTEDLY): (Phase.NONE, Outcome.CRASH),
        (phase, Signal.EXITED_EXPECTEDLY): (Phase.NONE, Outcome.EXPECTED_EXIT),
        (phase, Signal.STOPPING): (Phase.STOPPING, Outcome.NOTHING),
        (phase, Signal.STOPPED): (Phase.NONE, Outcome.STOPPED),
        (phase, Signal.FATAL): (Phase.NONE, Outcome.GAVE_UP),
        (phase, Signal.UNKNOWN): (Phase.NONE, Outcome.NOTHING),
    }


#: Total: every phase and every signal.
TRANSITIONS: dict[tuple[Phase, Signal], tuple[Phase, Outcome]] = {
    **_row(Phase.NONE),
    **_row(Phase.STARTING),
    **_row(Phase.RUNNING),
    # Whatever ends a life that was told to stop, the operator has ended it.
    (Phase.STOPPING, Signal.STARTING): (Phase.STARTING, Outcome.BEGAN),
    (Phase.STOPPING, Signal.RUNNING): (Phase.STOPPING, Outcome.NOTHING),
    (Phase.STOPPING, Signal.BACKOFF): (Phase.NONE, Outcome.STOPPED),
    (Phase.STOPPING, Signal.EXITED_UNEXPECTEDLY): (Phase.NONE, Outcome.STOPPED),
    (Phase.STOPPING, Signal.EXITED_EXPECTEDLY): (Phase.NONE, Outcome.STOPPED),
    (Phase.STOPPING, Signal.STOPPING): (Phase.STOPPING, Outcome.NOTHING),
    (Phase.STOPPING, Signal.STOPPED): (Phase.NONE, Outcome.STOPPED),
    (Phase.STOPPING, Signal.FATAL): (Phase.NONE, Outcome.GAVE_UP),
    (Phase.STOPPING, Signal.UNKNOWN): (Phase.NONE, Outcome.NOTHING),
}

#: Outcomes after which the process is no more.
ENDINGS = frozenset(
    {Outcome.FAILED_START, Outcome.CRASH, Outcome.EXPECTED_EXIT, Outcome.STOPPED},
)


def signal_of(state: State, *, expected: bool | None) -> Signal:
    """Return what an event that carries `state` says; EXITED without `expected` is a crash."""
    if state is State.EXITED:
        return Signal.EXITED_EXPECTEDLY if expected else Signal.EXITED_UNEXPECTEDLY
    return Signal[state.name]


@dataclass(slots=True, kw_only=True)
class ProcessRun:
    """The present life of one process, or its last one. Owned by the engine."""

    phase: Phase = Phase.NONE
    began_at: float | None = None  #: monotonic seconds; None = before our time, or none yet
    ended_at: float | None = None  #: monotonic seconds of the end of the last life
    pid: int | None = None  #: as soon as an event carries it

    def step(self, now_s: float, signal: Signal, pid: int | None) -> Outcome:
        """Return what `signal` makes of the life, and make it so."""
        self.phase, outcome = TRANSITIONS[self.phase, signal]
        if outcome is Outcome.BEGAN:
            self.began_at, self.pid = now_s, None
        if pid is not None:
            self.pid = pid
        if outcome in ENDINGS:
            self.ended_at = now_s
        return outcome

    def correct(self, state: State, pid: int | None) -> tuple[int | None, bool]:
        """Take over a state that no event has told.

        Return the pid of a run that has ended unseen, if one has, and whether another one goes on.
        """
        lives = state.name in Phase.__members__
        before, self.phase = self.pid, Phase[state.name] if lives else Phase.NONE
        self.pid = pid if lives and state is not State.STARTING else None
        is_new = lives and before != pid
        if is_new:
            self.began_at = None
        return (before if is_new or not lives else None), is_new

    @property
    def length_s(self) -> float | None:
        """Return how long the ended life was; None where its beginning was not seen."""
        if self.began_at is None or self.ended_at is None:
            return None
        return max(0.0, self.ended_at - self.began_at)

    def failed(self, outcome: Outcome, *, is_fpm: bool) -> bool:
        """Return whether the life that ended with `outcome` was a failed one."""
        if outcome in {Outcome.FAILED_START, Outcome.CRASH}:
            return True
        if outcome is Outcome.EXPECTED_EXIT and is_fpm:
            length_s = self.length_s
            return length_s is not None and length_s < SHORT_LIFE_S
        return False
