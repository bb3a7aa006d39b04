"""Threads for slow work: a request goes in, and a message to the main thread comes out.

Laws:
1. Requests and answers are frozen values; nothing else is shared.
2. An unexpected error of one request is reported, and the next request is served.
3. A thread that fails ends the process (see internal_errors.service_thread).
"""

from __future__ import annotations

from queue import SimpleQueue
from typing import TYPE_CHECKING, Generic, TypeVar

from fpm_listener.daemon.inbox import drain
from fpm_listener.internal_errors import service_thread
from fpm_listener.vocabulary import Where

if TYPE_CHECKING:
    from collections.abc import Callable

    from fpm_listener.internal_errors import InternalErrors

Request = TypeVar("Request")


class Starter:
    """Starts threads; if the system has no thread left, it tries again later."""

    def __init__(self, errors: InternalErrors) -> None:
        self._errors = errors
        self._waiting: list[Callable[[], object]] = []

    def start(self, start: Callable[[], object]) -> None:
        """Call `start`, which starts a thread, now or at a later `try_again`."""
        try:
            start()
        except RuntimeError as error:  # "can't start new thread"
            self._errors.caught(Where.THREAD, error)
            self._waiting.append(start)

    def try_again(self) -> None:
        """Start the threads that could not be started before."""
        waiting, self._waiting = self._waiting, []
        for start in waiting:
            self.start(start)


class Worker(Generic[Request]):
    """A thread that runs `work` on all requests that have come meanwhile."""

    def __init__(
        self,
        name: str,
        work: Callable[[tuple[Request, ...]], None],
        failed: Callable[[BaseException], None],
        errors: InternalErrors,
        where: Where,
    ) -> None:
        """`errors` counts an unexpected error of `work`, at `where`."""
        self._work = work
        self._errors = errors
        self._where = where
        self._requests: SimpleQueue[Request] = SimpleQueue()
        self._thread = service_thread(name, self._run, failed)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def ask(self, request: Request) -> None:
        """Add a request; never waits."""
        self._requests.put(request)

    def _run(self) -> None:
        while True:
            first = self._requests.get()
            self._errors.survive(self._where, self._work, (first, *drain(self._requests)))
