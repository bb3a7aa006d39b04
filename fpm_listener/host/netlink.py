"""Asks the kernel for sockets, through netlink `sock_diag`. Needs no permission.

Law: an answer is bounded in bytes and time, and a damaged one raises an error.

Source: sock_diag(7), netlink(7); the kernel's include/uapi/linux/netlink.h.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_SOCK_DIAG, _BY_FAMILY = 4, 20
_REQUEST, _DUMP = 0x1, 0x300
_NOOP, _ERROR, _DONE, _OVERRUN = 1, 2, 3, 4
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_NUMBER = struct.Struct("=i")
#: An answer takes well below a millisecond (Linux 6.18).
_TIMEOUT_S = 1.0
#: One datagram of the kernel has at most 32 KiB. All of them: about 30,000 sockets.
_DATAGRAM, _MOST_BYTES = 1 << 16, 1 << 22


def ask(request: bytes, *, one: bool = False) -> list[bytes]:
    """Return the kernel's messages without their headers.

    request: struct unix_diag_req or inet_diag_req_v2; one: about one socket, which it names.
    Raises OSError (ENOENT, EPROTONOSUPPORT, EPERM, …), and ValueError for a damaged answer.
    """
    flags = _REQUEST if one else _REQUEST | _DUMP
    header = _HEADER.pack(_HEADER.size + len(request), _BY_FAMILY, flags, 1, 0)
    ends_at_s = time.monotonic() + _TIMEOUT_S
    found: list[bytes] = []
    size = 0
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _SOCK_DIAG) as kernel:
        kernel.settimeout(_TIMEOUT_S)
        kernel.send(header + request)
        while True:
            kernel.settimeout(max(0.001, ends_at_s - time.monotonic()))
            datagram, sender = kernel.recvfrom(_DATAGRAM)
            if sender[0] != 0:  # not the kernel
                continue
            size += len(datagram)
            if not datagram or size > _MOST_BYTES:
                raise ValueError(f"the answer has {size} bytes")
            is_done = read(datagram, found)
            if is_done or (one and found):
                return found


def read(datagram: bytes, found: list[bytes]) -> bool:
    """Add the messages of one datagram; return whether the answer is complete.

    Raises OSError with the kernel's error, and ValueError for a damaged datagram.
    """
    at = 0
    while at + _HEADER.size <= len(datagram):
        length, kind, *_ = _HEADER.unpack_from(datagram, at)
        if length < _HEADER.size or at + length > len(datagram):
            raise ValueError(f"a message says that it has {length} bytes")
        body = datagram[at + _HEADER.size : at + length]
        if kind in {_ERROR, _DONE}:
            number = -_NUMBER.unpack_from(body)[0] if len(body) >= _NUMBER.size else 0
            if number > 0:
                raise OSError(number, os.strerror(number))
            return True
        if kind == _OVERRUN:
            raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))
        if kind != _NOOP:
            found.append(body)
        at += _aligned(length)
    return False


def attributes(message: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    """Yield the kind and the value of each attribute from an offset on; a damaged one ends it."""
    while at + _ATTRIBUTE.size <= len(message):
        length, kind = _ATTRIBUTE.unpack_from(message, at)
        if length < _ATTRIBUTE.size or at + length > len(message):
            return
        yield kind, message[at + _ATTRIBUTE.size : at + length]
        at += _aligned(length)


def _aligned(length: int) -> int:
    return (length + 3) & ~3
