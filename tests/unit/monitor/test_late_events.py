"""The lines of several runs come together, and before the events of the runs."""

from __future__ import annotations

import pytest

from fpm_listener.vocabulary import Cause
from tests.unit.monitor.engine_scenario import Scenario


@pytest.fixture(autouse=True)
def _replayed_scenes() -> None:
    """Replay none of these scenes: logs do not show when an event came."""


def late(*statuses: str) -> Scenario:
    """Read the lines of four runs, and then let their events come."""
    scenario = Scenario(exits=True)
    for at_s in (1.0, 3.0, 6.0, 10.0):
        scenario.play(f"{at_s} log config failed")
    for number, status in enumerate(statuses):
        at_s = 30 + number / 10
        scenario.play(f"{at_s} starting", f"{at_s} backoff", f"{at_s + 0.05} exits {status}")
    scenario.play("31 fatal", "32 tick")
    return scenario


def cause(scenario: Scenario) -> Cause | None:
    """Return the cause of the open incident."""
    incident = scenario.view().incident
    return incident.facts.cause if incident else None


def test_the_cause_stays() -> None:
    """The first event takes all lines; the other failures are of the same kind."""
    scenario = late("78", "78", "78", "78").play("60 tick")

    assert scenario.sent[0] == "first: config_error"
    assert not [one for one in scenario.sent if one.startswith("cause changed")]
    assert cause(scenario) is Cause.CONFIG_ERROR


def test_exits_that_are_known_together() -> None:
    """The lines of a run are not lost when the next run ends before the exit status is known."""
    scenario = Scenario(exits=True)
    scenario.play("1 log config failed", "3 log config failed", "6 log config failed")
    for at_s in (30.0, 30.1, 30.2):
        scenario.play(f"{at_s} starting", f"{at_s} backoff")
    scenario.play("30.3 exits 78 78 78", "60 tick")

    assert cause(scenario) is Cause.CONFIG_ERROR


@pytest.mark.parametrize("other", ["1", "127"])
def test_another_status_refutes_it(other: str) -> None:
    """It fails in another way now."""
    assert cause(late("78", other, other, other)) is Cause.RESTART_LOOP


def test_later_failures_refute_it() -> None:
    """Somebody has repaired it, and it fails for another reason."""
    scenario = late("78", "78", "78", "78")
    for at_s in (100.0, 102.0, 105.0):
        scenario.play(f"{at_s} starting", f"{at_s + 0.5} backoff", f"{at_s + 0.6} exits 78")
    scenario.play("120 tick")

    assert cause(scenario) is Cause.RESTART_LOOP
