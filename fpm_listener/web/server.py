"""The HTTP server: metrics, health, status.

Laws:
1. No request is answered from anything but the latest snapshot.
2. A port that cannot be had does not stop the listener: it says so, tries again, and works on.
3. A secret that cannot be read opens nothing.

prometheus_client's WSGI application, which negotiates and compresses, is used as it is; its server
is not (connections.py).
"""

from __future__ import annotations

import gzip
import json
import logging
import re
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

from prometheus_client import make_wsgi_app

from fpm_listener.internal_errors import log_only
from fpm_listener.status import document as status_document
from fpm_listener.status import page
from fpm_listener.vocabulary import Where
from fpm_listener.web.access import Environ, Keys
from fpm_listener.web.connections import Certificate, Server
from fpm_listener.web.descriptors import PAUSE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prometheus_client import CollectorRegistry

    from fpm_listener.internal_errors import Caught
    from fpm_listener.settings.settings import WebSettings
    from fpm_listener.status.snapshot import Snapshot

log = logging.getLogger(__name__)

#: Seconds between two tries to have the port.
FIRST_RETRY_S, LAST_RETRY_S = 1.0, 60.0

#: Seconds between two looks at deadlines, and the longest time that `stop` takes.
_POLL_S = 0.5

#: The quickest: a page of 200 programs becomes an eighth of its size.
_GZIP_LEVEL = 1

_HEADERS = [
    ("Content-Security-Policy", page.POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-store"),
]

_REASONS = {
    200: "200 OK",
    401: "401 Unauthorized",
    403: "403 Forbidden",
    404: "404 Not Found",
    405: "405 Method Not Allowed",
    500: "500 Internal Server Error",
    503: "503 Service Unavailable",
}

_KINDS = {"/": "text/html; charset=utf-8", "/status.json": "application/json"}

_REFUSED = (
    "The host name {!r} is not allowed. If it is a name of this listener, write it into"
    " allowed_hosts or external_url in [fpm-listener], or require a password.\n"
)

_ODD_VERSION = re.compile(r"version\s*=(?!\s*\d{1,4}(\.\d{1,4}){0,3}\s*(;|$))", re.ASCII)

StartResponse = Any  # wsgiref's own type is only for type checkers


class Application:
    """The WSGI application."""

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        registry: CollectorRegistry,
        clock: Callable[[], float] = time.time,
        caught: Caught = log_only,
    ) -> None:
        """`caught`: told of an unexpected error of one request."""
        self._caught = caught
        self._snapshot = snapshot
        self._clock = clock
        self._metrics = make_wsgi_app(registry)
        self.keys: Keys | None = None
        #: Names in the Host header under which the page is served where there are no keys.
        self.allowed_hosts: frozenset[str] = frozenset()
        # What was made last of each path, of which snapshot, in which second: many may look.
        self._made: dict[str, tuple[Snapshot, int, bytes, bytes]] = {}

    def __call__(self, environ: Environ, start: StartResponse) -> Iterable[bytes]:
        """Answer one request; HEAD is GET without the body."""
        try:
            return self._route(environ, start)
        except Exception as error:  # noqa: BLE001 - one request must not end the listener
            self._caught(Where.WEB, error)
            return _answer(start, 500, "this is a mistake of the listener, its log says more\n")

    def _route(self, environ: Environ, start: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "/")
        if environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            return _answer(start, 405, "GET and HEAD only\n", [("Allow", "GET, HEAD")])
        head = environ["REQUEST_METHOD"] == "HEAD"
        if self.keys is not None and path != "/-/healthy" and not self.keys.fit(environ):
            challenge = [("WWW-Authenticate", self.keys.challenge)]
            return _answer(start, 401, "not without a password\n", challenge, head=head)
        if self.keys is None and path in _KINDS:
            # A page of somebody else's, whose name was rebound to our address, has its own name.
            host = environ.get("HTTP_HOST", "")
            if not is_allowed(host, self.allowed_hosts):
                return _answer(start, 403, _REFUSED.format(host[:100]), head=head)
        if path == "/metrics":
            return self._exposition(environ, start, head=head)
        return self._page(environ, start, head=head)

    def _exposition(
        self,
        environ: Environ,
        start: StartResponse,
        *,
        head: bool,
    ) -> Iterable[bytes]:
        started: list[tuple[str, list[tuple[str, str]]]] = []
        body = b"".join(
            self._metrics(
                {
                    **environ,
                    "REQUEST_METHOD": "GET",
                    "HTTP_ACCEPT": _usable(environ.get("HTTP_ACCEPT", "")),
                },
                lambda line, headers: started.append((line, headers)),
            ),
        )
        line, headers = started[0]
        # Said here: wsgiref would tell a HEAD that the length is 0.
        start(line, [*headers, ("Content-Length", str(len(body)))])
        return [] if head else [body]

    def _page(
        self,
        environ: Environ,
        start: StartResponse,
        *,
        head: bool,
    ) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "/")
        if path == "/-/healthy":
            return _answer(start, 200, "healthy\n", head=head)
        snapshot = self._snapshot()
        if path == "/-/ready":
            text = "ready\n" if snapshot.ready else "not ready yet\n"
            return _answer(start, 200 if snapshot.ready else 503, text, head=head)
        if path in _KINDS:
            body, packed = self._shown(path, snapshot)
            headers = [("Content-Type", _KINDS[path]), ("Vary", "Accept-Encoding")]
            if _takes_gzip(environ):
                body = packed
                headers.append(("Content-Encoding", "gzip"))
            return _answer(start, 200, body, headers, head=head)
        return _answer(start, 404, "not here; try /metrics\n", head=head)

    def _shown(self, path: str, snapshot: Snapshot) -> tuple[bytes, bytes]:
        """Return what is shown, and the same compressed; made once for all who look just now."""
        now_s = self._clock()
        of, second, body, packed = self._made.get(path, (None, 0, b"", b""))
        if of is not snapshot or second != int(now_s):
            document = status_document.to_json(snapshot, now_s)
            if path == "/":
                text = page.to_html(document)
            else:
                text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
            body = _bytes(text)
            packed = gzip.compress(body, _GZIP_LEVEL)
            self._made[path] = (snapshot, int(now_s), body, packed)
        return body, packed


def is_allowed(header: str, names: frozenset[str]) -> bool:
    """Return whether a Host header has an IP address or one of `names`; no browser sends none."""
    host = header.strip().lower()
    if not host:
        return True
    if host.startswith("["):
        return _is_ip(socket.AF_INET6, host[1:].partition("]")[0])
    host = host.partition(":")[0]
    return _is_ip(socket.AF_INET, host) or host.rstrip(".") in names


def _is_ip(family: socket.AddressFamily, text: str) -> bool:
    try:
        socket.inet_pton(family, text)
    except (OSError, ValueError):  # ValueError: a NUL, or not ASCII
        return False
    return True


def _usable(accept: str) -> str:
    """Return an Accept header without what has an odd version: prometheus_client raises on it."""
    return ",".join(one for one in accept.split(",") if not _ODD_VERSION.search(one))


def _takes_gzip(environ: Environ) -> bool:
    words = environ.get("HTTP_ACCEPT_ENCODING", "").replace(" ", "").lower().split(",")
    return bool({"gzip", "gzip;q=1.0", "gzip;q=1"} & {*words})


def _bytes(text: str) -> bytes:
    # Lone surrogates stand for bytes of a log line or command that are not UTF-8.
    return text.encode("utf-8", "replace")


def _answer(
    start: StartResponse,
    code: int,
    content: str | bytes,
    headers: list[tuple[str, str]] | None = None,
    *,
    head: bool = False,
) -> Iterable[bytes]:
    body = content if isinstance(content, bytes) else _bytes(content)
    headers = headers or []
    if not any(name == "Content-Type" for name, _ in headers):
        headers = [*headers, ("Content-Type", "text/plain; charset=utf-8")]
    start(_REASONS[code], [*headers, *_HEADERS, ("Content-Length", str(len(body)))])
    return [] if head else [body]


class WebServer:
    """The thread that has the port, or tries to have it."""

    def __init__(
        self,
        settings: WebSettings,
        snapshot: Callable[[], Snapshot],
        registry: CollectorRegistry,
        failed: Callable[[BaseException], None],
        caught: Caught = log_only,
    ) -> None:
        """`caught`: told of an unexpected error of one request or connection."""
        self._settings = settings
        self._application = Application(snapshot, registry, caught=caught)
        self._failed = failed
        self._caught = caught
        self._changed = threading.Event()
        self._stopped = False
        self._server: Server | None = None
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)

    def start(self) -> None:
        """Begin to serve, as soon as the port can be had."""
        self._thread.start()

    def rebind(self, settings: WebSettings) -> None:
        """Serve under other settings from now on."""
        self._settings = settings
        self._changed.set()

    def stop(self) -> None:
        """End; waits a moment for the thread."""
        self._stopped = True
        self._changed.set()
        if self._thread.is_alive():
            self._thread.join(2 * _POLL_S)

    @property
    def port(self) -> int | None:
        """Return the port that is served; None while there is none."""
        server = self._server
        return server.server_port if server is not None else None

    def _run(self) -> None:
        try:
            retry_s, said = FIRST_RETRY_S, None
            while True:
                # In this order: a word that comes meanwhile is heard at the next wait.
                self._changed.clear()
                settings = self._settings
                if self._stopped:
                    return
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

    def _bind(self, settings: WebSettings) -> Server:
        certificate = None
        if settings.cert_file is not None and settings.key_file is not None:
            certificate = Certificate(settings.cert_file, settings.key_file)
        self._application.keys = Keys(settings) if settings.needs_secret else None
        self._application.allowed_hosts = settings.allowed_hosts
        server = Server((settings.host, settings.port), certificate, self._caught)
        server.set_app(self._application)
        return server

    def _serve(self, server: Server) -> None:
        self._server = server
        server.timeout = _POLL_S
        try:
            while not self._changed.is_set():
                server.handle_request()
                server.service_actions()
                if server.exhausted:
                    server.exhausted = False
                    self._changed.wait(PAUSE_S)
        finally:
            self._server = None
            server.server_close()
