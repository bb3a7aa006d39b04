"""Which sockets accept only IPv6 (IPV6_V6ONLY), from the kernel: /proc/net does not show it.

Source: sock_diag(7); the kernel's include/uapi/linux/inet_diag.h (struct inet_diag_req_v2, struct
inet_diag_msg, INET_DIAG_SKV6ONLY) and include/net/tcp_states.h.
"""

from __future__ import annotations

import socket
import struct

_SOCK_DIAG, _BY_FAMILY = 4, 20
_REQUEST, _DUMP = 0x1, 0x300
_ERROR, _DONE = 2, 3
_LISTEN = 10
#: Bytes of a message's header, of struct inet_diag_msg, and from its start to the inode.
_HEADER, _MESSAGE, _INODE_AT = 16, 72, 68
_V6ONLY = 11
_TIMEOUT_S = 1.0
_MOST_BYTES = 1 << 20


def inodes() -> frozenset[str] | None:
    """Return the inodes of listening TCP sockets that accept only IPv6; None = unknown."""
    request = struct.pack("=BBBxI48x", socket.AF_INET6, socket.IPPROTO_TCP, 0, 1 << _LISTEN)
    header = struct.pack("=IHHII", _HEADER + len(request), _BY_FAMILY, _REQUEST | _DUMP, 1, 0)
    found: set[str] = set()
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _SOCK_DIAG) as kernel:
            kernel.settimeout(_TIMEOUT_S)
            kernel.send(header + request)
            while (is_done := _read(kernel.recv(_MOST_BYTES), found)) is False:
                continue
    except (OSError, struct.error):
        return None
    return frozenset(found) if is_done else None


def _read(answer: bytes, found: set[str]) -> bool | None:
    """Add the inodes of one answer; return whether it was the last one, None = an error.

    Raises struct.error.
    """
    at = 0
    while at < len(answer):
        length, kind = struct.unpack_from("=IH", answer, at)
        if kind == _ERROR or length < _HEADER:
            return None
        if kind == _DONE:
            return True
        if _is_v6only(answer[at + _HEADER + _MESSAGE : at + length]):
            (inode,) = struct.unpack_from("=I", answer, at + _HEADER + _INODE_AT)
            found.add(str(inode))
        at += _aligned(length)
    return False


def _is_v6only(attributes: bytes) -> bool:
    at = 0
    while at + 4 < len(attributes):
        length, kind = struct.unpack_from("=HH", attributes, at)
        if kind == _V6ONLY:
            return attributes[at + 4] == 1
        at += max(4, _aligned(length))
    return False


def _aligned(length: int) -> int:
    return (length + 3) & ~3
