"""When the snapshot for other threads is made."""

from fpm_listener.daemon.publisher import COUNTERS_EVERY_S, SNAPSHOT_EVERY_S, Publisher
from fpm_listener.settings.settings import Settings
from fpm_listener.values import Instant


def test_output_makes_few_snapshots() -> None:
    """Events that change only counters wait; a change that follows does not."""
    publisher = Publisher(Settings(source="file"))
    publisher.due_s, now = None, Instant(0.001, 0.0)
    publisher.schedule(now, counters=True)
    assert publisher.due_s == COUNTERS_EVERY_S
    publisher.schedule(now)
    assert publisher.due_s == SNAPSHOT_EVERY_S
    publisher.schedule(now, counters=True)
    assert publisher.due_s == SNAPSHOT_EVERY_S
