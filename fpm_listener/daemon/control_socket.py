"""Requests of operators to a running listener, through a unix socket in state_dir.

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
import errno
import json
import logging
import os
import socket
import threading
import time
from dataclasses import asdict, dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple

from fpm_listener.daemon.health_check import HealthCheck, Question, read_question
from fpm_listener.daemon.unix_listener import listen_at, peer_of
from fpm_listener.guard.handover_channel import SocketPath
from fpm_listener.host import socket_paths, state_directory
from fpm_listener.internal_errors import is_exhausted, log_only, service_thread
from fpm_listener.values import FpmListenerError
from fpm_listener.vocabulary import Where
from fpm_listener.web.descriptors import PAUSE_S, Reserve

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fpm_listener.internal_errors import Caught

log = logging.getLogger(__name__)

SOCKET_NAME = "control.sock"
ACTIONS = ("list", "retry", "drop", "worked", "leave", "status", "healthy")
#: Questions about the health of programs that are answered side by side.
_MOST_HEALTHY = 16
#: Seconds that each side waits for the other.
_PATIENCE_S = 10.0
_LONGEST_REQUEST = 1 << 16
_NONE = type(None)
_HANG_UP = (OSError, ValueError, TypeError, AttributeError, RecursionError, Empty)


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlRequest:
    """A request of an operator."""

    action: str  #: one of ACTIONS
    receiver: str | None = None  #: None = all; of `leave`: the program, as group:name
    number: int | None = None  #: of one alert; None = all
    question: dict[str, Any] | None = None  #: of `healthy`: see health_check.read_question


class Asked(NamedTuple):
    """For the main thread: a request, and the queue for its answer."""

    request: ControlRequest
    reply: SimpleQueue[Any]  #: of `status`: the snapshot


class ControlSocket:
    """The listener's side: a thread that the daemon starts and stops."""

    def __init__(
        self,
        state_dir: str,
        put: Callable[[object], None],
        failed: Callable[[BaseException], None],
        caught: Caught = log_only,
    ) -> None:
        """`caught`: called with an unexpected error of one connection."""
        self.health = HealthCheck()
        self._healthy_slots = threading.BoundedSemaphore(_MOST_HEALTHY)
        self._state_dir = state_dir
        self._put = put
        self._caught = caught
        self._server: socket.socket | None = None
        self._identity: tuple[int, int] | None = None  # of the path, after it was bound
        self._logged: str | None = None
        self._stopped = threading.Event()
        self._thread = service_thread("control", self._run, failed)

    def start(self) -> None:
        """Listen; listen again if the path was deleted or replaced.

        To be called from time to time, by the only listener of its state_dir.
        """
        try:
            folder = state_directory.prepare(self._state_dir)
            path = f"{folder}/{SOCKET_NAME}"
            if self._server is not None and socket_paths.identity(path) == self._identity:
                self._start_thread()
                return
            fresh = listen_at(folder, SOCKET_NAME, socket.SOCK_STREAM)
            self._identity = socket_paths.identity(path)
        except OSError as error:
            if self._logged != str(error):
                self._logged = str(error)
                log.warning("`fpm-listener alerts` cannot reach this listener why=%r", str(error))
            return
        self._logged = None
        old, self._server = self._server, fresh
        if old is not None:
            _end_accept(old)
        self._start_thread()

    def _start_thread(self) -> None:
        """Start the thread, once. Raises RuntimeError if the system has no thread left."""
        if self._thread.ident is None:
            self._thread.start()

    def stop(self) -> None:
        """Close the socket, and wait at most a second for the thread."""
        old, self._server = self._server, None
        self._stopped.set()
        if old is not None:
            _end_accept(old)
            if self._thread.is_alive():
                self._thread.join(1.0)
            old.close()  # the thread may not have started yet

    def _run(self) -> None:
        reserve = Reserve()
        server = self._server
        while server is not None:
            if self._serve(server, reserve):
                continue
            if server is self._server:
                self._stopped.wait(PAUSE_S)  # no descriptor is left, for example
            else:
                server.close()
                server = self._server
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
        connection.settimeout(_PATIENCE_S)
        _, uid = peer_of(connection)
        if uid not in {0, os.geteuid()}:
            return
        words = json.loads(_read_line(connection))
        request = ControlRequest(**words)
        receiver, number = words.get("receiver"), words.get("number")
        valid = isinstance(receiver, str | None) and type(number) in {_NONE, int}
        if request.action not in ACTIONS or not valid:
            return
        if request.action == "healthy":
            self._start_healthy(connection.dup(), read_question(request.question or {}))
            return
        answer = self._ask_main(request)
        if request.action == "status":
            from fpm_listener.status import document  # noqa: PLC0415 - only for `fpm-listener status`

            answer = document.to_json(answer, time.time())
        connection.sendall(json.dumps(answer).encode() + b"\n")

    def _ask_main(self, request: ControlRequest) -> Any:  # noqa: ANN401 - JSON, or the snapshot
        """Return the answer of the main thread. Raises Empty."""
        reply: SimpleQueue[Any] = SimpleQueue()
        self._put(Asked(request, reply))
        return reply.get(timeout=_PATIENCE_S)

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


def _end_accept(server: socket.socket) -> None:
    """End the wait of a thread in accept(2)."""
    with contextlib.suppress(OSError):
        server.shutdown(socket.SHUT_RDWR)


def _read_line(connection: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        chunk = connection.recv(_LONGEST_REQUEST)
        if not chunk or len(line) > _LONGEST_REQUEST:
            raise ValueError("not a whole line")
        line += chunk
    return line


def _reject_other_user(connection: socket.socket, folder: str) -> None:
    """Raise PermissionError unless root, we, or the owner of the directory listens there."""
    _, uid = peer_of(connection)
    if uid not in {0, os.geteuid(), os.stat(folder).st_uid}:  # noqa: PTH116 - it stays text
        raise PermissionError(errno.EPERM, f"user {uid}, not its owner, listens there")


def ask(state_dir: Path, request: ControlRequest) -> Any:  # noqa: ANN401 - JSON
    """Return the listener's answer; None if no listener runs there.

    Raises FpmListenerError if one runs and does not answer.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_PATIENCE_S)
        try:
            folder = state_directory.locate(str(state_dir))
            with SocketPath(folder, SOCKET_NAME) as path:
                connection.connect(path)
            _reject_other_user(connection, folder)
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        except OSError as error:
            raise FpmListenerError(
                f"{state_dir}: cannot connect to the listener: {error.strerror}; run this as root"
                " or as the listener's user",
            ) from error
        try:
            connection.sendall(json.dumps(asdict(request)).encode() + b"\n")
            with connection.makefile("rb") as answer:
                return json.loads(answer.read())
        except (OSError, ValueError) as error:
            raise FpmListenerError(f"{state_dir}: the listener does not answer") from error
