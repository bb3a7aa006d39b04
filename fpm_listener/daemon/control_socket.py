"""What an operator asks of a listener that runs: a unix socket in state_dir.

One request a connection, one line of JSON each way.

Laws:
1. Only root and our own user are listened to, as at the door for guards.
2. A thread of its own talks; the owner answers, and waits for nobody.
3. No answer holds a secret or a URL: none is in what is owed.
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

from fpm_listener.daemon.unix_listener import caller
from fpm_listener.guard.handover_channel import SocketPath
from fpm_listener.host import socket_paths, state_directory
from fpm_listener.internal_errors import is_exhausted, log_only
from fpm_listener.values import FpmListenerError
from fpm_listener.vocabulary import Where
from fpm_listener.web.descriptors import PAUSE_S, Reserve

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fpm_listener.internal_errors import Caught

log = logging.getLogger(__name__)

SOCKET_NAME = "control.sock"
ACTIONS = ("list", "retry", "drop", "worked", "leave", "status")
#: Seconds that either side waits for the other's next word.
_PATIENCE_S = 10.0
_LONGEST_REQUEST = 4096
_HANG_UP = (OSError, ValueError, TypeError, RecursionError, Empty)


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlRequest:
    """What is asked for."""

    action: str  #: one of ACTIONS
    receiver: str | None = None  #: None = all; of `leave`: the program, as group:name
    number: int | None = None  #: of one alert; None = all


class Asked(NamedTuple):
    """For the owner: a request, and where the answer is waited for."""

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
        """`caught`: told of an unexpected error of one connection."""
        self._state_dir = state_dir
        self._put = put
        self._failed = failed
        self._caught = caught
        self._server: socket.socket | None = None
        self._identity: tuple[int, int] | None = None  # of the path, after it was bound
        self._said: str | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)

    def start(self) -> None:
        """Listen, also again if the path was deleted or replaced since.

        To be called from time to time, by the only listener of its state_dir.
        """
        try:
            with SocketPath(state_directory.prepare(self._state_dir), SOCKET_NAME) as path:
                if self._server is not None and socket_paths.identity(path) == self._identity:
                    self._start_thread()
                    return
                fresh = _listen(path)
                self._identity = socket_paths.identity(path)
        except OSError as error:
            if self._said != str(error):
                self._said = str(error)
                log.warning("`fpm-listener alerts` cannot reach this listener why=%r", str(error))
            return
        self._said = None
        old, self._server = self._server, fresh
        if old is not None:
            _end_accept(old)
        self._start_thread()

    def _start_thread(self) -> None:
        """Start the thread, once. Raises RuntimeError where the system has none left."""
        if self._thread.ident is None:
            self._thread.start()

    def stop(self) -> None:
        """Listen no more."""
        old, self._server = self._server, None
        self._stopped.set()
        if old is not None:
            _end_accept(old)
            if self._thread.is_alive():
                self._thread.join(1.0)
            old.close()  # a thread that had not begun yet has not seen it

    def _run(self) -> None:
        reserve = Reserve()
        try:
            server = self._server
            while server is not None:
                if self._serve(server, reserve):
                    continue
                if server is self._server:
                    self._stopped.wait(PAUSE_S)  # no descriptor is left, for example
                else:
                    server.close()
                    server = self._server
        except BaseException as error:  # noqa: BLE001 - the daemon ends for it
            self._failed(error)
        finally:
            reserve.close()

    def _serve(self, server: socket.socket, reserve: Reserve) -> bool:
        """Answer the next connection; return False where none can be accepted now."""
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
        """Answer one request. Raises one of _HANG_UP where it is none."""
        connection.settimeout(_PATIENCE_S)
        _, uid = caller(connection)
        if uid not in {0, os.geteuid()}:
            return
        said = json.loads(_read_line(connection))
        request = ControlRequest(**said)
        receiver, number = said.get("receiver"), said.get("number")
        plain = (receiver is None or isinstance(receiver, str)) and type(number) in {
            type(None),
            int,
        }
        if request.action not in ACTIONS or not plain:
            return
        reply: SimpleQueue[Any] = SimpleQueue()
        self._put(Asked(request, reply))
        answer = reply.get(timeout=_PATIENCE_S)
        if request.action == "status":
            from fpm_listener.status import document  # noqa: PLC0415 - only for `fpm-listener status`

            answer = document.to_json(answer, time.time())
        connection.sendall(json.dumps(answer).encode() + b"\n")


def _listen(path: str) -> socket.socket:
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)  # noqa: PTH108 - it stays text
        server.bind(path)
        server.listen(8)
    except OSError:
        server.close()
        raise
    finally:
        os.umask(before)
    return server


def _end_accept(server: socket.socket) -> None:
    """Let the thread that waits in accept(2) go on."""
    with contextlib.suppress(OSError):
        server.shutdown(socket.SHUT_RDWR)


def _read_line(connection: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        chunk = connection.recv(_LONGEST_REQUEST)
        if not chunk or len(line) > _LONGEST_REQUEST:
            raise ValueError("no whole line")
        line += chunk
    return line


def _refuse_stranger(connection: socket.socket, folder: str) -> None:
    """Raise PermissionError unless root, we, or the owner of the folder listens there."""
    _, uid = caller(connection)
    if uid not in {0, os.geteuid(), os.stat(folder).st_uid}:  # noqa: PTH116 - it stays text
        raise PermissionError(errno.EPERM, f"user {uid} listens there, who is not its owner")


def ask(state_dir: Path, request: ControlRequest) -> Any:  # noqa: ANN401 - JSON
    """Return the listener's answer; None where no listener is there.

    Raises FpmListenerError where one is there and does not answer.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_PATIENCE_S)
        try:
            folder = state_directory.locate(str(state_dir))
            with SocketPath(folder, SOCKET_NAME) as path:
                connection.connect(path)
            _refuse_stranger(connection, folder)
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        except OSError as error:
            raise FpmListenerError(
                f"{state_dir}: the listener cannot be reached: {error.strerror};"
                " it answers root, and the user that it runs as",
            ) from error
        try:
            connection.sendall(json.dumps(asdict(request)).encode() + b"\n")
            with connection.makefile("rb") as answer:
                return json.loads(answer.read())
        except (OSError, ValueError) as error:
            raise FpmListenerError(f"{state_dir}: the listener does not answer") from error
