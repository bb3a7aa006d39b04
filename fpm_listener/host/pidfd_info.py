"""Asks the kernel, through a pidfd, how a process ended: even after its parent has reaped it.

It needs no permission, only a pidfd that was opened before the parent reaped the process.

Source: include/uapi/linux/pidfd.h and fs/pidfs.c; PIDFD_GET_INFO exists since Linux 6.13,
PIDFD_INFO_EXIT since 6.15. Measured on 6.18.
"""

from __future__ import annotations

import fcntl
import struct
from enum import Enum

#: `struct pidfd_info`, version 0: mask, cgroupid, pid, tgid, ppid, eight ids, exit_code.
#: Later versions are longer, and every kernel accepts the first size.
_STRUCT = struct.Struct("=QQIII8Ii")
#: _IOWR(PIDFS_IOCTL_MAGIC, 11, struct pidfd_info): directions, size, magic number, command.
_PIDFD_GET_INFO = 3 << 30 | _STRUCT.size << 16 | 0xFF << 8 | 11
_PIDFD_INFO_EXIT = 1 << 3


class Missing(Enum):
    """Why there is no wait status."""

    NOT_REAPED = "not reaped"  #: the process lives, or is a zombie: ask again later
    UNSUPPORTED = "unsupported"  #: an older kernel, or a sandbox: never ask again


def wait_status(pidfd: int) -> int | Missing:
    """Return the status that its parent got from wait(2)."""
    request = _STRUCT.pack(_PIDFD_INFO_EXIT, *[0] * 13)
    try:
        answer = fcntl.ioctl(pidfd, _PIDFD_GET_INFO, request)
    except OSError:
        # ENOTTY: no PIDFD_GET_INFO; EINVAL: a sandbox; ESRCH: reaped, without PIDFD_INFO_EXIT.
        return Missing.UNSUPPORTED
    mask, *_, status = _STRUCT.unpack(answer)
    return int(status) if mask & _PIDFD_INFO_EXIT else Missing.NOT_REAPED
