"""The HTTP server: metrics, health, status.

Laws:
1. Idle or slow clients can neither block a scrape nor pile up threads: a connection has a total
   deadline, there are few of them, and one that says nothing makes room for the next.
2. No request is answered from anything but the latest snapshot.
3. A port that cannot be had does not stop the listener: it says so, tries again, and works on.
4. A secret that cannot be read opens nothing.

Why not prometheus_client's own server: one idle client blocks every scrape where it serves TLS, as
the handshake is in its accept loop; it has no time-outs, no limit of threads, no HEAD, no 404
(measured with 0.26.0). Its WSGI application, which negotiates and compresses, is used as it is.
"""

from __future__ import annotations

import base64
import hmac
import json
import logging
import os
import socket
import socketserver
import ssl
import threading
import time
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import make_wsgi_app

from fpm_listener import status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from prometheus_client import CollectorRegistry

    from fpm_listener.core.snapshot import Snapshot
    from fpm_listener.settings import WebSettings

log = logging.getLogger(__name__)

#: Connections at once, and seconds for one of them, from accept to the last byte.
CONNECTIONS, DEADLINE_S = 32, 10.0
#: Seconds between two tries to have the port.
FIRST_RETRY_S, LAST_RETRY_S = 1.0, 60.0
#: Seconds between two looks at deadlines, and the longest time that `stop` takes.
_POLL_S = 0.5

_HEADERS = [
    ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-store"),
]
_REASONS = {
    200: "200 OK",
    401: "401 Unauthorized",
    404: "404 Not Found",
    405: "405 Method Not Allowed",
    503: "503 Service Unavailable",
}

StartResponse = Any  # wsgiref's own type is only for type checkers
Environ = dict[str, Any]


class Application:
    """The WSGI application."""

    def __init__(self, snapshot: Callable[[], Snapshot], registry: CollectorRegistry) -> None:
        self._snapshot = snapshot
        self._metrics = make_wsgi_app(registry)
        self.keys: Keys | None = None

    def __call__(self, environ: Environ, start: StartResponse) -> Iterable[bytes]:
        """Answer one request; HEAD is GET without the body."""
        path = environ.get("PATH_INFO", "/")
        if environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            return _answer(start, 405, "GET and HEAD only\n", [("Allow", "GET, HEAD")])
        head = environ["REQUEST_METHOD"] == "HEAD"
        if self.keys is not None and path != "/-/healthy" and not self.keys.fit(environ):
            challenge = [("WWW-Authenticate", self.keys.challenge)]
            return _answer(start, 401, "not without a password\n", challenge, head=head)
        if path == "/metrics":
            body = self._metrics({**environ, "REQUEST_METHOD": "GET"}, start)
            return [] if head else body
        return self._page(path, start, head=head)

    def _page(self, path: str, start: StartResponse, *, head: bool) -> Iterable[bytes]:
        if path == "/-/healthy":
            return _answer(start, 200, "healthy\n", head=head)
        snapshot = self._snapshot()
        if path == "/-/ready":
            text = "ready\n" if snapshot.ready else "not ready yet\n"
            return _answer(start, 200 if snapshot.ready else 503, text, head=head)
        if path in {"/", "/status.json"}:
            document = status.to_json(snapshot, time.time())
            if path == "/":
                text, kind = status.to_html(document), "text/html; charset=utf-8"
            else:
                text, kind = json.dumps(document, indent=2) + "\n", "application/json"
            return _answer(start, 200, text, [("Content-Type", kind)], head=head)
        return _answer(start, 404, "not here; try /metrics\n", head=head)


def _answer(
    start: StartResponse,
    code: int,
    text: str,
    headers: list[tuple[str, str]] | None = None,
    *,
    head: bool = False,
) -> Iterable[bytes]:
    body = text.encode()
    headers = headers or []
    if not any(name == "Content-Type" for name, _ in headers):
        headers = [*headers, ("Content-Type", "text/plain; charset=utf-8")]
    start(_REASONS[code], [*headers, *_HEADERS, ("Content-Length", str(len(body)))])
    return [] if head else [body]


class Keys:
    """What a client must know; the files are read again when they change."""

    def __init__(self, settings: WebSettings) -> None:
        self._settings = settings
        self._said = False
        self.challenge = 'Bearer realm="fpm-listener"'
        if settings.username:
            self.challenge = 'Basic realm="fpm-listener"'

    def fit(self, environ: Environ) -> bool:
        """Return whether the request may pass; never where a secret cannot be read."""
        given = environ.get("HTTP_AUTHORIZATION", "").encode("utf-8", "replace")
        try:
            wanted = self._wanted()
        except OSError as error:
            if not self._said:
                self._said = True
                log.error("secret file cannot be read, nobody is let in why=%r", error.strerror)  # noqa: TRY400
            return False
        self._said = False
        return any([hmac.compare_digest(given, one) for one in wanted])  # noqa: C419 - all compared

    def _wanted(self) -> list[bytes]:
        wanted = []
        if self._settings.token_file is not None:
            wanted.append(b"Bearer " + _secret(self._settings.token_file))
        if self._settings.password_file is not None:
            pair = (self._settings.username or "").encode() + b":"
            word = base64.b64encode(pair + _secret(self._settings.password_file))
            wanted.append(b"Basic " + word)
        return wanted


def _secret(path: Path) -> bytes:
    secret = path.read_bytes().strip()
    if not secret:
        raise OSError(0, "the file is empty")
    return secret


class _Handler(WSGIRequestHandler):
    server: _Server

    def parse_request(self) -> bool:
        good = super().parse_request()
        self.server.heard(self.connection)
        return good

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing: scrapes are no news, and a client's text is not ours to print."""


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    """A thread for each connection, few connections, each with a deadline."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], certificate: Certificate | None) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._certificate = certificate
        self._guard = threading.Lock()
        # When each connection came, and whether it has said what it wants; oldest first.
        self._open: dict[socket.socket, tuple[float, bool]] = {}
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Bind without asking a resolver for our own name, which can take half a minute."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "fpm-listener", self.server_address[1]
        self.setup_environ()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = self.socket.accept()
        connection.settimeout(DEADLINE_S)
        if self._certificate is not None:
            try:
                connection = self._certificate.wrap(connection)
            except (OSError, ValueError) as error:
                connection.close()
                raise OSError from error
        return connection, address

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        with self._guard:
            if len(self._open) >= CONNECTIONS:
                idle = (one for one, (_, heard) in self._open.items() if not heard)
                victim = next(idle, request)
                self._open.pop(victim, None)
                _cut(victim)
            self._open[request] = (time.monotonic(), False)
        super().process_request(request, client_address)

    def heard(self, request: socket.socket) -> None:
        """Know that a connection has said what it wants."""
        with self._guard:
            if request in self._open:
                self._open[request] = (self._open[request][0], True)

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401 - as the base class has it
        with self._guard:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """End connections that are older than their deadline."""
        late = time.monotonic() - DEADLINE_S
        with self._guard:
            for request in [one for one, (since, _) in self._open.items() if since < late]:
                del self._open[request]
                _cut(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a client that broke off; that is its own matter."""


def _cut(connection: socket.socket) -> None:
    """End a connection that another thread may be waiting for."""
    try:
        # Of the plain socket: TLS would want to say goodbye.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
    except OSError:
        return


class Certificate:
    """Certificate and key, loaded again when the files change."""

    def __init__(self, cert_file: Path, key_file: Path) -> None:
        self._files = (cert_file, key_file)
        self._stamp: tuple[int, ...] = ()
        self._context: ssl.SSLContext | None = None
        self._load()

    def wrap(self, connection: socket.socket) -> socket.socket:
        """Return the connection with TLS; the handshake comes with the first read."""
        stamp = self._stamps()
        if stamp != self._stamp:
            try:
                self._load()
            except (OSError, ValueError) as error:
                self._stamp = stamp
                log.warning("new certificate cannot be used, the old one stays why=%r", str(error))
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
        context.load_cert_chain(*self._files)
        self._context, self._stamp = context, stamp

    def _stamps(self) -> tuple[int, ...]:
        try:
            return tuple(os.stat(path).st_mtime_ns for path in self._files)  # noqa: PTH116 - plain
        except OSError:
            return ()


class WebServer:
    """The thread that has the port, or tries to have it."""

    def __init__(
        self,
        settings: WebSettings,
        snapshot: Callable[[], Snapshot],
        registry: CollectorRegistry,
        failed: Callable[[BaseException], None],
    ) -> None:
        self._settings = settings
        self._application = Application(snapshot, registry)
        self._failed = failed
        self._changed = threading.Event()
        self._stopped = False
        self._server: _Server | None = None
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)

    def start(self) -> None:
        """Begin to serve, as soon as the port can be had."""
        self._thread.start()

    def rebind(self, settings: WebSettings) -> None:
        """Serve under other settings from now on."""
        self._settings = settings
        self._end_serving()

    def stop(self) -> None:
        """End; waits a moment for the thread."""
        self._stopped = True
        self._end_serving()
        self._thread.join(2 * _POLL_S)

    def _end_serving(self) -> None:
        self._changed.set()
        if self._server is not None:
            threading.Thread(target=self._server.shutdown, daemon=True).start()

    @property
    def port(self) -> int | None:
        """Return the port that is served; None while there is none."""
        return self._server.server_port if self._server is not None else None

    def _run(self) -> None:
        try:
            retry_s, said = FIRST_RETRY_S, None
            while not self._stopped:
                self._changed.clear()
                settings = self._settings
                try:
                    server = self._bind(settings)
                except (OSError, ValueError) as error:
                    why = getattr(error, "strerror", None) or str(error)
                    if why != said:
                        said = why
                        log.warning(
                            "metrics cannot be served, trying again address=%s:%s why=%r",
                            settings.host,
                            settings.port,
                            why,
                        )
                    if self._changed.wait(retry_s):
                        retry_s = FIRST_RETRY_S
                    else:
                        retry_s = min(retry_s * 2, LAST_RETRY_S)
                    continue
                retry_s, said = FIRST_RETRY_S, None
                log.info("metrics are served address=%s:%s", settings.host, server.server_port)
                self._serve(server)
        except BaseException as error:  # noqa: BLE001 - half-dead is worse than dead
            self._failed(error)

    def _bind(self, settings: WebSettings) -> _Server:
        certificate = None
        if settings.cert_file is not None and settings.key_file is not None:
            certificate = Certificate(settings.cert_file, settings.key_file)
        locked = settings.password_file is not None or settings.token_file is not None
        self._application.keys = Keys(settings) if locked else None
        server = _Server((settings.host, settings.port), certificate)
        server.set_app(self._application)
        return server

    def _serve(self, server: _Server) -> None:
        self._server = server
        try:
            if not self._changed.is_set():
                server.serve_forever(_POLL_S)
        finally:
            self._server = None
            server.server_close()
