"""What other threads and signals have to say to the owner; putting wakes it."""

from __future__ import annotations

import contextlib
import os
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple

from fpm_listener.internal_errors import InternalErrors

if TYPE_CHECKING:
    from fpm_listener.vocabulary import Where


class Failed(NamedTuple):
    """A thread met an exception that nobody foresaw."""

    error: BaseException


class Survived(NamedTuple):
    """A thread has caught an unexpected error, and continues."""

    where: Where


class SupervisorAnswered(NamedTuple):
    """supervisord's XML-RPC has answered, or has not."""

    up: bool


class Inbox:
    """A queue with a descriptor, so that the owner can wait for it and for supervisord at once."""

    def __init__(self) -> None:
        self._items: SimpleQueue[Any] = SimpleQueue()
        self._read, self.wake_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        #: Reports unexpected errors that were survived; callable from any thread.
        self.errors = InternalErrors(lambda where: self.put(Survived(where)))

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._read

    def put(self, item: object) -> None:
        """Hand an item to the owner; callable from any thread, never waits."""
        self._items.put(item)
        with contextlib.suppress(BlockingIOError):  # the pipe is full of wake-ups already
            os.write(self.wake_fd, b"\0")

    def failed(self, error: BaseException) -> None:
        """Hand over what has ended a thread."""
        self.put(Failed(error))

    def take(self) -> list[Any]:
        """Return what has come in."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._read, 4096)
        items = []
        while True:
            try:
                items.append(self._items.get_nowait())
            except Empty:
                return items
