"""Lives and how they end."""

from itertools import product

import pytest

from fpm_listener.incidents.post_mortem import SHORT_LIFE_S
from fpm_listener.monitor.lifecycle import (
    TRANSITIONS,
    Outcome,
    Phase,
    ProcessRun,
    Signal,
    signal_of,
)
from fpm_listener.vocabulary import State


def test_the_table_is_total() -> None:
    """Every signal makes sense in every phase: events can be missing."""
    assert set(TRANSITIONS) == set(product(Phase, Signal))


def test_every_state_is_a_signal() -> None:
    """Each state that supervisor can report is understood."""
    for state in State:
        assert signal_of(state, expected=True) in Signal
    assert signal_of(State.EXITED, expected=None) is Signal.EXITED_UNEXPECTEDLY


@pytest.mark.parametrize("signal", list(Signal))
def test_an_operators_stop_is_never_a_failure(signal: Signal) -> None:
    """Whatever ends a life that was told to stop is no failed life."""
    life = ProcessRun()
    life.step(0.0, Signal.STARTING, None)
    life.step(1.0, Signal.STOPPING, 10)
    outcome = life.step(1.1, signal, 10)

    assert not life.failed(outcome, is_fpm=True)


@pytest.mark.parametrize(
    ("signal", "length_s", "is_fpm", "failed"),
    [
        (Signal.BACKOFF, 0.5, True, True),
        (Signal.EXITED_UNEXPECTEDLY, 86400.0, True, True),
        (Signal.EXITED_EXPECTEDLY, 2.0, True, True),  # the recipe's exitcodes=0,2,70
        (Signal.EXITED_EXPECTEDLY, SHORT_LIFE_S + 1, True, False),
        (Signal.EXITED_EXPECTEDLY, 2.0, False, False),  # a job that has done its work
        (Signal.EXITED_UNEXPECTEDLY, 2.0, False, True),
    ],
)
def test_which_lives_have_failed(
    signal: Signal,
    length_s: float,
    is_fpm: bool,  # noqa: FBT001 - a column of the table
    failed: bool,  # noqa: FBT001 - likewise
) -> None:
    """Failed starts and crashes count; of php-fpm also an early exit that is called expected."""
    life = ProcessRun()
    life.step(0.0, Signal.STARTING, None)
    outcome = life.step(length_s, signal, 10)

    assert life.failed(outcome, is_fpm=is_fpm) is failed


def test_a_crash_whose_start_was_not_seen() -> None:
    """A missing STARTING does not hide the crash."""
    life = ProcessRun()
    outcome = life.step(5.0, Signal.EXITED_UNEXPECTEDLY, 10)

    assert outcome is Outcome.CRASH
    assert life.failed(outcome, is_fpm=False)
    assert life.length_s is None
