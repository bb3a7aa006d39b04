"""Which watched processes have ended, told by the kernel at once (pidfd; no privilege is needed).

Law: where the kernel or a sandbox has no pidfds, or no descriptor is left, nothing is watched, and
all else works as before.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fpm_listener import procfs

if TYPE_CHECKING:
    import select

    from fpm_listener.core.values import ProcessName


def can_be_seen() -> bool:
    """Return whether this kernel tells of deaths."""
    descriptor = procfs.open_pidfd(os.getpid())
    if descriptor is not None:
        os.close(descriptor)
    return descriptor is not None


class Deaths:
    """The processes that are watched. Owned by the daemon, waited for with its poll."""

    def __init__(self, poller: select.poll) -> None:
        self._poller = poller
        self._watched: dict[int, tuple[ProcessName, int]] = {}

    def watch(self, process: ProcessName, pid: int) -> bool:
        """Wait for the end of a process; False = it has ended already."""
        try:
            descriptor = procfs.open_pidfd(pid)
        except ProcessLookupError:
            return False
        if descriptor is not None:
            self._watched[descriptor] = (process, pid)
            self._poller.register(descriptor)
        return True

    def take(self, descriptor: int) -> tuple[ProcessName, int]:
        """Return which process has ended, and watch it no longer."""
        self._poller.unregister(descriptor)
        os.close(descriptor)
        return self._watched.pop(descriptor)

    def close(self) -> None:
        """Watch nothing any more."""
        for descriptor in list(self._watched):
            self.take(descriptor)
