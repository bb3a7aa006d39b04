"""Whatever an earlier listener left in the database, the engine restores what it can."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hypothesis import example, given
from hypothesis import strategies as st

from fpm_listener.monitor.engine import Engine
from fpm_listener.monitor.messages import Identity, SaveState
from fpm_listener.monitor.supervision import EngineSettings
from fpm_listener.supervisor.process import ProcessName
from fpm_listener.supervisor.protocol import Event
from fpm_listener.values import Instant
from tests.unit.monitor.engine_scenario import ID_TOKEN, POLICY

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = ProcessName("web", "x")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def engine() -> Engine:
    return Engine(EngineSettings(policy=POLICY, identity=Identity(instance="web1")), ID_TOKEN)


def saved() -> tuple[dict[str, Any], list[Any]]:
    """Return what is remembered of a process in a restart loop, and the timeline."""
    made, memory = engine(), {}
    for number in range(1, 9):
        for state in ("STARTING", "BACKOFF"):
            payload = f"processname:x groupname:web from_state:STOPPED tries:{number}"
            event = Event("s", "p", number, number, f"PROCESS_STATE_{state}", payload)
            at = Instant(float(number), 1.7e9 + number)
            for effect in made.step(at, event):
                if isinstance(effect, SaveState):
                    memory = dict(effect.memory or {})
    assert memory["incident"]
    return json.loads(json.dumps(memory)), json.loads(json.dumps(made.timeline.memory()))


MEMORY, TIMELINE = saved()


@st.composite
def damaged(draw: Callable[..., object], whole: object) -> object:
    """Return a copy in which some values are others, and some keys are missing."""
    if not draw(st.integers(0, 9)):
        return draw(JSON)
    if isinstance(whole, dict):
        kept = {key: value for key, value in whole.items() if draw(st.integers(0, 29))}
        return {key: draw(damaged(value)) for key, value in kept.items()}
    if isinstance(whole, list):
        return [draw(damaged(value)) for value in whole]
    return whole


@example({**MEMORY, "address": 5}, TIMELINE)
@example({**MEMORY, "named": [5]}, TIMELINE)
@example({**MEMORY, "failures": [10**400]}, TIMELINE)
@example({**MEMORY, "failures": 5}, [[*TIMELINE[0][:-1], 10**400]])
@given(damaged(MEMORY), damaged(TIMELINE))
def test_a_damaged_memory(memory: object, timeline: object) -> None:
    """It is restored or forgotten as a whole; nothing raises, then or later."""
    made = engine()
    now = Instant(1000.0, 1.7e9 + 1000.0)
    made.timeline.restore(timeline)
    made.restore(now, {NAME: memory})  # type: ignore[dict-item] # that is the point
    payload = "processname:x groupname:web from_state:STARTING pid:7"
    made.step(now, Event("s", "p", 1, 1, "PROCESS_STATE_RUNNING", payload))

    assert {view.name for view in made.views()} == {NAME}
    assert made.timeline.view() is not None
    json.dumps(made.timeline.memory())


def test_a_whole_memory() -> None:
    """The incident goes on."""
    made = engine()
    made.restore(Instant(1000.0, 1.7e9 + 1000.0), {NAME: MEMORY})

    (view,) = made.views()
    assert view.incident is not None
