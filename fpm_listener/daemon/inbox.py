"""Messages of threads and signals to the main thread; each message wakes it."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple

from fpm_listener.internal_errors import InternalErrors

if TYPE_CHECKING:
    from fpm_listener.vocabulary import Where

log = logging.getLogger(__name__)


class Failed(NamedTuple):
    """An unexpected exception has ended a thread."""

    error: BaseException


class Survived(NamedTuple):
    """A thread has caught an unexpected error, and continues."""

    where: Where


class SupervisorAnswered(NamedTuple):
    """Whether supervisord's XML-RPC has answered."""

    up: bool


class Inbox:
    """A queue with a descriptor, so that one poll waits for it and for supervisord."""

    def __init__(self) -> None:
        self._items: SimpleQueue[Any] = SimpleQueue()
        self._read, self.wake_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        #: Reports unexpected errors that a thread survived; any thread can call it.
        self.errors = InternalErrors(lambda where: self.put(Survived(where)))

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._read

    def put(self, item: object) -> None:
        """Send an item to the main thread; any thread can call it, and it never waits."""
        self._items.put(item)
        with contextlib.suppress(BlockingIOError):  # the pipe is full of wake-ups already
            os.write(self.wake_fd, b"\0")

    def failed(self, error: BaseException) -> None:
        """Report the exception that ended a thread."""
        self.put(Failed(error))

    def take(self) -> list[Any]:
        """Return the items that have come."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._read, 4096)
        return drain(self._items)


def drain(queue: SimpleQueue[Any]) -> list[Any]:
    """Return all items of a queue; never waits."""
    items = []
    with contextlib.suppress(Empty):
        while True:
            items.append(queue.get_nowait())
    return items


class Signals:
    """The signals that have come. Used by the main thread, to which Python delivers them."""

    def __init__(self) -> None:
        self.stop = False  #: TERM or INT
        self.reload = False  #: HUP: the settings must be read again; the reader resets it

    def catch(self, wake_fd: int) -> None:
        """Note signals from now on, and write a byte to `wake_fd` for each."""
        signal.set_wakeup_fd(wake_fd, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGHUP, self._on_hang_up)

    def _on_stop(self, number: int, _frame: object) -> None:
        log.info("received a signal to exit signal=%s", signal.Signals(number).name)
        self.stop = True

    def _on_hang_up(self, _number: int, _frame: object) -> None:
        self.reload = True
