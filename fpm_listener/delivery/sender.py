"""Sends what the outbox owes: one thread for each receiver, which knows no database and no policy.

Laws:
1. A sender takes an attempt and answers with how it ended; each attempt is answered once.
2. A receiver that hangs delays neither the owner nor another receiver, and not the end either: what
   it did not answer is still owed.
3. What nobody foresaw of one receiver is said and tried again: it must not silence the others, as
   it would if the listener ended for it, again and again.
"""

from __future__ import annotations

import threading
import time
from importlib import import_module
from queue import SimpleQueue
from typing import TYPE_CHECKING, Protocol, cast

from fpm_listener.delivery.attempt import Attempted, FailureReason, RetryLater
from fpm_listener.internal_errors import log_only
from fpm_listener.settings.receiver_types import KINDS
from fpm_listener.vocabulary import Where

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fpm_listener.delivery.attempt import Attempt, Outcome
    from fpm_listener.delivery.receivers.http import Trace
    from fpm_listener.incidents.alert import Alert
    from fpm_listener.internal_errors import Caught
    from fpm_listener.settings.receivers import ReceiverSettings


class Receiver(Protocol):
    """One kind of receiver: payload, signature, and what counts as success."""

    def send(self, alerts: Sequence[Alert]) -> Outcome:
        """Tell the receiver of `alerts`, in one message, once; failures of any kind are values.

        More than one only where the kind joins them (settings/receiver_types.py).
        """


def make_receiver(
    settings: ReceiverSettings,
    external_url: str = "",
    trace: Trace | None = None,
) -> Receiver:
    """Return what speaks to a receiver. `external_url`: of this listener's page, for people."""
    module = import_module(f"fpm_listener.delivery.receivers.{KINDS[settings.kind].module}")
    return cast("Receiver", module.make(settings, external_url, trace))


class Sender:
    """The thread of one receiver; it starts with its first attempt."""

    def __init__(
        self,
        settings: ReceiverSettings,
        deliver: Callable[[Attempted], None],
        failed: Callable[[BaseException], None],
        external_url: str = "",
        caught: Caught = log_only,
    ) -> None:
        """`deliver`, `failed` and `caught` are called by the thread; they must not wait."""
        self._receiver: Receiver | None = None  # made by the thread: its module is loaded then
        self._settings = settings
        self._external_url = external_url
        self._deliver = deliver
        self._failed = failed
        self._caught = caught
        self._attempts: SimpleQueue[Attempt | None] = SimpleQueue()
        self._thread = threading.Thread(
            target=self._run,
            name=f"sender-{settings.name}",
            daemon=True,  # law 2
        )

    def send(self, attempt: Attempt) -> None:
        """Attempt it; returns at once."""
        if self._thread.ident is None:
            try:
                self._thread.start()
            except RuntimeError as error:  # no thread is left: the next attempt tries again
                self._caught(Where.THREAD, error)
                outcome = RetryLater(reason=FailureReason.OTHER, detail=str(error))
                self._deliver(Attempted(attempt=attempt, outcome=outcome))
                return
        self._attempts.put(attempt)

    def stop(self, deadline_s: float = 0.0) -> bool:
        """End after what is under way; return whether it ended by `deadline_s` (monotonic).

        Without a deadline it does not wait. To end several, stop each without a deadline, then with
        the same one.
        """
        self._attempts.put(None)
        if self._thread.ident is not None:
            self._thread.join(max(0.0, deadline_s - time.monotonic()))
        return not self._thread.is_alive()

    def _tell(self, attempt: Attempt) -> Outcome:
        """Return how the attempt ended; what nobody foresaw is one receiver's trouble."""
        try:
            if self._receiver is None:
                self._receiver = make_receiver(self._settings, self._external_url)
            return self._receiver.send(attempt.alerts)
        except Exception as error:  # noqa: BLE001 - its text may hold secrets, its kind does not
            self._caught(Where.RECEIVER, error)
            kind = type(error).__name__
            return RetryLater(reason=FailureReason.OTHER, detail=f"a mistake of ours: {kind}")

    def _run(self) -> None:
        try:
            while (attempt := self._attempts.get()) is not None:
                outcome = self._tell(attempt)
                self._deliver(Attempted(attempt=attempt, outcome=outcome))
        except BaseException as error:  # noqa: BLE001 - law 3: it is passed on, traceback and all
            self._failed(error)
