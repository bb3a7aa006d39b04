"""The wall clock is set while an incident lasts, or while the listener is away."""

from __future__ import annotations

from typing import Any

import pytest

from fpm_listener.incidents.alert import Reason
from fpm_listener.incidents.effects import Notify
from fpm_listener.monitor.messages import SaveState, Tick
from fpm_listener.values import Instant
from tests.unit.monitor.engine_scenario import EPOCH, FPM, Scenario

HOUR_S, YEAR_S = 3600.0, 365 * 86400.0
STEPS_S = [-50 * YEAR_S, -HOUR_S, 0.0, HOUR_S, 50 * YEAR_S]


def repeats(scenario: Scenario, step_s: float, *hours: float) -> list[float]:
    """Return the hours at which the receivers get it again."""
    found = []
    for hour in hours:
        for pause_s in (0.0, 30.0):  # it looks for causes first
            now_s = hour * HOUR_S + pause_s
            effects = scenario.engine.step(Instant(now_s, EPOCH + now_s + step_s), Tick())
            alerts = [effect.alert for effect in effects if isinstance(effect, Notify)]
            found += [hour for alert in alerts if alert.reason is Reason.REPEAT]
    return found


def last_saved(scenario: Scenario) -> dict[str, Any]:
    """Return what was saved last about php-fpm."""
    saved = [e.memory for e in scenario.effects if isinstance(e, SaveState) and e.process == FPM]
    assert saved[-1] is not None
    return saved[-1]


@pytest.mark.parametrize("step_s", STEPS_S)
def test_a_repeat_comes_in_time(step_s: float) -> None:
    """No sooner than after repeat_interval, and no later."""
    scenario = Scenario()
    scenario.fail(0.0, 2.0, 4.0)
    scenario.give(20.0, Tick())

    assert repeats(scenario, step_s, 1.0, 3.9, 4.1, 5.0, 8.0, 8.3) == [4.1, 8.3]


@pytest.mark.parametrize("step_s", STEPS_S)
def test_a_repeat_after_a_restart_comes_in_time(step_s: float) -> None:
    """What was saved under the other clock is understood."""
    scenario = Scenario()
    scenario.fail(0.0, 2.0, 4.0)
    scenario.give(20.0, Tick())
    saved = last_saved(scenario)
    later = Scenario()
    now = Instant(HOUR_S, EPOCH + HOUR_S + step_s)
    later.engine.restore(now, {FPM: {**saved, "clock_shift_s": step_s}})

    assert repeats(later, step_s, 1.0, 3.9, 4.1, 5.0) == [4.1]


def test_without_a_known_shift_nothing_is_silent_for_years() -> None:
    """After a reboot with a clock that was in the future, it is repeated in time."""
    scenario = Scenario()
    scenario.fail(0.0, 2.0, 4.0)
    scenario.give(20.0, Tick())
    saved = last_saved(scenario)
    later = Scenario()
    step_s = -50 * YEAR_S
    later.engine.restore(Instant(HOUR_S, EPOCH + HOUR_S + step_s), {FPM: saved})

    assert repeats(later, step_s, 1.0, 3.9, 5.1) == [5.1]
