"""How processes are, from the children of supervisord: the answer where XML-RPC is unavailable.

Law: a child that is found proves that its process lives. A child that is not found proves nothing
about how its process ended, so the state is unknown then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm_listener.monitor.liveness import LIVING
from fpm_listener.supervisor.process import ProcessSeen
from fpm_listener.vocabulary import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from fpm_listener.monitor.messages import Child
    from fpm_listener.monitor.process_monitor import ProcessMonitor
    from fpm_listener.supervisor.process import ProcessName
    from fpm_listener.values import Instant

#: Seconds by which supervisord may report RUNNING late: one pass of its poll.
_POLL_S = 1.5


def identify(
    now: Instant,
    children: tuple[Child, ...] | None,
    watched: Iterable[ProcessMonitor],
    startsecs: Mapping[ProcessName, float],
) -> Iterator[ProcessSeen]:
    """Yield how each process is; `children`: None = /proc cannot be read."""
    everyone = list(watched)
    found = _match(children or (), everyone)
    blind = children is None or len(found) < len(children)
    for one in everyone:
        child = found.get(one.name)
        if child is not None:
            yield _living(now, one, child, startsecs.get(one.name, 1.0))
        elif one.liveness.state in LIVING and blind and one.liveness.run.pid is None:
            continue  # it may be the child that could not be identified
        else:
            yield ProcessSeen(name=one.name, state=State.UNKNOWN, pid=None, started_at_s=None)


def _match(children: Iterable[Child], everyone: list[ProcessMonitor]) -> dict[ProcessName, Child]:
    """Return whose child is whose: by environment, by known pid, by php-fpm's configuration."""
    by_pid = {
        one.liveness.run.pid: one.name for one in everyone if one.liveness.run.pid is not None
    }
    found: dict[ProcessName, Child] = {}
    for child in children:
        name = child.name or by_pid.get(child.pid)
        if name is None:
            same = [one.name for one in everyone if _is_master(child.title, one.site.config)]
            name = same[0] if len(same) == 1 else None
        if name is not None:
            found[name] = child
    return found


def _is_master(title: str, config: str) -> bool:
    return bool(config) and title.startswith(f"php-fpm: master process ({config})")


def _living(now: Instant, one: ProcessMonitor, child: Child, startsecs: float) -> ProcessSeen:
    state = one.liveness.state
    age_s = None if child.started_at_s is None else now.wall_s - child.started_at_s
    is_young = age_s is not None and age_s < startsecs + _POLL_S
    same = one.liveness.run.pid in {None, child.pid}
    if state not in LIVING or not same or (state is State.STARTING and not is_young):
        state = State.STARTING if is_young else State.RUNNING
    return ProcessSeen(name=one.name, state=state, pid=child.pid, started_at_s=child.started_at_s)
