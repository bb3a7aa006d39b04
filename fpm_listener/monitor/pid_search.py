"""The pid of a process that starts: events contain it only from RUNNING on.

A start that fails never gets there, and its exit status is unknown without the pid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.monitor.wake_schedule import Schedule

if TYPE_CHECKING:
    from fpm_listener.supervisor.process import Child, ProcessName

#: Seconds after the event STARTING. supervisord has forked before, but the child may not be the
#: program yet. RUNNING comes after a second or later, with the pid.
_AT_S = (0.0, 0.001, 0.003, 0.008, 0.02, 0.05, 0.1, 0.25, 0.5)


class FindPid(NamedTuple):
    """Effect: look at the children of supervisord. The answer is StartsSeen."""

    process: ProcessName


class StartsSeen(NamedTuple):
    """Input: the children of supervisord, to find the pids of processes that start."""

    children: tuple[Child, ...]


class PidFound(NamedTuple):
    """Input of one process: its pid."""

    pid: int


class PidSearch(Schedule):
    """When to look for the pid of one process."""

    def begin(self, now_s: float) -> None:
        """Begin a search: a process starts."""
        self.plan(now_s, _AT_S)
