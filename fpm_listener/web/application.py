"""The WSGI application: metrics, health, status.

Laws:
1. Every answer comes from the latest snapshot only. `/-/healthy/programs` also looks at the pools,
   on the thread of its request.
2. An unexpected error of one request does not end the listener.

prometheus_client's WSGI application serves /metrics: it negotiates formats and compresses.
The first scrape loads it, and the first look at the page loads the page: without them they would
only cost memory.
"""

from __future__ import annotations

import gzip
import json
import re
import socket
import time
from typing import TYPE_CHECKING, Any

from fpm_listener.host import spare_descriptors
from fpm_listener.internal_errors import log_only
from fpm_listener.status import document as status_document
from fpm_listener.vocabulary import Where

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import ModuleType

    from prometheus_client import CollectorRegistry

    from fpm_listener.internal_errors import Caught
    from fpm_listener.status.health_report import Report
    from fpm_listener.status.snapshot import Snapshot
    from fpm_listener.web.access import Credentials, Environ

#: The fastest level: it reduces a page of 200 programs to an eighth of its size.
_GZIP_LEVEL = 1

#: Headers of an answer that does not have its own.
_HEADERS = {
    "Content-Type": "text/plain; charset=utf-8",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

_REASONS = {
    200: "200 OK",
    401: "401 Unauthorized",
    403: "403 Forbidden",
    404: "404 Not Found",
    405: "405 Method Not Allowed",
    500: "500 Internal Server Error",
    503: "503 Service Unavailable",
}

_CONTENT_TYPES = {"/": "text/html; charset=utf-8", "/status.json": "application/json"}
_PROGRAMS = "/-/healthy/programs"
#: Paths that name programs.
_PRIVATE = frozenset({_PROGRAMS, *_CONTENT_TYPES})

_HOST_REJECTED = (
    "The host name {!r} is not allowed. If it is a name of this listener, add it to"
    " allowed_hosts or external_url in [fpm-listener], or require a password.\n"
)

_INVALID_VERSION = re.compile(r"version\s*=(?!\s*\d{1,4}(\.\d{1,4}){0,3}\s*(;|$))", re.ASCII)

StartResponse = Any


class Application:
    """The WSGI application."""

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        registry: Callable[[], CollectorRegistry],
        clock: Callable[[], float] = time.time,
        caught: Caught = log_only,
        programs: Callable[[Snapshot], Report] | None = None,
    ) -> None:
        """`registry`: returns the metrics; is called at the first scrape.

        `caught`: is called with an unexpected error of one request.
        `programs`: returns the health of the programs; None = the path does not exist.
        """
        self._programs = programs
        self._caught = caught
        self._snapshot = snapshot
        self._clock = clock
        self._registry = registry
        self._metrics: Callable[[Environ, StartResponse], Iterable[bytes]] | None = None
        self._page_module: ModuleType | None = None
        self.credentials: Credentials | None = None
        #: Allowed names in the Host header, if no credentials are required.
        self.allowed_hosts: frozenset[str] = frozenset()
        # The last answer of each path, with its snapshot and second: many people may look.
        self._cache: dict[str, tuple[Snapshot, int, bytes, bytes]] = {}

    def __call__(self, environ: Environ, start: StartResponse) -> Iterable[bytes]:
        """Answer one request; HEAD is GET without the body."""
        try:
            return self._route(environ, start)
        except Exception as error:  # noqa: BLE001 - one request must not end the listener
            self._caught(Where.WEB, error)
            return _respond(start, 500, "internal error; see the log of the listener\n")

    def _route(self, environ: Environ, start: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "/")
        if environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            return _respond(start, 405, "only GET and HEAD are allowed\n", [("Allow", "GET, HEAD")])
        head = environ["REQUEST_METHOD"] == "HEAD"
        if (
            self.credentials is not None
            and path != "/-/healthy"
            and not self.credentials.allow(environ)
        ):
            challenge = [("WWW-Authenticate", self.credentials.challenge)]
            return _respond(start, 401, "authentication required\n", challenge, head=head)
        if self.credentials is None and path in _PRIVATE:
            # Stops DNS rebinding: the page of an attacker has another host name.
            host = environ.get("HTTP_HOST", "")
            if not is_allowed(host, self.allowed_hosts):
                return _respond(start, 403, _HOST_REJECTED.format(host[:100]), head=head)
        if path == "/metrics":
            return self._metrics_answer(environ, start, head=head)
        return self._status_answer(environ, start, head=head)

    def _metrics_answer(
        self,
        environ: Environ,
        start: StartResponse,
        *,
        head: bool,
    ) -> Iterable[bytes]:
        if self._metrics is None:  # two first scrapes at once: either application is right
            with spare_descriptors.for_modules():
                registry = self._registry()  # the first call loads prometheus_client
                from prometheus_client import make_wsgi_app  # noqa: PLC0415 - late, see ADR 044

            self._metrics = make_wsgi_app(registry)
        started: list[tuple[str, list[tuple[str, str]]]] = []
        body = b"".join(
            self._metrics(
                {
                    **environ,
                    "REQUEST_METHOD": "GET",
                    "HTTP_ACCEPT": _valid_accept(environ.get("HTTP_ACCEPT", "")),
                },
                lambda line, headers: started.append((line, headers)),
            ),
        )
        line, headers = started[0]
        start(line, [*headers, ("Content-Length", str(len(body)))])
        return [] if head else [body]

    def _status_answer(
        self,
        environ: Environ,
        start: StartResponse,
        *,
        head: bool,
    ) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "/")
        if path == "/-/healthy":
            return _respond(start, 200, "healthy\n", head=head)
        if path == _PROGRAMS and self._programs is not None:
            return _programs_answer(environ, start, self._programs(self._snapshot()), head=head)
        snapshot = self._snapshot()
        if path == "/-/ready":
            text = "ready\n" if snapshot.ready else "not ready\n"
            return _respond(start, 200 if snapshot.ready else 503, text, head=head)
        if path in _CONTENT_TYPES:
            body, packed = self._render(path, snapshot)
            headers = [("Content-Type", _CONTENT_TYPES[path]), ("Vary", "Accept-Encoding")]
            if path == "/":
                headers.append(("Content-Security-Policy", self._page().POLICY))
            if _accepts_gzip(environ):
                body = packed
                headers.append(("Content-Encoding", "gzip"))
            return _respond(start, 200, body, headers, head=head)
        return _respond(start, 404, "not found; try /metrics\n", head=head)

    def _render(self, path: str, snapshot: Snapshot) -> tuple[bytes, bytes]:
        """Return the body, plain and compressed; one result serves all requests of a second."""
        now_s = self._clock()
        of, second, body, packed = self._cache.get(path, (None, 0, b"", b""))
        if of is not snapshot or second != int(now_s):
            document = status_document.to_json(snapshot, now_s)
            if path == "/":
                text = self._page().to_html(document)
            else:
                text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
            body = _bytes(text)
            packed = gzip.compress(body, _GZIP_LEVEL)
            self._cache[path] = (snapshot, int(now_s), body, packed)
        return body, packed

    def _page(self) -> ModuleType:
        """Return the module of the page; the first look loads it."""
        if self._page_module is None:
            with spare_descriptors.for_modules():
                from fpm_listener.status import page  # noqa: PLC0415 - late, see ADR 044

            self._page_module = page
        return self._page_module


def _programs_answer(
    environ: Environ, start: StartResponse, report: Report, *, head: bool
) -> Iterable[bytes]:
    """Answer as `fpm-listener healthy` does; JSON if the client prefers it."""
    code = 200 if report.ok else 503
    if "application/json" in environ.get("HTTP_ACCEPT", "").lower():
        text = json.dumps(report.to_json(), indent=2, ensure_ascii=False) + "\n"
        headers = [("Content-Type", "application/json"), ("Vary", "Accept")]
    else:
        text, headers = f"{report.line}\n", [("Vary", "Accept")]
    return _respond(start, code, text, headers, head=head)


def is_allowed(header: str, names: frozenset[str]) -> bool:
    """Return whether a Host header is an IP address or one of `names`; browsers always send one."""
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


def _valid_accept(accept: str) -> str:
    """Return an Accept header without invalid versions, on which prometheus_client raises."""
    return ",".join(one for one in accept.split(",") if not _INVALID_VERSION.search(one))


def _accepts_gzip(environ: Environ) -> bool:
    words = environ.get("HTTP_ACCEPT_ENCODING", "").replace(" ", "").lower().split(",")
    return bool({"gzip", "gzip;q=1.0", "gzip;q=1"} & {*words})


def _bytes(text: str) -> bytes:
    # Lone surrogates stand for bytes of a log line or command that are not UTF-8.
    return text.encode("utf-8", "replace")


def _respond(
    start: StartResponse,
    code: int,
    content: str | bytes,
    headers: list[tuple[str, str]] | None = None,
    *,
    head: bool = False,
) -> Iterable[bytes]:
    body = content if isinstance(content, bytes) else _bytes(content)
    every = {**_HEADERS, **dict(headers or ()), "Content-Length": str(len(body))}
    start(_REASONS[code], list(every.items()))
    return [] if head else [body]
