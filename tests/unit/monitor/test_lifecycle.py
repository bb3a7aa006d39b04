"""Runs and how they end."""

from itertools import product

import pytest

from fpm_listener.incidents.post_mortem import SHORT_LIFE_S
from fpm_listener.monitor.lifecycle import (
    TRANSITIONS,
    Outcome,
    Phase,
    ProcessRun,
    RunChange,
    Signal,
    signal_of,
)
from fpm_listener.supervisor.events import ProcessState
from fpm_listener.supervisor.process import ProcessName
from fpm_listener.vocabulary import State


def test_the_table_is_total() -> None:
    """Every signal makes sense in every phase: events can be missing."""
    assert set(TRANSITIONS) == set(product(Phase, Signal))


def test_every_state_is_a_signal() -> None:
    """Each state that supervisor can report is understood."""
    for state in State:
        assert signal_of(state, expected=True) in Signal
    assert signal_of(State.EXITED, expected=None) is Signal.EXITED_UNEXPECTEDLY


def take(
    run: ProcessRun, at_s: float, state: State, *, expected: bool | None = None, is_fpm: bool = True
) -> RunChange:
    """Apply an event of supervisord."""
    pid = None if state in {State.STARTING, State.BACKOFF} else 10
    event = ProcessState(ProcessName("a", "b"), state, None, pid, expected)
    return run.take(at_s, event, is_fpm=is_fpm)


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("expected", [True, False])
def test_an_operators_stop_is_never_a_failure(
    state: State,
    expected: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """Every end of a run after a stop request is no failure."""
    run = ProcessRun()
    take(run, 0.0, State.STARTING)
    take(run, 1.0, State.STOPPING)

    assert not take(run, 1.1, state, expected=expected).failed


@pytest.mark.parametrize(
    ("state", "expected", "run_s", "is_fpm", "failed"),
    [
        (State.BACKOFF, None, 0.5, True, True),
        (State.EXITED, False, 86400.0, True, True),
        (State.EXITED, True, 2.0, True, True),  # the recipe's exitcodes=0,2,70
        (State.EXITED, True, SHORT_LIFE_S + 1, True, False),
        (State.EXITED, True, 2.0, False, False),  # a job that is done
        (State.EXITED, False, 2.0, False, True),
    ],
)
def test_which_runs_are_failures(
    state: State,
    expected: bool | None,  # noqa: FBT001 - a column of the table
    run_s: float,
    is_fpm: bool,  # noqa: FBT001 - likewise
    failed: bool,  # noqa: FBT001 - likewise
) -> None:
    """Failed starts and crashes count; of php-fpm also an early exit that is called expected."""
    run = ProcessRun()
    take(run, 0.0, State.STARTING)
    change = take(run, run_s, state, expected=expected, is_fpm=is_fpm)

    assert change.ended
    assert change.failed is failed
    assert change.run_s == run_s


def test_a_crash_whose_start_was_not_seen() -> None:
    """A missing STARTING does not hide the crash."""
    change = take(ProcessRun(), 5.0, State.EXITED, expected=False, is_fpm=False)

    assert change.outcome is Outcome.CRASH
    assert change.failed
    assert change.run_s is None


def test_a_stop_without_a_run() -> None:
    """No run has ended: the program waited to be started again."""
    change = take(ProcessRun(), 5.0, State.STOPPED)

    assert change == RunChange(Outcome.STOPPED, began=False)


def test_the_time_without_a_process() -> None:
    """A start after an exit has it; a start after a stop, and the first one, have none."""
    run = ProcessRun()
    assert take(run, 0.0, State.STARTING).down_s is None
    take(run, 1.0, State.EXITED, expected=False)
    assert take(run, 1.5, State.STARTING).down_s == 0.5
    take(run, 2.0, State.STOPPING)
    take(run, 3.0, State.STOPPED)

    assert take(run, 4.0, State.STARTING).down_s is None
    take(run, 5.0, State.EXITED, expected=False)
    run.correct(State.RUNNING, 11)  # the start was not seen
    assert take(run, 900.0, State.STARTING).down_s is None
    assert list(run.former_pids) == [10, 10, 10]
