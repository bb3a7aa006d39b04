"""The tables of the database, their versions, and what a user of the database provides."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fpm_listener.values import Instant

VERSION = 2

#: Since version 2: the moment on the monotonic clock, and the boot that this clock belongs to.
_NEW_COLUMNS = ("monotonic REAL NOT NULL DEFAULT 0", "boot TEXT NOT NULL DEFAULT ''")
_BOOT = ", ".join(_NEW_COLUMNS)
#: Every table with its columns. External texts are stored as JSON, which is ASCII.
TABLES = {
    "outbox": "id INTEGER PRIMARY KEY, receiver TEXT NOT NULL, enqueued_at REAL NOT NULL,"
    f" alert TEXT NOT NULL, {_BOOT}",
    "heard": "receiver TEXT NOT NULL, incident TEXT NOT NULL, told_at REAL NOT NULL,"
    f" {_BOOT}, PRIMARY KEY (receiver, incident)",
    "failing": "receiver TEXT PRIMARY KEY NOT NULL, state TEXT NOT NULL",
    "memory": "name TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL",
}

_PRAGMAS = (
    "PRAGMA busy_timeout=1000",
    "PRAGMA journal_mode=WAL",
    "PRAGMA journal_size_limit=1048576",
)

Rows = list[tuple[Any, ...]]


class Statement(NamedTuple):
    """One change of the database; executing it twice must be harmless."""

    sql: str
    values: tuple[str | int | float, ...] = ()


class Mirrored(Protocol):
    """Data in memory that the database mirrors."""

    tables: tuple[str, ...]

    def restore(self, found: Mapping[str, Rows], now: Instant) -> None:
        """Add the rows of an earlier listener; data that is in memory already wins."""

    def rows(self) -> Iterable[Statement]:
        """Return the statements that fill the empty tables."""


class UnusableError(Exception):
    """The file cannot be used and is set aside; `why` becomes a part of its new name."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


def read_tables(connection: sqlite3.Connection) -> dict[str, Rows]:
    """Return all rows of all tables. Creates missing tables and upgrades old ones.

    This reads every page of the tables, so it also finds most corrupt pages.
    Raises sqlite3.Error; UnusableError if a newer version wrote the file.
    """
    for pragma in _PRAGMAS:
        connection.execute(pragma)
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise UnusableError("newer")
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


def write_tables(users: Iterable[Mirrored]) -> Iterable[Statement]:
    """Return the statements that replace the content of all tables by what is in memory."""
    for user in users:
        for table in user.tables:
            yield Statement(f"DELETE FROM {table}")  # noqa: S608 - the names are our own
        yield from user.rows()


def is_corrupt(error: sqlite3.Error) -> bool:
    """Return whether the file itself caused the error.

    SQLITE_CORRUPT and SQLITE_NOTADB are the errors that sqlite3 raises as DatabaseError itself
    (CPython 3.10 to 3.13, Modules/_sqlite/util.c); their codes are available from 3.11 on.
    """
    return type(error) is sqlite3.DatabaseError
