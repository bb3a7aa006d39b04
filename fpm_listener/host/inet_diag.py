"""The queue of a TCP socket that listens, from netlink `sock_diag`. No name is resolved.

Source: the kernel's net/ipv4/inet_diag.c and include/uapi/linux/inet_diag.h, tcp_states.h.
"""

from __future__ import annotations

import errno
import socket
import struct
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.host import addresses, netlink
from fpm_listener.host.listen_queue import ListenQueue, NoQueue, Obstacle

if TYPE_CHECKING:
    from fpm_listener.host.addresses import TcpAddress
    from fpm_listener.host.netlink import Ask

_ESTABLISHED, _CLOSE_WAIT, _LISTEN = 1, 8, 10
#: struct inet_diag_req_v2: family, protocol, attributes, states, port, address, cookie.
_REQUEST = struct.Struct("!BBBx4sH2x16s20x8s")
#: struct inet_diag_msg: family, state, ports, addresses, interface, cookie; then from its byte 52
#: on expiry, receive queue, send queue, uid, inode; then attributes.
_HEAD, _NUMBERS, _LENGTH = struct.Struct("!BBxxHH16s16s4x8s"), struct.Struct("=5I"), 72
_NUMBERS_AT = 52
_V6ONLY = 11


class Listener(NamedTuple):
    """A TCP socket that listens."""

    family: int
    host: bytes  #: 4 or 16 bytes
    port: int
    is_v6only: bool
    waiting: int
    limit: int
    inode: int
    cookie: bytes  #: the kernel's name of the socket


def listeners(family: int, port: int = 0, kernel: Ask = netlink.ask) -> list[Listener]:
    """Return the listening sockets of a family; port: 0 = all.

    Raises OSError, ValueError and struct.error.
    """
    request = _request(family, 1 << _LISTEN, port)
    all_found = (_listener(message) for message in kernel(request, one=False))
    return [one for one in all_found if one is not None and port in {0, one.port}]


@lru_cache(maxsize=64)  # as above
def _listener(message: bytes) -> Listener | None:
    """Return what a message says; None if it is not about a socket that listens."""
    of, state, port, _, host, _, cookie = _HEAD.unpack_from(message)
    _, waiting, limit, _, inode = _NUMBERS.unpack_from(message, _NUMBERS_AT)
    if state != _LISTEN:
        return None
    is_v6only = dict(netlink.attributes(message, _LENGTH)).get(_V6ONLY, b"\0")[:1] == b"\1"
    host = host[: 16 if of == socket.AF_INET6 else 4]
    return Listener(of, host, port, is_v6only, waiting, limit, inode, cookie)


def _request(family: int, states: int, port: int, host: bytes = b"", cookie: bytes = b"") -> bytes:
    """Return a question about sockets with a local port; host, cookie: about one socket only."""
    words = struct.pack("=I", states)
    return _REQUEST.pack(family, socket.IPPROTO_TCP, 0, words, port, host, cookie)


def queue(address: TcpAddress, kernel: Ask, last: ListenQueue | None) -> ListenQueue | NoQueue:
    """Return the queue of the socket that accepts the clients of an address; raises as `Ask`."""
    message = netlink.ask_again(kernel, last.again) if last else None
    known = None if message is None else _listener(message)
    if last and known and known.inode == last.inode and not known.waiting:
        return ListenQueue(0, known.limit, known.inode, (), again=last.again)
    found = listeners(socket.AF_INET, address.port, kernel)
    host = addresses.packed(address.host) if address.host else None
    exact = next((one for one in found if one.host == host), None)
    if exact is None or exact.waiting:  # else no other socket is more exact
        found += _present(socket.AF_INET6, address.port, kernel)
        exact = _choose(address, found)
    if exact is None:
        why = f"no socket of this network namespace listens on {address.text}"
        return NoQueue(Obstacle.NOT_VISIBLE, why)
    again = _again(address, host, exact)
    clients, served = _clients(exact, found, kernel) if exact.waiting else ((), frozenset())
    return ListenQueue(exact.waiting, exact.limit, exact.inode, clients, served, again)


def _again(address: TcpAddress, host: bytes | None, found: Listener) -> bytes:
    """Return the question about this socket alone; empty for a name.

    It names the address of the pool. If another socket accepts its clients by now, the cookie
    differs, and the kernel answers with an error.
    """
    if host is None and address.host is not None:
        return b""
    host = found.host if host is None else host
    family = socket.AF_INET if len(host) == 4 else socket.AF_INET6
    return _request(family, 1 << _LISTEN, address.port, host, found.cookie)


def _clients(
    listener: Listener, found: list[Listener], kernel: Ask
) -> tuple[tuple[object, ...], frozenset[object]]:
    """Return the connections that wait, and those that were accepted."""
    others = {one.host for one in found} - {listener.host}
    states = 1 << _ESTABLISHED | 1 << _CLOSE_WAIT
    waiting: list[object] = []
    served: set[object] = set()
    for message in kernel(_request(listener.family, states, listener.port), one=False):
        _, _, source, port, host, client, _ = _HEAD.unpack_from(message)
        host = host[: len(listener.host)]
        if source != listener.port or host in others or listener.host not in {host, *_EVERYWHERE}:
            continue
        *_, inode = _NUMBERS.unpack_from(message, _NUMBERS_AT)
        if inode:
            served.add((client, port))
        else:  # nobody has accepted it
            waiting.append((client, port))
    return tuple(waiting), frozenset(served)


_EVERYWHERE = (bytes(4), bytes(16))
_MAPPED = bytes(10) + b"\xff\xff"


def _present(family: int, port: int, kernel: Ask) -> list[Listener]:
    """Return the listening sockets of a family; none on a kernel without IPv6."""
    try:
        return listeners(family, port, kernel)
    except OSError as error:
        if family == socket.AF_INET6 and error.errno == errno.ENOENT:
            return []
        raise


def _choose(address: TcpAddress, found: list[Listener]) -> Listener | None:
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
