"""How the listener tells `fpm-listener run` that it has shut supervisord down.

supervisord itself exits with 0 then. The messages come through a socket in the abstract namespace:
it needs no directory, and works on a read-only file system and for another user.

`run` is PID 1 of a container, so this imports little.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: Environment variable of supervisord's programs: the name of the socket of `run`. It is not a
#: setting (settings/environment.py).
VARIABLE = "FPM_LISTENER_RUN"
#: The messages: supervisord is going to be shut down; that has failed.
SHUTDOWN, CANCELLED = b"shutdown", b"cancelled"
_CREDENTIALS = struct.Struct("3i")
#: Seconds to wait for a `run` that reads no messages.
_PATIENCE_S = 1.0
#: More messages than the kernel keeps (net.unix.max_dgram_qlen: 10, or 512 with systemd).
_MOST_AT_ONCE = 1000


def tell(message: bytes, environ: Mapping[str, str]) -> None:
    """Send a message to the `run` that has started supervisord, if there is one. Raises OSError."""
    name = environ.get(VARIABLE)
    if not name:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.settimeout(_PATIENCE_S)
        sender.sendto(message, f"\0{name}")


class RunChannel:
    """The side of `run`."""

    def __init__(self) -> None:
        """Listen. SIGIO reports a message. Raises OSError."""
        self.name = f"fpm-listener-run-{os.getpid()}-{os.urandom(8).hex()}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind(f"\0{self.name}")
        fcntl.fcntl(self._socket, fcntl.F_SETOWN, os.getpid())
        flags = fcntl.fcntl(self._socket, fcntl.F_GETFL)
        fcntl.fcntl(self._socket, fcntl.F_SETFL, flags | os.O_ASYNC)

    def read(self) -> Iterator[tuple[bytes, int, int]]:
        """Return the messages that have arrived, with pid and uid of the sender.

        Not without end: a process that sends all the time must not keep `run` from its signals.
        """
        for _ in range(_MOST_AT_ONCE):
            try:
                message, extra, _, _ = self._socket.recvmsg(64, socket.CMSG_SPACE(64))
            except OSError:
                return
            for level, kind, data in extra:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                    pid, uid, _ = _CREDENTIALS.unpack(data[: _CREDENTIALS.size])
                    yield message, pid, uid
