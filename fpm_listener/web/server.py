"""The thread of the HTTP server.

Law: a port that is in use does not stop the listener: the thread logs it and tries again.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from fpm_listener.internal_errors import log_only
from fpm_listener.web.access import Credentials
from fpm_listener.web.application import Application
from fpm_listener.web.connections import Certificate, Server
from fpm_listener.web.descriptors import PAUSE_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry

    from fpm_listener.internal_errors import Caught
    from fpm_listener.settings.settings import WebSettings
    from fpm_listener.status.health_report import Report
    from fpm_listener.status.snapshot import Snapshot

log = logging.getLogger(__name__)

#: Shortest and longest time between two attempts to bind the port, in seconds.
FIRST_RETRY_S, LAST_RETRY_S = 1.0, 60.0

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
        self._application = Application(snapshot, registry, caught=caught, programs=programs)
        self._failed = failed
        self._caught = caught
        self._changed = threading.Event()
        self._stopped = False
        self._server: Server | None = None
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)

    def start(self) -> None:
        """Start the thread."""
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
        """End the wait for a connection."""
        self._changed.set()
        server = self._server
        if server is not None:
            server.interrupt()

    @property
    def port(self) -> int | None:
        """Return the port that is served; None = none at the moment."""
        server = self._server
        return server.server_port if server is not None else None

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
                    server = self._bind(settings)
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
                log.info("web server started address=%s:%s", settings.host, server.server_port)
                self._serve(server)
        except BaseException as error:  # noqa: BLE001 - the listener must not run without this thread
            self._failed(error)

    def _bind(self, settings: WebSettings) -> Server:
        certificate = None
        if settings.cert_file is not None and settings.key_file is not None:
            certificate = Certificate(settings.cert_file, settings.key_file)
        self._application.credentials = Credentials(settings) if settings.needs_secret else None
        self._application.allowed_hosts = settings.allowed_hosts
        server = Server((settings.host, settings.port), certificate, self._caught)
        server.set_app(self._application)
        return server

    def _serve(self, server: Server) -> None:
        self._server = server
        try:
            while not self._changed.is_set():  # after _server is set, so no change is missed
                # Without a connection nothing has a deadline: an idle listener does not wake up.
                server.timeout = _POLL_S if server.has_connections else None
                server.handle_request()
                server.service_actions()
                if server.exhausted:
                    server.exhausted = False
                    self._changed.wait(PAUSE_S)
        finally:
            self._server = None
            server.server_close()
