"""Detects exits at once, and reads how a process ended: both need no privilege and no server.

A pidfd tells that a process has exited. While it is a zombie, /proc has its wait status. After
supervisord has reaped it, the pidfd has it (Linux 6.15).

Laws:
1. If the kernel or a sandbox has no pidfds, nothing is watched, and the rest works as usual.
2. A process for which no descriptor is left is tried again later. At most half of the descriptors
   are used.
3. A wait status counts only if the process is proven: a child of our supervisord, with its start.
4. An exit is reported as soon as it is seen. If its status is not known yet, it is reported again
   before the engine gets the event of supervisord.
"""

from __future__ import annotations

import logging
import os
import resource
import select
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.daemon import supervisor_children
from fpm_listener.host import pidfd_info, procfs, zombie_status
from fpm_listener.monitor.messages import ProcessExited
from fpm_listener.supervisor.exit_log import ExitReason

if TYPE_CHECKING:
    from collections.abc import Callable

    from fpm_listener.supervisor.process import ProcessName


log = logging.getLogger(__name__)

#: The most processes that are tried again.
_MOST_MISSED = 1000


class _Watched(NamedTuple):
    """A process with a pidfd."""

    process: ProcessName
    pid: int
    started: int | None  #: ticks since boot; None = not proven to be this process


def _has_pidfds() -> bool:
    """Return whether this kernel reports exits."""
    descriptor = procfs.open_pidfd(os.getpid())
    if descriptor is not None:
        os.close(descriptor)
    return descriptor is not None


class ExitWatch:
    """The watched processes. Owned by the daemon, whose poll waits for them."""

    def __init__(self, poller: select.poll, supervisord: int | None = None) -> None:
        """`supervisord`: its pid; None = the one that has started us."""
        self._poller = poller
        self.can_watch = _has_pidfds()  #: False = this kernel has no pidfds
        parent = supervisor_children.parent()
        self._supervisord = supervisord or (parent.pid if parent else os.getppid())
        self._most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2
        self._watched: dict[int, _Watched] = {}  # by descriptor
        self._own = select.poll()  # of them
        self._exited: dict[int, _Watched] = {}  # status not known yet
        self._settled: list[ProcessExited] = []  # not reported yet
        self._missed: dict[ProcessName, int] = {}  # no descriptor was left for them
        self._logged = False

    def watch(self, process: ProcessName, pid: int) -> bool:
        """Watch a process; return False if it has exited already."""
        for one in (*self._watched.values(), *self._exited.values()):
            if (one.process, one.pid) == (process, pid):
                return True
        is_full = len(self._watched) + len(self._exited) >= self._most
        try:
            descriptor = None if is_full else procfs.open_pidfd(pid)
        except ProcessLookupError:
            return False
        if descriptor is not None:
            self._settle(process)
            stat = procfs.read_stat(pid)  # after the pidfd: it is the process of the pidfd
            is_proven = stat is not None and supervisor_children.is_child(
                stat, process, self._supervisord
            )
            started = stat.started if stat is not None and is_proven else None
            self._watched[descriptor] = _Watched(process, pid, started)
            for poller in (self._poller, self._own):
                poller.register(descriptor, select.POLLIN)
        elif self.can_watch and len(self._missed) < _MOST_MISSED:
            self._missed[process] = pid
            if not self._logged:
                self._logged = True
                log.warning("no file descriptor left to watch a process program=%s", process)
        return True

    def retry(self, watch: Callable[[tuple[ProcessName, int]], object]) -> None:
        """Call `watch` for each process for which no descriptor was left."""
        missed, self._missed = self._missed, {}
        for one in missed.items():
            watch(one)
        self._logged = bool(self._missed)

    def take(self) -> list[ProcessExited]:
        """Return what is new about the processes that have exited."""
        found, self._settled = self._settled, []
        for descriptor, watched in list(self._exited.items()):
            reason = self._reason(descriptor, watched)
            if reason is not None:
                found.append(ProcessExited(watched.process, watched.pid, reason))
        for descriptor, _ in self._own.poll(0):
            watched = self._watched.pop(descriptor)
            for poller in (self._poller, self._own):
                poller.unregister(descriptor)
            self._exited[descriptor] = watched
            reason = self._reason(descriptor, watched)
            found.append(ProcessExited(watched.process, watched.pid, reason))
        return found

    def _reason(self, descriptor: int, watched: _Watched) -> ExitReason | None:
        """Return how a process ended; None = unknown, or not known yet."""
        if watched.started is None:
            self._close(descriptor)
            return None
        status: int | pidfd_info.Missing | None
        status = zombie_status.wait_status(watched.pid, watched.started)
        if status is None:
            status = pidfd_info.wait_status(descriptor)
        if status is pidfd_info.Missing.NOT_REAPED:
            return None
        self._close(descriptor)
        if isinstance(status, pidfd_info.Missing):
            return None
        if os.WIFSIGNALED(status):
            return ExitReason(signal=os.WTERMSIG(status))
        return ExitReason(status=os.WEXITSTATUS(status)) if os.WIFEXITED(status) else None

    def _settle(self, process: ProcessName) -> None:
        """Ask for the last time about earlier runs: supervisord has started the next one."""
        for descriptor, one in list(self._exited.items()):
            if one.process == process:
                reason = self._reason(descriptor, one)
                self._settled.append(ProcessExited(process, one.pid, reason))
                if descriptor in self._exited:
                    self._close(descriptor)

    def _close(self, descriptor: int) -> None:
        del self._exited[descriptor]
        os.close(descriptor)

    def close(self) -> None:
        """Stop watching."""
        for descriptor in (*self._watched, *self._exited):
            os.close(descriptor)
        self._watched.clear()
        self._exited.clear()
