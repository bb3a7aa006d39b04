"""A wall clock that is wrong and is set: no alert is lost or delayed."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest

from fpm_listener.delivery.database_files import FILE
from fpm_listener.delivery.database_schema import VERSION
from fpm_listener.delivery.queued_alert import to_json
from fpm_listener.incidents.alert import Reason
from fpm_listener.values import Instant
from tests.outbox_harness import CHAT, OPS, OutboxHarness, after_reboot, after_restart
from tests.samples import DOWN, EPOCH_S, NO, YES, at, ended, fires, resolves

if TYPE_CHECKING:
    from pathlib import Path

HOUR_S, DAY_S, YEAR_S = 3600.0, 86400.0, 365 * 86400.0
#: The clock of a machine without a battery, a quarter of an hour after its start.
IN_1970 = Instant(900.0, 900.0)
VERSION_1_FAILING = (
    '{"receiver": "ops", "started_at": 1795000000.0, "sequence": 1,'
    ' "told_at": 1795000000.0, "text": "status 500"}'
)
STEPS_S = [EPOCH_S, 10 * YEAR_S, DAY_S + 1, 0.0, -DAY_S, -10 * YEAR_S]


def set_clock(harness: OutboxHarness, by_s: float) -> None:
    harness.now = harness.now._replace(wall_s=harness.now.wall_s + by_s)


@pytest.mark.parametrize("step_s", STEPS_S)
@pytest.mark.parametrize("restart", [False, True])
def test_an_alert_is_not_dropped(tmp_path: Path, step_s: float, *, restart: bool) -> None:
    """Its age does not depend on the wall clock."""
    harness = OutboxHarness(tmp_path, now=at(1000.0))
    harness.enqueue(fires("a"))
    if restart:
        harness = after_restart(harness, clock_set_by_s=step_s)
    else:
        set_clock(harness, step_s)
    assert harness.answer(YES) == "a-1"
    assert harness.dropped() == {}


def test_an_alert_of_1970(tmp_path: Path) -> None:
    """It is sent after the clock was set: at once, after a restart, and after a reboot."""
    harness = OutboxHarness(tmp_path, now=IN_1970)
    harness.enqueue(fires("a"))
    harness = after_restart(harness, clock_set_by_s=EPOCH_S)
    harness.enqueue(fires("b"))
    harness.database.close()
    harness = after_reboot(harness)

    assert harness.ids() == ["a-1", "b-1"]
    assert harness.due_ids() == {"ops": "a-1"}


def test_an_alert_of_1970_after_a_reboot(tmp_path: Path) -> None:
    """Its age cannot be known, and counts as 0."""
    harness = OutboxHarness(tmp_path, now=IN_1970)
    harness.enqueue(fires("a"))
    harness.now = at(0.0)
    harness = after_reboot(harness)

    assert harness.outbox.list_alerts(harness.now)[0]["age_s"] == 0.0
    assert harness.answer(YES) == "a-1"


@pytest.mark.parametrize("step_s", STEPS_S)
def test_a_real_age_still_counts(tmp_path: Path, step_s: float) -> None:
    """An alert that is a day old is dropped, also if the clock was set since."""
    harness = OutboxHarness(tmp_path, now=at(1000.0))
    harness.enqueue(fires("a"))
    harness = after_restart(harness, clock_set_by_s=step_s, after_s=DAY_S + 1)

    assert harness.due_ids() == {}
    assert harness.dropped() == {"max_age": 1}


@pytest.mark.parametrize("step_s", STEPS_S)
@pytest.mark.parametrize("restart", [False, True])
def test_a_resolved_alert_is_sent(tmp_path: Path, step_s: float, *, restart: bool) -> None:
    """The queue remembers that the receiver got the firing alert."""
    harness = OutboxHarness(tmp_path, now=at(1000.0))
    harness.enqueue(fires("a"))
    harness.answer(YES)
    if restart:
        harness = after_restart(harness, clock_set_by_s=step_s)
    else:
        set_clock(harness, step_s)
    harness.enqueue(resolves("a"))

    assert harness.answer(YES) == "a-2"


@pytest.mark.parametrize("step_s", STEPS_S)
@pytest.mark.parametrize("restart", [False, True])
def test_repeats_keep_their_distance(tmp_path: Path, step_s: float, *, restart: bool) -> None:
    """No repeat is early, and none is skipped."""
    harness = OutboxHarness(tmp_path, now=at(1000.0))
    harness.enqueue(fires("a"))
    harness.answer(YES)
    if restart:
        harness = after_restart(harness, clock_set_by_s=step_s, after_s=HOUR_S)
    else:
        harness.wait(HOUR_S)
        set_clock(harness, step_s)
    harness.enqueue(fires("a", 2, reason=Reason.REPEAT))
    assert harness.due_ids() == {}
    harness.wait(3 * HOUR_S)
    harness.enqueue(fires("a", 3, reason=Reason.REPEAT))
    assert harness.answer(YES) == "a-3"


@pytest.mark.parametrize("step_s", STEPS_S)
def test_a_failing_receiver_is_repeated_in_time(tmp_path: Path, step_s: float) -> None:
    """The others get it again after repeat_interval, with its duration."""
    harness = OutboxHarness(tmp_path, OPS, CHAT, now=at(1000.0))
    harness.enqueue(fires("a"))
    for attempt in harness.outbox.start_attempts(harness.now):
        harness.record_result(ended(attempt, NO if attempt.queue == "ops" else YES))
    assert harness.answer_of("chat", YES).reason is Reason.FIRST
    harness.database.close()
    now = Instant(1000.0 + HOUR_S, EPOCH_S + 1000.0 + HOUR_S + step_s)
    harness = OutboxHarness(tmp_path, OPS, CHAT, now=now)
    assert harness.due_ids() == {}
    harness.wait(3 * HOUR_S)
    assert harness.answer_of("chat", YES).reason is Reason.REPEAT
    harness.outbox.test_delivered("ops", harness.now)
    resolved = harness.answer_of("chat", YES)
    assert resolved.annotations["summary"].endswith("after 4h")


@pytest.mark.parametrize("step_s", STEPS_S)
def test_a_receiver_that_is_down(tmp_path: Path, step_s: float) -> None:
    """It is retried after its delay, not after years."""
    harness = OutboxHarness(tmp_path, now=at(1000.0))
    harness.enqueue(fires("a"))
    harness.answer(DOWN)
    set_clock(harness, step_s)
    wake_s = harness.outbox.next_due_s(harness.now)
    assert wake_s is not None
    assert wake_s - harness.now.monotonic_s < HOUR_S


def test_a_database_of_version_1(tmp_path: Path) -> None:
    """The data of an earlier version is restored: alerts, notified incidents, ages."""
    connection = sqlite3.connect(tmp_path / FILE)
    connection.executescript(
        "CREATE TABLE outbox (id INTEGER PRIMARY KEY, receiver TEXT NOT NULL,"
        " enqueued_at REAL NOT NULL, alert TEXT NOT NULL);"
        "CREATE TABLE heard (receiver TEXT NOT NULL, incident TEXT NOT NULL,"
        " told_at REAL NOT NULL, PRIMARY KEY (receiver, incident));"
        "CREATE TABLE failing (receiver TEXT PRIMARY KEY NOT NULL, state TEXT NOT NULL);"
        "CREATE TABLE memory (name TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL);"
        "PRAGMA user_version=1;"
    )
    with connection:
        for number, (incident, age_s) in enumerate([("old", 2 * DAY_S), ("new", 60.0)], 1):
            values = (number, EPOCH_S - age_s, to_json(fires(incident)))
            connection.execute("INSERT INTO outbox VALUES (?, 'ops', ?, ?)", values)
        connection.execute("INSERT INTO heard VALUES ('ops', '\"notified\"', ?)", (EPOCH_S,))
        connection.execute(
            "INSERT INTO failing VALUES ('ops', ?)",
            (VERSION_1_FAILING,),
        )
    connection.close()
    harness = OutboxHarness(tmp_path)
    assert harness.database.persistent
    assert harness.outbox.views()[0].failing
    assert harness.answer(YES) == "new-1"
    assert harness.dropped() == {"max_age": 1}
    harness.enqueue(resolves("notified"))
    assert harness.ids() == ["notified-2"]
    harness.database.close()
    assert list(tmp_path.glob(f"{FILE}.*")) == []
    connection = sqlite3.connect(tmp_path / FILE)
    assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)
    connection.close()


@pytest.mark.parametrize("step_s", STEPS_S)
def test_what_the_engine_remembers_knows_its_clock(tmp_path: Path, step_s: float) -> None:
    """The engine is given by how much the clock was set since."""
    harness = OutboxHarness(tmp_path, now=at(0.0))
    harness.database.write(
        [harness.memory.put("process a:b", {"x": 1}, harness.now)], durable=False
    )
    harness = after_restart(harness, clock_set_by_s=step_s)
    value = harness.memory.values["process a:b"]

    assert (value["x"], value["clock_shift_s"]) == (1, pytest.approx(step_s))
