"""Repeated events, and holes."""

from pathlib import Path

from fpm_listener.supervisor.deduplication import EventDeduplicator, EventVerdict
from fpm_listener.supervisor.protocol import Event

SUPERVISORD = (1, 100)


def event(poolserial: int, *, serial: int | None = None, pool: str = "l", text: str = "") -> Event:
    number = poolserial if serial is None else serial
    return Event("supervisor", pool, number, poolserial, "PROCESS_STATE_EXITED", text)


def take(ledger: EventDeduplicator, given: Event) -> EventVerdict:
    verdict = ledger.judge(given)
    ledger.mark(given)
    return verdict


def test_events_in_order_are_new() -> None:
    """A dense row of events is neither repeated nor holed."""
    ledger = EventDeduplicator(None, SUPERVISORD)

    assert [take(ledger, event(n)) for n in range(3)] == [
        EventVerdict(repeated=False, missed=0)
    ] * 3


def test_a_repeated_event_is_known() -> None:
    """The same serial twice is one event."""
    ledger = EventDeduplicator(None, SUPERVISORD)
    take(ledger, event(4))

    assert take(ledger, event(4)).repeated


def test_a_hole_is_counted() -> None:
    """Pool serials that never came were thrown away by supervisord."""
    ledger = EventDeduplicator(None, SUPERVISORD)
    take(ledger, event(0))

    assert take(ledger, event(17)).missed == 16


def test_a_new_pool_begins_at_zero() -> None:
    """`reload` begins the pool's numbers anew: that is no repetition, and its holes count."""
    ledger = EventDeduplicator(None, SUPERVISORD)
    for number in range(5):
        take(ledger, event(number))

    assert take(ledger, event(0)) == EventVerdict(repeated=False, missed=0)
    assert take(ledger, event(3, text="other")) == EventVerdict(repeated=False, missed=2)


def test_a_rejected_event_of_another_pool() -> None:
    """supervisor hands rejected events to other pools: they disturb no count, and count once."""
    ledger = EventDeduplicator(None, SUPERVISORD)
    take(ledger, event(0))
    foreign = event(99, serial=5, pool="other")

    assert take(ledger, foreign) == EventVerdict(repeated=False, missed=0)
    assert take(ledger, foreign).repeated
    assert take(ledger, event(1)) == EventVerdict(repeated=False, missed=0)


def test_the_last_event_is_known_after_a_restart(tmp_path: Path) -> None:
    """After a restart the unanswered event is known, and so is a hole that opened meanwhile."""
    path = tmp_path / "ledger"
    take(EventDeduplicator(path, SUPERVISORD), event(7))

    assert EventDeduplicator(path, SUPERVISORD).judge(event(7)).repeated
    assert EventDeduplicator(path, SUPERVISORD).judge(event(10)).missed == 2
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_was_committed_counts_where_the_file_is_behind(tmp_path: Path) -> None:
    """A listener that was killed between the two counts nothing twice."""
    path = tmp_path / "ledger"
    first = EventDeduplicator(path, SUPERVISORD)
    take(first, event(7))
    committed = first.stamp(event(8))
    assert committed

    assert EventDeduplicator(path, SUPERVISORD, committed).judge(event(8)).repeated
    assert not EventDeduplicator(path, (1, 200), committed).judge(event(8)).repeated
    take(first, event(8))
    take(first, event(9))
    assert EventDeduplicator(path, SUPERVISORD, committed).judge(event(9)).repeated
    assert not EventDeduplicator(path, SUPERVISORD, [1, 2]).judge(event(10)).repeated
    assert first.stamp(event(5, pool="other")) is None


def test_another_supervisord(tmp_path: Path) -> None:
    """Serials of a former supervisord say nothing; what the new one lost before us is counted."""
    path = tmp_path / "ledger"
    take(EventDeduplicator(path, SUPERVISORD), event(7))

    assert EventDeduplicator(path, (1, 200)).judge(event(7)) == EventVerdict(
        repeated=False, missed=7
    )


def test_without_a_file_nothing_is_invented() -> None:
    """Where the ledger cannot be kept, the first number of a restarted listener is no hole."""
    assert EventDeduplicator(None, SUPERVISORD).judge(event(500)).missed == 0
    assert EventDeduplicator(Path("/dev/null/x"), SUPERVISORD).judge(event(500)).missed == 0


def test_a_broken_file(tmp_path: Path) -> None:
    """Junk in the file is no reason to stop, and says nothing."""
    path = tmp_path / "ledger"
    path.write_bytes(b"junk" * 100)

    assert not EventDeduplicator(path, SUPERVISORD).judge(event(0)).repeated
