"""Tests whether a listen address is free, and binds it exactly as php-fpm would.

Laws:
1. The answer is one of four states, because the guard waits for some of them only.
2. A test leaves nothing behind: TCP is bound and closed, never listened on; a unix socket is
   connected to, never unlinked.
3. A socket that is bound here is like php-fpm's own: SO_REUSEADDR, backlog, owner, group, mode. It
   blocks, because a socket with O_NONBLOCK makes php-fpm fork without end.
4. `_socket`, not `socket`: importing the latter costs milliseconds of each start.

Source: php-src sapi/fpm/fpm/fpm_sockets.c; compared with php-fpm 8.2.36.
"""

from __future__ import annotations

import _socket
import errno
import os
import stat
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.guard import socket_rights
from fpm_listener.host.addresses import TcpAddress, UnixAddress

if TYPE_CHECKING:
    from fpm_listener.phpfpm.listen_sockets import Rights


class AddressState(Enum):
    """What happens if php-fpm binds an address now."""

    FREE = "free"
    BUSY = "busy"  #: another process listens there
    ABSENT = "absent"  #: no interface of this host has it, yet
    FORBIDDEN = "forbidden"  #: waiting does not help


class Availability(NamedTuple):
    """The state of one address."""

    answer: AddressState
    why: str = ""  #: one clause for people; empty if it is free
    is_missing: bool = False  #: FORBIDDEN: because a directory does not exist


class Bound(NamedTuple):
    """A listening socket of ours."""

    key: str  #: its name in FPM_SOCKETS
    fd: int


class NotOurs(NamedTuple):
    """A socket that php-fpm must make itself, because we cannot make the same."""

    why: str


_FREE = Availability(answer=AddressState.FREE)
#: listen(2) caps it to the kernel's limit; Python replaces a negative number by 0.
_MOST = 0x7FFFFFFF
_ANSWERS = {
    errno.EADDRINUSE: AddressState.BUSY,
    errno.EADDRNOTAVAIL: AddressState.ABSENT,
    errno.ENODEV: AddressState.ABSENT,  # a link-local address whose interface is not there
    errno.EACCES: AddressState.FORBIDDEN,
    errno.EPERM: AddressState.FORBIDDEN,
}
#: The best answer counts for a name with several addresses.
_HOPE = (AddressState.BUSY, AddressState.ABSENT, AddressState.FORBIDDEN)


def ask(address: TcpAddress | UnixAddress) -> Availability:
    """Return whether php-fpm could bind the address now."""
    if isinstance(address, UnixAddress):
        return _ask_unix(address.path)
    bound = _bind_tcp(address, None)
    if isinstance(bound, Bound):
        os.close(bound.fd)
        return _FREE
    return bound


def bind(
    address: TcpAddress | UnixAddress,
    *,
    backlog: int,
    rights: Rights,
) -> Bound | Availability | NotOurs:
    """Return a socket that listens there; or why there is none.

    backlog: below 0 = as many as the kernel allows.
    """
    if isinstance(address, TcpAddress):
        return _bind_tcp(address, _MOST if backlog < 0 else backlog)
    found = _ask_unix(address.path)
    if found.answer is not AddressState.FREE:
        return found
    return _bind_unix(address.path, _MOST if backlog < 0 else backlog, rights)


def keys(address: TcpAddress | UnixAddress) -> tuple[str, ...]:
    """Return the keys of FPM_SOCKETS that php-fpm may look for; none if a name is unknown."""
    if isinstance(address, UnixAddress):
        return (address.path,)
    found = _resolve(address)
    if isinstance(found, Availability):
        return ()
    return tuple(_key(family, sockaddr) for family, sockaddr in found)


def flaw(fd: int, key: str) -> str | None:
    """Return why php-fpm must not get `fd` under `key`; None if the socket is right."""
    try:
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            return "it is not a socket"
        probe = _socket.socket(fileno=os.dup(fd))
    except OSError as error:
        return f"it is not an open socket ({error.strerror})"
    try:
        if not probe.getsockopt(_socket.SOL_SOCKET, _socket.SO_ACCEPTCONN):
            return "it does not listen"
        if not os.get_blocking(fd):
            return "it does not block"
        if probe.type != _socket.SOCK_STREAM:
            return "it is not a stream"
        name = probe.getsockname()
        bound = name if probe.family == _socket.AF_UNIX else _key(probe.family, name)
    finally:
        probe.close()
    return None if bound == key else f"it is bound to {bound!r}"


def listen_again(fd: int, backlog: int) -> None:
    """Change the backlog of a listening socket; its queue is kept."""
    again = _socket.socket(fileno=os.dup(fd))
    try:
        again.listen(_MOST if backlog < 0 else backlog)
    finally:
        again.close()


# -- TCP -------------------------------------------------------------------------------------------

_SockAddr = tuple[str, int] | tuple[str, int, int, int]


def _resolve(address: TcpAddress) -> list[tuple[int, _SockAddr]] | Availability:
    """Return what php-fpm would try to bind, in its order."""
    if address.host is None:
        # A bare port: all of IPv6, which includes IPv4; if that fails, all of IPv4.
        both: list[tuple[int, _SockAddr]] = [
            (_socket.AF_INET6, ("::", address.port, 0, 0)),
            (_socket.AF_INET, ("0.0.0.0", address.port)),  # noqa: S104 - as its operator wants it
        ]
        return both if _socket.has_ipv6 else both[1:]
    try:
        # Bytes: Python would convert a text to an international name first, which can fail.
        host = address.host.encode()
        found = _socket.getaddrinfo(host, address.port, type=_socket.SOCK_STREAM)
    except _socket.gaierror as error:
        why = f"the name {address.host!r} cannot be resolved: {error.strerror}"
        return Availability(answer=AddressState.ABSENT, why=why)
    return [(int(family), sockaddr) for family, _, _, _, sockaddr in found]  # type: ignore[misc]


def _key(family: int, sockaddr: _SockAddr) -> str:
    """Return `host:port` as php-fpm prints it: inet_ntop(3), IPv6 without brackets or zone."""
    host = sockaddr[0].partition("%")[0]
    return f"{_socket.inet_ntop(family, _socket.inet_pton(family, host))}:{sockaddr[1]}"


def _bind_tcp(address: TcpAddress, backlog: int | None) -> Bound | Availability:
    """Return a bound socket, which listens if there is a backlog; or why there is none."""
    candidates = _resolve(address)
    if isinstance(candidates, Availability):
        return candidates
    failures: dict[AddressState, str] = {}
    for family, sockaddr in candidates:
        try:
            listener = _socket.socket(family, _socket.SOCK_STREAM)
        except OSError as error:  # a kernel without IPv6
            failures.setdefault(AddressState.ABSENT, error.strerror or str(error))
            continue
        try:
            # As php-fpm does; without it, TIME_WAIT looks like a holder.
            listener.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
            listener.bind(sockaddr)
            if backlog is not None:
                listener.listen(backlog)
        except OSError as error:
            listener.close()
            answer = _ANSWERS.get(error.errno or 0, AddressState.FORBIDDEN)
            failures.setdefault(answer, error.strerror or str(error))
            continue
        return Bound(key=_key(family, sockaddr), fd=listener.detach())
    answer = next(hope for hope in _HOPE if hope in failures)
    return Availability(answer=answer, why=failures[answer])


# -- unix ------------------------------------------------------------------------------------------


def _ask_unix(path: str) -> Availability:
    client = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        client.setblocking(False)  # a full queue needs no wait
        client.connect(path)
    except BlockingIOError:
        return Availability(AddressState.BUSY, "a process listens there, and its queue is full")
    except OSError as error:
        # Whatever the reason is, php-fpm unlinks the path and binds.
        return _ask_directory(path, error)
    finally:
        client.close()
    return Availability(AddressState.BUSY, "a process listens there")


def _ask_directory(path: str, refused: OSError) -> Availability:
    directory = os.path.dirname(path) or "/"  # noqa: PTH120 - texts stay texts
    if not os.path.isdir(directory):  # noqa: PTH112 - the same
        why = f"its directory {directory} does not exist"
        return Availability(AddressState.FORBIDDEN, why, is_missing=True)
    # An unreachable path in a writable directory is replaced.
    if not os.access(directory, os.W_OK | os.X_OK):
        why = f"its directory {directory} is not writable"
        if refused.errno == errno.EACCES:
            why += f", and a connection to {path} is not permitted"
        return Availability(AddressState.FORBIDDEN, why)
    return _FREE


def _bind_unix(path: str, backlog: int, rights: Rights) -> Bound | NotOurs | Availability:
    try:
        uid, gid = socket_rights.owner_of(rights)
    except KeyError as error:
        return NotOurs(why=f"its owner or group {error.args[0]!r} is unknown")
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return NotOurs(why=f"{path} is not a socket")
        os.unlink(path)  # noqa: PTH108 - nobody listens: php-fpm unlinks it, too
    except FileNotFoundError:
        pass
    except OSError as error:
        return NotOurs(why=f"{path}: {error.strerror}")
    listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    before = os.umask(0o777 ^ rights.mode)
    try:
        listener.bind(path)
        if (uid, gid) != (-1, -1):
            socket_rights.set_owner(path, uid, gid)
        listener.listen(backlog)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            return Availability(AddressState.BUSY, "another process was faster")
        return NotOurs(why=f"{path}: {error.strerror}")
    finally:
        os.umask(before)
    return Bound(key=path, fd=listener.detach())
