"""The comparison of live and replayed incidents. `conftest` compares each scene."""

from __future__ import annotations

from pathlib import Path

import pytest

from fpm_listener.settings.policy import HealingPolicy
from tests.unit.monitor.engine_scenario import POLICY, Scenario
from tests.unit.replay.compared import compare, live, replayed
from tests.unit.replay.scene_logs import HasNoLogs, Unlike

CASES = Path(__file__).parents[2] / "data" / "cases"


def loop() -> Scenario:
    """Play a loop with its reason and its end."""
    scenario = Scenario(exits=True)
    for start in (1.0, 3.0, 6.0):
        scenario.play(f"{start} starting", f"{start + 0.1} log bind failed")
        scenario.play(f"{start + 0.5} backoff", f"{start + 0.6} exits 78")
    return scenario.play("9 starting", "9.1 log ready", "12 running", "200 tick")


def test_a_scene_with_an_incident() -> None:
    """The incident of the logs is that of the scene, and the comparison is not empty."""
    scenario = loop()
    compare(scenario)
    (one,) = replayed(scenario)

    assert one.view.facts.cause.value == "bind_conflict"
    assert one.ended_at_s is not None
    assert "exit status 78" in " ".join(one.view.facts.evidence)


@pytest.mark.parametrize("case", ["C01", "C03"])
def test_lines_of_a_case(case: str) -> None:
    """A start that fails with one of these lines has the same cause live and replayed."""
    lines = (CASES / case / "lines.txt").read_text(encoding="utf-8").splitlines()
    for line in lines:
        if not line.startswith("["):  # PHP writes no time into it
            continue
        scenario = Scenario(exits=True)
        for start in (1.0, 3.0, 6.0):
            scenario.play(f"{start} starting").log(start + 0.1, line)
            scenario.play(f"{start + 0.5} backoff", f"{start + 0.6} exits 78")
        compare(scenario)
        (one,) = replayed(scenario)
        message = line.partition("] ")[2]
        assert any(message in shown for shown in one.view.facts.evidence), line


def test_a_scene_that_the_logs_do_not_show() -> None:
    """What the logs show instead is a difference."""
    scenario = Scenario().fail(1.0, 3.0, 6.0)
    other = Scenario().play("1 starting", "4 running", "200 tick")
    given, scenario.engine.given = scenario.engine.given, other.engine.given

    assert live(scenario) != replayed(scenario)
    with pytest.raises(AssertionError, match="restart_loop"):
        compare(scenario)
    scenario.engine.given = given  # `conftest` compares it, too


def test_a_scene_without_logs() -> None:
    """Its reason is one of a closed set."""
    policy = POLICY.__class__(loops=POLICY.loops, healing=HealingPolicy(shutdown_on_fatal=True))
    with pytest.raises(HasNoLogs) as found:
        compare(Scenario(policy=policy).play("1 starting"))

    assert found.value.why is Unlike.HEALING
