"""Client sockets with one deadline for a whole exchange: connect, send and receive.

A plain timeout starts again with each byte that a slow peer sends.
A name server is the exception: the resolver has its own limits (resolv.conf).
"""

from __future__ import annotations

import errno
import math
import os
import select
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from fpm_listener.host.unix_connection import peer_of

if TYPE_CHECKING:
    from collections.abc import Sequence


#: Bytes of one part of a host name (RFC 1035).
_LONGEST_LABEL = 63


class TimedSocket(socket.socket):
    """A socket that raises TimeoutError after `ends_at_s`. Never use its timeouts.

    It does not block, so that it waits only if it must: most answers are there already.
    """

    ends_at_s = math.inf  #: monotonic seconds

    def __init__(self, family: int = -1, kind: int = -1, *, fileno: int | None = None) -> None:
        """`fileno`: of a socket that is open already."""
        super().__init__(family, kind, fileno=fileno)
        self.setblocking(False)

    @property
    def peer_uid(self) -> int | None:
        """Return the user of the server; None over TCP."""
        if self.family != socket.AF_UNIX:
            return None
        return peer_of(self)[1]

    def connect(self, address: Any, /) -> None:  # noqa: ANN401 - as socket's
        """Connect before the deadline."""
        self._check_deadline()
        number = self.connect_ex(address)
        if number == errno.EINPROGRESS:
            self._wait(select.POLLOUT)
            number = self.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            raise OSError(number, os.strerror(number))

    def sendall(self, data: Any, flags: int = 0, /) -> None:  # noqa: ANN401 - as socket's
        """Send all bytes before the deadline."""
        rest = memoryview(data)
        while rest:
            self._check_deadline()
            with suppress(BlockingIOError):
                rest = rest[self.send(rest, flags) :]
                continue
            self._wait(select.POLLOUT)

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Return the next bytes."""
        self._check_deadline()
        while True:
            with suppress(BlockingIOError):
                return super().recv(bufsize, flags)
            self._wait(select.POLLIN)  # after the block: it is not the cause of a timeout

    def _check_deadline(self) -> None:
        if time.monotonic() >= self.ends_at_s:
            raise TimeoutError

    def _wait(self, event: int) -> None:
        """Wait until the socket is ready. Raises TimeoutError."""
        poller = select.poll()
        poller.register(self, event)
        left_s = self.ends_at_s - time.monotonic()
        if left_s <= 0 or not poller.poll(None if left_s == math.inf else left_s * 1000):
            raise TimeoutError


def connect(address: tuple[str, int] | str, ends_at_s: float) -> TimedSocket:
    """Return a connection to the first address of a host that accepts one. Raises OSError.

    address: host and port, or the path of a unix socket; ends_at_s: monotonic.
    """
    targets: Sequence[tuple[int, Any]] = [(socket.AF_UNIX, address)]
    if not isinstance(address, str) and (numeric := _numeric_family(address[0])) is not None:
        targets = [(numeric, address)]  # the resolver would load the tables of IDNA: 0.7 MiB
    elif not isinstance(address, str):
        found = socket.getaddrinfo(_name(address[0]), address[1], type=socket.SOCK_STREAM)
        targets = [(family, sockaddr) for family, _, _, _, sockaddr in found]
    failure: OSError = TimeoutError()
    for index, (family, sockaddr) in enumerate(targets):
        now_s = time.monotonic()
        if now_s >= ends_at_s:
            break
        connection = TimedSocket(family, socket.SOCK_STREAM)
        # An address that does not answer gets its share of the time only.
        connection.ends_at_s = now_s + (ends_at_s - now_s) / (len(targets) - index)
        try:
            connection.connect(sockaddr)
        except OSError as error:
            connection.close()
            failure = error
        else:
            connection.ends_at_s = ends_at_s
            return connection
    raise failure


def _name(host: str) -> str | bytes:
    """Return a host name as bytes if it needs no IDNA, whose tables need 0.7 MiB."""
    needs_none = host.isascii() and all(
        0 < len(label) <= _LONGEST_LABEL for label in host.split(".")
    )
    return host.encode() if needs_none and "\0" not in host else host


def _numeric_family(host: str) -> int | None:
    """Return the family of a numeric address; None = it is a name."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except (OSError, ValueError):  # ValueError: a NUL, or not ASCII
            continue
        return family
    return None
