"""Restores the paths of held unix sockets, which php-fpm unlinks when it exits.

Laws:
1. A second path, a hard link beside the first, keeps the socket reachable. Owner, group and mode
   are the same.
2. The first path is restored as soon as the kernel reports its removal (inotify). Clients in
   between find no socket. php-fpm gives no earlier sign. `relinker` does the same faster.
3. Another file at the path is never touched.

Source: php-src fpm_sockets.c (cleanup at the master's exit); inotify(7).
"""

from __future__ import annotations

import contextlib
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
    """The two paths of a held unix socket."""

    path: str
    second: str
    socket: tuple[int, int]  #: device and inode

    def is_there(self) -> bool:
        """Return whether the path leads to the socket."""
        return identity(self.path) == self.socket

    def put_back(self) -> bool:
        """Restore the path; return whether it leads to the socket."""
        with contextlib.suppress(OSError):
            os.link(self.second, self.path, follow_symlinks=False)
        return self.is_there()

    def forget(self, *, first_too: bool) -> None:
        """Remove the second path, and the first one if php-fpm cannot."""
        for path in (self.second, self.path) if first_too else (self.second,):
            if identity(path) == self.socket:
                with contextlib.suppress(OSError):
                    os.unlink(path)  # noqa: PTH108 - texts stay texts


def keep(path: str) -> HeldPath:
    """Link the socket at `path` to a second path. Raises OSError."""
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
    """Reports removed paths, through inotify. Owned by one thread, which polls it.

    No library is needed: it is three calls of the C library.
    """

    def __init__(self) -> None:
        """Raise OSError if inotify is unavailable."""
        import ctypes  # noqa: PLC0415 - late, see ADR 044

        self._libc, self._errno = ctypes.CDLL(None, use_errno=True), ctypes.get_errno
        self._fd: int = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(self._errno(), "inotify is unavailable")

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._fd

    def add(self, path: str) -> None:
        """Watch the directory of `path`. Raises OSError."""
        folder = path.rpartition("/")[0] or "/"
        self._add(folder, _IN_DELETE | _IN_MOVED_FROM | _IN_ONLYDIR)

    def add_socket(self, path: str) -> int:
        """Watch the link count of the socket at `path`; return the number of the watch.

        The kernel reports a removed link before others see it, and no other change in the
        directory. Raises OSError.
        """
        return self._add(path, _IN_ATTRIB | _IN_DONT_FOLLOW)

    def _add(self, path: str, mask: int) -> int:
        number: int = self._libc.inotify_add_watch(self._fd, os.fsencode(path), mask)
        if number < 0:
            why = self._errno()
            raise OSError(why, os.strerror(why), path)
        return number

    def drain(self) -> None:
        """Drop the events: callers check the paths."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._fd, 1 << 16)

    def close(self) -> None:
        """Stop watching."""
        os.close(self._fd)
