"""The file on disk that mirrors what must outlive the listener.

Laws:
1. Memory is the authority, the file its mirror: nothing that befalls the file stops the listener.
2. What cannot be used (corrupt, or made by a newer version) is renamed and kept, never destroyed.
3. While the file cannot be written, `persistent` is false and one log line has said so.
4. One listener has a folder at a time; another one goes on in memory, and says so.
5. Nobody but the owner of the files can read them; no URL and no secret is ever in them.
6. One thread, the one that opens it, uses it: sqlite3 itself refuses others.
7. An open file proves nothing: its directory can be deleted, renamed, or hidden by a mount. The
   paths are compared with what is open, and the files are written again from memory.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import sqlite3
import stat
import time
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from fpm_listener.host import state_directory
from fpm_listener.host.state_directory import UnsafeDirectoryError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from fpm_listener.values import Instant

log = logging.getLogger(__name__)

FILE = "fpm-listener.sqlite3"
LOCK = "lock"
#: Endings of the names of the database and of the files that sqlite3 makes beside it.
_ENDINGS = ("", "-wal", "-shm")
VERSION = 2

#: Since version 2: the moment on the monotonic clock, and the boot that this clock belongs to.
_NEW_COLUMNS = ("monotonic REAL NOT NULL DEFAULT 0", "boot TEXT NOT NULL DEFAULT ''")
_BOOT = ", ".join(_NEW_COLUMNS)
#: Every table, with its columns; texts that come from outside are stored as JSON, thus as ASCII.
TABLES = {
    "outbox": "id INTEGER PRIMARY KEY, receiver TEXT NOT NULL, enqueued_at REAL NOT NULL,"
    f" alert TEXT NOT NULL, {_BOOT}",
    "heard": "receiver TEXT NOT NULL, incident TEXT NOT NULL, told_at REAL NOT NULL,"
    f" {_BOOT}, PRIMARY KEY (receiver, incident)",
    "failing": "receiver TEXT PRIMARY KEY NOT NULL, state TEXT NOT NULL",
    "memory": "name TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL",
}

_CREATE = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_PRAGMAS = (
    "PRAGMA busy_timeout=1000",
    "PRAGMA journal_mode=WAL",
    "PRAGMA journal_size_limit=1048576",
)

Rows = list[tuple[Any, ...]]


class Statement(NamedTuple):
    """One change of the file; it must be harmless to carry out twice."""

    sql: str
    values: tuple[str | int | float, ...] = ()


class Mirror(Protocol):
    """Somebody whose memory the file mirrors."""

    tables: tuple[str, ...]

    def restore(self, found: Mapping[str, Rows], now: Instant) -> None:
        """Take up the rows that an earlier listener left; what is in memory already wins."""

    def rows(self) -> Iterable[Statement]:
        """Return what fills the empty tables with all that is to be in them."""


class _UnusableError(Exception):
    """The file is not ours to use as it is; `why` becomes a part of its new name."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Database:
    """The file in `state_dir`, as long as it can be used."""

    def __init__(self, state_dir: Path, wall: Callable[[], float] = time.time) -> None:
        """`wall`: seconds since 1970, for the names of files that are set aside."""
        self.persistent = False
        self.folder = state_dir  #: the directory in use; see state_directory.py
        self._state_dir = state_dir
        self._wall = wall
        self._mirrors: list[Mirror] = []
        self._connection: sqlite3.Connection | None = None
        self._lock: int | None = None
        self._restored = False
        self._lost = False  # whether it was said that the file cannot be written
        self._durable: bool | None = None  # what the connection is set to
        self._own: _Identity | None = None  # of the database that was restored or written last
        self._files: dict[str, _Identity | None] = {}  # of all that is open, by name

    def attach(self, mirror: Mirror) -> None:
        """Mirror the memory of `mirror` from the next `open` on."""
        self._mirrors.append(mirror)

    def open(self, now: Instant) -> None:
        """Make the file mirror the memory, if that can be done now; else say so, once.

        To be called at the start, and every half minute. What an earlier listener left is taken up
        by the first call that succeeds, however late.
        """
        if not self.persistent:
            self._open(now)
        elif self._is_out_of_place():
            self._reopen()
        elif not os.access(self.folder / FILE, os.W_OK):
            why = "the file cannot be written any more (is the file system read-only?)"
            self._lose(OSError(errno.EROFS, why))

    def _open(self, now: Instant | None) -> None:
        try:
            self._prepare_folder()
            try:
                self._fill(now)
            except _UnusableError as unusable:
                self._set_aside(unusable.why)
                self._fill(now)
        except (OSError, sqlite3.OperationalError, _UnusableError) as error:
            self._lose(error)
            return
        self.persistent = True
        if self._lost:
            self._lost = False
            log.info("the database can be written again folder=%s", self.folder)

    def write(self, statements: Iterable[Statement], *, durable: bool) -> bool:
        """Carry out all of `statements`, or none; return whether they are in the file now.

        durable: survives a power failure (about 0.3 ms); without it kill -9 (about 0.02 ms).
        """
        if durable and self.persistent and self._is_out_of_place():
            return self._reopen()  # from memory, which has what is to be written
        if self._connection is None:
            return False
        try:
            self._transact(self._connection, statements, durable=durable)
        except sqlite3.DatabaseError as error:
            if _is_corrupt(error):
                return self._replace()
            if isinstance(error, sqlite3.OperationalError):
                return self._lose(error)
            raise  # a mistake of ours
        return True

    def close(self) -> None:
        """Let the file and the folder go."""
        if self.persistent and self._is_out_of_place():
            self._reopen()
        self._release()

    def _release(self) -> None:
        self._disconnect()
        self.persistent = False
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # -- opening -----------------------------------------------------------------------------------

    def _prepare_folder(self) -> None:
        self.folder = Path(state_directory.prepare(str(self._state_dir)))
        if self._lock is not None and _identity(self.folder / LOCK) != _identity(self._lock):
            os.close(self._lock)
            self._lock = None
        if self._lock is None:
            self._lock = self._take_lock()
        if self.folder != self._state_dir:
            self._move_in()
        if self._restored and _identity(self.folder / FILE) not in {None, self._own}:
            self._rename_all("replaced")
        # sqlite3 gives its other files the mode of this one, so it is made before sqlite3 sees it.
        descriptor = os.open(self.folder / FILE, _CREATE, 0o600)
        try:
            os.fchmod(descriptor, 0o600)
        finally:
            os.close(descriptor)

    def _move_in(self) -> None:
        """Take over the files that lie in `state_dir` itself, if they are ours."""
        for name in (FILE + ending for ending in _ENDINGS):
            path = self._state_dir / name
            with suppress(FileNotFoundError):
                found = path.lstat()
                ours = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid()
                if ours and found.st_nlink == 1 and not (self.folder / name).exists():
                    path.rename(self.folder / name)

    def _take_lock(self) -> int:
        descriptor = os.open(
            self.folder / LOCK,
            _CREATE,
            0o600,
        )
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                error.strerror = "another listener uses this folder; both send alerts"
            raise
        return descriptor

    def _fill(self, now: Instant | None) -> None:
        """Connect, restore the mirrors the first time, and write all that they have.

        Raises OSError, sqlite3.Error, and _UnusableError where the file has to be set aside.
        """
        self._disconnect()
        connection = sqlite3.connect(self.folder / FILE, isolation_level=None, timeout=1.0)
        try:
            found = _read(connection)
            self._own = _identity(self.folder / FILE)
            if now is not None and not self._restored:
                self._restored = True  # also if it fails: what was taken up is in memory
                for mirror in self._mirrors:
                    _restore(mirror, found, now)
            self._durable = None
            self._transact(connection, self._everything(), durable=True)
        except sqlite3.Error as error:
            with suppress(sqlite3.Error):
                connection.close()
            if _is_corrupt(error):
                raise _UnusableError("corrupt") from error
            raise
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        self._files = self._look()

    def _look(self) -> dict[str, _Identity | None]:
        names = (LOCK, *(FILE + ending for ending in _ENDINGS))
        return {name: _identity(self.folder / name) for name in names}

    def _is_out_of_place(self) -> bool:
        """Return whether the paths lead to other files than the open ones, or to none."""
        try:
            used = state_directory.prepare(str(self._state_dir))
        except OSError:
            return True
        return Path(used) != self.folder or self._look() != self._files

    def _reopen(self) -> bool:
        """Write the files again from memory; return whether that was possible."""
        try:
            state_directory.prepare(str(self._state_dir))
        except OSError as error:
            self._release()
            return self._lose(error)
        log.warning(
            "the files of the database were deleted or replaced; they are written again from"
            " memory folder=%s",
            self.folder,
        )
        self._release()
        self._open(None)
        return self.persistent

    def _everything(self) -> Iterable[Statement]:
        for mirror in self._mirrors:
            for table in mirror.tables:
                yield Statement(f"DELETE FROM {table}")  # noqa: S608 - the names are our own
            yield from mirror.rows()

    def _transact(
        self,
        connection: sqlite3.Connection,
        statements: Iterable[Statement],
        *,
        durable: bool,
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
            with suppress(sqlite3.Error):  # some errors have rolled back already
                connection.execute("ROLLBACK")
            raise

    # -- trouble -----------------------------------------------------------------------------------

    def _set_aside(self, why: str) -> None:
        """Make a new file in the place of this one, which is kept; raises OSError."""
        self._rename_all(why)
        self._prepare_folder()

    def _rename_all(self, why: str) -> None:
        """Rename the file and its companions; raises OSError."""
        moment = datetime.fromtimestamp(self._wall(), tz=timezone.utc)
        kept = f"{FILE}.{why}-{moment.strftime('%Y%m%dT%H%M%S.%fZ')}"
        for ending in _ENDINGS:
            with suppress(FileNotFoundError):
                (self.folder / (FILE + ending)).rename(self.folder / (kept + ending))
        log.error(
            "the database cannot be used and is set aside; a new one is made folder=%s kept=%s"
            " reason=%s",
            self.folder,
            kept,
            why,
        )

    def _replace(self) -> bool:
        """Put a new file, filled from memory, in the place of one that proved to be corrupt."""
        self._disconnect()
        try:
            self._set_aside("corrupt")
            self._fill(None)
        except (OSError, sqlite3.OperationalError, _UnusableError) as error:
            return self._lose(error)
        return True

    def _lose(self, error: Exception) -> bool:
        """Go on without the file; return False: what was to be written is not."""
        self._disconnect()
        self.persistent = False
        if self._lost:
            return False
        self._lost = True
        if isinstance(error, UnsafeDirectoryError):
            log.warning(
                "state_dir is not safe: alerts are kept in memory only why=%r",
                error.strerror,
            )
            return False
        log.error(
            "alerts are kept in memory only; they will be lost if the listener stops folder=%s"
            " error=%r",
            self.folder,
            (error.strerror if isinstance(error, OSError) else None) or str(error),
        )
        return False

    def _disconnect(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):  # a full disk also fails the checkpoint of closing
                self._connection.close()
            self._connection = None


def _restore(mirror: Mirror, found: Mapping[str, Rows], now: Instant) -> None:
    """Restore one mirror. Raises _UnusableError where the rows make no sense to it."""
    try:
        mirror.restore(found, now)
    except Exception as error:
        raise _UnusableError("unreadable") from error


def _read(connection: sqlite3.Connection) -> dict[str, Rows]:
    """Return all rows of all tables, which are made where they are missing.

    That every page of a table is read here also shows most of what can be corrupt.
    """
    for pragma in _PRAGMAS:
        connection.execute(pragma)
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise _UnusableError("newer")
    connection.execute("BEGIN IMMEDIATE")
    for table, columns in TABLES.items():
        connection.execute(f"CREATE TABLE IF NOT EXISTS {table} ({columns})")
    if version == 1:
        for table in ("outbox", "heard"):
            for column in _NEW_COLUMNS:
                connection.execute(f"ALTER TABLE {table} ADD COLUMN {column}")
    if version < VERSION:
        connection.execute(f"PRAGMA user_version={VERSION}")
    connection.execute("COMMIT")
    return {
        table: connection.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608 - our own names
        for table in TABLES
    }


_Identity = tuple[int, int]


def _identity(file: Path | int) -> _Identity | None:
    """Return device and inode of a path or a descriptor; None if nothing is there."""
    try:
        found = os.fstat(file) if isinstance(file, int) else file.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _is_corrupt(error: sqlite3.Error) -> bool:
    """Return whether the file itself is at fault.

    SQLITE_CORRUPT and SQLITE_NOTADB are the errors that sqlite3 raises as DatabaseError itself
    (CPython 3.10 to 3.13, Modules/_sqlite/util.c); the codes as such are known only from 3.11 on.
    """
    return type(error) is sqlite3.DatabaseError
