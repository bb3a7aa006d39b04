"""Reads a small file of another program, without blocking and within a limit.

It imports little, because the guard uses it before every start of php-fpm.
"""

from __future__ import annotations

import errno
import os
import stat

TYPE_CHECKING = False  # `typing` costs the guard milliseconds
if TYPE_CHECKING:
    from os import PathLike

#: Bytes of a settings file, or of one file of supervisord's configuration.
LONGEST = 1 << 20
#: Bytes of a file with a secret or a URL.
LONGEST_SECRET = 1 << 16
#: Bytes of a file with certificates; those of a whole system have a quarter of a MiB.
LONGEST_CERTIFICATE = 16 << 20
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


def read(path: str | PathLike[str], longest: int = LONGEST, below: str = "") -> bytes:
    """Return the content of a regular file. Raises OSError, also if it has more bytes.

    Symbolic links are followed: a secret of Kubernetes is one. A FIFO would block, and a device
    has no end, so both are errors. /dev/null is an empty file. below: the beginning of the path of
    the file that was opened, after all links.
    """
    name = os.fspath(path)
    if "\0" in name:
        raise OSError(errno.ENOENT, f"{os.strerror(errno.ENOENT)}: it has a null byte", name)
    descriptor = os.open(name, _FLAGS)
    try:
        mode = os.fstat(descriptor).st_mode
        opened = os.readlink(f"/proc/self/fd/{descriptor}") if below else ""  # noqa: PTH115 - pathlib costs milliseconds
        if not opened.startswith(below):
            raise OSError(errno.ENOENT, f"is not below {below}", name)
        if stat.S_ISDIR(mode):
            raise OSError(errno.EISDIR, "is a directory", name)
        if not stat.S_ISREG(mode):
            if name == os.devnull:
                return b""
            raise OSError(errno.EINVAL, "is not a regular file", name)
        parts = []
        left = longest + 1
        while left and (part := os.read(descriptor, min(left, 1 << 16))):
            parts.append(part)
            left -= len(part)
    finally:
        os.close(descriptor)
    if not left:
        raise OSError(errno.EFBIG, f"is longer than {longest} bytes", name)
    return b"".join(parts)


def read_secret(path: str | PathLike[str], longest: int = LONGEST_SECRET) -> bytes:
    """Return the content without spaces around it. Raises OSError, also if nothing is left."""
    secret = read(path, longest).strip()
    if not secret:
        raise OSError(errno.EINVAL, "is empty", os.fspath(path))
    return secret


def read_text(path: str | PathLike[str], longest: int = LONGEST, errors: str = "replace") -> str:
    """Return the text of a regular file with each line end as a newline. Raises OSError."""
    text = read(path, longest).decode("utf-8", errors)
    return text.replace("\r\n", "\n").replace("\r", "\n")
