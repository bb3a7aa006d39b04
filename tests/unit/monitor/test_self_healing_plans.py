"""What `SelfHealing` plans, remembers and forgets: one process, without the engine."""

from __future__ import annotations

import json

import pytest

from fpm_listener.monitor.final_end import FinalEnd
from fpm_listener.monitor.self_healing import Act, SelfHealing
from fpm_listener.settings.policy import MOST_A_DAY, HealingPolicy, Span
from fpm_listener.vocabulary import State
from tests.unit.monitor.engine_scenario import EPOCH, moment

SPAN = Span(100.0, 800.0)
FATAL = HealingPolicy(restart_fatal=SPAN)
PAUSE = HealingPolicy(loop_delay=SPAN)


def step(
    healing: SelfHealing,
    at_s: float,
    policy: HealingPolicy,
    state: State,
    *,
    over: bool = False,
    final_end: FinalEnd | None = None,
) -> Act | None:
    return healing.step(moment(at_s), policy, state, over=over, final_end=final_end)


def halted() -> SelfHealing:
    """Return one whose program was stopped by the listener at second 1."""
    healing = SelfHealing("seed")
    healing.fail()
    assert step(healing, 1.0, PAUSE, State.BACKOFF) is Act.HALT
    assert healing.stop()
    return healing


def delay_s(healing: SelfHealing, at_s: float = 0.0) -> float:
    """Return the delay that is planned at a moment."""
    due_s = healing.due_s
    assert due_s is not None
    return due_s - at_s


def test_the_delay_of_the_first_start() -> None:
    """It is within the last quarter, is shown in wall time, and is not planned twice."""
    healing = SelfHealing("seed")
    assert healing.due_s is None
    assert healing.next_start_s is None
    assert step(healing, 0.0, FATAL, State.FATAL) is None
    planned = delay_s(healing)

    assert 75.0 <= planned <= 100.0
    assert healing.next_start_s == EPOCH + planned
    assert step(healing, 50.0, FATAL, State.FATAL) is None
    assert delay_s(healing) == planned
    assert step(healing, planned - 0.001, FATAL, State.FATAL) is None
    assert step(healing, planned, FATAL, State.FATAL) is Act.START
    assert healing.starts == 1
    assert healing.due_s is None


def test_the_same_program_has_the_same_delay() -> None:
    """Delays depend on the name and on the number of failures only."""
    delays = []
    for _ in range(2):
        healing = SelfHealing("host/php-fpm:php-fpm")
        step(healing, 0.0, FATAL, State.FATAL)
        delays.append(delay_s(healing))
        healing._in_a_row = 3
        healing.due_s = None
        step(healing, 0.0, FATAL, State.FATAL)
        delays.append(delay_s(healing))

    assert delays[:2] == delays[2:]
    assert len(set(delays)) == 2


def test_delays_of_a_fleet_fill_the_quarter() -> None:
    """They are spread evenly, from three quarters of the delay up to the delay."""
    delays = []
    for host in range(400):
        healing = SelfHealing(f"host{host}/php-fpm:php-fpm")
        step(healing, 0.0, FATAL, State.FATAL)
        delays.append(delay_s(healing))

    assert 75.0 <= min(delays) < 77.0
    assert 98.0 < max(delays) < 100.0
    assert len(set(delays)) > 350


@pytest.mark.parametrize(("failed", "longest"), [(0, 100), (1, 200), (2, 400), (3, 800), (40, 800)])
def test_the_delay_doubles(failed: int, longest: float) -> None:
    """Up to the longest, however many starts have failed."""
    healing = SelfHealing("seed")
    healing.restore(
        moment(0),
        {"stopped_by_us": False, "due": None, "failed": failed, "begun": []},
    )
    step(healing, 0.0, FATAL, State.FATAL)

    assert 0.75 * longest <= delay_s(healing) <= longest


def test_an_incident_that_is_over() -> None:
    """The next delay is the first one again, and no old failure halts the program."""
    healing = SelfHealing("seed")
    step(healing, 0.0, FATAL, State.FATAL)
    assert step(healing, 100.0, FATAL, State.FATAL) is Act.START
    healing.fail()
    step(healing, 200.0, FATAL, State.RUNNING, over=True)

    assert step(healing, 201.0, PAUSE, State.RUNNING) is None
    step(healing, 300.0, FATAL, State.FATAL)
    assert delay_s(healing, 300.0) <= 100.0


@pytest.mark.parametrize("state", list(State))
def test_the_states_in_which_a_loop_is_halted(state: State) -> None:
    """supervisord stops what starts, runs or waits to be started again, and nothing else."""
    healing = SelfHealing("seed")
    healing.fail()
    stoppable = {State.STARTING, State.RUNNING, State.BACKOFF}

    assert (step(healing, 0.0, PAUSE, state) is Act.HALT) == (state in stoppable)


def test_a_halt_is_ordered_once() -> None:
    """Further failures before it is carried out order no second one."""
    healing = SelfHealing("seed")
    healing.fail()
    assert step(healing, 1.0, PAUSE, State.BACKOFF) is Act.HALT
    healing.fail()

    assert step(healing, 2.0, PAUSE, State.BACKOFF) is None
    assert not healing.paused


@pytest.mark.parametrize(("began_at_s", "is_ours"), [(15.9, True), (16.0, False)])
def test_a_stop_some_time_after_the_stop_request(began_at_s: float, *, is_ours: bool) -> None:
    """It is the listener's while supervisord can still perform it: for 15 s."""
    healing = SelfHealing("seed")
    healing.fail()
    step(healing, 1.0, PAUSE, State.BACKOFF)
    healing.start(began_at_s)

    assert healing.stop() is is_ours


def test_what_a_start_forgets() -> None:
    """It says whether there was anything: then it must be remembered."""
    assert not SelfHealing("seed").start(5.0)
    paused = halted()
    step(paused, 2.0, PAUSE, State.STOPPED)
    assert paused.start(5.0)
    assert (paused.paused, paused.due_s) == (False, None)
    assert not paused.start(5.0)

    alone = SelfHealing("seed")
    assert not alone.exclude()
    assert alone.start(5.0)
    halting = SelfHealing("seed")
    halting.fail()
    step(halting, 1.0, PAUSE, State.BACKOFF)
    assert not halting.start(2.0)
    assert halting.start(17.0)


def test_a_pause() -> None:
    """A paused program is started when its delay is over."""
    healing = halted()
    assert healing.paused
    assert step(healing, 2.0, PAUSE, State.STOPPED) is None
    due_s = delay_s(healing)

    assert 77.0 <= due_s <= 102.0
    assert step(healing, due_s, PAUSE, State.STOPPED) is Act.START


def test_a_stop_of_the_operator() -> None:
    """It is no pause, and ends all plans."""
    healing = SelfHealing("seed")
    healing.fail()
    step(healing, 0.0, FATAL, State.FATAL)
    assert not healing.stop()

    assert healing.due_s is None
    assert not healing.paused
    assert step(healing, 1.0, PAUSE, State.BACKOFF) is None
    assert step(healing, 1.0, PAUSE, State.STOPPED) is None


def test_supervisord_refuses_the_stop() -> None:
    """Only a pause needs a correction."""
    assert halted().refuse_halt()
    healing = SelfHealing("seed")
    healing.fail()
    step(healing, 1.0, PAUSE, State.BACKOFF)

    assert not healing.refuse_halt()
    assert not healing.stop()


def test_left_alone() -> None:
    """Nothing is started any more until it is started by hand."""
    healing = halted()
    assert healing.exclude()
    assert step(healing, 2000.0, PAUSE, State.STOPPED) is None
    assert step(healing, 4000.0, FATAL, State.FATAL) is None
    assert step(healing, 8000.0, FATAL, State.FATAL) is None

    healing.start(8001.0)
    step(healing, 9000.0, FATAL, State.FATAL)
    assert step(healing, 9900.0, FATAL, State.FATAL) is Act.START


@pytest.mark.parametrize("state", list(State))
def test_started_while_the_listener_was_away(state: State) -> None:
    """A pause ends where the state shows a start; a state that is not known shows nothing."""
    healing = halted()
    step(healing, 2.0, PAUSE, state)

    assert healing.paused == (state in {State.STOPPED, State.STOPPING, State.UNKNOWN})


def test_a_pause_whose_state_is_not_known_yet() -> None:
    """Its plan stays; without a pause it goes."""
    healing = halted()
    step(healing, 2.0, PAUSE, State.STOPPED)
    due_s = healing.due_s
    step(healing, 3.0, PAUSE, State.UNKNOWN)
    assert healing.due_s == due_s

    other = SelfHealing("seed")
    step(other, 2.0, FATAL, State.FATAL)
    step(other, 3.0, FATAL, State.UNKNOWN)
    assert other.due_s is None


def test_a_shutdown() -> None:
    """It is ordered once; a start makes the next one possible."""
    healing, nothing, end = SelfHealing("seed"), HealingPolicy(), FinalEnd.FATAL
    assert step(healing, 1.0, nothing, State.FATAL) is None
    assert step(healing, 2.0, nothing, State.FATAL, final_end=end) is Act.SHUT_DOWN
    assert healing.final_end is end
    assert step(healing, 3.0, nothing, State.FATAL, final_end=end) is None
    healing.start(4.0)
    assert step(healing, 5.0, nothing, State.FATAL, final_end=end) is Act.SHUT_DOWN


@pytest.mark.parametrize("what", ["start", "stop", "suspend", "exclude", "other settings"])
def test_a_shutdown_whose_reason_is_over(what: str) -> None:
    """It is not performed: the program was started, supervisord ends, or the operator decides."""
    healing, nothing, end = SelfHealing("seed"), HealingPolicy(), FinalEnd.FATAL
    step(healing, 1.0, nothing, State.FATAL, final_end=end)
    if what == "start":
        healing.start(2.0)
    elif what == "stop":
        healing.stop()
    elif what == "suspend":
        healing.suspend()
    elif what == "exclude":
        healing.exclude()
        assert step(healing, 2.0, nothing, State.FATAL, final_end=end) is None
    else:
        assert step(healing, 2.0, nothing, State.FATAL) is None

    assert healing.final_end is None


def test_supervisord_ends() -> None:
    """Nothing is planned, and the pause stays saved."""
    healing = halted()
    step(healing, 2.0, PAUSE, State.STOPPED)
    healing.suspend()

    assert healing.due_s is None
    assert healing.memory(moment(3.0))["stopped_by_us"]


def test_the_delay_was_longer_in_the_old_settings() -> None:
    """It is planned again, with the new one."""
    healing = SelfHealing("seed")
    step(healing, 0.0, HealingPolicy(restart_fatal=Span(5000.0, 5000.0)), State.FATAL)
    step(healing, 1.0, FATAL, State.FATAL)

    assert delay_s(healing, 1.0) <= 100.0


def test_the_starts_of_a_day_are_used_up() -> None:
    """The next start is a day after the first one; then one start is free."""
    healing, now_s = SelfHealing("seed"), 0.0
    begun: list[float] = []
    quick = HealingPolicy(restart_fatal=Span(10.0, 10.0))
    while len(begun) < MOST_A_DAY:
        if step(healing, now_s, quick, State.FATAL) is Act.START:
            begun.append(now_s)
        now_s += 1.0
    assert not healing.exhausted
    while not healing.exhausted:
        assert step(healing, now_s, quick, State.FATAL) is None
        now_s += 1.0

    assert healing.due_s == begun[0] + 86400.0
    assert step(healing, now_s, quick, State.FATAL) is None
    assert step(healing, begun[0] + 86399.0, quick, State.FATAL) is None
    assert step(healing, begun[0] + 86400.0, quick, State.FATAL) is Act.START
    assert not healing.exhausted


def test_saved_plans() -> None:
    """Moments are kept in wall time: the monotonic clock of the next listener is another one."""
    healing = halted()
    step(healing, 2.0, PAUSE, State.STOPPED)
    due_s = delay_s(healing)
    saved = json.loads(json.dumps(healing.memory(moment(2.0))))
    assert saved == {
        "stopped_by_us": True,
        "due": pytest.approx(EPOCH + due_s),
        "left_alone": False,
        "failed": 0,
        "begun": [],
    }

    later = moment(2.0)._replace(monotonic_s=7000.0)
    other = SelfHealing("seed")
    other.restore(later, saved)
    assert other.paused
    assert other.due_s == pytest.approx(due_s - 2.0 + 7000.0)
    due = later._replace(monotonic_s=7000.0 + due_s, wall_s=EPOCH + due_s + 2.0)
    assert other.step(due, PAUSE, State.STOPPED, over=False, final_end=None) is Act.START
    again = other.memory(due)
    assert again["failed"] == 1
    assert again["begun"] == [pytest.approx(due.wall_s)]
    assert again["due"] is None


def test_a_pending_order_is_saved() -> None:
    """The next stop is the listener's."""
    healing = SelfHealing("seed")
    healing.fail()
    step(healing, 1.0, PAUSE, State.BACKOFF)

    assert healing.memory(moment(1.0))["stopped_by_us"]
    healing.exclude()
    assert healing.memory(moment(1.0))["left_alone"]


def test_starts_that_lie_in_the_future() -> None:
    """A clock that was wrong does not delay starts: they count as of now."""
    saved = {"stopped_by_us": False, "due": None, "failed": 0, "begun": [EPOCH + 9e9, EPOCH - 50.0]}
    healing = SelfHealing("seed")
    healing.restore(moment(100.0), saved)

    assert healing.memory(moment(100.0))["begun"] == [EPOCH + 100.0, EPOCH - 50.0]
