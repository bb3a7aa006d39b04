"""Can php-fpm have this listen address, and: have it, exactly as php-fpm would.

Laws:
1. The answer is one of four, never a bool: who is told "no" must know whether to wait.
2. Asking leaves nothing behind: TCP is bound and let go, never listened on; a unix socket is
   connected to, never unlinked.
3. A socket that is bound here is as php-fpm's own: SO_REUSEADDR, backlog, owner, group, mode; and
   it blocks: one with O_NONBLOCK makes php-fpm fork without end.

Source: php-src sapi/fpm/fpm/fpm_sockets.c and fpm_unix.c; compared with php-fpm 8.2.36.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.host.addresses import TcpAddress, UnixAddress

if TYPE_CHECKING:
    from fpm_listener.phpfpm.listen_sockets import Rights


class AddressState(Enum):
    """What becomes of who wants an address now."""

    FREE = "free"
    BUSY = "busy"  #: somebody has it
    ABSENT = "absent"  #: it is not on this host, yet
    FORBIDDEN = "forbidden"  #: waiting does not help


class Availability(NamedTuple):
    """The answer about one address."""

    answer: AddressState
    why: str = ""  #: one clause for people; empty where it is free


class Bound(NamedTuple):
    """A listening socket of ours."""

    key: str  #: by which php-fpm knows it in FPM_SOCKETS
    fd: int


class NotOurs(NamedTuple):
    """A socket that php-fpm must make itself, since we cannot make it alike."""

    why: str


_FREE = Availability(answer=AddressState.FREE)
#: listen(2) takes it for as many as the kernel allows; Python makes 0 of what is below 0.
_MOST = 0x7FFFFFFF
#: Digits of a user's or group's number; 32 bits have ten, and chown(2) knows less than that.
_MOST_DIGITS = 9
_ANSWERS = {
    errno.EADDRINUSE: AddressState.BUSY,
    errno.EADDRNOTAVAIL: AddressState.ABSENT,
    errno.ENODEV: AddressState.ABSENT,  # a link-local address whose interface is not there
    errno.EACCES: AddressState.FORBIDDEN,
    errno.EPERM: AddressState.FORBIDDEN,
}
#: Where a name has several addresses, the answer that leaves most hope.
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

    backlog: connections that may wait; below 0 = as many as the kernel allows.
    """
    if isinstance(address, TcpAddress):
        return _bind_tcp(address, _MOST if backlog < 0 else backlog)
    found = _ask_unix(address.path)
    if found.answer is not AddressState.FREE:
        return found
    return _bind_unix(address.path, _MOST if backlog < 0 else backlog, rights)


def keys(address: TcpAddress | UnixAddress) -> tuple[str, ...]:
    """Return the keys of FPM_SOCKETS that php-fpm may look for, the first one first.

    Empty where a name cannot be resolved.
    """
    if isinstance(address, UnixAddress):
        return (address.path,)
    found = _resolve(address)
    if isinstance(found, Availability):
        return ()
    return tuple(_key(family, sockaddr) for family, sockaddr in found)


def flaw(fd: int, key: str) -> str | None:
    """Return why php-fpm must not be given `fd` under `key`; None where it is as it should be."""
    try:
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            return "it is no socket"
        probe = socket.socket(fileno=os.dup(fd))
    except OSError as error:
        return f"it is no open socket ({error.strerror})"
    with probe:
        if not probe.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return "it does not listen"
        if not os.get_blocking(fd):
            return "it does not block"
        if probe.type != socket.SOCK_STREAM:
            return "it is no stream"
        name = probe.getsockname()
        bound = name if probe.family == socket.AF_UNIX else _key(probe.family, name)
    return None if bound == key else f"it is bound to {bound!r}"


def listen_again(fd: int, backlog: int) -> None:
    """Let a socket that listens have another backlog; what waits in its queue is kept."""
    with socket.socket(fileno=os.dup(fd)) as again:
        again.listen(_MOST if backlog < 0 else backlog)


def set_rights(path: str, rights: Rights) -> None:
    """Give a unix socket that exists the rights that php-fpm would make it with.

    Raises OSError, and KeyError with a name that is not known.
    """
    uid, gid = owner_of(rights)
    # Not set: as if it were made now.
    uid, gid = (os.geteuid() if uid < 0 else uid), (os.getegid() if gid < 0 else gid)
    descriptor = _open_socket(path)
    if descriptor is None:
        return  # somebody has put something else there: that is not ours to touch
    try:
        found = os.fstat(descriptor)
        if (found.st_uid, found.st_gid) != (uid, gid):
            os.chown(_own(descriptor), uid, gid)
        if stat.S_IMODE(found.st_mode) != rights.mode:
            os.chmod(_own(descriptor), rights.mode)  # noqa: PTH101 - texts stay texts
    finally:
        os.close(descriptor)


def _open_socket(path: str) -> int | None:
    """Return a descriptor of the unix socket at `path`; None if something else is there.

    Other users may be able to replace the path at any moment, so it is looked up only once.
    """
    descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    return None


def _own(descriptor: int) -> str:
    """Return a path that always leads to what is open; fchmod(2) of a socket has no effect."""
    return f"/proc/self/fd/{descriptor}"


# -- TCP -------------------------------------------------------------------------------------------

_SockAddr = tuple[str, int] | tuple[str, int, int, int]


def _resolve(address: TcpAddress) -> list[tuple[int, _SockAddr]] | Availability:
    """Return what php-fpm would try to bind, in its order."""
    if address.host is None:
        # A bare port: all of IPv6, which takes IPv4 along; where that fails, all of IPv4.
        both: list[tuple[int, _SockAddr]] = [
            (socket.AF_INET6, ("::", address.port, 0, 0)),
            (socket.AF_INET, ("0.0.0.0", address.port)),  # noqa: S104 - as its operator wants it
        ]
        return both if socket.has_ipv6 else both[1:]
    try:
        # Bytes: of text, Python would make an international name first, which can fail.
        host = address.host.encode()
        found = socket.getaddrinfo(host, address.port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        why = f"the name {address.host!r} cannot be resolved: {error.strerror}"
        return Availability(answer=AddressState.ABSENT, why=why)
    return [(int(family), sockaddr) for family, _, _, _, sockaddr in found]  # type: ignore[misc]


def _key(family: int, sockaddr: _SockAddr) -> str:
    """Return `host:port` as php-fpm prints it: inet_ntop(3), IPv6 without brackets or zone."""
    host = sockaddr[0].partition("%")[0]
    return f"{socket.inet_ntop(family, socket.inet_pton(family, host))}:{sockaddr[1]}"


def _bind_tcp(address: TcpAddress, backlog: int | None) -> Bound | Availability:
    """Return a bound socket, which listens if there is a backlog; or why there is none."""
    candidates = _resolve(address)
    if isinstance(candidates, Availability):
        return candidates
    failures: dict[AddressState, str] = {}
    for family, sockaddr in candidates:
        try:
            listener = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:  # a kernel without IPv6
            failures.setdefault(AddressState.ABSENT, error.strerror or str(error))
            continue
        try:
            # As php-fpm does; without it, TIME_WAIT would look like a holder.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
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
    with socket.socket(socket.AF_UNIX) as client:
        client.setblocking(False)  # where its queue is full, we need not wait
        try:
            client.connect(path)
        except BlockingIOError:
            return Availability(
                answer=AddressState.BUSY, why="somebody listens there, its queue full"
            )
        except OSError as error:
            # Whatever the reason, php-fpm unlinks what is there and binds.
            return _ask_folder(path, error)
    return Availability(answer=AddressState.BUSY, why="somebody listens there")


def _ask_folder(path: str, refused: OSError) -> Availability:
    folder = os.path.dirname(path) or "/"  # noqa: PTH120 - texts stay texts
    if not os.path.isdir(folder):  # noqa: PTH112 - the same
        return Availability(
            answer=AddressState.FORBIDDEN, why=f"its folder {folder} does not exist"
        )
    # An unreachable path in a folder that may be written to is replaced.
    if not os.access(folder, os.W_OK | os.X_OK):
        why = f"its folder {folder} may not be written to"
        if refused.errno == errno.EACCES:
            why += f", and {path} itself may not be connected to"
        return Availability(answer=AddressState.FORBIDDEN, why=why)
    return _FREE


def _bind_unix(path: str, backlog: int, rights: Rights) -> Bound | NotOurs | Availability:
    try:
        uid, gid = owner_of(rights)
    except KeyError as error:
        return NotOurs(why=f"its owner or group {error.args[0]!r} is not known")
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return NotOurs(why=f"{path} is no socket")
        os.unlink(path)  # noqa: PTH108 - nobody listens: what php-fpm does with it
    except FileNotFoundError:
        pass
    except OSError as error:
        return NotOurs(why=f"{path}: {error.strerror}")
    listener = socket.socket(socket.AF_UNIX)
    before = os.umask(0o777 ^ rights.mode)
    try:
        listener.bind(path)
        if (uid, gid) != (-1, -1):
            _give(path, uid, gid)
        listener.listen(backlog)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            return Availability(answer=AddressState.BUSY, why="somebody was faster")
        return NotOurs(why=f"{path}: {error.strerror}")
    finally:
        os.umask(before)
    return Bound(key=path, fd=listener.detach())


def _give(path: str, uid: int, gid: int) -> None:
    """Change the owner of the socket that was bound at `path`."""
    descriptor = _open_socket(path)
    if descriptor is None:
        raise OSError(errno.EEXIST, "somebody has replaced the socket")
    try:
        os.chown(_own(descriptor), uid, gid)
    finally:
        os.close(descriptor)


def _is_id(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) <= _MOST_DIGITS  # else it is a name


def owner_of(rights: Rights) -> tuple[int, int]:
    """Return user and group as numbers; -1 = as they are. Raises KeyError with an unknown name.

    As in php-fpm, a user's name brings the user's group along, a number does not.
    """
    uid = gid = -1
    if rights.owner:
        if _is_id(rights.owner):
            uid = int(rights.owner)
        else:
            import pwd  # noqa: PLC0415 - most guards have no use for it

            try:
                entry = pwd.getpwnam(rights.owner)
            except KeyError:
                raise KeyError(rights.owner) from None
            uid, gid = entry.pw_uid, entry.pw_gid
    if rights.group:
        if _is_id(rights.group):
            gid = int(rights.group)
        else:
            import grp  # noqa: PLC0415 - the same

            try:
                gid = grp.getgrnam(rights.group).gr_gid
            except KeyError:
                raise KeyError(rights.group) from None
    return uid, gid
