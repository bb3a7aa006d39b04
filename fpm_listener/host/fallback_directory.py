"""The directory that the listener uses if it cannot use `state_dir`.

Rules:
1. The listener uses `state_dir`, or otherwise the first fallback that it can use.
2. Only the listener chooses. Guards and commands ask the running listener.
3. A fallback belongs to our user. No other user can change it, its name, or a directory above it.
   So other users cannot lead us to files of theirs, or to files of ours elsewhere.
4. A fallback is for one `state_dir`: two listeners do not share it.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from fpm_listener.host import fallback_names, state_directory
from fpm_listener.host.state_directory import (
    WRITABLE_BY_OTHERS,
    UnsafeDirectoryError,
    check_writable,
    quoted,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from os import PathLike

#: File in a fallback: the `state_dir` that it replaces.
OWNER_FILE = "state_dir"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: Of a directory that we need not list.
_PARENT = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LONGEST = 4096


class StateDirectory:
    """The directory in use for one `state_dir`: itself, or a fallback.

    The main thread calls `choose`. Other threads call `prepare` and `locate`.
    """

    def __init__(self, state_dir: str | PathLike[str], fallbacks: Sequence[str] = ()) -> None:
        """`fallbacks`: the best one first."""
        self.state_dir = os.fspath(state_dir)
        self._fallbacks = tuple(fallbacks)
        self.fallback: str | None = None  #: in use
        self.why_not = ""  #: why state_dir cannot be used; empty = it can

    @property
    def is_temporary(self) -> bool:
        """Return whether the end of the container, or a reboot, can delete the directory."""
        return self.fallback is not None and fallback_names.is_temporary(self.fallback)

    def choose(self) -> str:
        """Find the directory to use now, and create it if it is missing.

        Raises OSError, about state_dir, if neither it nor a fallback can be used.
        """
        try:
            used = state_directory.prepare(self.state_dir)
            check_writable(used)
        except OSError as error:
            self.why_not = error.strerror or str(error)
            self.fallback = self._first_fallback()
            if self.fallback is None:
                raise
            return self.fallback
        self.fallback, self.why_not = None, ""
        return used

    def _first_fallback(self) -> str | None:
        for path in self._fallbacks:
            try:
                return prepare(path, self.state_dir)
            except OSError:
                continue
        return None

    def leftovers(self) -> list[str]:
        """Return the fallbacks that an earlier listener with this state_dir has used."""
        return [
            path
            for path in map(_without_links, self._fallbacks)
            if path != self.fallback and read_owner(path) == self.state_dir
        ]

    def prepare(self) -> str:
        """Return the chosen directory, which is created again if it is missing. Raises OSError."""
        if self.fallback is not None:
            return prepare(self.fallback, self.state_dir)
        return state_directory.prepare(self.state_dir)

    def locate(self) -> str:
        """Return the chosen directory. It may not exist."""
        return self.fallback or state_directory.locate(self.state_dir)


def fallbacks(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return where our user can keep the files if `state_dir` cannot be used, best first."""
    return fallback_names.fallbacks(environ.get("XDG_STATE_HOME", ""), os.geteuid())


def prepare(path: str, state_dir: str) -> str:
    """Return a fallback for `state_dir`, created if it is missing, without links in its path.

    Raises OSError if another user could change it, or if it replaces another state_dir.
    """
    # The names in the result are safe afterwards: nobody else can replace one of them.
    path = _without_links(path)
    parent, _, name = path.rpartition("/")
    # A missing /run or /tmp is not ours to make.
    above = _open_safe(parent, make=parent not in {"/run", "/tmp"})  # noqa: S108 - compared only
    try:
        _make(name, above)
        folder = os.open(name, _FOLDER, dir_fd=above)
    finally:
        os.close(above)
    try:
        _check_private(folder, path)
        check_writable(path)
        _claim(folder, path, state_dir)
    finally:
        os.close(folder)
    return path


def read_owner(path: str) -> str | None:
    """Return the state_dir that a fallback of our user replaces; None = it is no such fallback."""
    parent, _, name = path.rpartition("/")
    with suppress(OSError):
        above = _open_safe(parent)
        try:
            folder = os.open(name, _FOLDER, dir_fd=above)
        finally:
            os.close(above)
        try:
            _check_private(folder, path)
            return _read_owner(folder)
        finally:
            os.close(folder)
    return None


def _without_links(path: str) -> str:
    """Return a path whose directories are not links."""
    parent, _, name = path.rpartition("/")
    return f"{os.path.realpath(parent)}/{name}"


def _open_safe(path: str, *, make: bool = False) -> int:
    """Return a descriptor of a directory whose name and parents no other user can change.

    path: without links; make: create what is missing. Raises OSError.
    """
    current, seen = os.open("/", _PARENT), ""
    try:
        _check_parent(current, "/")
        for name in filter(None, path.split("/")):
            if make:
                _make(name, current)
            below = os.open(name, _PARENT, dir_fd=current)
            os.close(current)
            current, seen = below, f"{seen}/{name}"
            _check_parent(current, seen)
    except OSError:
        os.close(current)
        raise
    return current


def _make(name: str, folder: int) -> None:
    with suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=folder)


def _check_parent(folder: int, path: str) -> None:
    found = os.fstat(folder)
    if found.st_uid not in {0, os.geteuid()}:
        problem = f"belongs to user {found.st_uid}"
        raise UnsafeDirectoryError(path, problem, f"ls -ld {quoted(path)}")
    shared = found.st_mode & (stat.S_IWOTH if found.st_gid == 0 else WRITABLE_BY_OTHERS)
    # With the sticky bit, as in /tmp, only the owner of an entry can rename or delete it.
    if shared and not found.st_mode & stat.S_ISVTX:
        problem = "lets other users replace directories in it"
        raise UnsafeDirectoryError(path, problem, f"chmod +t {quoted(path)}")


def _check_private(folder: int, path: str) -> None:
    found = os.fstat(folder)
    if found.st_uid != os.geteuid():
        problem = f"belongs to user {found.st_uid}"
        raise UnsafeDirectoryError(path, problem, f"rm -r {quoted(path)}")
    if found.st_mode & WRITABLE_BY_OTHERS:
        problem = "can be changed by other users"
        raise UnsafeDirectoryError(path, problem, f"rm -r {quoted(path)}")


def _claim(folder: int, path: str, state_dir: str) -> None:
    """Mark a fallback as that of `state_dir`. Raises OSError if it is that of another one."""
    owner = _read_owner(folder)
    if owner == state_dir:
        return
    if owner is not None and len(os.listdir(folder)) > 1:
        raise OSError(errno.EBUSY, f"is in use for state_dir {owner}", path)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    file = os.open(OWNER_FILE, flags, 0o600, dir_fd=folder)
    try:
        os.write(file, os.fsencode(state_dir))
    finally:
        os.close(file)


def _read_owner(folder: int) -> str | None:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        file = os.open(OWNER_FILE, flags, dir_fd=folder)
    except FileNotFoundError:
        return None
    try:
        return os.fsdecode(os.read(file, _LONGEST))
    finally:
        os.close(file)
