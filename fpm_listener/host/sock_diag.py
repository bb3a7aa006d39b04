"""How many clients wait in the queue of a listening socket, from the kernel.

Laws:
1. A unix socket is matched by its bound path and its inode. The device is not compared: on
   overlayfs the kernel reports another one than stat(2).
2. No name is resolved, and nothing connects: no worker is needed.
3. A queue that cannot be read is a value with its reason, never 0.

Clients that have closed their connection stay in the queue until php-fpm accepts them.

Source: sock_diag(7); the kernel's net/unix/diag.c, net/ipv4/inet_diag.c and include/uapi/linux/
unix_diag.h, inet_diag.h, tcp_states.h. Measured on Linux 6.18: 0.1 ms, also as an ordinary user.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import struct
from typing import NamedTuple, Protocol

from fpm_listener.host import addresses, netlink
from fpm_listener.host.addresses import TcpAddress, UnixAddress
from fpm_listener.host.listen_queue import ListenQueue, NoQueue, Obstacle

_ESTABLISHED, _CLOSE_WAIT, _LISTEN = 1, 8, 10
#: struct unix_diag_req: family, states, inode, what to show, cookie.
_UNIX_REQUEST = struct.Struct("=BxxxIIIII")
_SHOW_NAME, _SHOW_FILE, _SHOW_CLIENTS, _SHOW_QUEUE = 1, 2, 8, 16
#: struct unix_diag_msg: family, type, state, inode, cookie; then attributes.
_UNIX_MESSAGE = struct.Struct("=BBBxIII")
_NAME, _FILE, _CLIENTS, _QUEUE = 0, 1, 3, 4
_SHOW = _SHOW_NAME | _SHOW_FILE | _SHOW_QUEUE
_TWO = struct.Struct("=II")
#: struct inet_diag_req_v2: family, protocol, attributes, states, port; the rest is 0.
_TCP_REQUEST = struct.Struct("!BBBx4s H46x")
#: struct inet_diag_msg: family, state, ports, addresses, interface and cookie; then from its byte
#: 52 on expiry, receive queue, send queue, uid, inode; then attributes.
_TCP_HEAD, _TCP_NUMBERS, _TCP_LENGTH = struct.Struct("!BBxxHH16s16s"), struct.Struct("=5I"), 72
_NUMBERS_AT = 52
_V6ONLY = 11
_UNSUPPORTED = frozenset(
    {
        *(errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT, errno.ENOENT, errno.ENOSYS, errno.EINVAL),
        *(errno.EOPNOTSUPP, errno.ESOCKTNOSUPPORT),
    }
)


class Ask(Protocol):
    """`netlink.ask`."""

    def __call__(self, request: bytes, /, *, one: bool) -> list[bytes]:
        """Return the kernel's messages."""


class TcpListener(NamedTuple):
    """A TCP socket that listens."""

    family: int
    host: bytes  #: 4 or 16 bytes
    port: int
    is_v6only: bool
    waiting: int
    limit: int
    inode: int


def queue(
    address: str, kernel: Ask = netlink.ask, *, last: ListenQueue | None = None
) -> ListenQueue | NoQueue:
    """Return the queue of the socket that listens on an address of php-fpm.

    address: as php-fpm's configuration has it; an abstract name begins with `@`.
    last: the answer of the last look: asking for one known unix socket is cheaper than for all.
    """
    where = addresses.parse(address)
    try:
        if isinstance(where, UnixAddress):
            return _unix_queue(where.path, kernel, last)
        if isinstance(where, TcpAddress):
            return _tcp_queue(where, kernel)
        return NoQueue(Obstacle.NOT_VISIBLE, where.why)
    except OSError as error:
        return NoQueue(_obstacle(error), f"sock_diag: {error.strerror or error}")
    except (ValueError, struct.error) as error:
        return NoQueue(Obstacle.FAILED, f"sock_diag: {error}")


def _obstacle(error: OSError) -> Obstacle:
    if isinstance(error, PermissionError):
        return Obstacle.FORBIDDEN
    return Obstacle.UNSUPPORTED if error.errno in _UNSUPPORTED else Obstacle.FAILED


# -- unix sockets ----------------------------------------------------------------------------------


def _unix_queue(path: str, kernel: Ask, last: ListenQueue | None) -> ListenQueue | NoQueue:
    wanted: int | None = None  # the inode of the file
    if not path.startswith("@"):
        try:
            file = os.stat(path)  # noqa: PTH116 - texts stay texts
        except OSError as error:
            return NoQueue(Obstacle.NOT_VISIBLE, f"{path}: {error.strerror}")
        if not stat.S_ISSOCK(file.st_mode):
            return NoQueue(Obstacle.NOT_VISIBLE, f"{path} is not a socket")
        wanted = file.st_ino & 0xFFFFFFFF  # as the kernel reports it
    found = _known_again(path, wanted, kernel, last) if last and last.cookie else None
    if found is None:
        request = _UNIX_REQUEST.pack(socket.AF_UNIX, 1 << _LISTEN, 0, _SHOW, 0, 0)
        all_found = (_match(one, path, wanted) for one in kernel(request, one=False))
        found = next((one for one in all_found if one is not None), None)
    if found is None:
        why = f"no socket of this network namespace listens on {path}"
        return NoQueue(Obstacle.NOT_VISIBLE, why)
    return _with_clients(found, kernel) if found.waiting else found._replace(clients=())


def _known_again(
    path: str, wanted: int | None, kernel: Ask, last: ListenQueue
) -> ListenQueue | None:
    """Return the queue of the socket of the last look; None if it is gone, or another one."""
    request = _UNIX_REQUEST.pack(socket.AF_UNIX, 1 << _LISTEN, last.inode, _SHOW, *last.cookie)
    try:
        messages = kernel(request, one=True)
    except OSError:  # the look at all sockets tells why
        return None
    return _match(messages[0], path, wanted) if messages else None


def _match(message: bytes, path: str, wanted: int | None) -> ListenQueue | None:
    """Return the queue of a socket; None if it is not bound to the path and the file's inode."""
    _, _, state, inode, *cookie = _UNIX_MESSAGE.unpack_from(message)
    known = dict(netlink.attributes(message, _UNIX_MESSAGE.size))
    bound, numbers = known.get(_NAME, b""), known.get(_QUEUE, b"")
    if state != _LISTEN or len(numbers) < _TWO.size or not _is_bound(bound, path):
        return None
    file = known.get(_FILE, b"")
    if wanted is not None and (len(file) < _TWO.size or _TWO.unpack_from(file)[0] != wanted):
        return None
    waiting, limit = _TWO.unpack_from(numbers)
    return ListenQueue(waiting, limit, inode, cookie=tuple(cookie))


def _is_bound(bound: bytes, path: str) -> bool:
    """Return whether a socket's name means the path; a directory in it can be a symlink."""
    if path.startswith("@"):
        return bound == b"\0" + os.fsencode(path[1:])
    if not bound or bound.startswith(b"\0"):
        return False
    text = os.fsdecode(bound.rstrip(b"\0"))
    name = os.path.basename(path)  # noqa: PTH119 - as above
    is_near = os.path.basename(text) == name  # noqa: PTH119 - as above
    return text == path or (is_near and os.path.realpath(text) == os.path.realpath(path))


def _with_clients(found: ListenQueue, kernel: Ask) -> ListenQueue:
    """Return the queue with its clients; without them if the kernel has no room for the list."""
    show = _SHOW_QUEUE | _SHOW_CLIENTS
    request = _UNIX_REQUEST.pack(socket.AF_UNIX, 1 << _LISTEN, found.inode, show, *found.cookie)
    try:
        (message, *_) = kernel(request, one=True)
    except (OSError, ValueError):  # EMSGSIZE: more than about a thousand clients
        return found
    known = dict(netlink.attributes(message, _UNIX_MESSAGE.size))
    numbers, clients = known.get(_QUEUE, b""), known.get(_CLIENTS, b"")
    if len(numbers) < _TWO.size or len(clients) % 4:
        return found
    waiting, limit = _TWO.unpack_from(numbers)
    inodes = struct.unpack(f"={len(clients) // 4}I", clients)
    return found._replace(waiting=waiting, limit=limit, clients=inodes)


# -- TCP -------------------------------------------------------------------------------------------


def tcp_listeners(family: int, port: int = 0, kernel: Ask = netlink.ask) -> list[TcpListener]:
    """Return the listening sockets of a family; port: 0 = all.

    Raises OSError, ValueError and struct.error.
    """
    found = []
    for message in kernel(_tcp_request(family, 1 << _LISTEN, port), one=False):
        of, state, source, _, host, _ = _TCP_HEAD.unpack_from(message)
        _, waiting, limit, _, inode = _TCP_NUMBERS.unpack_from(message, _NUMBERS_AT)
        if state != _LISTEN or port not in {0, source}:
            continue
        known = dict(netlink.attributes(message, _TCP_LENGTH))
        length = 16 if of == socket.AF_INET6 else 4
        is_v6only = known.get(_V6ONLY, b"\0")[:1] == b"\1"
        found.append(TcpListener(of, host[:length], source, is_v6only, waiting, limit, inode))
    return found


def _tcp_request(family: int, states: int, port: int) -> bytes:
    words = struct.pack("=I", states)
    return _TCP_REQUEST.pack(family, socket.IPPROTO_TCP, 0, words, port)


def _tcp_queue(address: TcpAddress, kernel: Ask) -> ListenQueue | NoQueue:
    found = tcp_listeners(socket.AF_INET, address.port, kernel)
    host = addresses.packed(address.host) if address.host else None
    exact = next((one for one in found if one.host == host), None)
    if exact is not None and not exact.waiting:  # no other socket is more exact
        return ListenQueue(0, exact.limit, exact.inode, ())
    found += _present(socket.AF_INET6, address.port, kernel)
    listener = _choose(address, found)
    if listener is None:
        why = f"no socket of this network namespace listens on {address.text}"
        return NoQueue(Obstacle.NOT_VISIBLE, why)
    numbers = listener.waiting, listener.limit, listener.inode
    if not listener.waiting:
        return ListenQueue(*numbers, ())
    others = {one.host for one in found} - {listener.host}
    states = 1 << _ESTABLISHED | 1 << _CLOSE_WAIT
    waiting: list[object] = []
    served: set[object] = set()
    for message in kernel(_tcp_request(listener.family, states, address.port), one=False):
        _, _, source, port, host, client = _TCP_HEAD.unpack_from(message)
        host = host[: len(listener.host)]
        if source != address.port or host in others or listener.host not in {host, *_EVERYWHERE}:
            continue
        *_, inode = _TCP_NUMBERS.unpack_from(message, _NUMBERS_AT)
        if inode:
            served.add((client, port))
        else:  # nobody has accepted it
            waiting.append((client, port))
    return ListenQueue(*numbers, tuple(waiting), frozenset(served))


_EVERYWHERE = (bytes(4), bytes(16))
_MAPPED = bytes(10) + b"\xff\xff"


def _present(family: int, port: int, kernel: Ask) -> list[TcpListener]:
    """Return the listening sockets of a family; none on a kernel without IPv6."""
    try:
        return tcp_listeners(family, port, kernel)
    except OSError as error:
        if family == socket.AF_INET6 and error.errno == errno.ENOENT:
            return []
        raise


def _choose(address: TcpAddress, found: list[TcpListener]) -> TcpListener | None:
    """Return the socket that accepts the clients of an address: the most exact one."""
    host = bytes(16) if address.host is None else addresses.packed(address.host)
    if host is None:  # a name: only certain if one socket has the port
        return found[0] if len(found) == 1 else None
    dual, only_ipv6 = (bytes(16), False), (bytes(16), True)
    if len(host) == 4:
        wanted = [(host, False), (_MAPPED + host, False), (bytes(4), False), dual]
    else:
        wanted = [(host, False), (host, True), dual, only_ipv6]
        if address.host is None:  # php-fpm listens on `::`, or else on 0.0.0.0
            wanted.append((bytes(4), False))
    by_host = {(one.host, one.is_v6only): one for one in found}
    return next((by_host[key] for key in wanted if key in by_host), None)
