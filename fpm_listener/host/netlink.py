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
from typing import TYPE_CHECKING, Protocol

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
_TIMEVAL = struct.pack("@ll", 1, 0)
#: The largest number of a question.
_MOST = (1 << 32) - 1
#: One datagram of the kernel has at most 32 KiB. All of them: about 30,000 sockets.
_DATAGRAM, _MOST_BYTES = 1 << 16, 1 << 22


class Ask(Protocol):
    """`ask`, or `Kernel.ask`."""

    def __call__(self, request: bytes, /, *, one: bool) -> list[bytes]:
        """Return the kernel's messages."""


class Kernel:
    """A netlink socket that stays open for many questions. Used by one thread."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None  # None = the next question opens one
        self._number = 0

    def ask(self, request: bytes, *, one: bool = False) -> list[bytes]:
        """Return the kernel's messages without their headers.

        request: struct unix_diag_req or inet_diag_req_v2; one: about one socket, which it names.
        Raises OSError (ENOENT, EPROTONOSUPPORT, EPERM, …), and ValueError for a damaged answer.
        """
        if self._socket is None:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _SOCK_DIAG)
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):  # settimeout would poll, too
                self._socket.setsockopt(socket.SOL_SOCKET, option, _TIMEVAL)
        try:
            return self._exchange(self._socket, request, one=one)
        except BaseException:
            self.close()  # the rest of an answer can still come
            raise

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _exchange(self, kernel: socket.socket, request: bytes, *, one: bool) -> list[bytes]:
        self._number = self._number % _MOST + 1
        flags = _REQUEST if one else _REQUEST | _DUMP
        header = _HEADER.pack(_HEADER.size + len(request), _BY_FAMILY, flags, self._number, 0)
        ends_at_s = time.monotonic() + _TIMEOUT_S
        found: list[bytes] = []
        size = 0
        kernel.send(header + request)
        while True:
            datagram, sender = kernel.recvfrom(_DATAGRAM)
            if time.monotonic() > ends_at_s:
                raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
            if sender[0] != 0 or _number(datagram) != self._number:
                continue  # not the kernel, or not about this question
            size += len(datagram)
            if not datagram or size > _MOST_BYTES:
                raise ValueError(f"the answer has {size} bytes")
            is_done = read(datagram, found)
            if is_done or (one and found):
                return found


def ask(request: bytes, *, one: bool = False) -> list[bytes]:
    """Ask once, as `Kernel.ask`."""
    kernel = Kernel()
    try:
        return kernel.ask(request, one=one)
    finally:
        kernel.close()


def ask_again(kernel: Ask, question: bytes) -> bytes | None:
    """Return what the kernel says about one known socket; None if it is gone.

    question: empty = there is none.
    """
    if not question:
        return None
    try:
        return next(iter(kernel(question, one=True)), None)
    except OSError:  # the question about all sockets tells why
        return None


def _number(datagram: bytes) -> int:
    """Return the number of the question; all messages of a datagram have the same one."""
    return int(_HEADER.unpack_from(datagram)[3]) if len(datagram) >= _HEADER.size else -1


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
