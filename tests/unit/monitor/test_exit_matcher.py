"""Where an exit status comes from: the kernel, or supervisord's log, which is read seldom."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING

import pytest

from fpm_listener.incidents.effects import ExamineExit
from fpm_listener.monitor.known_programs import ProgramsKnown
from fpm_listener.monitor.messages import (
    ExitsRead,
    ProcessExited,
    ReadExits,
    WatchPid,
)
from fpm_listener.monitor.pid_search import FindPid, StartsSeen
from fpm_listener.supervisor.exit_log import ExitReason
from fpm_listener.supervisor.process import Child, ProcessName, Program
from tests.unit.monitor.engine_scenario import FPM, JOB, Scenario, moment, note

if TYPE_CHECKING:
    from fpm_listener.monitor.messages import Effect


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


def test_the_machine_is_examined_when_the_later_read_has_brought_the_status() -> None:
    """Without the status, everything that the machine shows would fit."""
    scenario = Scenario(exits=True)
    spin(scenario, 10)
    before = [one for one in scenario.effects if isinstance(one, ExamineExit)]
    scenario.play("31 tick")
    scenario.give(31.0, ExitsRead(tuple(note("7/job") for _ in range(7)), 31.0))

    asked = [one for one in scenario.effects if isinstance(one, ExamineExit)]
    assert all(one.has_status for one in asked)
    assert len(asked) == len(before) + 1


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


# -- the kernel ----------------------------------------------------------------------------------

KILLED = ExitReason(signal=9)


def kernel(scenario: Scenario, at_s: float, status: int, pid: int = 100) -> list[Effect]:
    """Let the kernel report an exit of php-fpm."""
    return scenario.give(at_s, ProcessExited(FPM, pid, ExitReason(status=status)))


def last_status(scenario: Scenario) -> int | None:
    """Return the last exit status of php-fpm."""
    known = scenario.view().last_exit
    return known.status if known else None


def test_the_kernel_needs_no_server() -> None:
    """The exit status is known without XML-RPC, also that of a failed start."""
    scenario = Scenario().play("0 starting", "2 running")
    kernel(scenario, 8.9, 78)
    scenario.play("9 crash")
    assert last_status(scenario) == 78

    scenario.play("10 starting")
    scenario.give(10.01, StartsSeen((Child(77, FPM, "php-fpm -F", None),)))
    kernel(scenario, 10.4, 70, pid=77)
    scenario.play("10.5 backoff")
    assert last_status(scenario) == 70
    assert scenario.reads == 0


def test_the_exit_of_another_run_is_none_of_this_one() -> None:
    """A status is about one pid."""
    scenario = Scenario().play("0 starting", "2 running")
    kernel(scenario, 2.5, 78, pid=99)
    scenario.play("9 crash")

    assert last_status(scenario) is None


@pytest.mark.parametrize("order", list(permutations(("kernel", "event", "line"))))
def test_the_kernel_wins(order: tuple[str, ...]) -> None:
    """Whatever comes first, its status is the one; it contradicts a line of another process."""
    if order.index("kernel") > order.index("line") > order.index("event"):
        return  # the line has explained the exit already; the daemon asks the kernel first
    scenario = Scenario(exits=True).play("0 starting", "2 running")
    for number, what in enumerate(order):
        at_s = 9.0 + number / 10
        if what == "kernel":
            kernel(scenario, at_s, 78)
        elif what == "event":
            scenario.play(f"{at_s} crash")
        else:
            scenario.give(at_s, ExitsRead((note("0"),), 0.0))
    scenario.play("9.9 exits")

    if order != ("line", "event", "kernel"):
        assert last_status(scenario) == 78


def test_no_read_for_what_the_kernel_explains() -> None:
    """A read would wake supervisord."""
    scenario = Scenario(exits=True).play("0 starting", "2 running")
    kernel(scenario, 8.9, 78)
    scenario.play("9 crash")

    assert scenario.reads == 0


def test_lines_of_explained_exits_explain_no_other_exit() -> None:
    """The lines of exits that the kernel has explained come with the read for a later exit."""
    scenario = Scenario(exits=True)
    for start in (0.0, 10.0):
        scenario.play(f"{start} starting", f"{start + 2} running")
        kernel(scenario, start + 3, 78)
        scenario.play(f"{start + 4} crash")
    scenario.play("20 starting", "22 running", "24 crash", "24.1 exits 78 78 70")

    assert last_status(scenario) == 70


def test_two_groups_with_a_process_of_one_name() -> None:
    """A line has no group, but the status shows whose it is."""
    other = ProcessName("web", "php-fpm")
    scenario = Scenario(exits=True).play("0 starting", "2 running", "2 starting job")
    for word in ("starting", "running"):
        scenario.event(2.0, word, other, pid=200)
    scenario.give(8.9, ProcessExited(other, 200, KILLED))
    scenario.event(9.0, "crash", other, pid=200)
    scenario.play("9.01 crash", "9.1 exits -9 78")

    assert last_status(scenario) == 78
    assert scenario.view(other).last_exit == KILLED


# -- pids ------------------------------------------------------------------------------------------


def looks(effects: list[Effect]) -> int:
    """Return the number of looks for a pid."""
    return sum(isinstance(one, FindPid) for one in effects)


def test_a_start_without_a_pid() -> None:
    """No event contains the pid before RUNNING: a few looks find it, or nothing more happens."""
    scenario = Scenario()
    assert looks(scenario.event(1.0, "starting")) == 1
    scenario.play("1.9 tick")
    assert looks(scenario.effects) == 9
    scenario.play("100 tick")
    assert looks(scenario.effects) == 9


@pytest.mark.parametrize("word", ["running", "backoff", "stopping"])
def test_the_search_ends(word: str) -> None:
    """With the next event there is nothing to look for."""
    scenario = Scenario().play("1 starting", f"1.0005 {word}", "9 tick")

    assert looks(scenario.effects) == 1


def test_a_pid_that_is_found_is_watched() -> None:
    """That ends the search."""
    scenario = Scenario().play("1 starting")
    found = scenario.give(1.0005, StartsSeen((Child(77, FPM, "php-fpm", None),)))
    scenario.play("9 tick")

    assert found == [WatchPid(FPM, 77)]
    assert looks(scenario.effects) == 1


@pytest.mark.parametrize(("age_s", "pid"), [(0.5, 77), (20.0, None)])
def test_a_start_whose_event_is_late(age_s: float, pid: int | None) -> None:
    """A child that has run for long is that of a later run: the pid of this one is unknown."""
    scenario = Scenario().play("100 starting")
    started_at_s = moment(100.0).wall_s - age_s
    scenario.give(100.0, StartsSeen((Child(77, FPM, "php-fpm", started_at_s),)))

    assert scenario.view().pid == pid


def test_a_pid_that_an_ended_run_never_had() -> None:
    """The run that goes on has it, so its status does not explain the ended run."""
    scenario = Scenario(exits=True).play("1 starting")
    living = StartsSeen((Child(77, FPM, "php-fpm", None),))
    scenario.give(1.0, living)
    scenario.play("1.1 backoff", "1.2 starting")
    scenario.give(1.2, living)
    scenario.give(1.3, ProcessExited(FPM, 77, KILLED))
    assert scenario.view().last_exit is None
    scenario.play("1.4 backoff")
    assert scenario.view().last_exit == KILLED


@pytest.mark.parametrize(
    ("title", "pid"),
    [
        ("job", 77),
        ("/usr/bin/python3 /usr/bin/job", 77),
        ("job --other", None),
        ("other-job", None),
        ("", None),
    ],
)
def test_the_environment_of_another_user(title: str, pid: int | None) -> None:
    """It is not readable. The command decides, if it is the command of one program only."""
    scenario = Scenario().play("1 starting job")
    scenario.give(1.01, StartsSeen((Child(77, None, title, None),)))

    assert scenario.view(JOB).pid == pid


def test_two_programs_with_one_command() -> None:
    """Nothing shows whose process it is."""
    scenario = Scenario()
    twins = tuple(ProcessName("twins", f"twins_{number}") for number in range(2))
    programs = tuple(Program(name=name, command="worker") for name in twins)
    scenario.give(0.0, ProgramsKnown(programs=programs, sites={}))
    scenario.event(1.0, "starting", twins[0])
    scenario.give(1.01, StartsSeen((Child(77, None, "worker", None),)))

    assert scenario.view(twins[0]).pid is None
