"""The status as words, as a table and as a page."""

from __future__ import annotations

import dataclasses

import pytest

from fpm_listener import status
from fpm_listener.core.exits import ExitReason
from fpm_listener.core.holders import Holder, HolderKind, HolderReport
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
                holder=HolderReport(
                    address="127.0.0.1:9000",
                    holders=(
                        Holder(kind=HolderKind.OTHER, pid=7, command="<i>nc</i>", user="bob"),
                    ),
                ),
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

    head, row = table.splitlines()[:2]
    assert row.split("  ")[0] == "php-fpm:php-fpm"
    assert "RUNNING  42   1m30s  7         7       killed by SIGKILL  bind_conflict" in row
    assert len(head) <= 120
    assert "  holder:   pid 7 (<i>nc</i>, user bob)" in table
    assert "CRITICAL: taken" in table
    assert "remedy:   do something" in table
    assert "receiver ops: 2 owed, 5 attempts, 4 failed, 0 dropped" in table
    assert "note:" not in table


def test_text_of_others_is_harmless() -> None:
    """Neither the terminal nor the page obeys what stands in a log."""
    document = status.to_json(SNAPSHOT, 1090.0)

    assert "\x1b" not in status.to_table(document)
    page = status.to_html(document)
    assert "<b>" not in page
    assert "<i>" not in page
    assert "holder: pid 7 (&lt;i&gt;nc&lt;/i&gt;, user bob)" in page


def test_what_is_wrong_with_the_listener_itself() -> None:
    """The status says what the listener cannot do."""
    snapshot = Snapshot(events_missed=3, outbox_persistent=False, config_reload_ok=False)
    table = status.to_table(status.to_json(snapshot, 1.0))

    for words in ("XML-RPC", "3 events were lost", "memory only", "has a mistake"):
        assert words in table


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0s"), (59.9, "59s"), (60, "1m0s"), (3725, "1h2m"), (86400 * 3 + 3600 * 4, "3d4h")],
)
def test_how_long_it_has_been_up(seconds: float, shown: str) -> None:
    """The time up is shown in its two largest units."""
    row = status.to_table(status.to_json(SNAPSHOT, 1000.0 + seconds)).splitlines()[1]

    assert row.split()[3] == shown


def test_a_wall_clock_that_is_set_back() -> None:
    """No time up is below 0."""
    document = status.to_json(SNAPSHOT, 1.0)

    assert document["programs"][0]["uptime_s"] == 0
    assert document["listener"]["uptime_s"] == 0


def test_a_process_that_is_down_is_not_up() -> None:
    """Only what runs, or starts, has a time up."""
    (view,) = SNAPSHOT.processes
    down = dataclasses.replace(view, state=State.FATAL)
    document = status.to_json(dataclasses.replace(SNAPSHOT, processes=(down,)), 1090.0)

    assert document["programs"][0]["uptime_s"] is None
