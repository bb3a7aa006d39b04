"""Reads of supervisord's log wake supervisord: a program that exits at once causes few."""

from __future__ import annotations

from fpm_listener.monitor.messages import ExitsRead, ReadExits
from tests.unit.monitor.engine_scenario import FPM, JOB, Scenario, note


def spin(scenario: Scenario, count: int, every_s: float = 0.1) -> None:
    """Let the job exit at once, again and again; what is asked for is answered."""
    for number in range(count):
        at_s = number * every_s
        scenario.play(f"{at_s} starting job", f"{at_s} running job", f"{at_s + 0.01} crash job")
        if number < 3:
            scenario.give(at_s + 0.02, ExitsRead((note("1/job"),), at_s + 0.02))


def test_a_program_that_exits_at_once_is_read_for_three_times_in_half_a_minute() -> None:
    """Each read wakes supervisord, which could start the program once more then."""
    scenario = Scenario(exits=True)
    spin(scenario, 290)
    assert scenario.reads == 3
    scenario.play("31 tick")

    reads = [one for one in scenario.effects if isinstance(one, ReadExits)]
    assert len(reads) == 4
    assert reads[-1].exits == 287


def test_the_later_read_explains_all_that_wait() -> None:
    """Every exit gets its status."""
    scenario = Scenario(exits=True)
    spin(scenario, 10)
    scenario.play("31 tick")
    scenario.give(31.0, ExitsRead(tuple(note("7/job") for _ in range(7)), 31.0))

    last = scenario.view(JOB).last_exit
    assert last is not None
    assert last.status == 7


def test_what_supervisord_delays_itself_is_read_at_once() -> None:
    """A failed start waits for its next one, so nothing can spin."""
    scenario = Scenario(exits=True)
    for number in range(20):
        scenario.play(f"{number} starting", f"{number}.1 backoff")

    assert scenario.reads == 20


def test_other_programs_do_not_wait_for_one_that_spins() -> None:
    """The limit is of each program."""
    scenario = Scenario(exits=True)
    spin(scenario, 10)
    scenario.play("2 starting", "3 running", "9 crash")

    assert scenario.reads == 4
    assert scenario.view(FPM).unexpected_exits == 1
