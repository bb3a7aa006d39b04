"""Writes why a container ends to the file from which Kubernetes reads it.

Kubernetes creates the file and shows its content in `kubectl describe pod`.
Source: kubernetes.io, "Determine the Reason for Pod Failure" (terminationMessagePath).
"""

from __future__ import annotations

import errno
import os
import stat

#: Kubernetes reads at most so many bytes.
LONGEST = 4096
_FLAGS = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


def write(path: str, text: str) -> bool:
    """Replace the content of the file; return False if there is no such file. Raises OSError.

    It is never created, no symlink is followed, and anything but a regular file is an error.
    """
    try:
        descriptor = os.open(path, _FLAGS)
    except FileNotFoundError:
        return False
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "is not a regular file", path)
        os.ftruncate(descriptor, 0)
        content = text.encode("utf-8", "replace")[:LONGEST]
        os.write(descriptor, content.decode("utf-8", "ignore").encode())
    finally:
        os.close(descriptor)
    return True
