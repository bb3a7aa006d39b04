"""Sends the alerts of the outbox: one thread for each receiver, without database and policy.

Laws:
1. A sender gets an attempt and returns its result; each attempt has one result.
2. A receiver that hangs delays neither the main thread, nor another receiver, nor the exit. Alerts
   without a result stay in the outbox.
3. An unexpected error of one receiver is logged and retried. It must not stop the listener: then no
   receiver gets an alert.
"""

from __future__ import annotations

import time
from importlib import import_module
from queue import SimpleQueue
from typing import TYPE_CHECKING, Protocol, cast

from fpm_listener.delivery.attempt import AttemptResult, FailureReason, RetryLater
from fpm_listener.delivery.queued_alert import without_evidence
from fpm_listener.host import spare_descriptors
from fpm_listener.internal_errors import RetriedThread, log_only
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
        """Send `alerts` in one message, once; failures of any kind are values.

        More than one only if the kind allows it (settings/receiver_types.py).
        """


def make_receiver(
    settings: ReceiverSettings, external_url: str = "", trace: Trace | None = None
) -> Receiver:
    """Return the receiver for these settings. `external_url`: of this listener's page."""
    module = import_module(f"fpm_listener.delivery.receivers.{KINDS[settings.kind].module}")
    return cast("Receiver", module.make(settings, external_url, trace))


class Sender:
    """The thread of one receiver; it starts with its first attempt."""

    def __init__(
        self,
        settings: ReceiverSettings,
        report: Callable[[AttemptResult], None],
        failed: Callable[[BaseException], None],
        external_url: str = "",
        caught: Caught = log_only,
    ) -> None:
        """The thread calls `report`, `failed` and `caught`; they must not wait."""
        spare_descriptors.keep()
        self._receiver: Receiver | None = None  # made by the thread, which loads its module
        self._settings = settings
        self._external_url = external_url
        self._report = report
        self._failed = failed
        self._caught = caught
        self._attempts: SimpleQueue[Attempt | None] = SimpleQueue()
        self._thread = RetriedThread(f"sender-{settings.name}", self._run)  # daemon: law 2

    def send(self, attempt: Attempt) -> None:
        """Pass the attempt to the thread; return at once."""
        if self._thread.ident is None:
            try:
                self._thread.start()
            except RuntimeError as error:  # too many threads: the next attempt tries again
                self._caught(Where.THREAD, error)
                outcome = RetryLater(reason=FailureReason.OTHER, detail=str(error))
                self._report(AttemptResult(attempt=attempt, outcome=outcome))
                return
        self._attempts.put(attempt)

    def stop(self, deadline_s: float = 0.0) -> bool:
        """Stop after the present attempt; return whether that was before `deadline_s` (monotonic).

        Without a deadline it does not wait. To stop several senders, stop each without a deadline,
        then with the same deadline.
        """
        self._attempts.put(None)
        if self._thread.ident is not None:
            self._thread.join(max(0.0, deadline_s - time.monotonic()))
        return not self._thread.is_alive()

    def _attempt(self, attempt: Attempt) -> Outcome:
        try:
            if self._receiver is None:
                with spare_descriptors.for_modules():
                    self._receiver = make_receiver(self._settings, self._external_url)
            alerts = attempt.alerts
            if not self._settings.evidence:  # an alert can be older than the setting
                alerts = tuple(map(without_evidence, alerts))
            return self._receiver.send(alerts)
        except Exception as error:  # noqa: BLE001 - its text may hold secrets, its kind does not
            self._caught(Where.RECEIVER, error)
            detail = f"internal error: {type(error).__name__}"
            if isinstance(error, ImportError):  # an upgrade has replaced the files
                detail = f"{detail}; restart the listener: supervisorctl restart fpm-listener"
            return RetryLater(reason=FailureReason.OTHER, detail=detail)

    def _run(self) -> None:
        try:
            while (attempt := self._attempts.get()) is not None:
                self._report(AttemptResult(attempt=attempt, outcome=self._attempt(attempt)))
        except BaseException as error:  # noqa: BLE001 - law 3: it is passed on with its traceback
            self._failed(error)
