"""Detects repeated and lost events by the serial of the last answered event.

Laws:
1. The serial survives kill -9, because the kernel has the data. It need not survive a power
   failure, because supervisord does not survive it.
2. Serials are valid for one run of supervisord, identified by its pid and its start.
3. A file without a valid entry proves nothing: the old file may have been deleted. So no event
   counts as lost.
"""

from __future__ import annotations

import os
import stat
import struct
from collections import OrderedDict
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

    from fpm_listener.supervisor.protocol import Event

_FORMAT = struct.Struct("<4sqqqq")
_MAGIC = b"fpl1"
_RECENT = 256
_OPEN = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class EventVerdict(NamedTuple):
    """The relation of an event to earlier events."""

    repeated: bool
    missed: int  #: events that supervisord has dropped between the last one and this


class EventDeduplicator:
    """The last event of our own listener pool, and the last few of any."""

    def __init__(
        self,
        path: Path | None,
        supervisord: tuple[int, int],
        committed: object = None,
    ) -> None:
        """`supervisord`: its pid and its start, in the kernel's ticks.

        committed: `stamp` of the event that was committed last; the file may be one event behind.
        """
        self._supervisord = supervisord
        self._descriptor: int | None = None
        found = self._open(path) if path is not None else None
        self._serial, self._poolserial = max(
            found or (-1, -1),
            self._recall_committed(committed),
            key=lambda serials: serials[1],
        )
        self._known = self._poolserial >= 0 or found is not None
        self._pool: str | None = None
        self._recent: OrderedDict[Event, None] = OrderedDict()

    def keep_at(self, path: Path | None) -> None:
        """Open the file at `path` unless it is open already. Call it from time to time.

        The file may have been deleted or replaced. path: None = no file is writable now.
        """
        if path is None:
            return
        try:
            found = path.lstat()
        except OSError:
            pass
        else:
            if self._descriptor is not None and os.path.samestat(found, os.fstat(self._descriptor)):
                return
        self._open(path)
        self._write()

    def _open(self, path: Path) -> tuple[int, int] | None:
        """Return the serials in the file; None if it has no valid entry."""
        self.close()
        try:
            descriptor = os.open(path, _OPEN, 0o600)
        except OSError:
            return None  # the database has logged that the directory is not writable
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            return None
        self._descriptor = descriptor
        try:
            magic, pid, start, serial, poolserial = _FORMAT.unpack(
                os.pread(descriptor, _FORMAT.size, 0)
            )
        except (OSError, struct.error):
            return None
        if magic != _MAGIC:
            return None
        return (serial, poolserial) if (pid, start) == self._supervisord else (-1, -1)

    def _write(self) -> None:
        if self._descriptor is not None and self._poolserial >= 0:
            packed = _FORMAT.pack(_MAGIC, *self._supervisord, self._serial, self._poolserial)
            with suppress(OSError):  # a full disk; the database logs that
                os.pwrite(self._descriptor, packed, 0)

    def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _recall_committed(self, committed: object) -> tuple[int, int]:
        if not isinstance(committed, list) or len(committed) != 4:
            return -1, -1
        if not all(isinstance(one, int) for one in committed):
            return -1, -1
        if tuple(committed[:2]) != self._supervisord:
            return -1, -1
        return int(committed[2]), int(committed[3])

    def stamp(self, event: Event) -> list[int] | None:
        """Return the value to commit with the effects of an event; None = of another pool."""
        if (self._pool is not None and event.pool != self._pool) or event.poolserial < 0:
            return None
        return [*self._supervisord, event.serial, event.poolserial]

    def judge(self, event: Event) -> EventVerdict:
        """Return the relation of `event` to earlier events."""
        first, own = not self._recent, self._pool is None or event.pool == self._pool
        if not own:  # rejected by another pool: supervisor sends it to all (its process.py)
            return EventVerdict(repeated=event in self._recent, missed=0)
        if event in self._recent and (event.poolserial or next(reversed(self._recent)) == event):
            return EventVerdict(repeated=True, missed=0)
        if event.poolserial < 0:
            return EventVerdict(repeated=False, missed=0)
        if first and event.serial == self._serial and event.poolserial == self._poolserial:
            return EventVerdict(repeated=True, missed=0)
        if event.poolserial <= self._poolserial:  # a new pool, or a new supervisord
            self._recent.clear()
            return EventVerdict(repeated=False, missed=event.poolserial)
        missed = event.poolserial - self._poolserial - 1
        return EventVerdict(repeated=False, missed=missed if self._known else 0)

    def mark(self, event: Event) -> None:
        """Remember an event that was handled. Call it before the event is acknowledged."""
        self._recent[event] = None
        if len(self._recent) > _RECENT:
            self._recent.popitem(last=False)
        if self._pool is None:
            self._pool = event.pool
        if event.pool != self._pool or event.poolserial < 0:
            return
        self._known = True
        self._serial, self._poolserial = event.serial, event.poolserial
        self._write()
