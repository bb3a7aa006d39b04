"""Where the listener waits for guards: an abstract unix socket, and one in state_dir.

Guards try the abstract socket first. Its name follows from supervisord alone, so that they find the
listener whatever happens to state_dir.

Law: only root and our own user are listened to; the kernel says who it is (SO_PEERCRED). An
abstract socket has no mode: every user of the network namespace can connect to it.
"""

from __future__ import annotations

import errno
import os
import socket
import struct

from fpm_listener.guard.handover_channel import SocketPath
from fpm_listener.guard.handover_messages import PATIENCE_S, SOCKET_NAME
from fpm_listener.host import state_directory

_CREDENTIALS = struct.Struct("3i")
_WAITING = 64


class Doors:
    """The sockets that guards connect to. After it was made, owned by one thread."""

    def __init__(self, state_dir: str, channel: bytes | None) -> None:
        """`channel`: the abstract socket's name, see `rendezvous.channel_name`."""
        self._state_dir = state_dir
        self._identity: tuple[int, int] | None = None
        self.in_state_dir: socket.socket | None = None
        self.abstract: socket.socket | None = None
        self.problems: list[str] = []  #: why one of them is missing
        try:
            self.renew()
        except OSError as error:
            self.problems.append(f"{error.filename or state_dir}: {error.strerror or error}")
        if channel is not None:
            try:
                self.abstract = _listen_abstract(channel)
            except OSError as error:
                self.problems.append(f"abstract socket {channel[1:].decode()}: {error.strerror}")

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """Return what to wait for."""
        return tuple(one for one in (self.in_state_dir, self.abstract) if one is not None)

    def renew(self) -> socket.socket | None:
        """Listen in state_dir, unless we do; return the socket that this has replaced.

        Raises OSError, with EADDRINUSE where another listener uses the folder.
        """
        if self._identity is not None and self._found() == self._identity:
            return None
        fresh = listen(self._state_dir)
        before, self.in_state_dir = self.in_state_dir, fresh
        self._identity = self._found()
        return before

    def _found(self) -> tuple[int, int] | None:
        return identity(state_directory.locate(self._state_dir), SOCKET_NAME)

    def close(self) -> None:
        """Listen no more."""
        for one in self.sockets:
            one.close()
        self.in_state_dir = self.abstract = None


def identity(folder: str, name: str) -> tuple[int, int] | None:
    """Return device and inode of a socket's name; fstat of the socket has other numbers."""
    try:
        found = os.lstat(f"{folder}/{name}")
    except OSError:
        return None
    return found.st_dev, found.st_ino


def listen(state_dir: str) -> socket.socket:
    """Return the socket that guards come to; the folder is made if it is missing.

    Raises OSError, with EADDRINUSE where another listener uses the folder.
    """
    used = state_directory.prepare(state_dir)
    with (
        SocketPath(used) as path,
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe,
    ):
        probe.settimeout(PATIENCE_S)
        if probe.connect_ex(path) in {0, errno.EAGAIN}:
            raise OSError(errno.EADDRINUSE, "another listener uses this folder", state_dir)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        bind(server, used, SOCKET_NAME)
        server.listen(_WAITING)
    except OSError:
        server.close()
        raise
    server.setblocking(False)
    return server


def bind(server: socket.socket, folder: str, name: str) -> None:
    """Bind a socket for our user alone; it takes the place of the one before. Raises OSError.

    Under another name first: the mode is right before anybody can find it, and no umask is changed,
    which other threads would share.
    """
    with SocketPath(folder, f".{os.urandom(8).hex()}") as fresh, SocketPath(folder, name) as path:
        server.bind(fresh)
        try:
            os.chmod(fresh, 0o600)  # noqa: PTH101 - texts stay texts
            os.rename(fresh, path)  # noqa: PTH104 - the same
        except OSError:
            os.unlink(fresh)  # noqa: PTH108 - the same
            raise


def _listen_abstract(name: bytes) -> socket.socket:
    server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        server.bind(name)
        server.listen(_WAITING)
    except OSError:
        server.close()
        raise
    server.setblocking(False)
    return server


def caller(connection: socket.socket) -> tuple[int, int]:
    """Return pid and uid of the other side; pid 0 = of a process that we cannot see."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(raw)
    return pid, uid
