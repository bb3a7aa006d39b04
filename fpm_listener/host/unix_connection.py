"""Two facts about connections over unix sockets: short paths, and who is on the other side.

Guards and `healthy` start often, so this needs `_socket` only: `socket` costs five milliseconds.
"""

from __future__ import annotations

import _socket
import os
import sys

_INT = 4  # bytes of each number in struct ucred: pid, uid, gid


class SocketPath:
    """A short path to a socket in a directory: the kernel allows 107 bytes."""

    def __init__(self, folder: str, name: str) -> None:
        """Raise OSError if the directory does not exist."""
        self._name = name
        self._folder = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def __enter__(self) -> str:
        return f"/proc/self/fd/{self._folder}/{self._name}"

    def __exit__(self, *_: object) -> None:
        os.close(self._folder)


def peer_of(connection: _socket.socket) -> tuple[int, int]:
    """Return pid and uid of the other side; pid 0 = a process in another pid namespace.

    Raises OSError. Source: unix(7), SO_PEERCRED.
    """
    raw = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 3 * _INT)
    pid, uid = (int.from_bytes(raw[at : at + _INT], sys.byteorder) for at in (0, _INT))
    return pid, uid
