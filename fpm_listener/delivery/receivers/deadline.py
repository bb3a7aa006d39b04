"""A deadline over a whole HTTP exchange: connecting, TLS, headers and body.

Law: the deadline does not limit the resolver, which has its own limits (resolv.conf).
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from fpm_listener.host import timed_socket

if TYPE_CHECKING:
    from requests import Session


class Deadline:
    """Shuts down the socket of an attempt when its time is over.

    The timeout of requests starts again with every byte that a slow server sends (measured with
    requests 2.34), so a timer ends the connection.
    """

    def __init__(self, timeout_s: float) -> None:
        self.over = False
        self._ends_at_s = time.monotonic() + timeout_s
        self._timer = threading.Timer(timeout_s, self._end)
        self._timer.daemon = True
        self._handle: socket.socket | None = None

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._timer.join()
        if self._handle is not None:
            self._handle.close()

    def _end(self) -> None:
        self.over = True  # before the handle is read: `connect` uses the other order
        if self._handle is not None:
            with suppress(OSError):
                self._handle.shutdown(socket.SHUT_RDWR)

    def connect(self, host: str, port: int) -> socket.socket:
        """Return a connection to the first address of `host` that takes one. Raises OSError."""
        timed = timed_socket.connect((host, port), self._ends_at_s)
        connection = socket.socket(fileno=timed.detach())  # urllib3 sets timeouts of its own
        # A second handle on the same socket: the first goes into the TLS layer.
        self._handle = connection.dup()
        if self.over:
            self._end()
        connection.settimeout(max(0.001, self._ends_at_s - time.monotonic()))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection


def mount(session: Session, deadline: Deadline) -> None:
    """Make all connections of `session` through `deadline`, and ignore the environment.

    `_new_conn` is how urllib3 1.26 and 2.x open a socket, to the receiver or to its proxy.
    """
    import ssl  # noqa: PLC0415 - 4 MiB and 15 ms; see http.py

    from requests.adapters import HTTPAdapter  # noqa: PLC0415 - see http.py
    from urllib3 import HTTPConnectionPool, HTTPSConnectionPool  # noqa: PLC0415 - the same
    from urllib3.util.ssl_ import create_urllib3_context  # noqa: PLC0415 - the same

    def timed(pool_class: type[HTTPConnectionPool], port: int) -> type[HTTPConnectionPool]:
        class Connection(pool_class.ConnectionCls):  # type: ignore[name-defined, misc]
            def _new_conn(self) -> socket.socket:
                return deadline.connect(self.host, int(self.port or port))

        class Pool(pool_class):  # type: ignore[valid-type, misc]
            ConnectionCls = Connection

        return Pool

    def context() -> ssl.SSLContext:
        made = create_urllib3_context()
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        return made

    class Adapter(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - requests' own
            super().init_poolmanager(*args, **kwargs, ssl_context=context())
            self.poolmanager.pool_classes_by_scheme = pools

        def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - requests' own
            manager = super().proxy_manager_for(*args, **kwargs, ssl_context=context())
            manager.pool_classes_by_scheme = pools
            return manager

    pools = {"http": timed(HTTPConnectionPool, 80), "https": timed(HTTPSConnectionPool, 443)}
    session.trust_env = False
    # Otherwise requests reads the whole body of a redirect, of any length.
    session.get_redirect_target = lambda _: None  # type: ignore[method-assign, assignment]
    session.mount("http://", Adapter())
    session.mount("https://", Adapter())
