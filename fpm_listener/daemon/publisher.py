"""Makes the snapshot that metrics, status and page show.

Law: it only reads. A snapshot is made soon after a change, but not for each event of a burst.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.status.snapshot import Snapshot
from fpm_listener.vocabulary import Where

if TYPE_CHECKING:
    from fpm_listener.daemon.alert_delivery import AlertDelivery
    from fpm_listener.daemon.event_intake import EventIntake
    from fpm_listener.daemon.exit_watch import ExitWatch
    from fpm_listener.daemon.persistence import Persistence
    from fpm_listener.daemon.services import Services
    from fpm_listener.daemon.startup_check import ConfigChecked
    from fpm_listener.monitor.engine import Engine
    from fpm_listener.settings.receiver_check import ReceiversChecked
    from fpm_listener.settings.settings import Settings
    from fpm_listener.values import Instant

#: Seconds between two snapshots in a burst of events.
SNAPSHOT_EVERY_S = 0.02
#: The same if only counters have changed: output can make hundreds of events a second.
COUNTERS_EVERY_S = 1.0


class Sources(NamedTuple):
    """The parts of the daemon that a snapshot shows."""

    engine: Engine
    events: EventIntake
    exits: ExitWatch
    persistence: Persistence
    delivery: AlertDelivery
    services: Services


class Publisher:
    """The snapshot, and the facts that no other part has. Owned by the daemon."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings  #: in use
        self.snapshot = Snapshot()
        self.due_s: float | None = 0.0  #: monotonic
        self.ready = False  #: the programs are known
        self.supervisor_up = False
        self.config_checked: ConfigChecked | None = None
        self.receivers_checked: ReceiversChecked | None = None
        self.reload_ok = True
        self.reloaded_at_s = self._started_at_s = time.time()
        self._internal_errors = {where.value: 0 for where in Where}
        self._made_at_s = 0.0  # monotonic

    def count_error(self, where: Where) -> None:
        """Count an unexpected error that a thread survived."""
        self._internal_errors[where.value] += 1

    def schedule(self, now: Instant, *, counters: bool = False) -> None:
        """Make a snapshot soon: something has changed. `counters`: nothing else."""
        pause_s = COUNTERS_EVERY_S if counters else SNAPSHOT_EVERY_S
        due_s = max(now.monotonic_s, self._made_at_s + pause_s)
        self.due_s = due_s if self.due_s is None else min(due_s, self.due_s)

    def publish(self, now: Instant, sources: Sources) -> None:
        """Make the snapshot now."""
        self.due_s, self._made_at_s = None, now.monotonic_s
        engine, config, receivers = sources.engine, self.config_checked, self.receivers_checked
        logs = sources.services.log_counts
        self.snapshot = Snapshot(
            processes=engine.views(),
            receivers=sources.delivery.views(),
            events=dict(engine.counts.events),
            events_missed=engine.counts.missed,
            protocol_garbage=sources.events.unreadable,
            findings=config.counts if config else {},
            found=config.found if config else (),
            timeline=engine.timeline.view(),
            windows=self.settings.loops,
            failures=engine.timeline.failures(),
            instance=self.settings.instance,
            last_event_s=engine.counts.last_event_s,
            ack_seconds=sources.events.ack_seconds.view(),
            ready=self.ready,
            supervisor_up=self.supervisor_up,
            supervisor=engine.supervisor,
            fast_restart=self.settings.fast_restart and sources.exits.can_watch,
            log_bytes_read=logs.bytes_read,
            log_bytes_skipped=logs.bytes_skipped,
            log_read_errors=logs.read_errors,
            internal_errors=dict(self._internal_errors),
            receiver_problems=receivers.problems if receivers else (),
            outbox_persistent=sources.persistence.is_writable,
            state_dir=sources.persistence.directory.locate(),
            state_dir_temporary=sources.persistence.directory.is_temporary,
            config_reload_ok=self.reload_ok,
            config_reload_s=self.reloaded_at_s,
            started_s=self._started_at_s,
            installed_version=sources.services.installed_version,
        )
