"""The processes of supervisord's children: for pids, and for states if XML-RPC is unavailable.

Law: a child that is found proves that its process exists. A child that is not found proves nothing
about the end of its process, so the state is unknown then.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from fpm_listener.host import fpm_titles
from fpm_listener.monitor.liveness import LIVING
from fpm_listener.monitor.pid_search import PidFound
from fpm_listener.supervisor.process import ProcessSeen
from fpm_listener.vocabulary import State

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from fpm_listener.monitor.process_monitor import ProcessMonitor
    from fpm_listener.supervisor.process import Child, ProcessName, Program
    from fpm_listener.values import Instant

#: Seconds by which supervisord may report RUNNING late: one pass of its poll.
_POLL_S = 1.5
#: Seconds since the start of a child whose STARTING comes: one pass, and a busy machine.
_YOUNG_S = 2.5


def identify(
    now: Instant,
    children: tuple[Child, ...] | None,
    processes: Collection[ProcessMonitor],
    programs: Mapping[ProcessName, Program],
) -> Iterator[ProcessSeen]:
    """Yield the state of each process; `children`: None = /proc cannot be read."""
    found = _match(children or (), processes, programs)
    is_blind = children is None or len(found) < len(children)
    for process in processes:
        child, liveness = found.get(process.name), process.liveness
        if child is not None:
            program = programs.get(process.name)
            yield _existing(now, process, child, program.startsecs if program else 1.0)
        elif liveness.state in LIVING and is_blind and liveness.run.pid is None:
            continue  # it may be the child that could not be identified
        else:
            yield ProcessSeen(name=process.name, state=State.UNKNOWN, pid=None, started_at_s=None)


def find_starting(
    now: Instant,
    children: tuple[Child, ...],
    processes: Collection[ProcessMonitor],
    programs: Mapping[ProcessName, Program],
) -> dict[ProcessName, PidFound]:
    """Return the pids that are not known yet. The event of such a start may still be on its way.

    A child that has run for longer belongs to another run: events that were late are read.
    """
    young = [
        one
        for one in children
        if one.started_at_s is None or now.wall_s - one.started_at_s < _YOUNG_S
    ]
    found = _match(young, processes, programs)
    pids = {process.name: process.liveness.run.pid for process in processes}
    return {
        name: PidFound(child.pid)
        for name, child in found.items()
        if name in pids and pids[name] != child.pid
    }


def _match(
    children: Iterable[Child],
    processes: Collection[ProcessMonitor],
    programs: Mapping[ProcessName, Program],
) -> dict[ProcessName, Child]:
    """Find the process of each child: by environment, by pid, by configuration, by command."""
    pids = {process.liveness.run.pid: process.name for process in processes}
    found: dict[ProcessName, Child] = {}
    for child in children:
        name = child.name or pids.get(child.pid)
        if name is None:
            same = [one.name for one in processes if _is_master(child.title, one.site.config)]
            same = same or [one.name for one in programs.values() if _runs(child.title, one)]
            name = same[0] if len(same) == 1 else None
        if name is not None:
            found[name] = child
    return found


def _is_master(title: str, config: str) -> bool:
    return bool(config) and fpm_titles.config_of(title) == config


def _runs(title: str, program: Program) -> bool:
    """Return whether a command line is that of a program, or of its interpreter with its script."""
    try:
        command = " ".join(shlex.split(program.command))
    except ValueError:
        return False
    before = title.removesuffix(command)
    return bool(command) and before != title and before[-1:] in {"", " ", "/"}


def _existing(now: Instant, process: ProcessMonitor, child: Child, startsecs: float) -> ProcessSeen:
    state, pid = process.liveness.state, process.liveness.run.pid
    age_s = None if child.started_at_s is None else now.wall_s - child.started_at_s
    is_young = age_s is not None and age_s < startsecs + _POLL_S
    is_late = state is State.STARTING and not is_young
    if state not in LIVING or pid not in {None, child.pid} or is_late:
        state = State.STARTING if is_young else State.RUNNING
    return ProcessSeen(
        name=process.name, state=state, pid=child.pid, started_at_s=child.started_at_s
    )
