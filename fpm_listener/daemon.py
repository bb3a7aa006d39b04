"""Wires threads, inbox, clock and signals; performs effects; has no policy.

Laws:
1. One owner, the main thread: it alone steps the engine and writes the database.
2. An event is answered after what must last is committed, and before anything slow.
3. The owner sleeps until something comes or something is due; it does not tick.
4. Threads exchange frozen values; a thread that dies takes the process down.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple

from fpm_listener import settings as settings_module
from fpm_listener.core.effects import (
    Effect,
    ExitsRead,
    FindHolder,
    HolderFound,
    Hurry,
    Identity,
    Notify,
    ReadExits,
    Remember,
)
from fpm_listener.core.engine import Engine, EngineSettings, Tick
from fpm_listener.core.histogram import Histogram
from fpm_listener.core.protocol import Event, Garbage
from fpm_listener.core.snapshot import Snapshot
from fpm_listener.core.trouble import Policy
from fpm_listener.core.values import FpmListenerError, Instant
from fpm_listener.ledger import Ledger, supervisord_identity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fpm_listener.listener import Pipe
    from fpm_listener.settings import Settings

log = logging.getLogger(__name__)

#: Seconds between two snapshots while events pour in.
_SNAPSHOT_EVERY_S = 0.02
#: Seconds after which an event that could not be read is answered all the same.
_UNREADABLE_AFTER_S = 5.0
_ACK_BUCKETS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 1.0)


class Failed(NamedTuple):
    """Inbox: a thread met an exception that nobody foresaw."""

    error: BaseException


class Inbox:
    """What other threads have to say to the owner; putting wakes it."""

    def __init__(self) -> None:
        self._items: SimpleQueue[Any] = SimpleQueue()
        self._read, self.wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._read

    def put(self, item: object) -> None:
        """Hand an item to the owner; callable from any thread, never waits."""
        self._items.put(item)
        try:
            os.write(self.wake, b"\0")
        except BlockingIOError:
            pass  # the pipe is full of wake-ups already

    def take(self) -> list[Any]:
        """Return what has come in."""
        try:
            os.read(self._read, 4096)
        except BlockingIOError:
            pass
        items = []
        while True:
            try:
                items.append(self._items.get_nowait())
            except Empty:
                return items


def now() -> Instant:
    """Return the present moment on both clocks; the only place that reads them for the engine."""
    return Instant(time.monotonic(), time.time())
