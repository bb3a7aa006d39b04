"""The thread of the HTTP server.

Laws:
1. A port that is in use does not stop the listener: the thread logs it and tries again.
2. The first connection loads the modules that answer. If that fails because no descriptor or
   memory is left, the connection waits, and the thread tries again. If an upgrade has replaced
   the modules, the answer says so.
"""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import threading
from typing import TYPE_CHECKING

from fpm_listener.host import spare_descriptors
from fpm_listener.internal_errors import RetriedThread, log_only
from fpm_listener.vocabulary import Where
from fpm_listener.web.descriptors import PAUSE_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry

    from fpm_listener.internal_errors import Caught
    from fpm_listener.settings.settings import WebSettings
    from fpm_listener.status.health_report import Report
    from fpm_listener.status.snapshot import Snapshot
    from fpm_listener.web.application import Application
    from fpm_listener.web.certificate import Certificate
    from fpm_listener.web.connections import Server

log = logging.getLogger(__name__)

#: Shortest and longest time between two attempts to bind the port, in seconds.
FIRST_RETRY_S, LAST_RETRY_S = 1.0, 60.0

#: Connections that wait in the kernel.
_BACKLOG = 128

#: The answer while the modules of the server cannot be loaded: an upgrade has replaced them.
_RESTART = (
    b"HTTP/1.0 503 Service Unavailable\r\nContent-Type: text/plain\r\n\r\n"
    b"The files of fpm-listener changed or are gone. Restart it:"
    b" supervisorctl restart fpm-listener\n"
)
#: Seconds and bytes of a request that gets this answer.
_REQUEST_S, _REQUEST_BYTES = 1.0, 16 << 10

#: Seconds between two checks of deadlines while a connection is open.
_POLL_S = 0.5


class WebServer:
    """The thread that serves the port, or tries to bind it."""

    def __init__(
        self,
        settings: WebSettings,
        snapshot: Callable[[], Snapshot],
        registry: Callable[[], CollectorRegistry],
        failed: Callable[[BaseException], None],
        caught: Caught = log_only,
        programs: Callable[[Snapshot], Report] | None = None,
    ) -> None:
        """`registry`: returns the metrics; is called at the first scrape.

        `caught`: is called with an unexpected error of one request or connection.
        `programs`: returns the health of the programs.
        """
        self._settings = settings
        self._snapshot, self._registry, self._programs = snapshot, registry, programs
        self._application: Application | None = None
        self._failed = failed
        self._caught = caught
        self._changed = threading.Event()
        self._stopped = False
        self._listening: socket.socket | None = None
        self._thread = RetriedThread("web", self._run)

    def start(self) -> None:
        """Start the thread."""
        spare_descriptors.keep()
        self._thread.start()

    def rebind(self, settings: WebSettings) -> None:
        """Use other settings from now on."""
        self._settings = settings
        self._interrupt()

    def stop(self) -> None:
        """Stop the thread, and wait for it for at most a second."""
        self._stopped = True
        self._interrupt()
        if self._thread.is_alive():
            self._thread.join(2 * _POLL_S)

    def _interrupt(self) -> None:
        """End the wait for a connection; accept fails from now on."""
        self._changed.set()
        listening = self._listening
        if listening is not None:
            with contextlib.suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)

    @property
    def port(self) -> int | None:
        """Return the port that is served; None = none at the moment."""
        listening = self._listening
        try:
            return _port(listening) if listening is not None else None
        except OSError:  # closed a moment ago
            return None

    def _run(self) -> None:
        try:
            retry_s, logged = FIRST_RETRY_S, None
            while True:
                # In this order: a change during the loop ends the next wait.
                self._changed.clear()
                settings = self._settings
                if self._stopped:
                    return
                try:
                    certificate = _certificate(settings)
                    listening = _bind(settings)
                except (OSError, ValueError) as error:
                    why = getattr(error, "strerror", None) or str(error)
                    if why != logged:
                        logged = why
                        address = f"{settings.host}:{settings.port}"
                        log.warning(
                            "web server cannot start, trying again address=%s error=%r",
                            address,
                            why,
                        )
                    is_changed = self._changed.wait(retry_s)
                    retry_s = FIRST_RETRY_S if is_changed else min(retry_s * 2, LAST_RETRY_S)
                    continue
                retry_s, logged = FIRST_RETRY_S, None
                log.info("web server started address=%s:%s", settings.host, _port(listening))
                self._listen(listening, certificate, settings)
        except BaseException as error:  # noqa: BLE001 - the listener must not run without this thread
            self._failed(error)

    def _listen(
        self, listening: socket.socket, certificate: Certificate | None, settings: WebSettings
    ) -> None:
        """Serve this socket until something changes."""
        self._listening = listening
        with listening:
            try:
                server = self._wait_for_server(listening, certificate, settings)
                if server is not None:
                    self._serve(server)
            finally:
                self._listening = None

    def _wait_for_server(
        self, listening: socket.socket, certificate: Certificate | None, settings: WebSettings
    ) -> Server | None:
        """Return the server when there is a connection; None = something changed before."""
        poller = select.poll()
        poller.register(listening, select.POLLIN)
        while not self._changed.is_set():  # after _listening is set, so no change is missed
            poller.poll()
            if self._changed.is_set():
                break
            try:
                return self._load(listening, certificate, settings)
            except Exception as error:  # noqa: BLE001 - see law 2
                self._caught(Where.WEB, error)
                # A shared library (its path is known) can also fail for want of a descriptor.
                if isinstance(error, ImportError) and not (error.path or "").endswith(".so"):
                    _reject(listening, is_tls=certificate is not None)
                self._changed.wait(PAUSE_S)
        return None

    def _load(
        self, listening: socket.socket, certificate: Certificate | None, settings: WebSettings
    ) -> Server:
        """Load the server and the application."""
        with spare_descriptors.for_modules():
            from fpm_listener.web.access import Credentials  # noqa: PLC0415 - late, see ADR 044
            from fpm_listener.web.application import Application  # noqa: PLC0415 - late, see ADR 044
            from fpm_listener.web.connections import Server  # noqa: PLC0415 - late, see ADR 044

        if self._application is None:
            self._application = Application(
                self._snapshot, self._registry, caught=self._caught, programs=self._programs
            )
        self._application.credentials = Credentials(settings) if settings.needs_secret else None
        self._application.allowed_hosts = settings.allowed_hosts
        return Server(listening, certificate, self._application, self._caught)

    def _serve(self, server: Server) -> None:
        while not self._changed.is_set():
            # Without a connection nothing has a deadline: an idle listener does not wake up.
            server.serve_next(_POLL_S if server.has_connections else None)
            if server.exhausted:
                server.exhausted = False
                self._changed.wait(PAUSE_S)


def _certificate(settings: WebSettings) -> Certificate | None:
    """Load the certificate, if there is one: its errors are reported at the start."""
    if settings.cert_file is None or settings.key_file is None:
        return None
    with spare_descriptors.for_modules():
        from fpm_listener.web.certificate import Certificate  # noqa: PLC0415 - late, see ADR 044

    return Certificate(settings.cert_file, settings.key_file)


def _reject(listening: socket.socket, *, is_tls: bool) -> None:
    """Answer that the listener must be restarted: its modules cannot be loaded any more."""
    with contextlib.suppress(OSError):
        connection, _ = listening.accept()
        with connection:
            connection.settimeout(_REQUEST_S)
            if connection.recv(_REQUEST_BYTES) and not is_tls:
                connection.sendall(_RESTART)


def _bind(settings: WebSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((settings.host, settings.port))
        listening.listen(_BACKLOG)
    except BaseException:
        listening.close()
        raise
    return listening


def _port(listening: socket.socket) -> int:
    port: int = listening.getsockname()[1]
    return port
