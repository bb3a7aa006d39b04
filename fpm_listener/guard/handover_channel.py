"""The connection between guards and the listener, which carries messages and sockets.

First an abstract unix socket that is named after supervisord: it needs no file and no setting.
Then a socket in state_dir.

Laws:
1. A packet is a whole message or none. Sockets beside a packet that is not understood are closed.
2. A listening socket never becomes non-blocking here: the flag is shared, and php-fpm would fork
   without end.
3. `_socket`, not `socket`: importing the latter costs five milliseconds of each start.
"""

from __future__ import annotations

import _socket
import errno
import os
import sys

from fpm_listener.guard import handover_messages
from fpm_listener.guard.handover_messages import LONGEST, MOST_SOCKETS, PATIENCE_S, SOCKET_NAME
from fpm_listener.host import procfs
from fpm_listener.host.unix_connection import SocketPath, peer_of

TYPE_CHECKING = False  # `typing` itself would cost milliseconds
if TYPE_CHECKING:
    from collections.abc import Sequence

    from fpm_listener.guard.handover_messages import Message, Packet

_INT = 4  # bytes of a descriptor in a control message


def channel_name(supervisord_pid: int) -> bytes | None:
    """Return the abstract socket's name for guards of this supervisord; None without procfs.

    It contains the pid namespace, because containers can share the network namespace. A user who
    may not see supervisord (hidepid) writes 0 as its start.
    """
    found = procfs.read_stat(supervisord_pid)
    if found is None and procfs.read_stat("self") is None:
        return None
    started = found.started if found is not None else 0
    try:
        namespace = os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116 - pathlib costs milliseconds
    except OSError:
        namespace = 0
    return b"\0fpm-listener/%d/%d/%d" % (namespace, supervisord_pid, started)


def own_channel_name() -> bytes | None:
    """Return the name for our supervisord, for the listener."""
    return channel_name(procfs.supervisor_of(os.getpid()) or os.getppid())


def connect(state_dir: str, patience_s: float = PATIENCE_S) -> _socket.socket:
    """Return a connection to the listener of our supervisord, or to the one in state_dir.

    Raises OSError if there is none, TimeoutError if it does not answer.
    """
    program = procfs.program()
    name = channel_name(program.ppid) if program is not None else None
    if program is not None and name is not None:
        try:
            return _connect(name, patience_s, program.ppid)
        except TimeoutError:
            raise
        except OSError:
            pass  # no process listens there, or one of another user
    with SocketPath(state_dir, SOCKET_NAME) as path:
        return _connect(path, patience_s, None)


def _connect(address: str | bytes, patience_s: float, supervisord: int | None) -> _socket.socket:
    """Return a connection; supervisord = the parent that the listener must have."""
    client = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
    client.settimeout(patience_s)
    try:
        client.connect(address)
        pid, uid = peer_of(client)  # every user can bind an abstract name
        if uid not in {0, os.geteuid()}:
            _reject_peer(f"user {uid} listens there")
        if supervisord is not None and procfs.supervisor_of(pid) not in {supervisord, None}:
            _reject_peer("our supervisord has not started its process")
    except OSError:
        client.close()
        raise
    return client


def _reject_peer(why: str) -> None:
    raise OSError(errno.EPERM, f"the socket does not belong to our listener: {why}")


def send(connection: _socket.socket, message: Packet, descriptors: Sequence[int] = ()) -> None:
    """Send a message with sockets beside it. Raises OSError, and ValueError as `encode`."""
    packet = handover_messages.encode(message)
    numbers = b"".join(descriptor.to_bytes(_INT, sys.byteorder) for descriptor in descriptors)
    beside = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, numbers)] if descriptors else []
    connection.sendmsg([packet], beside)


def receive(connection: _socket.socket, kind: type[Message]) -> tuple[Message, list[int]]:
    """Return the next message with its sockets. Raises OSError, ValueError if it is none."""
    message, descriptors = receive_any(connection, (kind,))
    assert isinstance(message, kind)  # noqa: S101 - of no other kind, or it is not understood
    return message, descriptors


def receive_any(
    connection: _socket.socket, kinds: tuple[type[Packet], ...]
) -> tuple[Packet, list[int]]:
    """Return the next message, of one of these kinds, with its sockets. Raises as `receive`."""
    room = _socket.CMSG_SPACE(MOST_SOCKETS * _INT)
    packet, beside, flags, _ = connection.recvmsg(LONGEST, room, _socket.MSG_CMSG_CLOEXEC)
    descriptors = [
        int.from_bytes(numbers[at : at + _INT], sys.byteorder)
        for level, kind, numbers in beside
        if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS)
        for at in range(0, len(numbers) - len(numbers) % _INT, _INT)
    ]
    try:
        whole = bool(packet) and not flags & (_socket.MSG_TRUNC | _socket.MSG_CTRUNC)
        message = handover_messages.decode(packet if whole else b"", kinds)
        if len(getattr(message, "keys", ())) != len(descriptors):
            _refuse("a socket is missing")
    except ValueError:
        for descriptor in descriptors:
            os.close(descriptor)
        raise
    return message, descriptors


def _refuse(why: str) -> None:
    raise ValueError(why)
