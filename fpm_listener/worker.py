"""A thread that does one kind of slow work: a request goes in, an input for the engine comes out.

Laws:
1. Requests and answers are frozen values; nothing else is shared.
2. An exception that nobody foresaw takes the process down: half-dead is worse than dead.
"""

from __future__ import annotations

import threading
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Request = TypeVar("Request")


class Worker(Generic[Request]):
    """Runs `work` in its own thread on all requests that have come in meanwhile."""

    def __init__(
        self,
        name: str,
        work: Callable[[tuple[Request, ...]], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._work = work
        self._failed = failed
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
                self._work(tuple(request for request in requests if request is not None))
        except BaseException as error:  # noqa: BLE001 - law 2
            self._failed(error)
