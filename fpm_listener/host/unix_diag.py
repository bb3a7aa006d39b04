"""The queue of a unix socket that listens, from netlink `sock_diag`.

Law: a socket is matched by its bound path and its inode. The device is not compared: on overlayfs
the kernel reports another one than stat(2).

Source: the kernel's net/unix/diag.c and include/uapi/linux/unix_diag.h.
"""

from __future__ import annotations

import os
import socket
import stat
import struct
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.host import netlink
from fpm_listener.host.listen_queue import ListenQueue, NoQueue, Obstacle

if TYPE_CHECKING:
    from fpm_listener.host.netlink import Ask

_LISTEN = 10
#: struct unix_diag_req: family, states, inode, what to show, cookie.
_REQUEST = struct.Struct("=BxxxIIIII")
_SHOW_NAME, _SHOW_FILE, _SHOW_CLIENTS, _SHOW_QUEUE = 1, 2, 8, 16
#: struct unix_diag_msg: family, type, state, inode, cookie; then attributes.
_MESSAGE = struct.Struct("=BBBxIII")
_NAME, _FILE, _CLIENTS, _QUEUE = 0, 1, 3, 4
_SHOW = _SHOW_NAME | _SHOW_FILE | _SHOW_QUEUE
_TWO = struct.Struct("=II")


def queue(path: str, kernel: Ask, last: ListenQueue | None) -> ListenQueue | NoQueue:
    """Return the queue of the socket that is bound to a path; raises as `Ask`."""
    wanted: int | None = None  # the inode of the file
    if not path.startswith("@"):
        try:
            file = os.stat(path)  # noqa: PTH116 - texts stay texts
        except OSError as error:
            return NoQueue(Obstacle.NOT_VISIBLE, f"{path}: {error.strerror}")
        if not stat.S_ISSOCK(file.st_mode):
            return NoQueue(Obstacle.NOT_VISIBLE, f"{path} is not a socket")
        wanted = file.st_ino & 0xFFFFFFFF  # as the kernel reports it
    message = netlink.ask_again(kernel, last.again) if last else None
    found = None if message is None else _match(message, path, wanted)
    if found is None:
        request = _REQUEST.pack(socket.AF_UNIX, 1 << _LISTEN, 0, _SHOW, 0, 0)
        all_found = (_match(one, path, wanted) for one in kernel(request, one=False))
        found = next((one for one in all_found if one is not None), None)
    if found is None:
        why = f"no socket of this network namespace listens on {path}"
        return NoQueue(Obstacle.NOT_VISIBLE, why)
    return _with_clients(found, kernel) if found.waiting else found


class _Listener(NamedTuple):
    """A unix socket that listens."""

    bound: bytes  #: its name; empty = it has none
    file: int | None  #: the inode of its file; None = it has none
    queue: ListenQueue


@lru_cache(maxsize=64)  # nothing changes while a pool is idle
def _listener(message: bytes) -> _Listener | None:
    """Return what a message says; None if it is not about a socket that listens."""
    _, _, state, inode, *cookie = _MESSAGE.unpack_from(message)
    known = dict(netlink.attributes(message, _MESSAGE.size))
    numbers, file = known.get(_QUEUE, b""), known.get(_FILE, b"")
    if state != _LISTEN or len(numbers) < _TWO.size:
        return None
    waiting, limit = _TWO.unpack_from(numbers)
    again = _REQUEST.pack(socket.AF_UNIX, 1 << _LISTEN, inode, _SHOW, *cookie)
    return _Listener(
        known.get(_NAME, b""),
        _TWO.unpack_from(file)[0] if len(file) >= _TWO.size else None,
        ListenQueue(waiting, limit, inode, None if waiting else (), again=again),
    )


def _match(message: bytes, path: str, wanted: int | None) -> ListenQueue | None:
    """Return the queue of a socket; None if it is not bound to the path and the file's inode."""
    found = _listener(message)
    if found is None or not _is_bound(found.bound, path):
        return None
    return found.queue if wanted in {None, found.file} else None


def _is_bound(bound: bytes, path: str) -> bool:
    """Return whether a socket's name means the path; a directory in it can be a symlink."""
    if path.startswith("@"):
        return bound == b"\0" + os.fsencode(path[1:])
    if not bound or bound.startswith(b"\0"):
        return False
    text = os.fsdecode(bound.rstrip(b"\0"))
    if text == path:
        return True
    is_near = os.path.basename(text) == os.path.basename(path)  # noqa: PTH119 - as above
    return is_near and os.path.realpath(text) == os.path.realpath(path)


def _with_clients(found: ListenQueue, kernel: Ask) -> ListenQueue:
    """Return the queue with its clients; without them if the kernel has no room for the list."""
    family, states, inode, _, *cookie = _REQUEST.unpack(found.again)
    show = _SHOW_QUEUE | _SHOW_CLIENTS
    request = _REQUEST.pack(family, states, inode, show, *cookie)
    try:
        (message, *_) = kernel(request, one=True)
    except (OSError, ValueError):  # EMSGSIZE: more than about a thousand clients
        return found
    known = dict(netlink.attributes(message, _MESSAGE.size))
    numbers, clients = known.get(_QUEUE, b""), known.get(_CLIENTS, b"")
    if len(numbers) < _TWO.size or len(clients) % 4:
        return found
    waiting, limit = _TWO.unpack_from(numbers)
    inodes = struct.unpack(f"={len(clients) // 4}I", clients)
    return found._replace(waiting=waiting, limit=limit, clients=inodes)
