"""Detects exits at once: the kernel reports them through pidfds, which need no privilege.

Laws:
1. If the kernel or a sandbox has no pidfds, nothing is watched, and the rest works as usual.
2. A process for which no descriptor is left is tried again later.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from fpm_listener.host import procfs

if TYPE_CHECKING:
    import select
    from collections.abc import Callable

    from fpm_listener.supervisor.process import ProcessName


log = logging.getLogger(__name__)

#: The most processes that are tried again.
_MOST_MISSED = 1000


def _has_pidfds() -> bool:
    """Return whether this kernel reports exits."""
    descriptor = procfs.open_pidfd(os.getpid())
    if descriptor is not None:
        os.close(descriptor)
    return descriptor is not None


class ExitWatch:
    """The watched processes. Owned by the daemon, whose poll waits for them."""

    def __init__(self, poller: select.poll) -> None:
        self._poller = poller
        self.can_watch = _has_pidfds()  #: False = this kernel has no pidfds
        self._watched: dict[int, tuple[ProcessName, int]] = {}
        self._missed: dict[ProcessName, int] = {}  # no descriptor was left for them
        self._logged = False

    def watch(self, process: ProcessName, pid: int) -> bool:
        """Watch a process; return False if it has exited already."""
        try:
            descriptor = procfs.open_pidfd(pid)
        except ProcessLookupError:
            return False
        if descriptor is not None:
            self._watched[descriptor] = (process, pid)
            self._poller.register(descriptor)
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

    def take(self, descriptor: int) -> tuple[ProcessName, int]:
        """Return the process that has exited, and stop watching it."""
        self._poller.unregister(descriptor)
        os.close(descriptor)
        return self._watched.pop(descriptor)

    def close(self) -> None:
        """Stop watching."""
        for descriptor in list(self._watched):
            self.take(descriptor)
