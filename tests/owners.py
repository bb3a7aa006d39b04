"""An owner of database and outbox, as the daemon is one, with a clock that tests move."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm_listener.daemon.persistence import StateStore
from fpm_listener.delivery.database import Database
from fpm_listener.delivery.outbox import Limits, Outbox
from fpm_listener.settings.receivers import ReceiverSettings
from fpm_listener.values import Instant
from tests.samples import LIMITS, at, ended

if TYPE_CHECKING:
    from pathlib import Path

    from fpm_listener.delivery.attempt import Attempt, Attempted, Outcome
    from fpm_listener.incidents.alert import Alert

SECRET = "http://127.0.0.1:9/s3cret-path?token=t0ken"
OPS = ReceiverSettings(name="ops", url=SECRET)
CHAT = ReceiverSettings(name="chat", url=SECRET)


class Owner:
    """The daemon's part: one database, one outbox, one clock."""

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
        self.database = Database(folder)
        self.memory = StateStore(self.database)
        self.outbox = Outbox(
            self.database,
            receivers or (OPS,),
            limits,
            random=lambda: 1.0,
            boot_id=boot_id,
        )
        self.database.open(self.now)

    def owe(self, *alerts: Alert) -> None:
        """Enqueue and commit."""
        for alert in alerts:
            assert self.database.write(self.outbox.enqueue(alert, self.now), durable=True)

    def due(self) -> dict[str, str]:
        """Return what is due, by receiver."""
        return {one.lane: one.alerts[0].alert_id for one in self.outbox.due(self.now)}

    def take(self) -> Attempt | None:
        """Return what is due for the one receiver."""
        return next(iter(self.outbox.due(self.now)), None)

    def answer(self, outcome: Outcome) -> str:
        """Let the one receiver answer."""
        attempt = self.take()
        assert attempt is not None
        self.outbox.settle(ended(attempt, outcome), self.now)
        return attempt.alerts[0].alert_id

    def answer_of(self, receiver: str, outcome: Outcome) -> Alert:
        """Let one of the receivers answer; return the alert."""
        (attempt,) = (one for one in self.outbox.due(self.now) if one.lane == receiver)
        self.settle(ended(attempt, outcome))
        return attempt.alerts[0]

    def settle(self, attempted: Attempted) -> None:
        """Take in an answer."""
        self.outbox.settle(attempted, self.now)

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now = Instant(self.now.monotonic_s + seconds, self.now.wall_s + seconds)

    def ids(self, receiver: str = "ops") -> list[str]:
        """Return what a receiver is owed."""
        return [alert.alert_id for alert in self.outbox.pending(receiver)]

    def dropped(self) -> dict[str, int]:
        """Return the drops of the first receiver that are not 0."""
        view = self.outbox.views()[0]
        return {reason: count for reason, count in view.dropped.items() if count}


def again(owner: Owner, *receivers: ReceiverSettings, after_s: float = 0.0) -> Owner:
    """Return the owner of a listener that was started after a reboot."""
    owner.database.close()
    now = Instant(5.0, owner.now.wall_s + after_s)  # only the wall clock goes on
    return Owner(
        owner.folder,
        *receivers,
        limits=owner.outbox._limits,
        now=now,
        boot_id=owner.boot_id + "1",
    )


def restarted(owner: Owner, *, clock_set_by_s: float, after_s: float = 1.0) -> Owner:
    """Return the owner of a listener that was started again, after the clock was set."""
    owner.database.close()
    now = Instant(owner.now.monotonic_s + after_s, owner.now.wall_s + after_s + clock_set_by_s)
    return Owner(owner.folder, limits=owner.outbox._limits, now=now, boot_id=owner.boot_id)
