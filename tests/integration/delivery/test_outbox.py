"""Undelivered alerts survive the listener and keep their order; every loss is counted."""

import errno
import json
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpm_listener.delivery.database_files import FILE
from fpm_listener.delivery.database_schema import Statement
from fpm_listener.delivery.queued_alert import from_json, to_json
from fpm_listener.incidents.alert import Reason
from tests.outbox_harness import CHAT, OPS, OutboxHarness, after_reboot
from tests.samples import DOWN, LIMITS, NO, STEPS, YES, AlertHistory, at, ended, fires, resolves


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a state folder."""
    return tmp_path / "state"


@pytest.fixture
def harness(folder: Path) -> Iterator[OutboxHarness]:
    """Return an owner with one receiver."""
    one = OutboxHarness(folder)
    yield one
    one.database.close()


def messages(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    """Return what was logged at `level`."""
    return [record.getMessage() for record in caplog.records if record.levelno == level]


def test_an_alert_as_text() -> None:
    """An alert with any characters is the same after reading; the text is ASCII."""
    for alert in (
        fires(annotations={"evidence": "caf\udce9 ☃ 😀\n\x00"}),
        resolves(),
        fires(reason=Reason.TEST),
    ):
        assert to_json(alert).isascii()
        assert from_json(to_json(alert)) == alert


def test_every_receiver_has_its_own_queue(harness: OutboxHarness) -> None:
    """The result of one receiver does not affect another."""
    harness.outbox.reconfigure([OPS, CHAT], LIMITS)
    harness.enqueue(fires("a"))
    ops, chat = harness.outbox.start_attempts(harness.now)
    harness.record_result(ended(ops, YES))

    assert (harness.ids("ops"), harness.ids("chat")) == ([], ["a-1"])
    assert chat.alerts == ops.alerts
    harness.enqueue(fires("b"))
    assert harness.due_ids() == {"ops": "b-1"}


def test_undelivered_alerts_survive_the_listener(harness: OutboxHarness) -> None:
    """In order, under the same ids, and at once, after any delay."""
    harness.enqueue(fires("a"), fires("b"), resolves("a"))
    for _ in range(8):
        harness.answer(DOWN)
        harness.wait(400.0)
    second = after_reboot(harness)

    assert second.ids() == ["a-1", "b-1", "a-2"]
    assert second.alerts()[0] == fires("a")
    delivered = [second.answer(YES) for _ in range(3)]
    assert delivered == ["a-1", "b-1", "a-2"]
    third = after_reboot(second)
    assert third.ids() == []
    assert third.outbox.next_due_s(third.now) is None
    third.database.close()


def test_an_alert_in_flight_is_sent_again(harness: OutboxHarness) -> None:
    """The receiver may have it; it gets it again, under the same id."""
    harness.enqueue(fires("a"))
    first = harness.start_attempt()
    second = after_reboot(harness)
    attempt = second.start_attempt()

    assert first is not None
    assert attempt is not None
    assert attempt.alerts == first.alerts
    assert attempt.alerts[0].alert_id == "a-1"
    second.database.close()


def test_a_resolved_alert_after_a_restart(harness: OutboxHarness) -> None:
    """The queue remembers the firing alert until the resolved one is delivered."""
    harness.enqueue(fires("a"))
    harness.answer(YES)
    second = after_reboot(harness)
    second.enqueue(resolves("a"))
    assert second.answer(YES) == "a-2"
    third = after_reboot(second)
    third.enqueue(resolves("a", 3))

    assert third.ids() == []
    assert third.dropped() == {"not_notified": 1}
    third.database.close()


def test_an_alert_and_what_caused_it_are_one_commit(harness: OutboxHarness, folder: Path) -> None:
    """The engine's memory and the alert are on disk together, or neither is."""
    change = harness.memory.put("www:php-fpm", {"incident": 1})
    statements = [change, *harness.outbox.enqueue(fires("a"), harness.now)]
    bad = Statement("INSERT INTO memory VALUES (NULL, NULL)")
    with pytest.raises(sqlite3.IntegrityError):
        harness.database.write([*statements, bad], durable=True)
    assert rows(folder) == (0, 0)
    harness.database.write(statements, durable=True)

    assert rows(folder) == (1, 1)


def rows(folder: Path) -> tuple[int, int]:
    """Return how many rows another connection sees: alerts, values."""
    connection = sqlite3.connect(folder / FILE)
    try:
        (alerts,) = connection.execute("SELECT count(*) FROM outbox").fetchone()
        (values,) = connection.execute("SELECT count(*) FROM memory").fetchone()
    finally:
        connection.close()
    return alerts, values


CHILD = """
import sys, time
from pathlib import Path
from tests.outbox_harness import OutboxHarness
from tests.samples import YES, fires, resolves

harness = OutboxHarness(Path(sys.argv[1]))
harness.enqueue(fires("a"), fires("b"), resolves("a"))
harness.answer(YES)
harness.start_attempt()
print("committed", flush=True)
time.sleep(600)
"""


def test_kill_9_between_commit_and_delivery(folder: Path) -> None:
    """Every alert that was committed and not delivered is restored, under its old id."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path.cwd()), *sys.path])},
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "committed\n"
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.communicate(timeout=200)
    harness = OutboxHarness(folder)

    assert harness.ids() == ["b-1", "a-2"]
    assert [harness.answer(YES), harness.answer(YES)] == ["b-1", "a-2"]
    harness.database.close()


NO_DESCRIPTOR = """
import os, resource, sys
from pathlib import Path
import fpm_listener.daemon.daemon
from fpm_listener.incidents.effects import Notify
from fpm_listener.incidents.incident_facts import IncidentFacts
from fpm_listener.supervisor.process import ProcessName
from fpm_listener.vocabulary import Cause
from tests.outbox_harness import OutboxHarness
from tests.samples import fires

harness = OutboxHarness(Path(sys.argv[1]))
facts = IncidentFacts(name=ProcessName("php-fpm", "php-fpm"), cause=Cause.RESTART_LOOP)
free = os.dup(0)
os.close(free)
resource.setrlimit(resource.RLIMIT_NOFILE, (free, free))
harness.outbox.notify(Notify(fires("a"), facts), harness.now)
print(harness.ids())
"""


def test_the_first_alert_when_no_descriptor_is_left(folder: Path) -> None:
    """It is enqueued: its texts were loaded before."""
    done = subprocess.run(
        [sys.executable, "-c", NO_DESCRIPTOR, str(folder)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path.cwd()), *sys.path])},
        check=False,
        timeout=200,
    )

    assert (done.stdout, done.returncode) == ("['a-1']\n", 0), done.stderr


def test_time_goes_on_while_the_listener_is_down(harness: OutboxHarness) -> None:
    """An alert ages on the wall clock while there is no listener."""
    harness.enqueue(fires("a"))
    harness.wait(3600.0)
    harness.enqueue(fires("b"))
    second = after_reboot(harness, after_s=86400.0 - 1800.0)

    assert second.due_ids() == {"ops": "b-1"}
    assert second.dropped() == {"max_age": 1}
    second.database.close()


def test_a_wall_clock_that_was_set_back(harness: OutboxHarness) -> None:
    """Alerts from the future are young, and later ones are still sent after them."""
    harness.enqueue(fires("a", 1))
    second = after_reboot(harness, after_s=-30 * 86400.0)
    second.enqueue(fires("b"))

    assert second.ids() == ["a-1", "b-1"]
    assert second.due_ids() == {"ops": "a-1"}
    third = after_reboot(second)
    third.wait(86401.0)
    assert third.due_ids() == {}
    assert third.dropped() == {"max_age": 2}
    third.database.close()


def test_a_receiver_that_the_settings_do_not_name(
    harness: OutboxHarness,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It keeps its alerts over a restart; the next valid reload drops and counts them."""
    harness.outbox.reconfigure([OPS, CHAT], LIMITS)
    harness.enqueue(fires("a"), fires("b"))
    second = after_reboot(harness, OPS)
    assert "they are kept" in caplog.text
    assert second.due_ids().keys() == {"ops"}
    assert [view.name for view in second.outbox.views()] == ["ops"]
    third = after_reboot(second, OPS, CHAT)
    assert third.ids("chat") == ["a-1", "b-1"]
    caplog.clear()
    third.outbox.reconfigure([OPS], LIMITS)

    (message,) = messages(caplog, logging.WARNING)
    assert message.endswith("receiver=chat count=2")
    fourth = after_reboot(third, OPS, CHAT)
    assert fourth.ids("chat") == []
    assert fourth.ids("ops") == ["a-1", "b-1"]
    fourth.database.close()


def test_a_receiver_with_new_settings_is_retried_at_once(harness: OutboxHarness) -> None:
    """Neither the delay nor the result of the old sender counts."""
    harness.enqueue(fires("a"))
    harness.answer(DOWN)
    harness.wait(1.0)
    harness.start_attempt()
    harness.outbox.reconfigure([replace(OPS, timeout_s=1.0)], LIMITS)

    assert harness.due_ids() == {"ops": "a-1"}


def test_a_reload_that_changes_nothing_sends_nothing_twice(harness: OutboxHarness) -> None:
    """A receiver whose settings are the same keeps its attempt in flight and its delay."""
    harness.outbox.reconfigure([OPS, CHAT], LIMITS)
    harness.enqueue(fires("a"))
    ops, chat = harness.outbox.start_attempts(harness.now)
    harness.record_result(ended(chat, DOWN))
    harness.outbox.reconfigure([OPS, CHAT], LIMITS)

    assert harness.due_ids() == {}
    harness.record_result(ended(ops, YES))
    assert harness.ids("ops") == []
    assert harness.outbox.next_due_s(harness.now) == 1.0


def test_new_limits_apply_at_once(harness: OutboxHarness) -> None:
    """A lower maximum drops alerts."""
    harness.enqueue(fires("a"), fires("b"), fires("c"))
    harness.outbox.reconfigure([OPS], replace(LIMITS, max_alerts=1))

    assert harness.ids() == ["c-1"]
    second = after_reboot(harness)
    assert second.ids() == ["c-1"]
    second.database.close()


def test_a_result_of_a_removed_receiver(harness: OutboxHarness) -> None:
    """It is ignored."""
    harness.enqueue(fires("a"))
    attempt = harness.start_attempt()
    harness.outbox.reconfigure([CHAT], LIMITS)
    harness.record_result(ended(attempt, YES))

    assert harness.alerts() == []


def test_when_something_is_due(harness: OutboxHarness) -> None:
    """The main thread can sleep until then: no time, the delay, or without end."""
    assert harness.outbox.next_due_s(harness.now) is None
    harness.enqueue(fires("a"))
    assert harness.outbox.next_due_s(harness.now) == 0.0
    attempt = harness.start_attempt()
    assert harness.outbox.next_due_s(harness.now) is None
    harness.record_result(ended(attempt, DOWN))
    assert harness.outbox.next_due_s(harness.now) == 1.0


def test_each_change_is_logged_once(
    harness: OutboxHarness, caplog: pytest.LogCaptureFixture
) -> None:
    """The first failure and the recovery, each with the receiver's name; not each retry."""
    caplog.set_level(logging.INFO)
    harness.enqueue(fires("a"))
    for _ in range(5):
        harness.answer(DOWN)
        harness.wait(400.0)
    harness.answer(YES)

    assert messages(caplog, logging.WARNING) == [
        (
            "delivery failed and will be retried receiver=ops reason=refused"
            " detail='Connection refused' retry_in=1s"
        ),
    ]
    assert messages(caplog, logging.INFO) == ["delivery works again receiver=ops attempts=6"]


def test_a_rejection_is_logged(harness: OutboxHarness, caplog: pytest.LogCaptureFixture) -> None:
    """An alert is lost, so it is an error, with the response."""
    harness.enqueue(fires("a"))
    harness.answer(NO)

    assert messages(caplog, logging.ERROR) == [
        (
            "receiver rejected an alert; the alert is dropped receiver=ops reason=client_error"
            " detail='status 400' alert='a-1'"
        ),
        "alerts do not reach a receiver receiver=ops why='it rejects alerts (status 400)'",
    ]
    assert harness.dropped() == {"rejected": 1}


def test_drops_are_logged_once_until_the_next_delivery(
    folder: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Many alerts for a receiver that is down cause one line, not thousands."""
    harness = OutboxHarness(folder, limits=replace(LIMITS, max_alerts=2))
    harness.enqueue(*(fires(name) for name in "abcdef"))
    assert messages(caplog, logging.ERROR) == [
        (
            "alerts dropped before delivery; further drops are not logged until the next delivery"
            " receiver=ops reason=max_alerts count=1"
        ),
    ]
    harness.answer(YES)
    harness.enqueue(fires("g"), fires("h"))

    assert len(messages(caplog, logging.ERROR)) == 2
    assert harness.dropped() == {"max_alerts": 5}
    harness.database.close()


def test_a_row_that_cannot_be_read(
    harness: OutboxHarness, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged with its text, and the others are sent."""
    harness.enqueue(fires("a"))
    sql = "INSERT INTO outbox (id, receiver, enqueued_at, alert) VALUES (1, 'ops', 0, ?)"
    for text in ('{"incident_id": "x"}', "[]", "{", '{"labels": 7}'):
        harness.database.write([Statement(sql.replace("1", str(len(text))), (text,))], durable=True)
    second = after_reboot(harness)

    assert second.ids() == ["a-1"]
    assert len(messages(caplog, logging.ERROR)) == 4
    assert "incident_id" in caplog.text
    second.database.close()


def test_rows_with_invalid_values(harness: OutboxHarness) -> None:
    """They are skipped; all other rows are restored."""
    harness.enqueue(fires("a"))
    for sql in (
        "INSERT INTO heard (receiver, incident, told_at) VALUES ('ops', '\"x\"', 'yesterday')",
        "INSERT INTO heard (receiver, incident, told_at) VALUES ('ops', '[1', 1800000000)",
        "INSERT INTO outbox (id, receiver, enqueued_at, alert) VALUES (7, 'ops', 'x', '{}')",
        "INSERT INTO failing VALUES ('ops', '{\"receiver\": 1}')",
    ):
        assert harness.database.write([Statement(sql)], durable=True)
    second = after_reboot(harness)

    assert second.ids() == ["a-1"]
    assert not second.outbox.views()[0].failing
    second.database.close()


def test_delivery_without_a_disk(tmp_path: Path) -> None:
    """Alerts are sent from memory; undelivered ones are written when the disk works again."""
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    harness = OutboxHarness(in_the_way / "state")
    harness.database.write(harness.outbox.enqueue(fires("a"), harness.now), durable=True)
    harness.database.write(harness.outbox.enqueue(fires("b"), harness.now), durable=True)
    assert harness.answer(YES) == "a-1"
    in_the_way.unlink()
    harness.database.open(harness.now)
    assert harness.database.persistent
    second = after_reboot(harness)

    assert second.ids() == ["b-1"]
    second.enqueue(resolves("a"))
    assert second.ids() == ["b-1", "a-2"], "the notified incident is on disk too"
    second.database.close()


def test_a_disk_that_fails_for_a_while(harness: OutboxHarness) -> None:
    """Delivered alerts do not return with it; new alerts are written to it."""
    harness.enqueue(fires("a"), fires("b"))
    harness.database._lose(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert harness.answer(YES) == "a-1"
    assert not harness.database.write(harness.outbox.enqueue(fires("c"), harness.now), durable=True)
    harness.database.open(harness.now)
    assert harness.ids() == ["b-1", "c-1"]
    second = after_reboot(harness)

    assert second.ids() == ["b-1", "c-1"]
    second.database.close()


def test_what_an_earlier_listener_left_comes_first(harness: OutboxHarness) -> None:
    """A folder that can be had only later: its alerts are older than ours, and none is lost."""
    harness.enqueue(fires("old"), fires("both", 1))
    late = OutboxHarness(harness.folder, now=at(10.0))
    assert not late.database.persistent
    late.outbox.enqueue(fires("new"), late.now)
    harness.database.close()
    late.wait(30.0)
    late.database.open(late.now)

    assert late.ids() == ["old-1", "both-1", "new-1"]
    late = after_reboot(late)
    assert late.ids() == ["old-1", "both-1", "new-1"]
    late.database.close()


def test_no_url_and_no_secret_reaches_the_disk(folder: Path, tmp_path: Path) -> None:
    """Alerts are stored as themselves, not as requests."""
    token = tmp_path / "token"
    token.write_text("b3arer")
    harness = OutboxHarness(folder, replace(OPS, token_file=token, username=None))
    harness.enqueue(fires("a"), fires("b"))
    harness.answer(YES)

    for path in folder.iterdir():
        content = path.read_bytes()
        assert not [word for word in (b"s3cret", b"t0ken", b"b3arer") if word in content]
    harness.database.close()


def test_other_programs_read_pending_alerts(harness: OutboxHarness, folder: Path) -> None:
    """The table tells receiver, moment and alert in plain JSON."""
    harness.enqueue(fires("a"))
    connection = sqlite3.connect(folder / FILE)
    (row,) = connection.execute("SELECT receiver, enqueued_at, alert FROM outbox").fetchall()
    connection.close()

    assert row[:2] == ("ops", harness.now.wall_s)
    assert json.loads(row[2])["labels"]["alertname"] == "PhpFpmFailing"


@settings(max_examples=60, deadline=None)
@given(steps=STEPS, max_alerts=st.integers(1, 5))
def test_any_sequence_with_restarts_keeps_the_laws(
    steps: list[tuple[str, Any]],
    max_alerts: int,
) -> None:
    """Order within incidents, no resolution unheard, every loss counted: also over restarts."""
    with tempfile.TemporaryDirectory() as name:
        harness = OutboxHarness(
            Path(name), limits=replace(LIMITS, max_alerts=max_alerts, max_age_s=3600.0)
        )
        dropped = 0

        def current() -> OutboxHarness:
            return harness

        def restart() -> None:
            nonlocal harness, dropped
            dropped += sum(harness.dropped().values())
            harness = after_reboot(harness)

        history = AlertHistory(
            enqueue=lambda alert: current().enqueue(alert),
            start_attempt=lambda: current().start_attempt(),
            record_result=lambda result: current().record_result(result),
            wait=lambda seconds: current().wait(seconds),
            restart=restart,
        )
        try:
            for what, how in steps:
                getattr(history, what)(how)
            restart()
            history.waiting = None
            history.finish()
            assert harness.ids() == []
            history.check(dropped + sum(harness.dropped().values()))
        finally:
            harness.database.close()
