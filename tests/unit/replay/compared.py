"""Compares what the engine reports live with what a replay of the logs finds."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.incidents.effects import Notify
from fpm_listener.replay.incident_log import IncidentLog, PastIncident
from fpm_listener.replay.replayer import Replayer
from tests.unit.monitor.engine_scenario import EPOCH
from tests.unit.replay.scene_logs import SceneLogs

if TYPE_CHECKING:
    from tests.unit.monitor.engine_scenario import Scenario

#: Seconds by which the live listener can know something later: it asks for it.
LATER_S = 2.0


class Shown(NamedTuple):
    """What must be equal. How a process exited is in another line of the evidence."""

    program: str
    cause: str
    severity: str
    failures: int
    gave_up: bool
    address: str | None
    named: str | None
    evidence: tuple[str, ...]


def live(scenario: Scenario) -> list[PastIncident]:
    """Return the incidents of a scene."""
    log = IncidentLog()
    for effect in scenario.engine.effects:
        if isinstance(effect, Notify):
            log.take(effect)
    log.end(scenario.engine.views())
    return log.all


def replayed(scenario: Scenario) -> list[PastIncident]:
    """Return the incidents that the logs of a scene show. Raises HasNoLogs."""
    logs = SceneLogs(scenario)
    replayer = Replayer(scenario.policy, logs.known)
    for line in logs.lines:
        replayer.take(line)
    replayer.end(EPOCH + scenario.now_s)
    return replayer.drive.incidents.all


def compare(scenario: Scenario) -> None:
    """Assert that the logs of a scene show its incidents. Raises HasNoLogs."""
    found, expected = replayed(scenario), live(scenario)

    differ = ([_shown(one) for one in found], [_shown(one) for one in expected])
    assert differ[0] == differ[1], f"replayed: {differ[0]}; live: {differ[1]}"
    for one, other in zip(found, expected, strict=True):
        assert abs(one.view.started_at_s - other.view.started_at_s) <= LATER_S
        assert (one.ended_at_s is None) == (other.ended_at_s is None)
        assert abs((one.ended_at_s or 0.0) - (other.ended_at_s or 0.0)) <= LATER_S


def _shown(past: PastIncident) -> Shown:
    facts = past.view.facts
    others = ("exited: ", "stopped: ", "seen: ", "killing ")
    lines = {line for line in facts.evidence if not any(word in line for word in others)}
    return Shown(
        str(facts.name),
        facts.cause.value,
        past.view.severity,
        facts.failures,
        facts.gave_up,
        facts.address,
        facts.named,
        tuple(sorted(lines)),
    )
