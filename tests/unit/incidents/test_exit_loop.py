"""Programs that exit as expected again and again are an incident of their own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from fpm_listener.monitor.known_programs import ProgramsKnown
from fpm_listener.monitor.messages import (
    ProcessExited,
    SaveState,
    WakeSupervisord,
)
from fpm_listener.settings.policy import NEVER, LoopPolicy
from fpm_listener.supervisor.process import Program
from tests.unit.monitor.engine_scenario import FPM, JOB, POLICY, RecordedEngine, Scenario, moment

if TYPE_CHECKING:
    from collections.abc import Iterable


def cycles(
    scenario: Scenario, starts_s: Iterable[float], exit_word: str = "exit", name: str = "job"
) -> Scenario:
    """Play runs of 1.3 s, each with an expected exit."""
    for at in starts_s:
        scenario.play(
            f"{at} starting {name}",
            f"{at + 1.0:.2f} running {name}",
            f"{at + 1.3:.2f} {exit_word} {name}",
        )
    return scenario


def every(distance_s: float, first_s: float, count: int) -> list[float]:
    return [first_s + distance_s * number for number in range(count)]


def test_ten_restarts_in_a_minute() -> None:
    """They are a warning with the number of restarts, the status and a remedy that helps."""
    scenario = cycles(Scenario(exits=True), every(2.0, 0.0, 10))
    assert scenario.sent == []
    scenario.play("20 starting job")

    assert scenario.sent == ["first: exit_loop"]
    alert = scenario.alerts[0]
    assert alert.labels["severity"] == "warning"
    assert alert.labels["alertname"] == "ProgramFailing"
    summary = alert.annotations["summary"]
    assert "again and again: 10 restarts in 18 s; supervisord treats this as expected" in summary
    assert "keeps failing" not in summary
    assert "0 failures" not in alert.annotations["description"]
    assert all(word in alert.annotations["remedy"] for word in ("--max-time", "startsecs=0"))
    assert not scenario.view(JOB).loops


def test_the_status_is_shown() -> None:
    """It is one of `exitcodes`."""
    scenario = cycles(Scenario(exits=True), every(2.0, 0.0, 10))
    scenario.play("19.9 exits " + "0/job " * 10, "20 starting job")

    assert "exits with status 0 again and again" in scenario.alerts[0].annotations["summary"]


def test_slower_restarts() -> None:
    """The incident ends when the window was not full for stable_for."""
    scenario = cycles(Scenario(), every(2.0, 0.0, 30))
    assert scenario.sent == ["first: exit_loop"]
    cycles(scenario, every(20.0, 60.0, 10))

    assert scenario.sent == ["first: exit_loop", "resolved: exit_loop"]
    resolved = scenario.alerts[-1]
    assert resolved.ends_at_s is not None
    ended_after_s = resolved.ends_at_s - moment(58.0).wall_s
    assert 120.0 <= ended_after_s <= 180.0  # the window has 60 s


def test_a_loop_that_lasts() -> None:
    """It stays one incident, and is not resolved between two runs."""
    scenario = cycles(Scenario(), every(2.0, 0.0, 300))

    assert scenario.sent == ["first: exit_loop"]
    incident = scenario.view(JOB).incident
    assert incident is not None
    assert incident.facts.live.exit_loop.restarts >= 290


def test_rare_restarts() -> None:
    """One incident: it does not end between two of them. It ends when they stop."""
    policy = replace(POLICY, exit_loop=LoopPolicy(threshold=10, window_s=3600.0))
    scenario = cycles(Scenario(policy=policy), every(300.0, 0.0, 40))
    assert scenario.sent == ["first: exit_loop"]
    scenario.play(f"{39 * 300 + 301} starting job", f"{39 * 300 + 302} running job", "12590 tick")
    assert scenario.sent == ["first: exit_loop"]
    scenario.play("12605 tick")

    assert scenario.sent == ["first: exit_loop", "resolved: exit_loop"]


def test_autorestart_is_unknown() -> None:
    """XML-RPC does not tell it. A job that cron starts is no loop; what was known stays."""
    unknown = ProgramsKnown(programs=(Program(name=JOB, command="job"),), sites={})
    restarted = ProgramsKnown(programs=(Program(name=JOB, autorestart="true"),), sites={})
    scenario = Scenario()
    scenario.engine = RecordedEngine(scenario.engine._shared.settings, "token")
    assert cycles(scenario, every(2.0, 0.0, 30)).sent == []  # no program is known
    scenario.give(60.0, unknown)
    assert cycles(scenario, every(2.0, 60.0, 30)).sent == []

    scenario.give(120.0, restarted)
    scenario.give(120.1, unknown)
    assert cycles(scenario, every(2.0, 121.0, 30)).sent == ["first: exit_loop"]


@pytest.mark.parametrize(
    "program",
    [
        Program(name=JOB, startsecs=0.0),
        Program(name=JOB, autorestart="unexpected"),
        Program(name=JOB, autorestart="false"),
    ],
)
def test_a_program_that_is_meant_to_exit(program: Program) -> None:
    """It does not count, however often it is started."""
    scenario = Scenario()
    scenario.give(0.0, ProgramsKnown(programs=(program,), sites={}))

    assert cycles(scenario, every(2.0, 0.0, 30)).sent == []


def test_a_restart_by_an_operator() -> None:
    """It does not count, and neither does a start after a stop."""
    scenario = Scenario()
    for at in every(2.0, 0.0, 20):
        scenario.play(
            f"{at} starting job",
            f"{at + 1.0} running job",
            f"{at + 1.3:.2f} stopping job",
            f"{at + 1.4:.2f} stopped job",
        )

    assert scenario.sent == []


def test_exits_now_and_then() -> None:
    """A queue worker with --max-time=3600 is in order."""
    assert cycles(Scenario(), every(7.0, 0.0, 100)).sent == []


def test_it_is_switched_off() -> None:
    """`exit_loop = off`."""
    scenario = Scenario(policy=replace(POLICY, exit_loop=NEVER))

    assert cycles(scenario, every(2.0, 0.0, 100)).sent == []


def test_it_is_switched_off_by_a_reload() -> None:
    """Restarts that follow count for nothing; the incident ends."""
    scenario = cycles(Scenario(), every(2.0, 0.0, 12))
    assert scenario.sent == ["first: exit_loop"]
    settings = scenario.engine._shared.settings
    scenario.engine.reconfigure(replace(settings, policy=replace(POLICY, exit_loop=NEVER)))
    cycles(scenario, every(2.0, 24.0, 80))

    assert scenario.sent == ["first: exit_loop", "resolved: exit_loop"]


def test_a_crash_is_worse() -> None:
    """Failures of the same program change the cause."""
    scenario = cycles(Scenario(), every(2.0, 0.0, 12))
    cycles(scenario, every(2.0, 24.0, 4), "crash")
    scenario.play("34 tick")

    assert scenario.sent[:2] == ["first: exit_loop", "cause changed: restart_loop"]


def test_php_fpm_that_exits_at_once_is_a_restart_loop() -> None:
    """Its expected exits within seconds are failures, as before."""
    scenario = cycles(Scenario(), every(2.0, 0.0, 12), name="")

    assert scenario.sent == ["first: restart_loop"]


def test_the_listener_starts_again() -> None:
    """The incident is restored; it ends if the program exits no more."""
    scenario = cycles(Scenario(), every(2.0, 0.0, 12))
    assert scenario.sent == ["first: exit_loop"]
    saved = [effect for effect in scenario.effects if isinstance(effect, SaveState)][-1]
    assert saved.memory is not None
    after = Scenario()
    after.engine.restore(moment(0.0), {JOB: saved.memory})
    after.play("1 running job", "121.5 tick")

    assert after.sent == ["resolved: exit_loop"]


def wakes(scenario: Scenario) -> int:
    return sum(isinstance(effect, WakeSupervisord) for effect in scenario.effects)


def test_supervisord_is_not_woken_for_it() -> None:
    """After one expected exit supervisord keeps its own pace for this program."""
    scenario = Scenario().play("0 starting job", "1 running job", "5 exit job", "6 tick")
    assert wakes(scenario) == 0
    scenario.play("7 starting job", "8 running job")
    scenario.give(12.0, ProcessExited(JOB, 100))
    scenario.play("12.5 exit job", "13 starting job", "14 running job")
    assert wakes(scenario) == 0

    scenario.play("20 crash job", "21 starting job", "22 running job")
    before = wakes(scenario)
    assert before > 0
    scenario.give(30.0, ProcessExited(JOB, 100))
    assert wakes(scenario.play("30.5 tick")) > before


def test_supervisord_is_woken_for_php_fpm() -> None:
    """Its expected exit means that the site is down."""
    scenario = Scenario().play("0 starting", "3 running", "50 exit", "51 tick")

    assert wakes(scenario) > 0
    assert scenario.view(FPM).exits == 1
