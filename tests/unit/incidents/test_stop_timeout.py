"""supervisord kills a program that does not stop in time: one warning, until it runs again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fpm_listener.monitor.known_programs import ProgramsKnown
from fpm_listener.monitor.messages import ExitsRead, ProcessExited, SaveState
from fpm_listener.phpfpm.config import FpmSite
from fpm_listener.supervisor.exit_log import ExitNote, ExitReason, KillNote, parse_kill
from fpm_listener.supervisor.process import Program
from tests.unit.monitor.engine_scenario import FPM, JOB, Scenario, moment

LINE = "2026-11-23 08:39:55,123 WARN killing 'php-fpm' (100) with SIGKILL"
NOTE = KillNote(process="php-fpm", pid=100, line=LINE)


def known(stopwaitsecs: float | None = 10.0) -> Scenario:
    """Return a scene with a php-fpm that has run since 1."""
    scenario = Scenario()
    programs = (Program(name=FPM, stopwaitsecs=stopwaitsecs), Program(name=JOB))
    site = FpmSite(config="/etc/php-fpm.conf")
    scenario.give(0.0, ProgramsKnown(programs=programs, sites={FPM: site}))
    return scenario.play("0 starting", "1 running")


def test_the_line_of_the_log() -> None:
    """supervisord writes it only at the end of stopwaitsecs."""
    assert parse_kill(LINE) == NOTE
    assert parse_kill(LINE.replace("SIGKILL", "SIGTERM")) is None
    assert parse_kill("killing 'php-fpm' (100) with SIGKILL") is None


def test_a_kill_at_the_end_of_a_stop() -> None:
    """One warning, no failure; resolved when the program runs, and not before."""
    scenario = known().play("100 stopping")
    scenario.give(110.0, ExitsRead((), 110.0, (NOTE,)))
    scenario.play("110.5 stopped")

    assert scenario.sent == ["first: stop_timeout"]
    alert = scenario.alerts[0]
    assert alert.labels["severity"] == "warning"
    assert "(stopwaitsecs=10); running requests were cut" in alert.annotations["summary"]
    assert "keeps failing" not in alert.annotations["summary"]
    assert "process_control_timeout" in alert.annotations["remedy"]
    assert alert.annotations["evidence"] == LINE
    view = scenario.view()
    assert (view.failed_starts, view.unexpected_exits, view.loops) == (0, 0, frozenset())

    scenario.play("100000 tick")
    assert len(scenario.sent) == 1
    scenario.play("100001 starting", "100002 running", "100004 tick")
    assert scenario.sent == ["first: stop_timeout", "resolved: stop_timeout"]


def test_the_line_comes_when_it_runs_again() -> None:
    """A restart is faster than the log: both alerts are sent."""
    scenario = known().play("100 stopping", "110 stopped", "110.1 starting", "111.1 running")
    scenario.give(111.5, ExitsRead((), 111.0, (NOTE,)))
    scenario.play("115 tick")

    assert scenario.sent == ["first: stop_timeout", "resolved: stop_timeout"]


@pytest.mark.parametrize("is_kernel_first", [True, False])
def test_the_kernel_and_the_log_report_one_kill(*, is_kernel_first: bool) -> None:
    """The second report comes when the program runs again. It opens no second incident."""
    scenario = known()
    scenario.engine.set_log_readable(readable=True)
    scenario.play("100 stopping")
    reports = [ProcessExited(FPM, 100, ExitReason(signal=9)), ExitsRead((), 110.0, (NOTE,))]
    if not is_kernel_first:
        reports.reverse()
    scenario.give(110.1, reports[0])
    scenario.play("110.2 stopped", "113 starting")
    scenario.event(114, "running", pid=101)
    scenario.play("120 tick")
    assert scenario.sent == ["first: stop_timeout", "resolved: stop_timeout"]
    scenario.give(130.0, reports[1])
    scenario.play("140 tick")

    assert scenario.sent == ["first: stop_timeout", "resolved: stop_timeout"]


def test_a_second_kill() -> None:
    """The kill of another run is another incident."""
    scenario = known().play("100 stopping")
    scenario.give(110.0, ExitsRead((), 110.0, (NOTE,)))
    scenario.play("110.5 stopped", "111 starting")
    scenario.event(112, "running", pid=101)
    scenario.event(200, "stopping", pid=101)
    scenario.give(210.0, ExitsRead((), 210.0, (replace(NOTE, pid=101),)))
    scenario.event(210.5, "stopped", pid=101)

    assert scenario.sent == ["first: stop_timeout", "resolved: stop_timeout", "first: stop_timeout"]


@pytest.mark.parametrize("note", [replace(NOTE, pid=7), replace(NOTE, process="other")])
def test_a_kill_of_another_process(note: KillNote) -> None:
    """Name and pid must be those of a run."""
    scenario = known().play("100 stopping", "110 stopped")
    scenario.give(110.0, ExitsRead((), 110.0, (note,)))

    assert scenario.sent == []


def ended(scenario: Scenario, at_s: float, reason: ExitReason) -> Scenario:
    """Let the exit status of a stop be known, without the line about the kill."""
    scenario.engine.set_log_readable(readable=True)
    scenario.play("100 stopping", f"{at_s} stopped")
    line = "stopped: php-fpm (terminated by SIGKILL)"
    note = ExitNote(process="php-fpm", reason=reason, line=line)
    scenario.give(at_s + 0.1, ExitsRead((note,), at_s))
    return scenario


def test_the_time_and_the_signal_prove_it() -> None:
    """SIGKILL after stopwaitsecs; neither alone is enough, and both must be known."""
    kill, end = ExitReason(signal=9), ExitReason(status=0)

    assert ended(known(), 110.2, kill).sent == ["first: stop_timeout"]
    assert ended(known(), 109.0, kill).sent == []  # by another sender
    assert ended(known(), 110.2, end).sent == []
    assert ended(known(None), 110.2, kill).sent == []


def test_a_kill_without_a_stop() -> None:
    """It is a crash, not a stop."""
    scenario = known()
    scenario.engine.set_log_readable(readable=True)
    scenario.play("100 crash", "100.1 exits -9", "101 tick")

    assert scenario.sent == []


def test_an_incident_is_open() -> None:
    """The stop of a program in a restart loop opens no second one, and is resolved as before."""
    scenario = known().fail(10.0, 12.0, 14.0).play("16 starting", "17 running", "18 stopping")
    scenario.give(28.0, ExitsRead((), 28.0, (NOTE,)))
    scenario.play("28.1 stopped", "200 tick")

    assert scenario.sent == ["first: restart_loop", "resolved: restart_loop"]


def test_it_does_not_start_again() -> None:
    """Failures change the cause; the end is that of any incident."""
    scenario = known().play("100 stopping")
    scenario.give(110.0, ExitsRead((), 110.0, (NOTE,)))
    scenario.play("110.5 stopped").fail(111.0, 113.0, 115.0)
    scenario.play("117 starting", "118 running", "300 tick")

    assert scenario.sent == [
        "first: stop_timeout",
        "cause changed: restart_loop",
        "resolved: restart_loop",
    ]


def test_a_group_is_removed() -> None:
    """An operator stops a program with an update, for ever: the incident ends."""
    scenario = known().play("100 stopping")
    scenario.give(110.0, ExitsRead((), 110.0, (NOTE,)))
    scenario.play("110.5 stopped")
    scenario.event_named(111.0, "PROCESS_GROUP_REMOVED", "groupname:php-fpm")
    scenario.play("300 tick")

    assert scenario.sent == ["first: stop_timeout", "resolved: stop_timeout"]


def test_supervisord_starts_again() -> None:
    """The state is restored, and resolved when the program runs."""
    scenario = known().play("100 stopping")
    scenario.give(110.0, ExitsRead((), 110.0, (NOTE,)))
    assert scenario.sent == ["first: stop_timeout"]
    saved = [effect for effect in scenario.effects if isinstance(effect, SaveState)][-1]
    assert saved.memory is not None
    after = Scenario()
    after.engine.restore(moment(0.0), {FPM: saved.memory})
    after.play("1 starting", "1.5 tick")
    assert after.sent == []
    after.play("2 running", "4 tick")

    assert after.sent == ["resolved: stop_timeout"]
