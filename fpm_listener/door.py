"""Where the listener waits for guards: a unix socket in state_dir.

Law: only root and our own user are listened to; the kernel says who it is (SO_PEERCRED), and the
folder lets nobody else in.
"""

from __future__ import annotations

import errno
import os
import socket
import struct

from fpm_listener import state_directory
from fpm_listener.core.handover import PATIENCE_S
from fpm_listener.rendezvous import Reachable

_CREDENTIALS = struct.Struct("3i")
_WAITING = 64


def open_door(state_dir: str) -> socket.socket | OSError:
    """Return what `listen` does; its error is the keeper's to tell."""
    try:
        return listen(state_dir)
    except OSError as error:
        return error


def listen(state_dir: str) -> socket.socket:
    """Return the socket that guards come to; the folder is made if it is missing.

    Raises OSError, with EADDRINUSE where another listener uses the folder.
    """
    with Reachable(state_directory.prepare(state_dir)) as path:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
            probe.settimeout(PATIENCE_S)
            if probe.connect_ex(path) in {0, errno.EAGAIN}:
                raise OSError(errno.EADDRINUSE, "another listener uses this folder", state_dir)
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


def caller(connection: socket.socket) -> tuple[int, int]:
    """Return pid and uid of the other side; pid 0 = of a process that we cannot see."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(raw)
    return pid, uid
