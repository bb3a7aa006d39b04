"""Counts the calls between modules of `monitor/` and `incidents/` that one event needs.

The event is php-fpm's third BACKOFF, with its log line: a bind conflict. It opens an incident.
`sys.setprofile` counts during `Engine.step`:

calls: calls of a function, method or property in a module of the two packages from another of these
modules. The step itself is the first visit of `monitor.engine` and no call. The caller is the next
frame that is in one of these modules, so a call through the standard library counts too. Creating a
value (a generated `__init__` or `__new__`) is no call.

returns: those calls whose module the event has visited before: it is still on the stack below, or
the event has left it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.incidents.effects import HolderFound, Notify
from fpm_listener.supervisor.protocol import Event
from tests.unit.monitor.engine_scenario import FPM, HOLDER, Scenario, moment

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from fpm_listener.monitor.messages import Effect

#: The most that one event may need.
MOST_CALLS, MOST_RETURNS = 15, 5


class Counted(NamedTuple):
    """What one event needs."""

    calls: list[tuple[str, str, str]]  #: caller, module, function
    returns: int
    is_notified: bool  #: an alert was sent in this step


def count_calls(*, log_is_readable: bool) -> Counted:
    """Play three failed starts and count the calls of the third BACKOFF.

    log_is_readable: supervisord's log is; then the alert waits for the exit status.
    """
    scenario = Scenario(exits=log_is_readable).fail(0.0, 2.0).play("4 starting", "4.4 log bind")
    scenario.give(4.45, HolderFound(FPM, HOLDER))
    payload = "processname:php-fpm groupname:php-fpm from_state:STARTING tries:3"
    event = Event("lab", "l", 99, 99, "PROCESS_STATE_BACKOFF", payload)
    calls: list[tuple[str, str, str]] = []
    effects = _profiled(lambda: scenario.engine.step(moment(4.5), event), calls)
    visited, returns = {"monitor.engine"}, 0
    for _, module, _ in calls:
        returns += module in visited
        visited.add(module)
    return Counted(calls, returns, any(isinstance(effect, Notify) for effect in effects))


def _profiled(step: Callable[[], list[Effect]], calls: list[tuple[str, str, str]]) -> list[Effect]:
    def note(frame: FrameType, event: str, _: object) -> None:
        module = _module(frame)
        if event != "call" or module is None:
            return
        caller: FrameType | None = frame.f_back
        while caller is not None and _module(caller) is None:
            caller = caller.f_back
        by = _module(caller) if caller is not None else None
        if by is not None and by != module:
            calls.append((by, module, frame.f_code.co_name))

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        return step()
    finally:
        sys.setprofile(before)


def _module(frame: FrameType) -> str | None:
    """Return `monitor.engine` for a frame of that file; None outside of both packages."""
    path = Path(frame.f_code.co_filename)
    is_counted = path.parent.name in {"monitor", "incidents"} and (
        path.parents[1].name == "fpm_listener"
    )
    return f"{path.parent.name}.{path.stem}" if is_counted else None
