"""A database and an outbox as the daemon uses them, with a clock that tests move."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm_listener.daemon.persistence import StateStore
from fpm_listener.delivery.database import Database
from fpm_listener.delivery.outbox import Outbox
from fpm_listener.host.fallback_directory import StateDirectory
from fpm_listener.settings.receivers import ReceiverSettings
from fpm_listener.values import Instant
from tests.samples import LIMITS, at, ended

if TYPE_CHECKING:
    from pathlib import Path

    from fpm_listener.delivery.attempt import Attempt, AttemptResult, Outcome
    from fpm_listener.delivery.queue_settings import Limits
    from fpm_listener.incidents.alert import Alert

SECRET = "http://127.0.0.1:9/s3cret-path?token=t0ken"
OPS = ReceiverSettings(name="ops", url=SECRET)
CHAT = ReceiverSettings(name="chat", url=SECRET)


class OutboxHarness:
    """One database, one outbox, one clock."""

    def __init__(
        self,
        folder: Path,
        *receivers: ReceiverSettings,
        limits: Limits = LIMITS,
        now: Instant | None = None,
        boot_id: str = "1",
    ) -> None:
        self.now = now or at(0.0)
        self.boot_id = boot_id
        self.folder = folder
        self.database = Database(StateDirectory(folder))
        self.memory = StateStore(self.database)
        self.outbox = Outbox(
            self.database,
            receivers or (OPS,),
            limits,
            random=lambda: 1.0,
            boot_id=boot_id,
        )
        self.database.open(self.now)

    def enqueue(self, *alerts: Alert) -> None:
        """Enqueue and commit."""
        for alert in alerts:
            assert self.database.write(self.outbox.enqueue(alert, self.now), durable=True)

    def due_ids(self) -> dict[str, str]:
        """Start the attempts that are due; return the id of the first alert by queue."""
        return {one.queue: one.alerts[0].alert_id for one in self.outbox.start_attempts(self.now)}

    def start_attempt(self) -> Attempt | None:
        """Return the attempt of the only receiver that is due."""
        return next(iter(self.outbox.start_attempts(self.now)), None)

    def answer(self, outcome: Outcome) -> str:
        """Record this result for the attempt of the only receiver; return the id of its alert."""
        attempt = self.start_attempt()
        assert attempt is not None
        self.outbox.record_result(ended(attempt, outcome), self.now)
        return attempt.alerts[0].alert_id

    def answer_of(self, receiver: str, outcome: Outcome) -> Alert:
        """Record this result for the attempt of one of the receivers; return the alert."""
        (attempt,) = (one for one in self.outbox.start_attempts(self.now) if one.queue == receiver)
        self.record_result(ended(attempt, outcome))
        return attempt.alerts[0]

    def record_result(self, result: AttemptResult) -> None:
        """Apply the result of an attempt."""
        self.outbox.record_result(result, self.now)

    def wait(self, seconds: float) -> None:
        """Advance both clocks."""
        self.now = Instant(self.now.monotonic_s + seconds, self.now.wall_s + seconds)

    def ids(self, receiver: str = "ops") -> list[str]:
        """Return the ids of a receiver's alerts, oldest first."""
        return [alert.alert_id for alert in self.alerts(receiver)]

    def alerts(self, receiver: str = "ops") -> list[Alert]:
        """Return the alerts of a receiver, oldest first."""
        queue = self.outbox._queues.get(receiver)
        return [queued.alert for queued in queue.alerts()] if queue else []

    def dropped(self) -> dict[str, int]:
        """Return the numbers of drops of the first receiver that are not 0."""
        view = self.outbox.views()[0]
        return {reason: count for reason, count in view.dropped.items() if count}


def after_reboot(
    harness: OutboxHarness, *receivers: ReceiverSettings, after_s: float = 0.0
) -> OutboxHarness:
    """Return the harness of the next listener, after a reboot."""
    harness.database.close()
    now = Instant(5.0, harness.now.wall_s + after_s)  # only the wall clock goes on
    return OutboxHarness(
        harness.folder,
        *receivers,
        limits=harness.outbox._limits,
        now=now,
        boot_id=harness.boot_id + "1",
    )


def after_restart(
    harness: OutboxHarness, *, clock_set_by_s: float, after_s: float = 1.0
) -> OutboxHarness:
    """Return the harness of the next listener, after a change of the clock."""
    harness.database.close()
    now = Instant(harness.now.monotonic_s + after_s, harness.now.wall_s + after_s + clock_set_by_s)
    return OutboxHarness(
        harness.folder, limits=harness.outbox._limits, now=now, boot_id=harness.boot_id
    )
