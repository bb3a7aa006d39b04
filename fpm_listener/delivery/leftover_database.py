"""The database that an earlier listener has left in a fallback of `state_dir`.

Laws:
1. A database that another listener uses is not touched.
2. It is deleted only after its data is in the database in use.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from fpm_listener.delivery.database_files import DATABASE, FILE, LOCK
from fpm_listener.delivery.database_schema import UnusableError, read_tables
from fpm_listener.host.fallback_directory import read_owner

if TYPE_CHECKING:
    from fpm_listener.delivery.database_schema import Rows
    from fpm_listener.host.fallback_directory import StateDirectory

log = logging.getLogger(__name__)


class LeftoverDatabase:
    """One such database, which is locked until `delete` or `release`."""

    def __init__(self, folder: Path, directory: StateDirectory) -> None:
        """Raise OSError if another listener uses it, sqlite3.Error and UnusableError."""
        self._folder, self._directory = folder, directory
        self._lock = os.open(folder / LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with closing(sqlite3.connect(folder / FILE, isolation_level=None)) as connection:
                self.tables: dict[str, Rows] = read_tables(connection)
        except BaseException:
            self.release()
            raise

    def delete(self) -> None:
        """Delete it: its data is in another database."""
        delete(self._folder, self._directory)
        log.info("data of an earlier listener was moved from=%s", self._folder)
        self.release()

    def release(self) -> None:
        """Leave it to the next listener."""
        os.close(self._lock)


def delete(folder: Path, directory: StateDirectory) -> None:
    """Delete the database in a fallback of this state_dir; no other one."""
    if read_owner(str(folder)) != directory.state_dir:
        return
    for name in DATABASE:
        with suppress(OSError):
            (folder / name).unlink()


def take(directory: StateDirectory) -> list[LeftoverDatabase]:
    """Return what earlier listeners with this state_dir have left in its fallbacks."""
    found = []
    for folder in map(Path, directory.leftovers()):
        if not (folder / FILE).is_file():
            continue
        try:
            found.append(LeftoverDatabase(folder, directory))
        except (OSError, sqlite3.Error, UnusableError) as error:
            log.warning(
                "data of an earlier listener stays in another directory folder=%s why=%r",
                folder,
                getattr(error, "strerror", None) or str(error),
            )
    return found
