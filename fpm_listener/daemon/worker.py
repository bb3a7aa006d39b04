"""A thread that does one kind of slow work: a request goes in, an input for the engine comes out.

Laws:
1. Requests and answers are frozen values; nothing else is shared.
2. An unexpected error of one request is reported, and the next request is served.
3. A thread that ends by itself takes the process down: half-dead is worse than dead.
"""

from __future__ import annotations

import threading
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Generic, TypeVar

from fpm_listener.vocabulary import Where

if TYPE_CHECKING:
    from collections.abc import Callable

    from fpm_listener.internal_errors import InternalErrors

Request = TypeVar("Request")


class Starter:
    """Starts threads; where the system has no thread left, it tries again later."""

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
        """Start what could not be started before."""
        waiting, self._waiting = self._waiting, []
        for start in waiting:
            self.start(start)


class Worker(Generic[Request]):
    """Runs `work` in its own thread on all requests that have come in meanwhile."""

    def __init__(
        self,
        name: str,
        work: Callable[[tuple[Request, ...]], None],
        failed: Callable[[BaseException], None],
        errors: InternalErrors,
        where: Where,
    ) -> None:
        """`errors`: told of an unexpected error in `work`, with `where`."""
        self._work = work
        self._failed = failed
        self._errors = errors
        self._where = where
        self._requests: SimpleQueue[Request | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def ask(self, request: Request) -> None:
        """Hand in a request; never waits."""
        self._requests.put(request)

    def stop(self) -> None:
        """End after the present work; never waits."""
        self._requests.put(None)

    def _run(self) -> None:
        try:
            while True:
                requests = [self._requests.get()]
                while True:
                    try:
                        requests.append(self._requests.get_nowait())
                    except Empty:
                        break
                if None in requests:
                    return
                taken = tuple(request for request in requests if request is not None)
                self._errors.survive(self._where, self._work, taken)
        except BaseException as error:  # noqa: BLE001 - law 3
            self._failed(error)
