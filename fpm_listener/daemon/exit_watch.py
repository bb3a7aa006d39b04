"""Which watched processes have ended, told by the kernel at once (pidfd; no privilege is needed).

Laws:
1. Where the kernel or a sandbox has no pidfds, nothing is watched, and all else works as before.
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

#: Processes that are tried again.
_MOST_MISSED = 1000


def _can_be_seen() -> bool:
    """Return whether this kernel tells of deaths."""
    descriptor = procfs.open_pidfd(os.getpid())
    if descriptor is not None:
        os.close(descriptor)
    return descriptor is not None


class ExitWatch:
    """The processes that are watched. Owned by the daemon, waited for with its poll."""

    def __init__(self, poller: select.poll) -> None:
        self._poller = poller
        self.can_watch = _can_be_seen()  #: False = this kernel has no pidfds
        self._watched: dict[int, tuple[ProcessName, int]] = {}
        self._missed: dict[ProcessName, int] = {}  # no descriptor was left for them
        self._logged = False

    def watch(self, process: ProcessName, pid: int) -> bool:
        """Wait for the end of a process; False = it has ended already."""
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
                log.warning("no descriptor left to watch a process, trying again name=%s", process)
        return True

    def retry(self, watch: Callable[[tuple[ProcessName, int]], object]) -> None:
        """Call `watch` for each process for which no descriptor was left."""
        missed, self._missed = self._missed, {}
        for one in missed.items():
            watch(one)
        self._logged = bool(self._missed)

    def take(self, descriptor: int) -> tuple[ProcessName, int]:
        """Return which process has ended, and watch it no longer."""
        self._poller.unregister(descriptor)
        os.close(descriptor)
        return self._watched.pop(descriptor)

    def close(self) -> None:
        """Watch nothing any more."""
        for descriptor in list(self._watched):
            self.take(descriptor)
