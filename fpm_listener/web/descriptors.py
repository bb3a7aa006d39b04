"""Accepts connections when no file descriptor is left.

A listening socket stays readable while accept fails with EMFILE, so a loop that polls it would use
a whole processor. One descriptor is kept in reserve for this case. If the reserve is in use too,
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

#: Seconds to wait after accept failed because no descriptor is left.
PAUSE_S = 0.5


class Reserve:
    """One descriptor in reserve for the next connection. Only one thread uses it."""

    def __init__(self) -> None:
        self._descriptor: int | None = None
        self.refill()

    def accept(self, server: socket.socket) -> socket.socket:
        """Return the next connection, with the reserve if necessary. Raises OSError."""
        try:
            return server.accept()[0]
        except OSError as error:
            if self._descriptor is None or not is_exhausted(error):
                raise
        self.close()
        return server.accept()[0]

    def refill(self) -> None:
        """Open the reserve again if possible; call this after a connection was closed."""
        if self._descriptor is None:
            with contextlib.suppress(OSError):
                self._descriptor = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        """Close the reserve."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class AcceptPause:
    """Removes listening sockets from a poll for PAUSE_S when no descriptor is left."""

    def __init__(self, poller: select.poll) -> None:
        self._poller = poller
        self.ends_at_s: list[float] = []  #: monotonic; empty = there is no pause

    def begin(self, server: socket.socket) -> None:
        """Stop polling this socket for PAUSE_S."""
        self._poller.unregister(server)
        self.ends_at_s = [time.monotonic() + PAUSE_S]

    def end_if_over(self, servers: Sequence[socket.socket]) -> None:
        """Poll the sockets again after the pause."""
        if self.ends_at_s and self.ends_at_s[0] <= time.monotonic():
            self.ends_at_s = []
            for server in servers:
                self._poller.register(server, select.POLLIN)
