"""Fast restart: when supervisord is woken after an exit, and when it is left alone."""

from __future__ import annotations

import pytest

from fpm_listener.monitor.messages import Identity, ProcessExited, WakeSupervisord, WatchPid
from fpm_listener.monitor.supervision import EngineSettings
from tests.unit.monitor.engine_scenario import FPM, POLICY, Scenario


def kernel_reports_exit(scenario: Scenario, at_s: float, pid: int = 100) -> Scenario:
    """Let the kernel say that a process has ended."""
    scenario.give(at_s, ProcessExited(FPM, pid))
    return scenario


def wakes(scenario: Scenario) -> int:
    """Return how often supervisord was woken."""
    return sum(isinstance(effect, WakeSupervisord) for effect in scenario.effects)


def test_each_run_is_watched_once() -> None:
    """The pid comes with RUNNING; later events of the same run ask for nothing more."""
    scenario = Scenario().play("0 starting", "3 running", "50 tick", "90 crash", "90.1 starting")
    scenario.event(93.1, "running", pid=200)

    watched = [effect.pid for effect in scenario.effects if isinstance(effect, WatchPid)]
    assert watched == [100, 200]


def test_an_exit_wakes_supervisord_until_the_next_start() -> None:
    """Both passes of its loop are accelerated: the one that sees the exit, the one that starts."""
    scenario = kernel_reports_exit(Scenario().play("0 starting", "3 running"), 50.0)
    assert wakes(scenario) == 1

    scenario.play("50.003 crash")
    assert wakes(scenario) == 2

    scenario.play("50.005 starting", "60 tick")
    assert wakes(scenario) == 3  # the one that was due at 50.004


def test_an_exit_that_only_supervisord_reports_is_followed_at_once() -> None:
    """Without pidfds, or with a pid that was never known, at least the start is accelerated."""
    assert wakes(Scenario().play("0 starting", "3 running", "50 crash")) == 1


def test_waking_is_bounded() -> None:
    """A supervisord that does not move is woken ten times within half a second, and no more."""
    scenario = kernel_reports_exit(Scenario().play("0 starting", "3 running"), 50.0).play(
        "50.6 tick"
    )
    assert wakes(scenario) == 10

    assert wakes(scenario.play("500 tick")) == 10


@pytest.mark.parametrize(
    "lines",
    [
        ("0 starting", "3 running", "50 stopping"),
        ("0 starting", "3 running", "50 stopping", "50.1 stopped"),
        ("0 starting", "3 running", "40 crash", "40.001 starting"),
    ],
    ids=["stopping", "stopped", "started anew"],
)
def test_no_waking_for_what_supervisord_knows(lines: tuple[str, ...]) -> None:
    """An operator's stop, and a pid of an earlier run, are left alone."""
    scenario = Scenario().play(*lines)
    before = wakes(scenario)

    assert wakes(kernel_reports_exit(scenario, 51.0).play("60 tick")) == before


def test_nothing_is_made_to_spin() -> None:
    """What exits within a second of its start is started again at supervisord's own pace."""
    scenario = Scenario()
    for at_s in range(10):
        scenario.play(f"{at_s} starting", f"{at_s + 0.01} running", f"{at_s + 0.9} exit")

    assert wakes(scenario) == 0


def test_the_delay_of_a_backoff_is_kept() -> None:
    """After a failed start supervisord is woken when its own delay is over, and not sooner."""
    scenario = Scenario().play("0 starting", "2 backoff")
    scenario.give(3.0, ProcessExited(FPM, 100))
    assert wakes(scenario) == 1  # tries:1 = one second; the moment itself

    scenario.play("3.01 starting", "10 tick")
    assert wakes(scenario) == 4  # 3.002, 3.004, 3.008


def test_not_while_supervisord_shuts_down() -> None:
    """A program that stops is not started."""
    scenario = Scenario().play("0 starting", "3 running")
    scenario.event_named(49.0, "SUPERVISOR_STATE_CHANGE_STOPPING")

    assert wakes(kernel_reports_exit(scenario, 50.0).play("60 tick")) == 0


def test_not_where_it_is_switched_off() -> None:
    """`fast_restart = false` leaves supervisord at its own pace."""
    scenario = Scenario().play("0 starting", "3 running")
    identity = Identity(instance="host")
    scenario.engine.reconfigure(
        EngineSettings(policy=POLICY, identity=identity, fast_restart=False)
    )

    assert wakes(kernel_reports_exit(scenario, 50.0).play("50.1 crash", "60 tick")) == 0
