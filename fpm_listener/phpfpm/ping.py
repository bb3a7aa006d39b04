"""Asks php-fpm whether it is alive: one FastCGI question, and any FastCGI answer counts.

Without a path the question is FCGI_GET_VALUES. A worker answers it and runs no script; it writes no
line to the access log. With `ping.path` the question is a GET, and PHP's own start for a request is
a part of it.

Source: the FastCGI specification, version 1.0, section 4.1; php-src main/fastcgi.c
(fcgi_read_request).
"""

from __future__ import annotations

import errno
import os
import struct
import time

from fpm_listener.host import addresses, timed_socket
from fpm_listener.host.addresses import UnusableAddress
from fpm_listener.internal_errors import is_exhausted
from fpm_listener.phpfpm import fastcgi
from fpm_listener.phpfpm.pool_probe import Outcome, Pong

__all__ = ["Outcome", "Pong", "ping"]

_HEADER = struct.Struct("!BBHHBB")
_GET_VALUES, _KINDS = 9, range(1, 12)
_NAME = b"FCGI_MPXS_CONNS"
#: Seconds between two attempts to enter the full queue of a unix socket.
_AGAIN_S = 0.02


def ping(address: str, deadline_s: float, path: str | None = None) -> Pong:
    """Ask once, until the deadline.

    address: as php-fpm's configuration has it; deadline_s: monotonic; path: the pool's ping.path.
    Raises OSError if this process has no descriptor or memory left.
    """
    where = addresses.parse(address)
    if isinstance(where, UnusableAddress):
        return Pong(Outcome.UNUSABLE, f"nobody can connect to {address!r}: {where.why}")
    target = addresses.client_target(where)
    request = fastcgi.request(path, "") if path else _question()
    while True:
        found = _ask(target, request, deadline_s)
        is_late = time.monotonic() + _AGAIN_S >= deadline_s
        if found.outcome is not Outcome.QUEUE_FULL or is_late:
            return found
        time.sleep(_AGAIN_S)


def _question() -> bytes:
    content = bytes([len(_NAME), 0]) + _NAME
    return _HEADER.pack(1, _GET_VALUES, 0, len(content), 0, 0) + content


def _ask(target: tuple[str, int] | str, request: bytes, deadline_s: float) -> Pong:
    try:
        connection = timed_socket.connect(target, deadline_s)
    except OSError as error:
        return _not_connected(target, error)
    with connection:
        try:
            connection.sendall(request)
            head = b""
            while len(head) < _HEADER.size:
                chunk = connection.recv(_HEADER.size - len(head))
                if not chunk:
                    return _closed(target)
                head += chunk
        except TimeoutError:
            return Pong(Outcome.SILENT, "it accepts connections and does not answer")
        except OSError as error:
            if is_exhausted(error):
                raise
            return _closed(target)
    version, kind, *_ = _HEADER.unpack(head)
    if version != 1 or kind not in _KINDS:
        return Pong(Outcome.NOT_FASTCGI, "the server is not php-fpm: it does not answer in FastCGI")
    return Pong(Outcome.ANSWERED)


def _closed(target: tuple[str, int] | str) -> Pong:
    hint = "" if isinstance(target, str) else "; see listen.allowed_clients of the pool"
    return Pong(Outcome.CLOSED, f"it closes the connection without an answer{hint}")


def _not_connected(target: tuple[str, int] | str, error: OSError) -> Pong:
    if is_exhausted(error):
        raise error
    if isinstance(error, TimeoutError | BlockingIOError):  # EAGAIN: a unix socket
        return Pong(Outcome.QUEUE_FULL, "its queue is full: no connection was possible in time")
    if isinstance(error, PermissionError):
        why = f"uid {os.geteuid()} may not connect: see listen.owner, .group and .mode"
        return Pong(Outcome.FORBIDDEN, why)
    if isinstance(error, ConnectionRefusedError):
        what = "this socket" if isinstance(target, str) else "this port"
        return Pong(Outcome.REFUSED, f"no process listens on {what}")
    if error.errno in {errno.ENOENT, errno.ENOTDIR}:
        return Pong(Outcome.NO_SOCKET, "the socket does not exist")
    if error.errno in {errno.EPROTOTYPE, errno.ENOTSOCK}:
        return Pong(Outcome.NOT_FASTCGI, "the socket is of another type")
    return Pong(Outcome.UNUSABLE, f"no connection: {error.strerror or error}")
