"""Which sockets accept only IPv6 (IPV6_V6ONLY), from the kernel: /proc/net does not show it."""

from __future__ import annotations

import socket
import struct

from fpm_listener.host import inet_diag


def inodes() -> frozenset[str] | None:
    """Return the inodes of listening TCP sockets that accept only IPv6; None = unknown."""
    try:
        found = inet_diag.listeners(socket.AF_INET6)
    except (OSError, ValueError, struct.error):
        return None
    return frozenset(str(one.inode) for one in found if one.is_v6only)
