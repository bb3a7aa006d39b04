"""Where guards and the listener meet: a unix socket in state_dir over which sockets are handed.

Laws:
1. Only root and our own user are listened to; the kernel says who it is (SO_PEERCRED).
2. A packet is a whole message or none; a socket that comes with a packet that is not understood is
   closed, never lost.
3. A listening socket that passes through here is never made non-blocking: the flag would be
   everybody's, and php-fpm would fork without end.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from fpm_listener.core import handover
from fpm_listener.core.handover import LONGEST, MOST_SOCKETS, PATIENCE_S, SOCKET_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fpm_listener.core.handover import Deposit, Done, Hello, Offer

Message = TypeVar("Message", bound="Hello | Offer | Deposit | Done")

_CREDENTIALS = struct.Struct("3i")
_WAITING = 64


def listen(state_dir: str) -> socket.socket:
    """Return the socket that guards come to; the folder is made if it is missing.

    Raises OSError, with EADDRINUSE where another listener uses the folder.
    """
    os.makedirs(state_dir, mode=0o700, exist_ok=True)  # noqa: PTH103 - texts stay texts
    with _reachable(state_dir) as path:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
            probe.settimeout(PATIENCE_S)
            if probe.connect_ex(path) in {0, errno.EAGAIN}:
                raise OSError(errno.EADDRINUSE, "another listener uses this folder")
        server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        before = os.umask(0o177)
        try:
            if os.path.lexists(path):
                os.unlink(path)  # noqa: PTH108 - texts stay texts
            server.bind(path)
            server.listen(_WAITING)
        except OSError:
            server.close()
            raise
        finally:
            os.umask(before)
    server.setblocking(False)
    return server


def open_door(state_dir: str) -> socket.socket | OSError:
    """Return what `listen` does; its error is the keeper's to tell."""
    try:
        return listen(state_dir)
    except OSError as error:
        return error


def connect(state_dir: str) -> socket.socket:
    """Return a connection to the listener. Raises OSError where there is none."""
    client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    client.settimeout(PATIENCE_S)
    try:
        with _reachable(state_dir) as path:
            client.connect(path)
    except OSError:
        client.close()
        raise
    return client


@contextmanager
def _reachable(state_dir: str) -> Iterator[str]:
    """Yield a path to the socket, however long the folder's own is: the kernel has 107 bytes."""
    folder = os.open(state_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{SOCKET_NAME}"
    finally:
        os.close(folder)


def peer(connection: socket.socket) -> tuple[int, int]:
    """Return pid and uid of the other side; pid 0 = of a process that we cannot see."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(raw)
    return pid, uid


def send(
    connection: socket.socket,
    message: Hello | Offer | Deposit | Done,
    descriptors: Sequence[int] = (),
) -> None:
    """Send a message, and sockets beside it. Raises OSError."""
    packet = handover.encode(message)
    if descriptors:
        socket.send_fds(connection, [packet], list(descriptors))
    else:
        connection.send(packet)


def receive(connection: socket.socket, kind: type[Message]) -> tuple[Message, list[int]]:
    """Return the next message with its sockets. Raises OSError, ValueError where it is none."""
    packet, descriptors, flags, _ = socket.recv_fds(
        connection, LONGEST, MOST_SOCKETS, socket.MSG_CMSG_CLOEXEC
    )
    try:
        whole = bool(packet) and not flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC)
        message = handover.decode(packet if whole else b"", kind)
        keys: Sequence[str] = getattr(message, "keys", ())
    except ValueError:
        _close(descriptors)
        raise
    if len(keys) != len(descriptors):
        _close(descriptors)
        raise ValueError("a socket is missing")
    return message, descriptors


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
