"""Client sockets with one deadline for a whole exchange: connect, send and receive.

A plain timeout starts again with each byte that a slow peer sends.
A name server is the exception: the resolver has its own limits (resolv.conf).
"""

from __future__ import annotations

import math
import socket
import time
from typing import TYPE_CHECKING, Any

from fpm_listener.host.unix_connection import peer_of

if TYPE_CHECKING:
    from collections.abc import Sequence


#: Bytes of one part of a host name (RFC 1035).
_LONGEST_LABEL = 63


class TimedSocket(socket.socket):
    """A socket that raises TimeoutError after `ends_at_s`."""

    ends_at_s = math.inf  #: monotonic seconds

    @property
    def left_s(self) -> float:
        """Return the seconds until the deadline. Raises TimeoutError after it."""
        left_s = self.ends_at_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        return left_s

    @property
    def peer_uid(self) -> int | None:
        """Return the user of the server; None over TCP."""
        if self.family != socket.AF_UNIX:
            return None
        return peer_of(self)[1]

    def connect(self, address: Any, /) -> None:  # noqa: ANN401 - as socket's
        """Connect before the deadline."""
        self.settimeout(self.left_s)
        super().connect(address)

    def sendall(self, data: Any, flags: int = 0, /) -> None:  # noqa: ANN401 - as socket's
        """Send all bytes before the deadline."""
        self.settimeout(self.left_s)
        super().sendall(data, flags)

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """Return the next bytes."""
        self.settimeout(self.left_s)
        return super().recv(bufsize, flags)

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:  # noqa: ANN401 - as socket's
        """Read into a buffer, as http.client does for each piece of an answer."""
        self.settimeout(self.left_s)
        return super().recv_into(buffer, nbytes, flags)


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
