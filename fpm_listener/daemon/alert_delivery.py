"""Gives alerts that are due to the senders, and performs what operators request for alerts.

Law: only the main thread uses it, and each call returns at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fpm_listener.daemon.persistence import limits
from fpm_listener.delivery.sender import Sender

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fpm_listener.daemon.control_client import ControlRequest
    from fpm_listener.daemon.inbox import Inbox
    from fpm_listener.delivery.attempt import AttemptResult
    from fpm_listener.delivery.outbox import Outbox
    from fpm_listener.delivery.receiver_counters import ReceiverView
    from fpm_listener.settings.settings import ReceiverSettings, Settings
    from fpm_listener.values import Instant


class AlertDelivery:
    """The outbox and one sender for each receiver."""

    def __init__(self, settings: Settings, outbox: Outbox, inbox: Inbox) -> None:
        self.in_flight = 0  #: attempts that senders have
        self._settings = settings
        self._outbox = outbox
        self._inbox = inbox
        self._sending = True
        self._senders: dict[str, Sender] = {}
        self._add_senders(settings.receivers)

    def next_due_s(self, now: Instant) -> float | None:
        """Return the monotonic time of the next attempt."""
        return self._outbox.next_due_s(now)

    def send_due(self, now: Instant) -> None:
        """Give the senders the attempts that are due."""
        due_s = self._outbox.next_due_s(now)
        if not self._sending or due_s is None or due_s > now.monotonic_s:
            return
        for attempt in self._outbox.start_attempts(now):
            self.in_flight += 1
            self._senders[attempt.queue].send(attempt)

    def record_result(self, result: AttemptResult, now: Instant) -> None:
        """Record the result of an attempt."""
        self.in_flight -= 1
        self._outbox.record_result(result, now)

    def views(self) -> tuple[ReceiverView, ...]:
        """Return the counters of all receivers."""
        return self._outbox.views()

    def perform(self, request: ControlRequest, now: Instant) -> Any:  # noqa: ANN401 - JSON
        """Do what an operator requests, and return the answer."""
        match request.action:
            case "list":
                return self._outbox.list_alerts(now)
            case "retry":
                return self._outbox.retry_now(request.receiver)
            case "worked":
                return self._outbox.test_delivered(request.receiver or "", now)
            case _:
                return self._outbox.drop(request.receiver, request.number)

    def reconfigure(self, settings: Settings) -> None:
        """Use other settings; the sender of a receiver that did not change stays."""
        before, self._settings = self._settings, settings
        same_link = before.page_url == settings.page_url
        kept = [r for r in before.receivers if r in settings.receivers and same_link]
        for receiver in before.receivers:
            if receiver not in kept:
                for queue in receiver.queues:
                    self._senders.pop(queue).stop()
        self._add_senders([r for r in settings.receivers if r not in kept])
        self._outbox.reconfigure(settings.receivers, limits(settings))

    def _add_senders(self, receivers: Sequence[ReceiverSettings]) -> None:
        inbox = self._inbox
        for receiver in receivers:
            for queue, settings in receiver.queues.items():
                self._senders[queue] = Sender(
                    settings, inbox.put, inbox.failed, self._settings.page_url, inbox.errors.caught
                )

    def stop_sending(self) -> None:
        """Start no further attempt."""
        self._sending = False

    def close(self) -> None:
        """Stop the senders; the next listener repeats the attempts that are in flight."""
        for sender in self._senders.values():
            sender.stop()
