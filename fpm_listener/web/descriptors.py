"""Accepts connections when no file descriptor is left.

A listening socket stays readable while accept fails with EMFILE, so a loop that polls it would use
all of a processor. One descriptor is kept in reserve for that moment; where it is in use as well,
the caller waits PAUSE_S before it tries again.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from typing import TYPE_CHECKING

from fpm_listener.internal_errors import is_exhausted

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

#: Seconds to wait after accept failed because nothing is left.
PAUSE_S = 0.5


class Reserve:
    """One descriptor that is kept open for the next connection. Used by one thread."""

    def __init__(self) -> None:
        self._descriptor: int | None = None
        self.refill()

    def accept(self, server: socket.socket) -> socket.socket:
        """Return the next connection, on the reserve if nothing else is left. Raises OSError."""
        try:
            return server.accept()[0]
        except OSError as error:
            if self._descriptor is None or not is_exhausted(error):
                raise
        self.close()
        return server.accept()[0]

    def refill(self) -> None:
        """Keep a descriptor again, if there is one; to be called when a connection was closed."""
        if self._descriptor is None:
            with contextlib.suppress(OSError):
                self._descriptor = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        """Keep none."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class AcceptPause:
    """Takes listening sockets out of a poll for PAUSE_S, while no descriptor is left."""

    def __init__(self, poller: select.poll) -> None:
        self._poller = poller
        self.ends_at_s: list[float] = []  #: monotonic; empty = there is no pause

    def begin(self, server: socket.socket) -> None:
        """Do not poll this socket for a while."""
        self._poller.unregister(server)
        self.ends_at_s = [time.monotonic() + PAUSE_S]

    def end_if_over(self, servers: Sequence[socket.socket]) -> None:
        """Poll the sockets again once the pause is over."""
        if self.ends_at_s and self.ends_at_s[0] <= time.monotonic():
            self.ends_at_s = []
            for server in servers:
                self._poller.register(server, select.POLLIN)
