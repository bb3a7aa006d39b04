"""A wall clock that is wrong, and is set: no alert is lost, none is held back."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest

from fpm_listener.delivery.database_files import FILE
from fpm_listener.delivery.database_schema import VERSION
from fpm_listener.delivery.queued_alert import to_json
from fpm_listener.incidents.alert import Reason
from fpm_listener.values import Instant
from tests.owners import CHAT, OPS, Owner, again, restarted
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


def set_clock(owner: Owner, by_s: float) -> None:
    owner.now = owner.now._replace(wall_s=owner.now.wall_s + by_s)


@pytest.mark.parametrize("step_s", STEPS_S)
@pytest.mark.parametrize("restart", [False, True])
def test_an_alert_is_not_dropped(tmp_path: Path, step_s: float, *, restart: bool) -> None:
    """Its age is what has passed, whatever the clock shows."""
    owner = Owner(tmp_path, now=at(1000.0))
    owner.enqueue(fires("a"))
    if restart:
        owner = restarted(owner, clock_set_by_s=step_s)
    else:
        set_clock(owner, step_s)
    assert owner.answer(YES) == "a-1"
    assert owner.dropped() == {}


def test_an_alert_of_1970(tmp_path: Path) -> None:
    """It is sent after the clock was set: at once, after a restart, and after a reboot."""
    owner = Owner(tmp_path, now=IN_1970)
    owner.enqueue(fires("a"))
    owner = restarted(owner, clock_set_by_s=EPOCH_S)
    owner.enqueue(fires("b"))
    owner.database.close()
    owner = again(owner)

    assert owner.ids() == ["a-1", "b-1"]
    assert owner.due_ids() == {"ops": "a-1"}


def test_an_alert_of_1970_after_a_reboot(tmp_path: Path) -> None:
    """Its age cannot be known, and counts as 0."""
    owner = Owner(tmp_path, now=IN_1970)
    owner.enqueue(fires("a"))
    owner.now = at(0.0)
    owner = again(owner)

    assert owner.outbox.list_alerts(owner.now)[0]["age_s"] == 0.0
    assert owner.answer(YES) == "a-1"


@pytest.mark.parametrize("step_s", STEPS_S)
def test_a_real_age_still_counts(tmp_path: Path, step_s: float) -> None:
    """What is a day old is dropped, also where the clock was set meanwhile."""
    owner = Owner(tmp_path, now=at(1000.0))
    owner.enqueue(fires("a"))
    owner = restarted(owner, clock_set_by_s=step_s, after_s=DAY_S + 1)

    assert owner.due_ids() == {}
    assert owner.dropped() == {"max_age": 1}


@pytest.mark.parametrize("step_s", STEPS_S)
@pytest.mark.parametrize("restart", [False, True])
def test_a_resolution_is_sent(tmp_path: Path, step_s: float, *, restart: bool) -> None:
    """That a receiver knows of an incident is not forgotten."""
    owner = Owner(tmp_path, now=at(1000.0))
    owner.enqueue(fires("a"))
    owner.answer(YES)
    if restart:
        owner = restarted(owner, clock_set_by_s=step_s)
    else:
        set_clock(owner, step_s)
    owner.enqueue(resolves("a"))

    assert owner.answer(YES) == "a-2"


@pytest.mark.parametrize("step_s", STEPS_S)
@pytest.mark.parametrize("restart", [False, True])
def test_repeats_keep_their_distance(tmp_path: Path, step_s: float, *, restart: bool) -> None:
    """No repeat comes early, none is left out."""
    owner = Owner(tmp_path, now=at(1000.0))
    owner.enqueue(fires("a"))
    owner.answer(YES)
    if restart:
        owner = restarted(owner, clock_set_by_s=step_s, after_s=HOUR_S)
    else:
        owner.wait(HOUR_S)
        set_clock(owner, step_s)
    owner.enqueue(fires("a", 2, reason=Reason.REPEAT))
    assert owner.due_ids() == {}
    owner.wait(3 * HOUR_S)
    owner.enqueue(fires("a", 3, reason=Reason.REPEAT))
    assert owner.answer(YES) == "a-3"


@pytest.mark.parametrize("step_s", STEPS_S)
def test_a_failing_receiver_is_repeated_in_time(tmp_path: Path, step_s: float) -> None:
    """The others hear of it again after repeat_interval, and how long it has lasted."""
    owner = Owner(tmp_path, OPS, CHAT, now=at(1000.0))
    owner.enqueue(fires("a"))
    for attempt in owner.outbox.start_attempts(owner.now):
        owner.record_result(ended(attempt, NO if attempt.queue == "ops" else YES))
    assert owner.answer_of("chat", YES).reason is Reason.FIRST
    owner.database.close()
    now = Instant(1000.0 + HOUR_S, EPOCH_S + 1000.0 + HOUR_S + step_s)
    owner = Owner(tmp_path, OPS, CHAT, now=now)
    assert owner.due_ids() == {}
    owner.wait(3 * HOUR_S)
    assert owner.answer_of("chat", YES).reason is Reason.REPEAT
    owner.outbox.test_delivered("ops", owner.now)
    resolved = owner.answer_of("chat", YES)
    assert resolved.annotations["summary"].endswith("after 4h")


@pytest.mark.parametrize("step_s", STEPS_S)
def test_a_receiver_that_is_down(tmp_path: Path, step_s: float) -> None:
    """It is tried again after its delay, not after years."""
    owner = Owner(tmp_path, now=at(1000.0))
    owner.enqueue(fires("a"))
    owner.answer(DOWN)
    set_clock(owner, step_s)
    wake_s = owner.outbox.next_due_s(owner.now)
    assert wake_s is not None
    assert wake_s - owner.now.monotonic_s < HOUR_S


def test_a_database_of_version_1(tmp_path: Path) -> None:
    """What an earlier version left is taken over: alerts, incidents that were sent, ages."""
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
        connection.execute("INSERT INTO heard VALUES ('ops', '\"heard\"', ?)", (EPOCH_S,))
        connection.execute(
            "INSERT INTO failing VALUES ('ops', ?)",
            (VERSION_1_FAILING,),
        )
    connection.close()
    owner = Owner(tmp_path)
    assert owner.database.persistent
    assert owner.outbox.views()[0].failing
    assert owner.answer(YES) == "new-1"
    assert owner.dropped() == {"max_age": 1}
    owner.enqueue(resolves("heard"))
    assert owner.ids() == ["heard-2"]
    owner.database.close()
    assert list(tmp_path.glob(f"{FILE}.*")) == []
    connection = sqlite3.connect(tmp_path / FILE)
    assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)
    connection.close()


@pytest.mark.parametrize("step_s", STEPS_S)
def test_what_the_engine_remembers_knows_its_clock(tmp_path: Path, step_s: float) -> None:
    """The engine is given by how much the clock was set since."""
    owner = Owner(tmp_path, now=at(0.0))
    owner.database.write([owner.memory.put("process a:b", {"x": 1}, owner.now)], durable=False)
    owner = restarted(owner, clock_set_by_s=step_s)
    value = owner.memory.values["process a:b"]

    assert (value["x"], value["clock_shift_s"]) == (1, pytest.approx(step_s))
