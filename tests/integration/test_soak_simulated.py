"""A short part of `make soak`: a few simulated hours, the same in each run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.soak.simulated import Simulation

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("seed", [1, 2])
def test_simulated_hours_of_faults(tmp_path: Path, seed: int) -> None:
    """Every law holds through kills, hangs, clock changes and an unavailable receiver."""
    simulation = Simulation(seed, tmp_path)
    simulation.run(hours=3.0)

    assert simulation.kills > 10
    assert simulation.notified
