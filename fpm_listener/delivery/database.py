"""The database on disk, which mirrors the data that must survive the listener.

Laws:
1. Memory is the authority, and the file is its mirror. No problem of the file stops the listener.
2. A file that cannot be used (corrupt, or of a newer version) is renamed and kept.
3. While the file cannot be written, `persistent` is false, and one log line reports it.
4. A second listener with the same directory works in memory, and logs that.
5. No URL and no secret is in the file.
6. Only the thread that opened the file uses it: sqlite3 requires that.
7. An open file proves nothing: its directory can be deleted, renamed, or hidden by a mount. So the
   paths are compared with the open files, and the files are written again from memory.
8. If `state_dir` cannot be used, a fallback is; the file moves between them. One line reports it.
"""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from fpm_listener.delivery import leftover_database
from fpm_listener.delivery.database_files import DatabaseFiles
from fpm_listener.delivery.database_schema import (
    UnusableError,
    is_corrupt,
    read_tables,
    write_tables,
)
from fpm_listener.host.state_directory import UnsafeDirectoryError
from fpm_listener.values import Instant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from fpm_listener.delivery.database_schema import Mirrored, Rows, Statement
    from fpm_listener.delivery.leftover_database import LeftoverDatabase
    from fpm_listener.host.fallback_directory import StateDirectory

log = logging.getLogger(__name__)


class Database:
    """The database in `state_dir`, while it can be used."""

    def __init__(self, directory: StateDirectory, wall: Callable[[], float] = time.time) -> None:
        """`wall`: seconds since 1970, for the names of files that are set aside."""
        self.persistent = False
        self._files = DatabaseFiles(directory, wall)
        self._users: list[Mirrored] = []
        self._connection: sqlite3.Connection | None = None
        self._now = Instant(0.0, 0.0)  # of the last `open`
        self._has_leftovers = True  # of earlier listeners, perhaps
        self._is_loss_logged = False
        self._logged_fallback: str | None = None
        self._durable: bool | None = None  # the setting of the connection

    @property
    def folder(self) -> Path:
        """Return the directory in use."""
        return self._files.folder

    def attach(self, user: Mirrored) -> None:
        """Mirror the data of `user` from the next `open` on."""
        self._users.append(user)

    def open(self, now: Instant) -> None:
        """Write the data to the file if that is possible now; otherwise log it, once.

        Call it at the start and every half minute. This restores the data of an earlier listener,
        also from a directory that can be used only later.
        """
        self._now = now
        if not self.persistent:
            self._open()
        elif not self._files.are_in_place():
            self._write_again()
        elif not os.access(self._files.path, os.W_OK):
            why = "the file is no longer writable (is the file system read-only?)"
            self._lose(OSError(errno.EROFS, why))

    def write(self, statements: Iterable[Statement], *, durable: bool) -> bool:
        """Execute all of `statements`, or none; return whether they are in the file now.

        durable: survives a power failure (about 0.3 ms); without it kill -9 (about 0.02 ms).
        """
        if durable and self.persistent and not self._files.are_in_place():
            return self._write_again()  # the memory contains the new data
        if self._connection is None:
            return False
        try:
            self._execute(self._connection, statements, durable=durable)
        except sqlite3.DatabaseError as error:
            if is_corrupt(error):
                return self._replace()
            if isinstance(error, sqlite3.OperationalError):
                return self._lose(error)
            raise  # a bug
        return True

    def close(self) -> None:
        """Close the file and unlock the directory."""
        if self.persistent and not self._files.are_in_place():
            self._write_again()
        self._close()

    def _close(self) -> None:
        self._disconnect()
        self.persistent = False
        self._files.unlock()

    # -- opening -----------------------------------------------------------------------------------

    def _open(self) -> None:
        try:
            self._files.prepare()
            try:
                self._fill()
            except UnusableError as error:
                self._files.set_aside(error.why)
                self._files.prepare()
                self._fill()
        except (OSError, sqlite3.OperationalError, UnusableError) as error:
            self._lose(error)
            return
        self.persistent = True
        if self._is_loss_logged:
            self._is_loss_logged = False
            log.info("the database is writable again folder=%s", self.folder)
        self._log_fallback(self._files.directory)

    def _fill(self) -> None:
        """Connect, restore the data of an earlier listener, and write everything.

        Raises OSError, sqlite3.Error, and UnusableError if the file must be set aside.
        """
        self._disconnect()
        connection = sqlite3.connect(self._files.path, isolation_level=None, timeout=1.0)
        try:
            found = read_tables(connection)
            is_known = self._files.has_own
            self._files.remember_own()  # also if an error follows: a part is in memory
            leftovers: list[LeftoverDatabase] = []
            if self._has_leftovers:
                self._has_leftovers = False
                leftovers = leftover_database.take(self._files.directory)
            # What is in memory wins, so the newest data is first.
            for tables in (*(one.tables for one in leftovers), *(() if is_known else (found,))):
                for user in self._users:
                    _restore(user, tables, self._now)
            self._durable = None
            self._execute(connection, write_tables(self._users), durable=True)
            for one in leftovers:
                one.delete()
        except sqlite3.Error as error:
            with suppress(sqlite3.Error):
                connection.close()
            if is_corrupt(error):
                raise UnusableError("corrupt") from error
            raise
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        self._files.remember_open()

    def _write_again(self) -> bool:
        """Write new files from memory; return whether that was possible."""
        self._close()
        before = self.folder
        try:
            moved = self._files.find_folder() != before
        except OSError as error:
            return self._lose(error)
        if not moved:
            log.warning(
                "the files of the database were deleted or replaced; writing them again from memory"
                " folder=%s",
                before,
            )
        self._open()
        if moved and self.persistent:
            leftover_database.delete(before, self._files.directory)
        return self.persistent

    def _execute(
        self, connection: sqlite3.Connection, statements: Iterable[Statement], *, durable: bool
    ) -> None:
        if durable is not self._durable:
            connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            self._durable = durable
        connection.execute("BEGIN IMMEDIATE")
        try:
            for sql, values in statements:
                connection.execute(sql, values)
            connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # after some errors it is rolled back already
                connection.execute("ROLLBACK")
            raise

    def _log_fallback(self, directory: StateDirectory) -> None:
        fallback = directory.fallback
        if fallback == self._logged_fallback:
            return
        self._logged_fallback = fallback
        if fallback is None:
            log.info("state_dir is used again state_dir=%s", directory.state_dir)
            return
        lost = (
            "undelivered alerts survive a restart of the listener, but not a new container or a"
            " reboot"
            if directory.is_temporary
            else "nothing is lost"
        )
        log.warning(
            "state_dir cannot be used, so another directory is used: %s. Make state_dir writable"
            " for user %s, or set it to a volume in_use=%s state_dir=%s why=%r",
            *(lost, os.geteuid(), fallback, directory.state_dir, directory.why_not),
        )

    # -- failures ----------------------------------------------------------------------------------

    def _replace(self) -> bool:
        """Replace a corrupt file by a new one from memory; return whether that was possible."""
        self._disconnect()
        try:
            self._files.set_aside("corrupt")
            self._files.prepare()
            self._fill()
        except (OSError, sqlite3.OperationalError, UnusableError) as error:
            return self._lose(error)
        return True

    def _lose(self, error: Exception) -> bool:
        """Continue without the file; return False: nothing was written."""
        self._disconnect()
        self.persistent = False
        if self._is_loss_logged:
            return False
        self._is_loss_logged = True
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        if isinstance(error, UnsafeDirectoryError):
            log.warning("alerts are kept in memory only: state_dir is not safe why=%r", reason)
        else:
            log.error(
                "alerts are kept in memory only and are lost if the listener stops folder=%s"
                " error=%r",
                self.folder,
                reason,
            )
        return False

    def _disconnect(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):  # on a full disk the last checkpoint fails too
                self._connection.close()
            self._connection = None


def _restore(user: Mirrored, found: Mapping[str, Rows], now: Instant) -> None:
    """Restore the data of one user. Raises UnusableError if it cannot use the rows."""
    try:
        user.restore(found, now)
    except Exception as error:
        raise UnusableError("unreadable") from error
