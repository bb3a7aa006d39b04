"""Requests of operators to a running listener, through two unix sockets.

One is in state_dir. The other one is abstract: it works without any directory.

One request a connection, one line of JSON in each direction.

Laws:
1. Only root and our own user are served, as with the sockets for guards.
2. A thread serves the connections; the main thread answers the requests, and never waits.
   `healthy` can last long, so each such question has its own thread.
3. No answer has a secret or a URL, because no alert has one.
4. An unexpected error of one connection is reported, and the next connection is served.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import socket
import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple

from fpm_listener.daemon.control_client import PATIENCE_S, SOCKET_NAME, ControlRequest
from fpm_listener.daemon.health_check import HealthCheck, Question, read_question
from fpm_listener.daemon.inbox import drain
from fpm_listener.daemon.unix_listener import listen_at, listen_on
from fpm_listener.host import socket_paths
from fpm_listener.host.unix_connection import peer_of
from fpm_listener.internal_errors import is_exhausted, log_only, service_thread
from fpm_listener.status import document  # at the start: an upgrade must not break it
from fpm_listener.vocabulary import Where
from fpm_listener.web.descriptors import PAUSE_S, Reserve

if TYPE_CHECKING:
    from collections.abc import Callable

    from fpm_listener.host.fallback_directory import StateDirectory
    from fpm_listener.internal_errors import Caught

log = logging.getLogger(__name__)

ACTIONS = ("list", "retry", "drop", "worked", "leave", "status", "healthy")
#: Questions about the health of programs that are answered at the same time.
_MOST_HEALTHY = 16
_LONGEST_REQUEST = 1 << 16
_NONE = type(None)
_HANG_UP = (OSError, ValueError, TypeError, AttributeError, RecursionError, Empty)


class Asked(NamedTuple):
    """For the main thread: a request, and the queue for its answer."""

    request: ControlRequest
    reply: SimpleQueue[Any]  #: of `status`: the snapshot


class ControlSocket:
    """The listener's side: a thread that the daemon starts and stops."""

    def __init__(
        self,
        directory: StateDirectory,
        put: Callable[[object], None],
        failed: Callable[[BaseException], None],
        caught: Caught = log_only,
        name: bytes | None = None,
    ) -> None:
        """`caught`: called with an unexpected error of one connection; `name`: the abstract one."""
        self.health = HealthCheck()
        self._healthy_slots = threading.BoundedSemaphore(_MOST_HEALTHY)
        self._directory = directory
        self._name = name
        self._put = put
        self._caught = caught
        self._abstract: socket.socket | None = None
        self._server: socket.socket | None = None
        self._replaced: SimpleQueue[socket.socket] = SimpleQueue()  # for the thread to close
        self._identity: tuple[int, int] | None = None  # of the path, after it was bound
        self._logged: str | None = None
        self._stopped = threading.Event()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread = service_thread("control", self._run, failed)

    def start_abstract(self) -> None:
        """Listen on the abstract socket, for which no directory is needed."""
        if self._name is None:
            return
        if self._abstract is None:
            try:
                self._abstract = listen_on(self._name, socket.SOCK_STREAM)
            except OSError as error:
                log.info("commands cannot use the abstract socket why=%r", error.strerror)
                return
            self._abstract.setblocking(False)
        self._start_thread()

    def start(self) -> None:
        """Listen; listen again if the path was deleted or replaced.

        To be called from time to time, by the only listener of its state_dir.
        """
        try:
            folder = self._directory.prepare()
            path = f"{folder}/{SOCKET_NAME}"
            if self._server is not None and socket_paths.identity(path) == self._identity:
                self._start_thread()
                return
            fresh = listen_at(folder, SOCKET_NAME, socket.SOCK_STREAM)
            fresh.setblocking(False)
            self._identity = socket_paths.identity(path)
        except OSError as error:
            if self._logged != str(error):
                self._logged = str(error)
                log.warning("commands cannot use the socket in state_dir why=%r", str(error))
            return
        self._logged = None
        old, self._server = self._server, fresh
        if old is not None:
            self._replaced.put(old)
        self._start_thread()

    def _start_thread(self) -> None:
        """Start the thread, once, or wake it. Raises RuntimeError if there is no thread left."""
        if self._thread.ident is None:
            self._thread.start()
        else:
            os.eventfd_write(self._wake, 1)

    def stop(self) -> None:
        """Close the sockets, and wait at most a second for the thread."""
        self._stopped.set()
        if self._thread.is_alive():
            os.eventfd_write(self._wake, 1)
            self._thread.join(1.0)
        for server in self._servers():
            server.close()
        self._server = self._abstract = None
        if not self._thread.is_alive():
            os.close(self._wake)

    def _servers(self) -> list[socket.socket]:
        return [one for one in (self._server, self._abstract) if one is not None]

    def _run(self) -> None:
        reserve = Reserve()
        while not self._stopped.is_set():
            servers = {one.fileno(): one for one in self._servers()}
            poller = select.poll()
            for descriptor in (self._wake, *servers):
                poller.register(descriptor, select.POLLIN)
            ready = [descriptor for descriptor, _ in poller.poll()]
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._wake)
            served = [self._serve(servers[one], reserve) for one in ready if one in servers]
            for server in drain(self._replaced):
                server.close()
            if not all(served):
                self._stopped.wait(PAUSE_S)  # no descriptor is left, for example
        reserve.close()

    def _serve(self, server: socket.socket, reserve: Reserve) -> bool:
        """Serve the next connection; return False if none can be accepted now."""
        try:
            connection = reserve.accept(server)
        except OSError as error:
            if is_exhausted(error):
                self._caught(Where.CONTROL, error)
            return False
        try:
            with connection, contextlib.suppress(*_HANG_UP):
                self._talk(connection)
        except Exception as error:  # noqa: BLE001 - law 4
            self._caught(Where.CONTROL, error)
        reserve.refill()
        return True

    def _talk(self, connection: socket.socket) -> None:
        """Answer one request. Raises one of _HANG_UP if it is invalid."""
        connection.settimeout(PATIENCE_S)
        _, uid = peer_of(connection)
        if uid not in {0, os.geteuid()}:
            return
        words = json.loads(_read_line(connection))
        request = ControlRequest(**words)
        receiver, number = words.get("receiver"), words.get("number")
        valid = isinstance(receiver, str | None) and type(number) in {_NONE, int}
        if request.action not in ACTIONS or not valid:
            return
        if request.state_dir not in {None, self._directory.state_dir}:
            connection.sendall(b"null\n")  # it looks for another listener
            return
        if request.action == "healthy":
            self._start_healthy(connection.dup(), read_question(request.question or {}))
            return
        answer = self._ask_main(request)
        if request.action == "status":
            answer = document.to_json(answer, time.time())
        connection.sendall(json.dumps(answer).encode() + b"\n")

    def _ask_main(self, request: ControlRequest) -> Any:  # noqa: ANN401 - JSON, or the snapshot
        """Return the answer of the main thread. Raises Empty."""
        reply: SimpleQueue[Any] = SimpleQueue()
        self._put(Asked(request, reply))
        return reply.get(timeout=PATIENCE_S)

    def _start_healthy(self, connection: socket.socket, question: Question) -> None:
        """Answer in a thread, which closes the connection."""
        if not self._healthy_slots.acquire(blocking=False):
            connection.close()
            return

        def run() -> None:
            try:
                with connection, contextlib.suppress(*_HANG_UP):
                    snapshot = self._ask_main(ControlRequest(action="status"))
                    found = self.health.report(snapshot, question.programs, question.patience)
                    connection.sendall(json.dumps(question.text(found)).encode() + b"\n")
            except Exception as error:  # noqa: BLE001 - law 4
                self._caught(Where.CONTROL, error)
            finally:
                self._healthy_slots.release()

        threading.Thread(target=run, name="healthy", daemon=True).start()


def _read_line(connection: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        chunk = connection.recv(_LONGEST_REQUEST)
        if not chunk or len(line) > _LONGEST_REQUEST:
            raise ValueError("not a whole line")
        line += chunk
    return line
