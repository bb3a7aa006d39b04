"""Run a command with Docker's default rights of root: `docker_defaults.py COMMAND…`.

Without CAP_SYS_PTRACE, and with a seccomp filter that answers pidfd_getfd(2) with EPERM.

Source: moby/profiles/seccomp/default.json.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys

_CAPBSET_DROP, _SET_SECCOMP, _FILTER, _SYS_PTRACE = 24, 22, 2, 19
_PIDFD_GETFD, _EPERM = 438, 1
#: Classic BPF: load the number of the call; if it is the one, EPERM, else allow it.
_INSTRUCTIONS = b"".join(
    struct.pack("=HBBI", *one)
    for one in (
        (0x20, 0, 0, 0),
        (0x15, 0, 1, _PIDFD_GETFD),
        (0x06, 0, 0, 0x00050000 | _EPERM),
        (0x06, 0, 0, 0x7FFF0000),
    )
)


class Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


if __name__ == "__main__":
    libc = ctypes.CDLL(None, use_errno=True)
    program = Program(len(_INSTRUCTIONS) // 8, _INSTRUCTIONS)
    if libc.prctl(_CAPBSET_DROP, _SYS_PTRACE, 0, 0, 0) or libc.prctl(
        _SET_SECCOMP, _FILTER, ctypes.byref(program), 0, 0
    ):
        sys.exit(f"docker_defaults: errno {ctypes.get_errno()}")
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 - to become it is the purpose
