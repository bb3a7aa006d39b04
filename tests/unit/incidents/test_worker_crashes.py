"""Workers that crash while their master runs are an incident if the processes are really gone."""

from __future__ import annotations

from fpm_listener.incidents.effects import CheckGone, Gone
from tests.unit.monitor.engine_scenario import FPM, Scenario

LINE = "[23-Nov-2026 10:00:{second:02d}] WARNING: [pool www] child {pid} exited on signal {signal}"


def running() -> Scenario:
    return Scenario().play("0 starting", "0.2 log ready", "1 running")


def crash(
    scenario: Scenario, at_s: float, pid: int, *, true: bool = True, signal: int = 11
) -> None:
    """Let a line come, and the machine's answer to what is asked of it."""
    before = len(scenario.effects)
    line = LINE.format(second=int(at_s) % 60, pid=pid, signal=signal)
    scenario.log(at_s, f"{line} (SIGSEGV) after 1.0 seconds from start")
    for effect in scenario.effects[before:]:
        if isinstance(effect, CheckGone):
            scenario.give(at_s + 0.01, Gone(FPM, effect.pids if true else frozenset()))


def test_workers_that_crash_again_and_again() -> None:
    """They are reported as a warning while the master runs, and resolved when all is calm."""
    scenario = running()
    for number in range(4):
        crash(scenario, 10.0 + 2 * number, 500 + number)
    assert scenario.sent == ["first: crash_signal"]
    alert = scenario.alerts[0]
    assert alert.labels["severity"] == "warning"
    assert "its workers crash (SIGSEGV)" in alert.annotations["summary"]
    assert (
        "workers crashed in this incident; the master keeps running"
        in alert.annotations["description"]
    )
    assert "child 50" in alert.annotations["evidence"]
    assert "extension" in alert.annotations["remedy"]

    scenario.play("130 tick")
    assert len(scenario.sent) == 1
    scenario.play("140 tick")
    assert scenario.sent[-1] == "resolved: crash_signal"
    assert "its workers crashed (SIGSEGV)" in scenario.alerts[-1].annotations["summary"]


def test_an_application_that_prints_the_line() -> None:
    """A worker that still exists has not crashed."""
    scenario = running()
    for number in range(20):
        crash(scenario, 10.0 + 2 * number, 500, true=False)

    assert scenario.sent == []


def test_what_is_no_crash() -> None:
    """Now and then one, and what was ended on purpose."""
    scenario = running()
    for number in range(20):
        crash(scenario, 10.0 + 2 * number, 500 + number, signal=9)
        crash(scenario, 10.5 + 2 * number, 600 + number, signal=15)
    crash(scenario, 100, 700)
    crash(scenario, 170, 701)

    assert scenario.sent == []


def test_a_storm_is_asked_for_once_a_second() -> None:
    """Each question names all that wait; more than so many lines are not kept."""
    scenario = running()
    for number in range(100):
        at_s = 10.0 + number * 0.05
        line = LINE.format(second=10 + number % 40, pid=500 + number, signal=11)
        scenario.log(at_s, f"{line} (SIGSEGV) after {number}.0 seconds from start")
    asked = [effect for effect in scenario.effects if isinstance(effect, CheckGone)]

    assert 5 <= len(asked) <= 9
    assert max(len(one.pids) for one in asked) <= 64


def test_the_master_fails_in_the_end() -> None:
    """One incident: the master's own failures are its cause from then on."""
    scenario = running()
    for number in range(4):
        crash(scenario, 10.0 + 2 * number, 500 + number)
    scenario.play("20 crash")
    for at in (21, 23, 25):
        scenario.play(f"{at} starting", f"{at + 0.1} log bind failed", f"{at + 0.5} backoff")

    assert scenario.sent == ["first: crash_signal", "cause changed: bind_conflict"]
    assert len({alert.incident_id for alert in scenario.alerts}) == 1
