"""The names of held unix sockets: php-fpm unlinks its own when it ends, and they are put back.

Laws:
1. A second name, a hard link beside the first, keeps the socket reachable; owner, group and mode
   are those of the one socket.
2. The first name is put back as soon as the kernel tells that it is gone (inotify): clients that
   come in between find nothing there. php-fpm gives no earlier sign. `relinker` is faster at it.
3. What is not the socket that was held is never touched.

Source: php-src fpm_sockets.c (cleanup at the master's exit); inotify(7).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from os import PathLike

_IN_ATTRIB, _IN_DELETE, _IN_MOVED_FROM = 0x4, 0x200, 0x40
_IN_ONLYDIR, _IN_DONT_FOLLOW = 0x01000000, 0x02000000
_SUFFIX = ".held-by-fpm-listener"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldPath:
    """One held unix socket's name, and its second one."""

    path: str
    second: str
    socket: tuple[int, int]  #: device and inode

    def is_there(self) -> bool:
        """Return whether the name leads to the socket."""
        return identity(self.path) == self.socket

    def put_back(self) -> bool:
        """Have the name lead to the socket again; return whether it does."""
        with contextlib.suppress(OSError):
            os.link(self.second, self.path, follow_symlinks=False)
        return self.is_there()

    def forget(self, *, first_too: bool) -> None:
        """Remove the second name; the first one too where php-fpm itself cannot."""
        for path in (self.second, self.path) if first_too else (self.second,):
            if identity(path) == self.socket:
                with contextlib.suppress(OSError):
                    os.unlink(path)  # noqa: PTH108 - texts stay texts


def keep(path: str) -> HeldPath:
    """Give the socket at `path` a second name. Raises OSError."""
    found = identity(path)
    if found is None:
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    folder, _, base = path.rpartition("/")
    second = f"{folder}/.{base}{_SUFFIX}"
    if identity(second) != found:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(second)  # noqa: PTH108 - of a listener that was killed
        os.link(path, second, follow_symlinks=False)
    return HeldPath(path=path, second=second, socket=found)


def identity(path: str | PathLike[str] | int) -> tuple[int, int] | None:
    """Return device and inode of a path, or of a descriptor; None if nothing is there.

    Links are not followed. A descriptor of a unix socket has other numbers than its path.
    """
    try:
        found = os.fstat(path) if isinstance(path, int) else os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


class PathWatch:
    """Tells when a name disappears. Owned by one thread, waited for by its poll.

    Why not a library: three calls of the C library are all that there is to it.
    """

    def __init__(self) -> None:
        """Raise OSError where the kernel gives no inotify."""
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd: int = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "inotify is unavailable")

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._fd

    def add(self, path: str) -> None:
        """Watch the folder of `path`. Raises OSError."""
        folder = path.rpartition("/")[0] or "/"
        self._add(folder, _IN_DELETE | _IN_MOVED_FROM | _IN_ONLYDIR)

    def add_socket(self, path: str) -> int:
        """Watch the socket at `path` for changes of its count of names; return the watch's number.

        The kernel reports a lost name before the name is gone for others, and nothing else that
        happens in the folder. Raises OSError.
        """
        return self._add(path, _IN_ATTRIB | _IN_DONT_FOLLOW)

    def _add(self, path: str, mask: int) -> int:
        number: int = self._libc.inotify_add_watch(self._fd, os.fsencode(path), mask)
        if number < 0:
            why = ctypes.get_errno()
            raise OSError(why, os.strerror(why), path)
        return number

    def drain(self) -> None:
        """Forget what was told: who wants to know looks at the names."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._fd, 1 << 16)

    def close(self) -> None:
        """Watch nothing any more."""
        os.close(self._fd)
