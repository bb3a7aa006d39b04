"""A small HTTP(S) server on loopback with given answers, faults included."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.waiting import wait_until

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

#: Seconds that a test waits for what has to come; generous, since machines are busy.
PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A complete request."""

    method: str
    path: str
    headers: Mapping[str, str]  #: names in lower case
    body: bytes
    at_s: float  #: monotonic seconds

    @property
    def json(self) -> Any:  # noqa: ANN401 - it is what the body is
        """Return the body, parsed."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Connection:
    """What an answer can use: the socket, and whether the server is closing."""

    socket: socket.socket
    closing: threading.Event


Answer = Callable[[Connection], None]


def status(code: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Answer:
    """Answer with a status, headers and a body."""

    def answer(to: Connection) -> None:
        lines = [f"HTTP/1.1 {code} Status", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        to.socket.sendall("\r\n".join([*lines, "", ""]).encode() + body)

    return answer


def redirect(url: str) -> Answer:
    """Redirect to another URL."""
    return status(302, {"Location": url})


def hang(to: Connection) -> None:
    """Send no answer, and keep the connection open."""
    to.closing.wait()


def drip_headers(to: Connection) -> None:
    """Send a header byte by byte, without an end."""
    _drip(to, b"HTTP/1.1 200 OK\r\nX-Endless: ")


def drip_body(to: Connection) -> None:
    """Send a body byte by byte, without an end."""
    _drip(to, b"HTTP/1.1 200 OK\r\n\r\n")


def drip_status(to: Connection) -> None:
    """Send spaces, and never a status line."""
    _drip(to, b"")


def big_body(to: Connection) -> None:
    """Send status 200 and 10 MiB."""
    to.socket.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10485760\r\n\r\n")
    for _ in range(160):
        to.socket.sendall(b"x" * 65536)


def reset(to: Connection) -> None:
    """Answer with a TCP reset."""
    to.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def garbage(to: Connection) -> None:
    """Send bytes that are not HTTP."""
    to.socket.sendall(b"220 mail.example ESMTP ready\r\n\r\n")


def bad_headers(to: Connection) -> None:
    """Send status 200 and a header that makes urllib3 log a warning with the URL."""
    to.socket.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n : no name\r\nnonsense\r\n\r\n")


def silent_close(to: Connection) -> None:
    """Close the connection without an answer."""
    to.socket.shutdown(socket.SHUT_RDWR)


def _drip(to: Connection, first: bytes) -> None:
    to.socket.sendall(first)
    while not to.closing.wait(0.02):
        to.socket.sendall(b" ")


class ReceiverServer:
    """The server; it answers 200 after `script` is used up. A context manager.

    tls: with it, the server speaks HTTPS. host: its name in `url`.
    """

    def __init__(
        self,
        *script: Answer,
        tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self.script: list[Answer] = list(script)
        self.otherwise: Answer = status(200)
        self._tls = tls
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []
        self._listening = socket.create_server(("127.0.0.1", port), backlog=128)
        self.port = self._listening.getsockname()[1]
        self.url = f"http{'s' if tls else ''}://{host}:{self.port}/hook/s3cret-path?token=t0ken"

    def __enter__(self) -> ReceiverServer:  # noqa: PYI034 - typing has Self from 3.11 on
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for thread in self._threads:
            thread.join(PATIENCE_S)

    def wait_for(self, count: int, patience_s: float = PATIENCE_S) -> list[Request]:
        """Wait for `count` requests; return them."""
        wait_until(
            lambda: len(self.requests) >= count,
            f"{count} requests (there are {len(self.requests)})",
            deadline_s=patience_s,
        )
        return list(self.requests)

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError):  # the other side may give up at any time
            connection.settimeout(PATIENCE_S)
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection:
                request = _read_request(connection)
                if request is None:
                    return
                answer = self.script.pop(0) if self.script else self.otherwise
                self.requests.append(request)
                answer(Connection(connection, self._closing))
                if answer is not reset:
                    _linger(connection)
        connection.close()


def _linger(connection: socket.socket) -> None:
    """Let the client close first; otherwise it gets a reset while it reads."""
    connection.shutdown(socket.SHUT_WR)
    connection.settimeout(1.0)
    while connection.recv(65536):
        pass


def _read_request(connection: socket.socket) -> Request | None:
    text = b""
    while b"\r\n\r\n" not in text:
        chunk = connection.recv(65536)
        if not chunk:
            return None
        text += chunk
    head, _, body = text.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    while len(body) < int(headers.get("content-length", "0")):
        chunk = connection.recv(65536)
        if not chunk:
            return None
        body += chunk
    method, path, _ = first.split(" ", 2)
    return Request(method=method, path=path, headers=headers, body=body, at_s=time.monotonic())
