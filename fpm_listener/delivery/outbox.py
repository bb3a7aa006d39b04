"""The undelivered alerts of all receivers, in memory and on disk.

Laws:
1. Memory is the authority, and the database is its mirror. Only the main thread uses this.
2. The transaction that commits the state of the engine also enqueues its alerts.
3. An alert is stored as itself and formatted for each attempt; its id never changes.
4. The queues decide which alerts a receiver gets, in which order, and when (alert_queue.py).
5. A receiver that fails is an incident for all other receivers (receiver_failure.py).
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

from fpm_listener.delivery import outbox_records
from fpm_listener.delivery.alert_texts import with_texts
from fpm_listener.delivery.attempt import Delivered, DropReason
from fpm_listener.delivery.delivery_log import DeliveryLog
from fpm_listener.delivery.outbox_views import list_alerts, view_receiver
from fpm_listener.delivery.queue_settings import Limits, make_policy, make_queue, resends
from fpm_listener.delivery.queued_alert import Dropped
from fpm_listener.delivery.receiver_failure import ReceiverFailures
from fpm_listener.delivery.receiver_queue import ReceiverQueue
from fpm_listener.host import procfs
from fpm_listener.incidents.alert import Reason
from fpm_listener.values import Clocks, Instant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from fpm_listener.delivery.alert_queue import AlertQueue
    from fpm_listener.delivery.attempt import Attempt, AttemptResult
    from fpm_listener.delivery.database import Database
    from fpm_listener.delivery.database_schema import Rows, Statement
    from fpm_listener.delivery.queued_alert import Change
    from fpm_listener.delivery.receiver_counters import ReceiverView
    from fpm_listener.incidents.alert import Alert
    from fpm_listener.incidents.effects import Notify
    from fpm_listener.settings.receivers import ReceiverSettings

log = logging.getLogger(__name__)


class Outbox:
    """The queues of `receivers`. Attaches itself to the database."""

    tables: tuple[str, ...] = ("outbox", "heard", "failing")

    def __init__(
        self,
        database: Database,
        receivers: Sequence[ReceiverSettings],
        limits: Limits,
        instance: str = "",
        random: Callable[[], float] = lambda: int.from_bytes(os.urandom(6), "big") / 2**48,
        boot_id: str | None = None,
    ) -> None:
        """`instance`: the name of this host in alerts; `random`: from 0 up to 1, for delays."""
        self._clocks = Clocks(Instant(0.0, 0.0), procfs.boot_id() if boot_id is None else boot_id)
        self._database = database
        self._random = random
        self._limits = limits
        self._settings = {receiver.name: receiver for receiver in receivers}
        self._queues = {
            name: make_queue(name, settings, limits)
            for settings in receivers
            for name in settings.queues
        }
        self._last_number = 0
        self._failures = ReceiverFailures(instance, lambda: os.urandom(16).hex())
        self._log = DeliveryLog()
        database.attach(self)

    # -- alerts ------------------------------------------------------------------------------------

    def enqueue(self, alert: Alert, now: Instant) -> list[Statement]:
        """Add `alert` to the queue of each receiver that wants it; return what to commit."""
        return self._enqueue(alert, now, self._queues.values())

    def notify(self, effect: Notify, now: Instant) -> list[Statement]:
        """Enqueue an alert of the engine with its texts; return what is to be committed."""
        languages = {one.language for one in self._settings.values()}
        return self.enqueue(with_texts(effect.alert, effect.facts, languages), now)

    def _enqueue(self, alert: Alert, now: Instant, queues: Iterable[AlertQueue]) -> list[Statement]:
        statements = []
        self._clocks = self._clocks._replace(now=now)
        for queue in queues:
            # From the clock: a database that opens later contains smaller numbers than these.
            self._last_number = max(self._last_number + 1, int(now.wall_s * 1e6))
            statements += self._record(queue, queue.enqueue(self._last_number, alert, now))
        return statements

    def start_attempts(self, now: Instant) -> list[Attempt]:
        """Return the attempts that are due now: at most one message for each queue."""
        self._clocks = self._clocks._replace(now=now)
        self._report_failures(now)
        attempts = []
        for queue in self._queues.values():
            attempt, changes = queue.start_attempt(now)
            if attempt is not None:
                attempts.append(attempt)
            self._write(queue, changes)
        return attempts

    def next_due_s(self, now: Instant) -> float | None:
        """Return the monotonic moment of the next attempt; None = nothing is pending."""
        moments = [queue.due_s(now) for queue in self._queues.values()]
        moments += [self._failure_due_s(name) for name in self._settings]
        return min((moment for moment in moments if moment is not None), default=None)

    def record_result(self, result: AttemptResult, now: Instant) -> None:
        """Apply the result of an attempt.

        Not durable: after a power failure the alert is sent once more, under the same id.
        """
        queue = self._queues.get(result.attempt.queue)
        if queue is None:
            return
        self._clocks = self._clocks._replace(now=now)
        changes = queue.record_result(result, now, self._random())
        self._log.attempt_ended(result, max(0.0, queue.limiter.retry_at_s - now.monotonic_s))
        self._write(queue, changes)
        receiver = _receiver_of(queue)
        failures = [one.counters.last_failure for one in self._queues_of(receiver)]
        known = receiver in self._failures.by_receiver
        if Dropped(DropReason.REJECTED) in changes and all(failures) and not known:
            why = f"it rejects alerts ({queue.counters.last_failure})"
            self._report_failure(receiver, Reason.FIRST, now, why)
        elif isinstance(result.outcome, Delivered) and known:
            self._report_failure(receiver, Reason.RESOLVED, now)

    # -- receivers that fail -----------------------------------------------------------------------

    def _failure_due_s(self, receiver: str) -> float | None:
        queues = self._queues_of(receiver)
        return self._failures.due_s(receiver, queues, self._limits.repeat_interval_s)

    def _report_failures(self, now: Instant) -> None:
        for receiver in set(self._failures.by_receiver) - set(self._settings):
            self._report_failure(receiver, Reason.RESOLVED, now)
        for receiver in self._settings:
            due_s = self._failure_due_s(receiver)
            if due_s is not None and now.monotonic_s >= due_s:
                known = receiver in self._failures.by_receiver
                why = self._queues_of(receiver)[0].counters.last_failure
                self._report_failure(receiver, Reason.REPEAT if known else Reason.FIRST, now, why)

    def _report_failure(self, receiver: str, reason: Reason, now: Instant, why: str = "") -> None:
        """Notify the other receivers."""
        if reason is Reason.FIRST:
            log.error("alerts do not reach a receiver receiver=%s why=%r", receiver, why)
        undelivered = sum(queue.pending() for queue in self._queues_of(receiver))
        alert = self._failures.next_alert(receiver, reason, now, why, undelivered)
        others = [queue for queue in self._queues.values() if _receiver_of(queue) != receiver]
        statements = self._enqueue(alert, now, others)
        failure = self._failures.by_receiver.get(receiver)
        statements.append(
            outbox_records.write_failure(self._clocks, failure)
            if failure
            else outbox_records.remove_failure(receiver)
        )
        self._database.write(statements, durable=True)

    # -- receivers ---------------------------------------------------------------------------------

    def reconfigure(self, receivers: Sequence[ReceiverSettings], limits: Limits) -> None:
        """Use other receivers, after valid settings were read.

        Alerts of a receiver that they do not name are dropped now, and counted in the log. The next
        attempt of a receiver whose settings changed starts at once; it needs a new sender.
        """
        before, self._settings = self._settings, {one.name: one for one in receivers}
        self._limits = limits
        wanted = {name: one for one in receivers for name in one.queues}
        statements: list[Statement] = []
        for name in [name for name in self._queues if name not in wanted]:
            statements += self._remove_queue(name)
        for name, settings in wanted.items():
            old, queue = before.get(settings.name), self._queues.get(name)
            if queue is None or old is None or queue.policy is None:
                queue = make_queue(name, settings, unknown=queue)
            elif resends(old) != resends(settings):
                statements += self._remove_queue(name)
                queue = make_queue(name, settings)
            self._queues[name] = queue
            statements += self._record(queue, queue.reconfigure(make_policy(settings, limits)))
            if old != settings:
                queue.replace_sender()
        self._database.write(statements, durable=False)

    def _remove_queue(self, name: str) -> list[Statement]:
        queue = self._queues.pop(name)
        if len(queue):
            log.warning(
                "alerts dropped: the settings no longer name their receiver receiver=%s count=%s",
                name,
                len(queue),
            )
        return outbox_records.remove_queue(name)

    def views(self) -> tuple[ReceiverView, ...]:
        """Return all receivers of the settings, for other threads."""
        failing = self._failures.by_receiver
        return tuple(
            view_receiver(one, self._queues_of(one.name), failing=one.name in failing)
            for one in self._settings.values()
        )

    # -- requests of the operator ------------------------------------------------------------------

    def list_alerts(self, now: Instant) -> list[dict[str, Any]]:
        """Return all undelivered alerts, for `fpm-listener alerts list`; without secrets."""
        return list_alerts(self._queues.values(), now)

    def retry_now(self, receiver: str | None) -> int:
        """Start the next attempts at once; return how many alerts are pending."""
        queues = self._queues_named(receiver)
        for queue in queues:
            queue.retry_now()
        return sum(queue.pending() for queue in queues)

    def test_delivered(self, receiver: str, now: Instant) -> int:
        """End the failure of a receiver that got a test; return how many alerts are retried."""
        if receiver in self._failures.by_receiver:
            self._report_failure(receiver, Reason.RESOLVED, now)
        return self.retry_now(receiver)

    def drop(self, receiver: str | None, number: int | None) -> int:
        """Drop one alert, or all of a receiver; return how many. An alert in flight stays."""
        dropped = 0
        for queue in self._queues_named(receiver):
            numbers = [one.number for one in queue.alerts() if number in {None, one.number}]
            before = len(queue)
            self._database.write(self._record(queue, queue.drop(numbers)), durable=True)
            dropped += before - len(queue)
        return dropped

    # -- the mirror on disk ------------------------------------------------------------------------

    def restore(self, found: Mapping[str, Rows], now: Instant) -> None:
        """Add what an earlier listener left in the file."""
        clocks = self._clocks = self._clocks._replace(now=now)
        for name, failure in outbox_records.read_failures(found["failing"], clocks):
            self._failures.by_receiver.setdefault(name, failure)
        for name, incident, since_s in outbox_records.read_notified(found["heard"], clocks):
            self._queue(name).notified.setdefault(incident, since_s)
        for name, queued in outbox_records.read_alerts(found["outbox"], clocks):
            self._queue(name).restore(queued)
            self._last_number = max(self._last_number, queued.number)
        for name, queue in self._queues.items():
            if queue.policy is not None:
                self._record(queue, queue.reconfigure(queue.policy))  # `rows` writes the rest
            elif len(queue):
                log.warning(
                    "the settings do not name the receiver of these alerts; they are kept until the"
                    " next reload receiver=%s count=%s",
                    name,
                    len(queue),
                )

    def rows(self) -> Iterable[Statement]:
        """Return the statements that fill the empty tables."""
        for failure in self._failures.by_receiver.values():
            yield outbox_records.write_failure(self._clocks, failure)
        for queue in self._queues.values():
            yield from outbox_records.write_queue(self._clocks, queue)

    # -- details -----------------------------------------------------------------------------------

    def _queue(self, name: str) -> AlertQueue:
        return self._queues.setdefault(name, ReceiverQueue(name, None))

    def _queues_of(self, receiver: str) -> list[AlertQueue]:
        settings = self._settings.get(receiver)
        return [self._queues[name] for name in settings.queues] if settings else []

    def _queues_named(self, receiver: str | None) -> list[AlertQueue]:
        """Return the queues of a receiver that may be missing in the settings; None = all."""
        return [one for one in self._queues.values() if receiver in {None, _receiver_of(one)}]

    def _write(self, queue: AlertQueue, changes: Sequence[Change]) -> None:
        if statements := self._record(queue, changes):
            self._database.write(statements, durable=False)

    def _record(self, queue: AlertQueue, changes: Sequence[Change]) -> list[Statement]:
        """Log the alerts that were dropped; return the statements for the database."""
        self._log.dropped(queue.name, [one.reason for one in changes if isinstance(one, Dropped)])
        written = (outbox_records.write_change(self._clocks, queue.name, one) for one in changes)
        return [statement for statements in written for statement in statements]


def _receiver_of(queue: AlertQueue) -> str:
    return queue.name.partition("#")[0]  # no receiver's name contains it
