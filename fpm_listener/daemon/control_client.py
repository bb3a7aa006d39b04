"""Asks the running listener, for the commands that people type.

Three ways lead to it, in this order:
1. The socket in `state_dir`.
2. The socket in a fallback of our own user (see fallback_directory.py).
3. An abstract socket, which is named after supervisord and needs no directory. The listener answers
   there if it has the same `state_dir`.

Law: any user can bind an abstract name first. We talk only to a process of root, of our own user,
or of the user of supervisord. The kernel names the process and its user. If /proc shows its parent,
that must be this supervisord.
Limit: nothing proves for which user a supervisord was started (docs/adr/028).
"""

from __future__ import annotations

import errno
import json
import os
import socket
import time
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from fpm_listener.guard.handover_channel import own_channel_name
from fpm_listener.host import fallback_directory, procfs, state_directory
from fpm_listener.host.unix_connection import SocketPath, peer_of
from fpm_listener.values import FpmListenerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SOCKET_NAME = "control.sock"
#: Seconds that each side waits for the other.
PATIENCE_S = 10.0
#: The most bytes of an answer; hundreds of programs need some hundred kilobytes.
_LONGEST = 64 << 20
_GUARDS, _COMMANDS = b"\0fpm-listener/", b"\0fpm-listener-control/"
#: What a path without a listener causes.
_NOBODY = (FileNotFoundError, NotADirectoryError, ConnectionRefusedError)


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlRequest:
    """A request of an operator."""

    action: str  #: one of control_socket.ACTIONS
    receiver: str | None = None  #: None = all; of `leave`: the program, as group:name
    number: int | None = None  #: of one alert; None = all
    question: dict[str, Any] | None = None  #: of `healthy`: see health_check.read_question
    state_dir: str | None = None  #: a listener with another one does not answer; None = any


class Channel(NamedTuple):
    """The abstract socket of one listener."""

    name: bytes
    supervisord: int
    uids: frozenset[int]  #: users whose listener we trust


def own_name() -> bytes | None:
    """Return the abstract socket for commands, for the listener; None without procfs."""
    channel = own_channel_name()
    return channel and channel.replace(_GUARDS, _COMMANDS, 1)


def ask(
    state_dir: Path,
    request: ControlRequest,
    *,
    any_state_dir: bool = False,
    patience_s: float = PATIENCE_S,
) -> Any:  # noqa: ANN401 - JSON
    """Return the listener's answer; None if no listener runs there.

    any_state_dir: no settings are known, so the only listener is asked.
    patience_s: for each step of a conversation.
    Raises FpmListenerError if one runs and does not answer, or if several run.
    """
    problem: OSError | None = None
    try:
        connection = _connect_in(state_directory.locate(str(state_dir)), patience_s)
        return _talk(connection, request)
    except _NOBODY:
        pass
    except PermissionError as error:
        problem = error
    except OSError as error:
        raise FpmListenerError(f"{state_dir}: the listener does not answer") from error
    wanted = replace(request, state_dir=None if any_state_dir else str(state_dir))
    found, other_problem = ask_elsewhere(str(state_dir), wanted, patience_s)
    problem = problem or other_problem
    if len(found) > 1:
        raise FpmListenerError("several listeners run here; name the settings of one: --config")
    if not found and problem is not None:
        raise FpmListenerError(
            f"{state_dir}: cannot connect to the listener: {problem.strerror or problem}; run this"
            " as root or as the listener's user",
        ) from problem
    return found[0] if found else None


def ask_elsewhere(
    state_dir: str, request: ControlRequest, patience_s: float
) -> tuple[list[Any], OSError | None]:
    """Return the answers of listeners that do not use state_dir itself, and the first problem.

    There are several answers only if the request has no state_dir, and no fallback replaces it.
    """
    found: list[Any] = []
    problem: OSError | None = None
    for is_certain, connect in _ways(state_dir, patience_s):
        try:
            answer = _talk(connect(), request)
        except _NOBODY:
            continue
        except OSError as error:
            problem = problem or error
            continue
        if answer is not None:
            found.append(answer)
            if is_certain or request.state_dir is not None:
                break
    return found, problem


def _ways(state_dir: str, patience_s: float) -> Iterator[tuple[bool, Callable[[], socket.socket]]]:
    """Yield whether a way leads to the listener with this state_dir, and how to connect."""
    for folder in fallback_directory.fallbacks(os.environ):
        if fallback_directory.read_owner(folder) == state_dir:
            yield True, partial(_connect_in, folder, patience_s)
    for channel in channels():
        yield False, partial(_connect_to, channel, patience_s)


def _talk(connection: socket.socket, request: ControlRequest) -> Any:  # noqa: ANN401 - JSON
    """Return the answer to one request. Raises OSError, also if there is none."""
    # A listener of an older version knows no further fields.
    words = {key: value for key, value in asdict(request).items() if value is not None}
    with connection:
        connection.sendall(json.dumps(words).encode() + b"\n")
        text = _read(connection)
    try:
        return json.loads(text)
    except ValueError as error:
        raise OSError(errno.EPROTO, "it does not answer") from error


def _read(connection: socket.socket) -> bytes:
    """Return all that the other side sends. Raises OSError if that is too much, or takes too long.

    The kernel names its user; this user need not be friendly to root.
    """
    ends_at_s = time.monotonic() + 2 * (connection.gettimeout() or PATIENCE_S)
    chunks, size = [], 0
    while chunk := connection.recv(1 << 16):
        chunks.append(chunk)
        size += len(chunk)
        left_s = ends_at_s - time.monotonic()
        if size > _LONGEST or left_s <= 0:
            raise OSError(errno.EPROTO, "its answer does not end")
        connection.settimeout(left_s)
    return b"".join(chunks)


def _connect_in(folder: str, patience_s: float) -> socket.socket:
    """Connect to the listener whose socket is in a directory. Raises OSError."""
    connection = _socket(patience_s)
    try:
        with SocketPath(folder, SOCKET_NAME) as path:
            connection.connect(path)
        trusted = {0, os.geteuid(), os.stat(folder).st_uid}  # noqa: PTH116 - it stays text
        _check_user(connection, trusted)
    except OSError:
        connection.close()
        raise
    return connection


def _connect_to(channel: Channel, patience_s: float) -> socket.socket:
    """Connect to the listener with this abstract socket. Raises OSError."""
    connection = _socket(patience_s)
    try:
        connection.connect(channel.name)
        pid = _check_user(connection, channel.uids)
        if procfs.supervisor_of(pid) not in {channel.supervisord, None}:
            raise PermissionError(errno.EPERM, "a process of another supervisord listens there")
    except OSError:
        connection.close()
        raise
    return connection


def _socket(patience_s: float) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(patience_s)
    return connection


def _check_user(connection: socket.socket, trusted: set[int] | frozenset[int]) -> int:
    """Return the pid of the listener. Raises PermissionError if its user is not trusted."""
    pid, uid = peer_of(connection)
    if uid not in trusted:
        raise PermissionError(errno.EPERM, f"user {uid}, not its owner, listens there")
    return pid


def channels(proc: str = "/proc") -> list[Channel]:
    """Return the abstract sockets of listeners in our pid and network namespaces.

    Those of root and of our user are first.
    """
    try:
        with open(f"{proc}/net/unix", "rb") as file:  # noqa: PTH123 - one file of procfs
            names = {line.split()[-1] for line in file if _COMMANDS[1:] in line}
        namespace = os.stat(f"{proc}/self/ns/pid").st_ino  # noqa: PTH116 - the same
    except OSError:
        return []
    found = [_channel(name, namespace, proc) for name in sorted(names)]
    ours = {0, os.geteuid()}
    return sorted((one for one in found if one), key=lambda one: not one.uids <= ours)


def _channel(shown: bytes, namespace: int, proc: str) -> Channel | None:
    """Return the socket with a name as procfs shows it; None = its supervisord is not there."""
    try:
        # "@" stands for the null byte.
        _, space, pid, started = shown.removeprefix(b"@").split(b"/")
        if not shown.startswith(b"@" + _COMMANDS[1:]) or int(space) != namespace:
            return None
        supervisord = procfs.read_stat(int(pid), proc)
        if supervisord is None:
            return Channel(b"\0" + shown[1:], int(pid), frozenset({0, os.geteuid()}))
        if int(started) not in {0, supervisord.started}:
            return None
        owner = os.stat(f"{proc}/{supervisord.pid}").st_uid  # noqa: PTH116 - one entry of procfs
    except (ValueError, OSError):
        return None
    return Channel(b"\0" + shown[1:], supervisord.pid, frozenset({0, os.geteuid(), owner}))
