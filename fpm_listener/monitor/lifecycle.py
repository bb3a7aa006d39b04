"""The runs of one process: when each begins, how it ends, and whether it is a failure.

Laws:
1. A failed start (BACKOFF) and a crash (EXITED, not expected) are failures. A stop by the operator
   is never a failure.
2. RUNNING proves nothing: supervisord reports it for a php-fpm that could not bind its port.
3. An exit of php-fpm within seconds of its start is a failure, whatever its exit code: the recipe
   of 2015 declares the failed start as *expected* (`exitcodes=0,2,70`).
4. Events can be missing because the listener pool's buffer overflows. Each signal has a result in
   each phase.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.incidents.post_mortem import SHORT_LIFE_S
from fpm_listener.vocabulary import State

if TYPE_CHECKING:
    from fpm_listener.supervisor.events import ProcessState

#: Pids of earlier runs that are remembered. A php-fpm that cannot start because of an orphan's
#: address adds one for each start, and the master of the orphan must stay known.
_KEPT_PIDS = 64


class Phase(Enum):
    """The phase of a run."""

    NONE = "none"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"


class Signal(Enum):
    """What an event of supervisord says about a run."""

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
    """What an event makes of a run."""

    BEGAN = "began"
    CONFIRMED = "confirmed"  #: supervisord reports RUNNING
    FAILED_START = "failed start"
    CRASH = "crash"
    EXPECTED_EXIT = "expected exit"
    STOPPED = "stopped"
    GAVE_UP = "gave up"
    NOTHING = "nothing"


def _row(phase: Phase) -> dict[tuple[Phase, Signal], tuple[Phase, Outcome]]:
    """Return the row of a phase without a stop request: three phases share it."""
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
    # Every end of a run after a stop request is a stop by the operator.
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

#: Outcomes after which the process does not exist any more.
ENDINGS = frozenset(
    {Outcome.FAILED_START, Outcome.CRASH, Outcome.EXPECTED_EXIT, Outcome.STOPPED},
)


def signal_of(state: State, *, expected: bool | None) -> Signal:
    """Return the signal of an event; EXITED without `expected` is a crash."""
    if state is State.EXITED:
        return Signal.EXITED_EXPECTEDLY if expected else Signal.EXITED_UNEXPECTEDLY
    return Signal[state.name]


class RunChange(NamedTuple):
    """What one event has changed."""

    outcome: Outcome
    began: bool  #: a run has begun; also if its STARTING is lost
    ended: bool = False  #: a run has ended
    failed: bool = False  #: the run that ended is a failure
    run_s: float | None = None  #: seconds that the ended run lasted; None = its start is unknown
    stop_s: float | None = None  #: seconds from the stop request to the end; None = no request
    down_s: float | None = None  #: seconds from the last exit to this start; None = no exit
    pid: int | None = None  #: of the ended run; None = unknown


@dataclass(slots=True, kw_only=True)
class ProcessRun:
    """The present run of one process, or its last one. All moments are monotonic seconds."""

    phase: Phase = Phase.NONE
    began_at_s: float | None = None  #: None = not seen
    pid: int | None = None  #: as soon as it is known
    former_pids: deque[int] = field(default_factory=lambda: deque(maxlen=_KEPT_PIDS))
    _stopping_at_s: float | None = None  # None = no stop was requested in this run
    _exited_at_s: float | None = None  # None = never, or on request

    def take(self, now_s: float, event: ProcessState, *, is_fpm: bool) -> RunChange:
        """Apply an event and return what it has changed."""
        before, pid = self.phase, event.pid or self.pid
        signal = signal_of(event.state, expected=event.expected)
        self.phase, outcome = TRANSITIONS[before, signal]
        if signal is Signal.STOPPING and before is not Phase.STOPPING:
            self._stopping_at_s = now_s
        if outcome is Outcome.BEGAN:
            return self._begin(now_s, event.pid)
        self.pid = pid
        if outcome not in ENDINGS or (outcome is Outcome.STOPPED and before is Phase.NONE):
            is_late = outcome is Outcome.CONFIRMED and before is Phase.NONE
            return RunChange(outcome, began=is_late)
        self._set_ended(pid)
        self._exited_at_s = None if outcome is Outcome.STOPPED else now_s
        run_s = None if self.began_at_s is None else max(0.0, now_s - self.began_at_s)
        failed = outcome in {Outcome.FAILED_START, Outcome.CRASH}
        if outcome is Outcome.EXPECTED_EXIT and is_fpm:
            failed = run_s is not None and run_s < SHORT_LIFE_S
        stop_s = None if self._stopping_at_s is None else now_s - self._stopping_at_s
        return RunChange(
            outcome,
            began=False,
            ended=True,
            failed=failed,
            run_s=run_s,
            stop_s=stop_s,
            pid=pid,
        )

    def _begin(self, now_s: float, pid: int | None) -> RunChange:
        self.began_at_s, self.pid, self._stopping_at_s = now_s, pid, None
        down_s = None if self._exited_at_s is None else now_s - self._exited_at_s
        self._exited_at_s = None
        return RunChange(Outcome.BEGAN, began=True, down_s=down_s)

    def _set_ended(self, pid: int | None) -> None:
        self.pid = None
        if pid is not None:
            self.former_pids.append(pid)

    def had_pid(self, pid: int) -> bool:
        """Return whether this run, or an earlier one, is this process."""
        return pid == self.pid or pid in self.former_pids

    def correct(self, state: State, pid: int | None) -> tuple[bool, bool]:
        """Apply a state that no event has reported.

        Return whether a run has ended unseen, and whether a new run continues.
        """
        exists = state.name in Phase.__members__
        before, self.phase = self.pid, Phase[state.name] if exists else Phase.NONE
        is_new = exists and before != pid
        has_ended = before is not None and (is_new or not exists)
        if has_ended:
            self._set_ended(before)
        self.pid = pid if exists and state is not State.STARTING else None
        if is_new:
            self.began_at_s = self._exited_at_s = None
        return has_ended, is_new

    def remove(self) -> None:
        """Forget the run: supervisord does not know the process any more."""
        self.phase, self.began_at_s, self.pid = Phase.NONE, None, None
