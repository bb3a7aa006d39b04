"""The status as words, as a table and as a page."""

from __future__ import annotations

from fpm_listener import status
from fpm_listener.core.exits import ExitReason
from fpm_listener.core.snapshot import (
    Cause,
    IncidentView,
    ProcessView,
    ReceiverView,
    Snapshot,
    State,
    Tier,
)
from fpm_listener.core.values import ProcessName

HOSTILE = "\x1b[2J<b>boo</b>\n"

SNAPSHOT = Snapshot(
    started_s=1000.0,
    supervisor_up=True,
    processes=(
        ProcessView(
            name=ProcessName("php-fpm", "php-fpm"),
            is_fpm=True,
            state=State.RUNNING,
            pid=42,
            start_time_s=1000.0,
            restarts=7,
            failed_starts=3,
            unexpected_exits=4,
            last_exit=ExitReason(signal=9),
            loops=frozenset({Tier.FAST}),
            incident=IncidentView(
                incident_id="i",
                cause=Cause.BIND_CONFLICT,
                severity="critical",
                gave_up=False,
                started_at_s=1001.0,
                failed_lives=7,
                address="127.0.0.1:9000",
                holder=None,
                evidence=(HOSTILE,),
                summary="taken",
                remedy="do something",
            ),
        ),
    ),
    receivers=(ReceiverView(name="ops", kind="webhook", pending=2, sent=5, failed={"dns": 4}),),
)


def test_the_words() -> None:
    """Each key says what the snapshot has."""
    (program,) = status.to_json(SNAPSHOT, 1090.0)["programs"]

    assert program["name"] == "php-fpm:php-fpm"
    assert program["uptime_s"] == 90.0
    assert program["last_exit"] == "killed by SIGKILL"
    assert program["incident"]["cause"] == "bind_conflict"


def test_the_table() -> None:
    """The terminal shows state, trouble, evidence, remedy and what receivers are owed."""
    table = status.to_table(status.to_json(SNAPSHOT, 1090.0))

    assert "php-fpm:php-fpm  RUNNING  42   90s  7         7       killed by SIGKILL  bind" in table
    assert "CRITICAL: taken" in table
    assert "remedy:   do something" in table
    assert "receiver ops: 2 owed, 5 attempts, 4 failed, 0 dropped" in table
    assert "note:" not in table


def test_text_of_others_is_harmless() -> None:
    """Neither the terminal nor the page obeys what stands in a log."""
    document = status.to_json(SNAPSHOT, 1090.0)

    assert "\x1b" not in status.to_table(document)
    assert "<b>" not in status.to_html(document)


def test_what_is_wrong_with_the_listener_itself() -> None:
    """The status says what the listener cannot do."""
    snapshot = Snapshot(events_missed=3, outbox_persistent=False, config_reload_ok=False)
    table = status.to_table(status.to_json(snapshot, 1.0))

    for words in ("XML-RPC", "3 events were lost", "memory only", "has a mistake"):
        assert words in table
