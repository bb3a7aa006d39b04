"""The unix sockets of the listener: two for guards, and how a socket in state_dir is made.

Guards try the abstract socket first. Its name follows from supervisord alone, so guards find the
listener even if state_dir is missing or different. The second socket is in state_dir.

Law: a server talks only to root and our own user; the kernel names the peer (SO_PEERCRED). An
abstract socket has no mode: every user of the network namespace can connect to it.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING

from fpm_listener.guard.handover_messages import PATIENCE_S, SOCKET_NAME
from fpm_listener.host import socket_paths
from fpm_listener.host.unix_connection import SocketPath

if TYPE_CHECKING:
    from collections.abc import Callable

    from fpm_listener.host.fallback_directory import StateDirectory

_BACKLOG = 64


class GuardSockets:
    """The sockets that guards connect to. After its creation one thread owns it."""

    def __init__(self, directory: StateDirectory, channel: bytes | None) -> None:
        """`channel`: the abstract socket's name, see `handover_channel.channel_name`."""
        self.directory = directory
        self._identity: tuple[int, int] | None = None
        self.in_state_dir: socket.socket | None = None
        self.abstract: socket.socket | None = None
        self.problems: list[str] = []  #: why one of them is missing
        try:
            self.listen_again()
        except OSError as error:
            self.problems.append(
                f"{error.filename or directory.locate()}: {error.strerror or error}"
            )
        if channel is not None:
            try:
                self.abstract = listen_on(channel, socket.SOCK_SEQPACKET)
                self.abstract.setblocking(False)
            except OSError as error:
                self.problems.append(f"abstract socket {channel[1:].decode()}: {error.strerror}")

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """Return the sockets to wait for."""
        return tuple(one for one in (self.in_state_dir, self.abstract) if one is not None)

    def listen_again(self) -> socket.socket | None:
        """Listen in state_dir if the path is gone; return the socket that this replaced.

        Raises OSError, with EADDRINUSE if another listener uses the directory.
        """
        if self._identity is not None and self._found() == self._identity:
            return None
        fresh = listen(self.directory)
        before, self.in_state_dir = self.in_state_dir, fresh
        self._identity = self._found()
        return before

    def _found(self) -> tuple[int, int] | None:
        folder = self.directory.locate()
        return socket_paths.identity(f"{folder}/{SOCKET_NAME}")

    def close(self) -> None:
        """Close all sockets."""
        for one in self.sockets:
            one.close()
        self.in_state_dir = self.abstract = None


def listen(directory: StateDirectory) -> socket.socket:
    """Return the socket in state_dir for guards; the directory is created if it is missing.

    Raises OSError, with EADDRINUSE if another listener uses the directory.
    """
    used = directory.prepare()
    with (
        SocketPath(used, SOCKET_NAME) as path,
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe,
    ):
        probe.settimeout(PATIENCE_S)
        if probe.connect_ex(path) in {0, errno.EAGAIN}:
            raise OSError(errno.EADDRINUSE, "another listener uses this directory", used)
    server = listen_at(used, SOCKET_NAME, socket.SOCK_SEQPACKET)
    server.setblocking(False)
    return server


def listen_at(folder: str, name: str, kind: socket.SocketKind) -> socket.socket:
    """Return a socket that only our user can connect to; it replaces an older one. Raises OSError.

    It is bound under another name first: its mode is right before anybody can find it, and the
    umask, which all threads share, does not change.
    """

    def bind(server: socket.socket) -> None:
        with SocketPath(folder, f".{os.urandom(8).hex()}") as fresh:
            server.bind(fresh)
            try:
                with SocketPath(folder, name) as path:
                    os.chmod(fresh, 0o600)  # noqa: PTH101 - a text stays a text
                    os.rename(fresh, path)  # noqa: PTH104 - the same
            except OSError:
                os.unlink(fresh)  # noqa: PTH108 - the same
                raise

    return _serve(kind, bind)


def listen_on(name: bytes, kind: socket.SocketKind) -> socket.socket:
    """Return an abstract socket. Raises OSError."""
    return _serve(kind, lambda server: server.bind(name))


def _serve(kind: socket.SocketKind, bind: Callable[[socket.socket], None]) -> socket.socket:
    server = socket.socket(socket.AF_UNIX, kind)
    try:
        bind(server)
        server.listen(_BACKLOG)
    except OSError:
        server.close()
        raise
    return server
