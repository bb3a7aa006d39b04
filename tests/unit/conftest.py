"""Replays the scenes of the engine's tests: the logs of a scene must show the same incidents."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.unit.monitor.engine_scenario import Scenario
from tests.unit.replay.compared import compare
from tests.unit.replay.scene_logs import HasNoLogs

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _replayed_scenes(request: pytest.FixtureRequest) -> Iterator[None]:
    """Compare each scene that the test plays with its replay, if the test succeeds.

    Random inputs are no scenes: supervisord writes no logs with their order and times.
    """
    if request.node.get_closest_marker("hypothesis"):
        yield
        return
    Scenario.played = []
    try:
        yield
        for scenario in Scenario.played:
            with suppress(HasNoLogs):
                compare(scenario)
    finally:
        Scenario.played = None
