"""Counts unexpected errors that the listener survives, and logs each kind of them once.

Laws:
1. The traceback is logged without the values of variables. The error's own text is left out where
   it can hold a secret.
2. A shortage of descriptors, threads or memory is one line without a traceback: no code is wrong.
   So is a module that cannot be loaded: an upgrade has replaced the files of this process.
"""

from __future__ import annotations

import errno
import logging
import threading
import traceback
from typing import TYPE_CHECKING, TypeVar

from fpm_listener.vocabulary import Where

if TYPE_CHECKING:
    from collections.abc import Callable

    #: What a thread calls after an unexpected error of one client, pool, log or receiver.
    Caught = Callable[[Where, Exception], None]

log = logging.getLogger(__name__)

Value = TypeVar("Value")

#: Errors of a process or machine that has no descriptor, memory or thread left.
EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
#: Kinds that are logged; more can only come from a program that changes while it runs.
_MOST_KINDS = 256
#: Places whose errors can quote settings, credentials or URLs.
_SECRET = frozenset({Where.RECEIVER, Where.SETTINGS, Where.SUPERVISOR})


def is_exhausted(error: BaseException) -> bool:
    """Return whether the error says that no descriptor, memory or thread is left."""
    if isinstance(error, OSError):
        return error.errno in EXHAUSTED
    # "can't start new thread" is a plain RuntimeError (CPython 3.10 to 3.14).
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and "start new thread" in str(error)
    )


class InternalErrors:
    """Used by all threads."""

    def __init__(self, count: Callable[[Where], None]) -> None:
        """`count` is called once for each error, by the thread that caught it."""
        self._count = count
        # Two threads that add the same kind at once log it twice; that is harmless.
        self._logged: set[tuple[str, ...]] = set()

    def caught(self, where: Where, error: Exception) -> None:
        """Count an error that was caught, and log it if it is the first of its kind."""
        self._count(where)
        frames = traceback.extract_tb(error.__traceback__)
        last = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
        kind = (where.value, type(error).__name__, last)
        if kind in self._logged or len(self._logged) >= _MOST_KINDS:
            return
        self._logged.add(kind)
        text = "(not shown)" if where in _SECRET else str(error)
        if is_exhausted(error):
            log.error("resources exhausted, trying again where=%s error=%r", where.value, text)
            return
        if isinstance(error, ImportError):
            log.error(
                "a part of fpm-listener cannot be loaded: its files changed or are gone;"
                " restart it: supervisorctl restart fpm-listener where=%s error=%r",
                *(where.value, text),
            )
            return
        log.error(
            "unexpected error, continuing where=%s thread=%s error=%s text=%r\n%s",
            where.value,
            threading.current_thread().name,
            type(error).__name__,
            text,
            "".join(traceback.format_list(frames)).rstrip(),
        )

    def survive(self, where: Where, work: Callable[..., object], *arguments: object) -> bool:
        """Do one piece of work; report its unexpected error, and return whether there was none."""
        try:
            work(*arguments)
        except Exception as error:  # noqa: BLE001 - what this class is for
            self.caught(where, error)
            return False
        return True

    def result(self, where: Where, work: Callable[..., Value], *arguments: object) -> Value | None:
        """Return what `work` returns; report its unexpected error, and return None then."""
        try:
            return work(*arguments)
        except Exception as error:  # noqa: BLE001 - what this class is for
            self.caught(where, error)
            return None


class RetriedThread(threading.Thread):
    """A daemon thread that can be started again after its start has failed.

    Python 3.13 and later refuse that: "thread already started".
    """

    def __init__(self, name: str, work: Callable[[], object]) -> None:
        super().__init__(target=work, name=name, daemon=True)
        self._once_more = name, work

    def start(self) -> None:
        """Start the thread. Raises RuntimeError if there are too many threads."""
        try:
            super().start()
        except RuntimeError:
            if self.ident is None:
                self.__init__(*self._once_more)  # type: ignore[misc]
            raise


def service_thread(
    name: str, work: Callable[[], object], failed: Callable[[BaseException], None]
) -> threading.Thread:
    """Return a thread that runs `work`; `failed` gets the exception that ends it.

    The process must end then: a listener without one of its threads would report false states.
    """

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - passed on, with its traceback
            failed(error)

    return RetriedThread(name, run)


def _uncounted(_: Where) -> None:
    """Count nothing."""


#: For threads that run outside a listener, such as in tests: logs, and counts nothing.
log_only: Caught = InternalErrors(_uncounted).caught
