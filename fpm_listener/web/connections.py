"""HTTP connections: few, with deadlines, and with TLS if there is a certificate.

Laws:
1. An idle or slow client cannot block others and cannot use up threads or memory: the number of
   connections, their time and the size of a request are limited. A new connection replaces an idle
   or slow one.
2. Nothing that a client sends is printed.
3. An unexpected error of one connection is reported. If no descriptor is left, connections wait in
   the kernel's queue, and the accept loop pauses.

Why not prometheus_client's own server: with TLS one idle client blocks every scrape, because the
handshake is in its accept loop. It has no time-outs, no limit of threads, no HEAD and no 404
(measured with 0.26.0).
"""

from __future__ import annotations

import io
import logging
import os
import socket
import socketserver
import ssl
import sys
import threading
import time
from http import HTTPStatus
from http.client import LineTooLong
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from fpm_listener import regular_file
from fpm_listener.internal_errors import is_exhausted, log_only
from fpm_listener.vocabulary import Where

if TYPE_CHECKING:
    from pathlib import Path

    from fpm_listener.internal_errors import Caught

log = logging.getLogger(__name__)

#: Connections at once; seconds for one of them, from accept to the last byte.
CONNECTIONS, DEADLINE_S = 32, 10.0
#: Seconds from accept to the end of the request's head (with the TLS handshake), and its size; the
#: library alone accepts 100 lines of 64 KiB.
HEAD_DEADLINE_S, HEAD_BYTES = 5.0, 16 << 10
#: Seconds after which a new connection may replace one that is still being answered.
SLOW_S = 1.0


class _Head(io.BufferedReader):
    """The head of a request, at most HEAD_BYTES of it."""

    _left = HEAD_BYTES

    def readline(self, size: int | None = -1, /) -> bytes:
        """Return the next line; raises LineTooLong, which http.server answers with 431."""
        wanted = self._left + 1 if size is None or size < 0 else min(size, self._left + 1)
        line = super().readline(wanted)
        self._left -= len(line)
        if self._left < 0:
            raise LineTooLong("request")
        return line


class _Handler(WSGIRequestHandler):
    server: Server
    rbufsize = 0  # _Head has the buffer

    def setup(self) -> None:
        super().setup()
        self.rfile = _Head(self.rfile)  # raw, since rbufsize is 0

    def handle(self) -> None:
        """Answer one request; http.server does not handle a first line that is too long."""
        try:
            super().handle()
        except LineTooLong:
            self.command = self.requestline = self.request_version = ""
            self.send_error(HTTPStatus.REQUEST_URI_TOO_LONG)

    def parse_request(self) -> bool:
        good = super().parse_request()
        self.server.request_received(self.connection)
        return good

    def get_stderr(self) -> io.StringIO:
        """Return a buffer that drops wsgiref's tracebacks about closed connections.

        The application logs its own errors.
        """
        return io.StringIO()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Log nothing: scrapes are frequent, and a client's text is untrusted."""


class Server(socketserver.ThreadingMixIn, WSGIServer):
    """A thread for each connection, few connections, each with a deadline."""

    daemon_threads = True
    block_on_close = False

    def __init__(
        self,
        listening: socket.socket,
        certificate: Certificate | None,
        caught: Caught = log_only,
    ) -> None:
        """`listening`: a socket that listens; `server_close` closes it.

        `caught`: is called with an unexpected error of one connection.
        """
        self._caught = caught
        self.exhausted = False  #: the last accept failed because no descriptor is left
        self._certificate = certificate
        self._guard = threading.Lock()
        # The start of each connection, and whether its request was received; oldest first.
        self._open: dict[socket.socket, tuple[float, bool]] = {}
        address = listening.getsockname()
        super().__init__(address, _Handler, bind_and_activate=False)
        self.socket.close()  # the base class made it
        self.socket = listening
        # No lookup of the own host name, which can take half a minute.
        self.server_name, self.server_port = "fpm-listener", address[1]
        self.setup_environ()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Return the next connection, before its TLS handshake."""
        try:
            connection, address = self.socket.accept()
        except OSError as error:
            if is_exhausted(error):
                self.exhausted = True
                self._caught(Where.WEB, error)
            raise
        connection.settimeout(DEADLINE_S)
        if self._certificate is not None:
            try:
                connection = self._certificate.wrap(connection)
            except (OSError, ValueError) as error:
                connection.close()
                raise OSError from error
        return connection, address

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - the same
        """Start a thread for the connection, or close it if there are too many."""
        with self._guard:
            has_room = len(self._open) < CONNECTIONS or self._make_room()
            if has_room:
                self._open[request] = (time.monotonic(), False)
        if has_room:
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

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

    @property
    def has_connections(self) -> bool:
        """Return whether a connection is open."""
        return bool(self._open)

    def request_received(self, request: socket.socket) -> None:
        """Note that the request of a connection was received."""
        with self._guard:
            if request in self._open:
                self._open[request] = (self._open[request][0], True)

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401 - as the base class has it
        """Close the connection."""
        with self._guard:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Close the connections whose deadline has passed."""
        now_s = time.monotonic()
        with self._guard:
            for request, (since, received) in list(self._open.items()):
                if now_s - since > (DEADLINE_S if received else HEAD_DEADLINE_S):
                    del self._open[request]
                    _cut(request)

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002 - as the base class has it
        """Ignore a client that closed its connection; report other errors."""
        error = sys.exc_info()[1]
        is_closed = isinstance(error, OSError | ValueError)  # ValueError: its file is closed
        if isinstance(error, Exception) and (not is_closed or is_exhausted(error)):
            self._caught(Where.WEB, error)


def _cut(connection: socket.socket) -> None:
    """Close a connection that another thread may wait for."""
    try:
        # On the plain socket: TLS would send a closing message.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
    except OSError:
        return


class Certificate:
    """Certificate and key, which are loaded again when their files change."""

    def __init__(self, cert_file: Path, key_file: Path) -> None:
        self._files = (cert_file, key_file)
        self._stamp: tuple[int, ...] = ()
        self._context: ssl.SSLContext | None = None
        self._load()

    def wrap(self, connection: socket.socket) -> socket.socket:
        """Return the connection with TLS; the first read does the handshake."""
        stamp = self._stamps()
        if stamp != self._stamp:
            try:
                self._load()
            except OSError as error:
                self._stamp = stamp
                log.warning(
                    "loading the new certificate failed, keeping the old one error=%r",
                    error.strerror,
                )
        if self._context is None:
            raise OSError(0, "no certificate")
        return self._context.wrap_socket(
            connection,
            server_side=True,
            do_handshake_on_connect=False,
        )

    def _load(self) -> None:
        stamp = self._stamps()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            for path in self._files:  # OpenSSL would block on a FIFO
                regular_file.read(path, regular_file.LONGEST_CERTIFICATE)
            context.load_cert_chain(*self._files, password=_no_passphrase)
        except (OSError, ValueError) as error:
            # The errors of OpenSSL contain no file name.
            files = ", ".join(str(path) for path in self._files)
            why = getattr(error, "strerror", None) or str(error)
            raise OSError(0, f"{files}: {why}") from error
        self._context, self._stamp = context, stamp

    def _stamps(self) -> tuple[int, ...]:
        try:
            return tuple(os.stat(path).st_mtime_ns for path in self._files)  # noqa: PTH116 - plain
        except OSError:
            return ()


def _no_passphrase() -> str:
    """Stop OpenSSL from asking on the terminal or on fd 0, where supervisord sends its events."""
    raise ValueError("the key has a passphrase; use a key without a passphrase")
