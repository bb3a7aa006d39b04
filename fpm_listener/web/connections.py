"""HTTP connections: few, with deadlines, and with TLS if there is a certificate.

Laws:
1. An idle or slow client cannot block others and cannot use up threads or memory: the number of
   connections, their time and the size of a request are limited. A new connection replaces an idle
   or slow one.
2. Nothing that a client sends is printed.
3. An unexpected error of one connection is reported. If no descriptor is left, connections wait in
   the kernel's queue, and the accept loop pauses.
4. A connection serves one request.

Why not prometheus_client's own server: with TLS one idle client blocks every scrape, because the
handshake is in its accept loop. It has no time-outs, no limit of threads, no HEAD and no 404
(measured with 0.26.0).
"""

from __future__ import annotations

import select
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

from fpm_listener.internal_errors import is_exhausted, log_only
from fpm_listener.vocabulary import Where
from fpm_listener.web import request_head

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from fpm_listener.internal_errors import Caught
    from fpm_listener.web.certificate import Certificate

    #: A WSGI application.
    Application = Callable[[dict[str, Any], Callable[..., None]], Iterable[bytes]]

#: Connections at once; seconds for one of them, from accept to the last byte.
CONNECTIONS, DEADLINE_S = 32, 10.0
#: Seconds from accept to the end of the request's head, with the TLS handshake.
HEAD_DEADLINE_S = 5.0
#: Seconds after which a new connection may replace one that is still being answered.
SLOW_S = 1.0

_REFUSALS = {
    400: "400 Bad Request",
    414: "414 URI Too Long",
    431: "431 Request Header Fields Too Large",
}


class Server:
    """A thread for each connection, few connections, each with a deadline."""

    def __init__(
        self,
        listening: socket.socket,
        certificate: Certificate | None,
        application: Application,
        caught: Caught = log_only,
    ) -> None:
        """`listening`: a socket that listens; the caller closes it.

        `caught`: is called with an unexpected error of one connection.
        """
        self._listening = listening
        self._poller = select.poll()
        self._poller.register(listening, select.POLLIN)
        self._certificate = certificate
        self._application = application
        self._caught = caught
        self.exhausted = False  #: the last accept failed because no descriptor is left
        self._guard = threading.Lock()
        # The start of each connection, and whether its request was received; oldest first.
        self._open: dict[socket.socket, tuple[float, bool]] = {}

    def serve_next(self, timeout_s: float | None) -> None:
        """Start a thread for the next connection, and close the connections that are too slow.

        timeout_s: wait so long for a connection; None = without end.
        """
        if self._poller.poll(None if timeout_s is None else timeout_s * 1000):
            self._accept()
        now_s = time.monotonic()
        with self._guard:
            for connection, (since, received) in list(self._open.items()):
                if now_s - since > (DEADLINE_S if received else HEAD_DEADLINE_S):
                    del self._open[connection]
                    _cut(connection)

    @property
    def has_connections(self) -> bool:
        """Return whether a connection is open."""
        return bool(self._open)

    def _accept(self) -> None:
        try:
            connection = self._listening.accept()[0]
        except OSError as error:
            if is_exhausted(error):
                self.exhausted = True
                self._caught(Where.WEB, error)
            return
        try:
            connection.settimeout(DEADLINE_S)
            if self._certificate is not None:
                connection = self._certificate.wrap(connection)
        except (OSError, ValueError):  # the client is gone already
            connection.close()
            return
        with self._guard:
            has_room = len(self._open) < CONNECTIONS or self._make_room()
            if has_room:
                self._open[connection] = (time.monotonic(), False)
        if not has_room:
            _close(connection)
            return
        try:
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()
        except RuntimeError as error:  # no thread is left
            self._caught(Where.WEB, error)
            self._forget(connection)

    def _make_room(self) -> bool:
        """Close the oldest idle connection, or the oldest slow one; return whether there was one.

        The caller holds the lock.
        """
        slow = time.monotonic() - SLOW_S
        idle = [one for one, (_, received) in self._open.items() if not received]
        candidates = idle or [one for one, (since, _) in self._open.items() if since < slow]
        if not candidates:
            return False
        del self._open[candidates[0]]
        _cut(candidates[0])
        return True

    def _serve(self, connection: socket.socket) -> None:
        """Answer one request; a client that closes its connection is no error."""
        try:
            self._exchange(connection)
        except Exception as error:  # noqa: BLE001 - law 3
            if not isinstance(error, OSError) or is_exhausted(error):
                self._caught(Where.WEB, error)
        finally:
            self._forget(connection)

    def _exchange(self, connection: socket.socket) -> None:
        try:
            environ = request_head.read(connection.recv)
        except request_head.RefusedError as refused:
            line = _REFUSALS[refused.args[0]]
            body = f"{line[4:]}\n".encode()
            headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))]
            connection.sendall(_head(line, headers) + body)
            return
        if environ is None:
            return
        with self._guard:
            if connection in self._open:
                self._open[connection] = (self._open[connection][0], True)
        heads: list[bytes] = []
        pieces = self._application(environ, lambda *given: heads.append(_head(*given)))
        connection.sendall(b"".join((*heads, *pieces)))

    def _forget(self, connection: socket.socket) -> None:
        with self._guard:
            self._open.pop(connection, None)
        _close(connection)


def _head(line: str, headers: Iterable[tuple[str, str]]) -> bytes:
    """Return the head of an answer. Its headers are our own texts."""
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())
    lines = [f"HTTP/1.0 {line}", f"Date: {date}", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join((*lines, "", "")).encode("latin-1")


def _close(connection: socket.socket) -> None:
    """Close a connection; the other side can still read the answer."""
    try:
        connection.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # the other side was faster
    finally:
        connection.close()


def _cut(connection: socket.socket) -> None:
    """End a connection that another thread may wait for."""
    try:
        # On the plain socket: TLS would send a closing message.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
    except OSError:
        return
