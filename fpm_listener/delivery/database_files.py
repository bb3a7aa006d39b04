"""The files of the database in the state directory: location, lock, permissions, identity.

Laws:
1. One listener at a time uses a directory.
2. Only the owner can read the files.
3. A file that cannot be used is renamed and kept.
"""

from __future__ import annotations

import fcntl
import logging
import os
import stat
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from fpm_listener.host.socket_paths import identity

if TYPE_CHECKING:
    from collections.abc import Callable

    from fpm_listener.host.fallback_directory import StateDirectory

log = logging.getLogger(__name__)

FILE = "fpm-listener.sqlite3"
LOCK = "lock"
#: The database, and the files that sqlite3 creates beside it.
DATABASE = (FILE, f"{FILE}-wal", f"{FILE}-shm")
_CREATE = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


class DatabaseFiles:
    """The files in the directory that is in use for `state_dir`."""

    def __init__(self, directory: StateDirectory, wall: Callable[[], float]) -> None:
        """`wall`: seconds since 1970, for the names of files that are set aside."""
        self.folder = Path(directory.state_dir)  #: the directory in use
        self.directory = directory
        self._wall = wall
        self._lock: int | None = None
        #: Databases that were read or written, by directory.
        self._own: dict[Path, set[tuple[int, int]]] = {}
        self._open: dict[str, tuple[int, int] | None] = {}  # of all files that are open, by name

    @property
    def _state_dir(self) -> Path:
        return Path(self.directory.state_dir)

    @property
    def path(self) -> Path:
        """Return the path of the database."""
        return self.folder / FILE

    def find_folder(self) -> Path:
        """Return the directory to use. Raises OSError, for example if it is not safe."""
        return Path(self.directory.choose())

    def prepare(self) -> None:
        """Lock the directory, and create the database file if it is missing. Raises OSError."""
        self.folder = self.find_folder()
        if self._lock is not None and identity(self.folder / LOCK) != identity(self._lock):
            self.unlock()
        if self._lock is None:
            self._lock = self._acquire_lock()
        if self.folder != self._state_dir and self.directory.fallback is None:
            self._move_into_folder()
        if self.folder in self._own and not self.has_own and self.path.exists():
            self.set_aside("replaced")
        # sqlite3 gives its other files the mode of this one, so it must exist before.
        descriptor = os.open(self.path, _CREATE, 0o600)
        try:
            os.fchmod(descriptor, 0o600)
        finally:
            os.close(descriptor)

    def set_aside(self, why: str) -> None:
        """Rename the database, which is kept. Raises OSError."""
        moment = datetime.fromtimestamp(self._wall(), tz=timezone.utc)
        suffix = f".{why}-{moment.strftime('%Y%m%dT%H%M%S.%fZ')}"
        for name in DATABASE:
            kept = name.replace(FILE, FILE + suffix)
            with suppress(FileNotFoundError):
                (self.folder / name).rename(self.folder / kept)
        log.error(
            "cannot use the database; it was renamed, and a new one is created folder=%s kept=%s"
            " reason=%s",
            self.folder,
            FILE + suffix,
            why,
        )

    @property
    def has_own(self) -> bool:
        """Return whether the file is a database of this listener: its content is in memory."""
        return identity(self.path) in self._own.get(self.folder, ())

    def remember_own(self) -> None:
        """Remember that the file is a database of this listener."""
        if (own := identity(self.path)) is not None:
            self._own.setdefault(self.folder, set()).add(own)

    def remember_open(self) -> None:
        """Remember which files are open."""
        self._open = self._look()

    def are_in_place(self) -> bool:
        """Return whether the paths lead to the open files."""
        try:
            return self.find_folder() == self.folder and self._look() == self._open
        except OSError:
            return False

    def unlock(self) -> None:
        """Release the directory."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _move_into_folder(self) -> None:
        """Move the files that are in `state_dir` itself, if they are ours."""
        for name in DATABASE:
            path = self._state_dir / name
            with suppress(FileNotFoundError):
                found = path.lstat()
                ours = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()
                if ours and found.st_nlink == 1 and not (self.folder / name).exists():
                    path.rename(self.folder / name)

    def _acquire_lock(self) -> int:
        descriptor = os.open(self.folder / LOCK, _CREATE, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                error.strerror = "another listener uses this directory; both send alerts"
            raise
        return descriptor

    def _look(self) -> dict[str, tuple[int, int] | None]:
        return {name: identity(self.folder / name) for name in (LOCK, *DATABASE)}
