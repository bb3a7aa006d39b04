"""A FastCGI request that stays open until it is answered, so that it can be told from clients."""

from __future__ import annotations

import os
import select
import socket
from typing import TYPE_CHECKING

from fpm_listener.host import addresses
from fpm_listener.host.addresses import UnusableAddress
from fpm_listener.phpfpm import fastcgi
from fpm_listener.phpfpm.fastcgi import NoAnswer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm_listener.host.listen_queue import ListenQueue
    from fpm_listener.host.timed_socket import TimedSocket
    from fpm_listener.phpfpm.fastcgi import Response


class OpenRequest:
    """A request that was sent. Who holds it must close it."""

    def __init__(self, connection: TimedSocket, path: str) -> None:
        self.path = path
        self._connection = connection
        self._reader = fastcgi.Reader()

    @property
    def has_answer(self) -> bool:
        """Return whether php-fpm has sent something, or has closed the connection."""
        poller = select.poll()
        poller.register(self._connection, select.POLLIN)
        return bool(poller.poll(0))

    def finish(self, deadline_s: float) -> Response | NoAnswer:
        """Return the answer; deadline_s: monotonic. Raises as `fastcgi.get`.

        After a silence it can be called again: nothing that was received is lost.
        """
        return fastcgi.finish(self._connection, deadline_s, self._reader)

    def waits_in(self, queue: ListenQueue) -> bool:
        """Return whether it is in the queue."""
        if not queue.clients:
            return False
        if self._connection.family == socket.AF_UNIX:
            return os.fstat(self._connection.fileno()).st_ino in queue.clients
        host, port, *_ = self._connection.getsockname()
        packed = addresses.packed(host)
        return packed is not None and any(
            isinstance(one, tuple) and one[1] == port and packed in one[0] for one in queue.clients
        )

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def send(
    address: str, path: str, query: str, deadline_s: float, more: Mapping[str, str] | None = None
) -> OpenRequest | NoAnswer:
    """Send a request; deadline_s: monotonic. Raises as `fastcgi.get`."""
    where = addresses.parse(address)
    if isinstance(where, UnusableAddress):
        return NoAnswer(f"nobody can connect to {address!r}: {where.why}", silent=False)
    connection = fastcgi.start(addresses.client_target(where), path, query, deadline_s, more)
    return connection if isinstance(connection, NoAnswer) else OpenRequest(connection, path)
