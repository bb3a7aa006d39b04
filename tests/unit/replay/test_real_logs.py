"""The logs of a real supervisord and php-fpm, and what a live listener reported meanwhile.

tests/data/logs: supervisor 4.3.0, php-fpm 8.2, `stable_for = 3s`. `live.json` has the last alert of
each program. The programs: an address in use, a wrong configuration, workers with SIGSEGV, a master
with SIGKILL, a missing program, a program that exits with 1 or 3, and one that SIGKILL ends.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.unit.monitor.engine_scenario import POLICY
from tests.unit.replay.replays import replay_files

LOGS = Path(__file__).parents[2] / "data" / "logs"
LIVE: dict[str, dict[str, Any]] = json.loads((LOGS / "live.json").read_text(encoding="utf-8"))
#: The listener asks and waits for answers.
LATER_S = 1.0
#: Seconds after the last line, when the live listener was stopped.
AFTER_S = 10.0


@pytest.fixture(scope="module")
def incidents() -> dict[str, dict[str, Any]]:
    """Return the incidents of the replay, by program."""
    files = sorted([*LOGS.glob("*.log"), *LOGS.glob("*.stderr")])
    texts = {f"/{path.name}": path.read_text(encoding="utf-8") for path in files}
    policy = replace(POLICY, stable_for_s=3.0)
    found = replay_files(texts, policy=policy, after_s=AFTER_S)["incidents"]
    return {one["program"].partition(":")[2]: one for one in found}


def seconds(text: str) -> float:
    """Return the seconds of a time of an alert."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def test_all_programs(incidents: dict[str, dict[str, Any]]) -> None:
    """The replay has an incident for each program that the listener reported, and no other."""
    assert incidents.keys() == LIVE.keys()


@pytest.mark.parametrize("name", LIVE)
def test_a_program(name: str, incidents: dict[str, dict[str, Any]]) -> None:
    """Cause, severity, address, start, end and the lines with errors are those of the listener.

    It also shows other output of the last run, which it reads from the files at the alert.
    """
    live, replayed = LIVE[name], incidents[name]

    assert (replayed["cause"], replayed["severity"]) == (live["cause"], live["severity"])
    assert replayed["address"] == live["address"]
    assert abs(replayed["started_at_s"] - seconds(live["started"])) <= LATER_S
    assert (replayed["resolved_at_s"] is None) == ("resolved" not in live)
    if "resolved" in live:
        assert abs(replayed["resolved_at_s"] - seconds(live["resolved"])) <= LATER_S
    lines = {line for line in live["evidence"] if "] ERROR: " in line}
    assert lines <= set(replayed["evidence"])
