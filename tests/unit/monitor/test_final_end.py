"""Which ends of a program end the container: `on_fatal = shutdown` and `on_fatal_programs`."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fpm_listener.incidents.effects import Notify
from fpm_listener.monitor.final_end import Ended, FinalEnd, final_end, is_abandoned
from fpm_listener.monitor.known_programs import ProgramsKnown
from fpm_listener.monitor.lifecycle import Outcome
from fpm_listener.monitor.messages import LeaveProgram, ProcessesSeen, SelfHeal
from fpm_listener.monitor.self_healing import Act
from fpm_listener.settings.policy import HealingPolicy
from fpm_listener.supervisor.process import ProcessName, ProcessSeen, Program
from fpm_listener.vocabulary import State
from tests.unit.monitor.engine_scenario import JOB, POLICY, Scenario

ALL = HealingPolicy(shutdown_on_fatal=True)
JOBS = HealingPolicy(shutdown_on_fatal=True, fatal_programs=("job",))
OTHERS = HealingPolicy(shutdown_on_fatal=True, fatal_programs=("web", "workers:*"))
OFF = HealingPolicy(fatal_programs=("job",))
DONE, FAILED, UNKNOWN = Ended(is_success=True), Ended(is_success=False), Ended()
CRASHED, EXITED = Ended(Outcome.CRASH), Ended(Outcome.EXPECTED_EXIT)


def program(autorestart: str | None = None, *, is_listener: bool = False) -> Program:
    events = ("PROCESS_STATE",) if is_listener else ()
    return Program(name=JOB, autorestart=autorestart, events=events)


@pytest.mark.parametrize(
    ("policy", "autorestart", "state", "ended", "result"),
    [
        # FATAL
        (ALL, "true", State.FATAL, FAILED, FinalEnd.FATAL),
        (ALL, "unexpected", State.FATAL, FAILED, FinalEnd.FATAL),
        (ALL, "false", State.FATAL, FAILED, FinalEnd.FATAL),
        (JOBS, "true", State.FATAL, FAILED, FinalEnd.FATAL),
        (OTHERS, "true", State.FATAL, FAILED, None),
        (OFF, "true", State.FATAL, FAILED, None),
        # a job that was faster than startsecs, and exited with 0 each time
        (ALL, "true", State.FATAL, DONE, FinalEnd.FATAL),
        (ALL, "unexpected", State.FATAL, DONE, None),
        (ALL, "false", State.FATAL, DONE, None),
        (ALL, None, State.FATAL, DONE, None),
        (JOBS, "false", State.FATAL, DONE, FinalEnd.FATAL),
        # its exit status is unknown
        (ALL, "false", State.FATAL, UNKNOWN, None),
        (ALL, "unexpected", State.FATAL, UNKNOWN, None),
        (ALL, None, State.FATAL, UNKNOWN, None),
        (ALL, "true", State.FATAL, UNKNOWN, FinalEnd.FATAL),
        (ALL, "unexpected", State.FATAL, Ended(Outcome.FAILED_START), FinalEnd.FATAL),
        (ALL, "false", State.FATAL, Ended(Outcome.FAILED_START), None),
        (ALL, "unexpected", State.FATAL, Ended(is_explained=True), FinalEnd.FATAL),
        (ALL, "false", State.FATAL, Ended(is_explained=True), FinalEnd.FATAL),
        (ALL, "false", State.FATAL, Ended(is_success=True, is_explained=True), None),
        (JOBS, "false", State.FATAL, UNKNOWN, FinalEnd.FATAL),
        # a crash
        (ALL, "false", State.EXITED, CRASHED, FinalEnd.CRASH),
        (JOBS, "false", State.EXITED, CRASHED, FinalEnd.CRASH),
        (OTHERS, "false", State.EXITED, CRASHED, None),
        (OFF, "false", State.EXITED, CRASHED, None),
        (ALL, "unexpected", State.EXITED, CRASHED, None),
        (ALL, "true", State.EXITED, CRASHED, None),
        (ALL, None, State.EXITED, CRASHED, None),
        (ALL, "false", State.EXITED, Ended(), None),
        # an expected exit
        (ALL, "false", State.EXITED, EXITED, None),
        (JOBS, "false", State.EXITED, EXITED, FinalEnd.EXPECTED_EXIT),
        (JOBS, "unexpected", State.EXITED, EXITED, FinalEnd.EXPECTED_EXIT),
        (OTHERS, "unexpected", State.EXITED, EXITED, None),
        # a stop, or a run
        (JOBS, "false", State.STOPPED, Ended(Outcome.STOPPED), None),
        (JOBS, "false", State.STOPPING, CRASHED, None),
        (JOBS, "false", State.RUNNING, CRASHED, None),
        (JOBS, "false", State.UNKNOWN, CRASHED, None),
    ],
)
def test_the_end_of_a_program(
    policy: HealingPolicy,
    autorestart: str | None,
    state: State,
    ended: Ended,
    result: FinalEnd | None,
) -> None:
    """An end counts that supervisord does not undo; an expected one only if it is named."""
    assert final_end(JOB, policy, program(autorestart), state, ended, is_fpm=False) is result


def test_php_fpm_is_no_job() -> None:
    """Its FATAL counts, whatever its exit status was."""
    for ended in (DONE, UNKNOWN):
        end = final_end(JOB, ALL, program("false"), State.FATAL, ended, is_fpm=True)
        assert end is FinalEnd.FATAL


def test_other_event_listeners() -> None:
    """A container works without them, so they count only if they are named."""
    listener = program("true", is_listener=True)
    assert final_end(JOB, ALL, listener, State.FATAL, FAILED, is_fpm=False) is None
    assert final_end(JOB, JOBS, listener, State.FATAL, FAILED, is_fpm=False) is FinalEnd.FATAL


@pytest.mark.parametrize(
    ("autorestart", "state", "is_fpm", "result"),
    [
        ("false", State.EXITED, False, None),
        ("unexpected", State.FATAL, False, None),
        ("true", State.FATAL, False, FinalEnd.FATAL),
        ("false", State.FATAL, True, FinalEnd.FATAL),
    ],
)
def test_a_program_that_operators_start(
    autorestart: str, state: State, result: FinalEnd | None, *, is_fpm: bool
) -> None:
    """A backup that an operator has started fails: the site works. A script can start services."""
    tool = program(autorestart)._replace(autostart=False)
    ended = Ended(Outcome.CRASH, is_success=False)
    assert final_end(JOB, ALL, tool, state, ended, is_fpm=is_fpm) is result
    end = final_end(JOB, JOBS, tool, state, ended, is_fpm=is_fpm)
    assert end is (FinalEnd.CRASH if state is State.EXITED else FinalEnd.FATAL)


@pytest.mark.parametrize(
    ("globs", "named"),
    [
        (("job",), True),
        (("job:job",), True),
        (("j*",), True),
        (("web", "*"), True),
        (("jobs",), False),
        (("job:",), False),
    ],
)
def test_how_a_program_is_named(globs: tuple[str, ...], *, named: bool) -> None:
    """By `group:name`, or by the name alone if both are the same."""
    policy = ALL._replace(fatal_programs=globs)
    end = final_end(JOB, policy, program("true"), State.FATAL, FAILED, is_fpm=False)
    assert (end is FinalEnd.FATAL) is named


@pytest.mark.parametrize(
    ("policy", "autorestart", "outcome", "result"),
    [
        (OFF, "false", Outcome.CRASH, True),
        (OFF, "unexpected", Outcome.CRASH, False),
        (OFF, None, Outcome.CRASH, False),
        (OFF, "false", Outcome.EXPECTED_EXIT, False),
        (ALL, "false", Outcome.EXPECTED_EXIT, False),
        (JOBS, "unexpected", Outcome.EXPECTED_EXIT, True),
        (JOBS, "true", Outcome.EXPECTED_EXIT, False),
        (JOBS, "false", Outcome.STOPPED, False),
        (JOBS, "false", Outcome.FAILED_START, False),
    ],
)
def test_nobody_starts_it_again(
    policy: HealingPolicy, autorestart: str | None, outcome: Outcome, *, result: bool
) -> None:
    """That is known at once, without the wait for a start."""
    assert is_abandoned(JOB, policy, program(autorestart), outcome) is result


# -- with events -----------------------------------------------------------------------------------


def scenario(policy: HealingPolicy, autorestart: str) -> Scenario:
    """Return a scene with a job."""
    made = Scenario(policy=replace(POLICY, healing=policy))
    made.give(0.0, ProgramsKnown(programs=(program(autorestart),), sites={}))
    return made


def shutdowns(played: Scenario) -> int:
    """Return how often supervisord was to be ended."""
    orders = [one for one in played.effects if isinstance(one, SelfHeal)]
    return sum(one.act is Act.SHUT_DOWN for one in orders)


def test_a_crash_that_is_not_restarted() -> None:
    """The alert comes first, and the shutdown within a second."""
    played = scenario(ALL, "false").play("1 starting job", "2 running job", "9 crash job")
    assert played.alerts
    played.play("10 tick")

    assert shutdowns(played) == 1
    kinds = [type(effect) for effect in played.effects]
    assert kinds.index(Notify) < kinds.index(SelfHeal)
    assert played.view(JOB).final_end is FinalEnd.CRASH


@pytest.mark.parametrize("autorestart", ["unexpected", "true"])
def test_a_crash_that_supervisord_repairs(autorestart: str) -> None:
    """The container goes on, also if supervisord is slow."""
    played = scenario(ALL, autorestart).play("1 starting job", "2 running job", "9 crash job")
    played.play("30 tick", "31 starting job", "32 running job", "99 tick")
    assert shutdowns(played) == 0


def test_a_migration() -> None:
    """It exits with 0: no alert, no shutdown."""
    played = scenario(ALL, "false").play("1 starting job", "2 running job", "9 exit job")
    played.play("99 tick")
    assert shutdowns(played) == 0
    assert played.alerts == []


def test_a_named_program_that_exits_as_expected() -> None:
    """Its operator wants the container to end; the alert comes first."""
    played = scenario(JOBS, "unexpected").play("1 starting job", "2 running job", "9 exit job")
    assert len(played.alerts) == 1
    played.play("10 tick")
    assert shutdowns(played) == 1


@pytest.mark.parametrize(
    "lines",
    [
        ("9 stopping job", "10 stopped job"),
        ("9 stopping job", "10 crash job"),
        ("9 stopping job", "10 exit job"),
    ],
)
def test_a_stop_by_the_operator(lines: tuple[str, ...]) -> None:
    """It never ends the container, however the program exits."""
    played = scenario(JOBS, "false").play("1 starting job", "2 running job", *lines, "99 tick")
    assert shutdowns(played) == 0


def test_supervisord_ends_or_reloads() -> None:
    """What happens meanwhile is no reason."""
    played = scenario(JOBS, "false").play("1 starting job", "2 running job")
    played.event_named(3.0, "SUPERVISOR_STATE_CHANGE_STOPPING")
    played.play("4 crash job", "99 tick")
    assert shutdowns(played) == 0


def test_the_operator_starts_it_before_the_shutdown() -> None:
    """The order lapses; the next crash gives a new one."""
    played = scenario(ALL, "false").play("1 starting job", "2 running job", "9 crash job")
    played.play("10 tick", "11 starting job")
    assert shutdowns(played) == 1
    assert played.view(JOB).final_end is None
    played.play("12 running job", "20 crash job", "21 tick")
    assert shutdowns(played) == 2


def test_the_operator_wants_no_self_healing() -> None:
    """`fpm-listener leave` cancels the shutdown."""
    played = scenario(ALL, "false").play("1 starting job", "2 running job", "9 crash job")
    assert played.alerts
    played.play("10 tick")
    played.give(10.1, LeaveProgram(JOB))
    assert played.view(JOB).final_end is None
    played.play("99 tick")
    assert shutdowns(played) == 1


def test_a_job_that_is_faster_than_startsecs() -> None:
    """supervisord calls it FATAL, and it has exited with 0 each time."""
    runs = [f"{second} {word} job" for second in (1, 2, 3) for word in ("starting", "backoff")]
    played = scenario(ALL, "false")
    played.engine.set_log_readable(readable=True)
    for line in runs:
        played.play(line)
        if "backoff" in line:
            played.play(f"{line.split()[0]}.05 exits 0/job")
    played.play("4 fatal job", "99 tick")
    assert shutdowns(played) == 0


@pytest.mark.parametrize(("autorestart", "count"), [("unexpected", 0), ("false", 0), ("true", 1)])
def test_a_fatal_program_when_the_listener_starts(autorestart: str, count: int) -> None:
    """It can be a job that is done since days, and the container works."""
    played = scenario(ALL, autorestart)
    seen = ProcessSeen(JOB, State.FATAL, pid=None, started_at_s=None)
    played.give(1.0, ProcessesSeen((seen,), asked_at_s=0.5))
    played.play("99 tick")
    assert shutdowns(played) == count


def test_names() -> None:
    """A process of a group is named with its group."""
    worker = ProcessName("workers", "worker_00")
    end = final_end(worker, OTHERS, None, State.FATAL, FAILED, is_fpm=False)
    assert end is FinalEnd.FATAL
