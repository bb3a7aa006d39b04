"""The size of the outbox is limited; a clock that jumps, a file that is locked."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from fpm_listener.delivery.attempt import DropReason
from fpm_listener.delivery.database_files import FILE
from fpm_listener.settings.receiver_types import KINDS
from fpm_listener.settings.receivers import ReceiverSettings
from fpm_listener.values import Instant
from tests.outbox_harness import OPS, OutboxHarness, after_reboot
from tests.receiver_samples import firing_alert, many_alerts
from tests.samples import DOWN, LIMITS, YES, ended, fires, resolves

if TYPE_CHECKING:
    from pathlib import Path

COUNT = 20_000
AM = ReceiverSettings(name="am", kind="alertmanager", urls=("http://127.0.0.1:9/",))


def resident_mib() -> float:
    """Return the memory of this process."""
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - a file of the kernel's
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024 / 1024


@pytest.mark.parametrize("receiver", [OPS, AM])
def test_far_more_alerts_than_max_alerts(tmp_path: Path, receiver: ReceiverSettings) -> None:
    """Memory and file contain the thousand newest; the others are counted as dropped."""
    harness = OutboxHarness(tmp_path, receiver)
    sizes = []
    for begin in range(0, COUNT, 1000):
        statements = [
            statement
            for index in range(begin, begin + 1000)
            for statement in harness.outbox.enqueue(
                replace(firing_alert(), incident_id=f"i{index}"), harness.now
            )
        ]
        assert harness.database.write(statements, durable=False)
        sizes.append(resident_mib())
    folder = sum(path.stat().st_size for path in tmp_path.iterdir())

    (view,) = harness.outbox.views()
    assert view.pending == LIMITS.max_alerts
    assert view.dropped[DropReason.MAX_ALERTS.value] == COUNT - LIMITS.max_alerts
    assert max(sizes) - sizes[5] < 20
    assert folder < 20 * 1024 * 1024
    after = after_reboot(harness, receiver)
    assert after.outbox.views()[0].pending == LIMITS.max_alerts
    after.database.close()


@pytest.mark.parametrize("jump_s", [-86400.0 * 30, -3600.0, 3600.0, 86400.0 * 30])
def test_a_wall_clock_that_jumps(tmp_path: Path, jump_s: float) -> None:
    """Nothing is dropped, delayed, or sent twice, in either direction."""
    harness = OutboxHarness(tmp_path, OPS)
    harness.enqueue(fires("a"))
    assert harness.answer(DOWN) == "a-1"
    harness.now = Instant(harness.now.monotonic_s + 2.0, harness.now.wall_s + jump_s)
    harness.enqueue(fires("b"))

    delivered = [harness.answer(YES), harness.answer(YES)]
    harness.enqueue(resolves("a"), resolves("b"))
    delivered += [harness.answer(YES), harness.answer(YES)]
    assert sorted(delivered) == ["a-1", "a-2", "b-1", "b-2"]
    assert harness.start_attempt() is None
    assert harness.dropped() == {}
    harness.database.close()


def test_a_file_that_another_program_has_locked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Alerts stay in memory, one line is logged, and the file has all of them afterwards."""
    harness = OutboxHarness(tmp_path, OPS)
    other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for name in "ab":
        assert not harness.database.write(
            harness.outbox.enqueue(fires(name), harness.now), durable=True
        )
    assert harness.ids() == ["a-1", "b-1"]
    assert caplog.text.count("alerts are kept in memory only") == 1
    other.execute("ROLLBACK")
    other.close()
    harness.database.open(harness.now)

    assert harness.database.persistent
    after = after_reboot(harness, OPS)
    assert after.ids() == ["a-1", "b-1"]
    after.database.close()


@pytest.mark.parametrize("kind", ["wecom", "dingtalk"])
def test_a_storm_is_few_messages(tmp_path: Path, kind: str) -> None:
    """500 incidents in a minute: at most 18 messages, and every incident in one of them."""
    bot = ReceiverSettings(
        name="bot",
        kind=kind,
        url="http://127.0.0.1:9/",
        rates=KINDS[kind].rates,
    )
    harness = OutboxHarness(tmp_path, bot)
    named: list[str] = []
    messages = 0
    waiting = many_alerts(500)
    while waiting or harness.ids("bot"):
        if waiting:
            harness.enqueue(waiting.pop())
        for attempt in harness.outbox.start_attempts(harness.now):
            messages += 1
            named += [alert.incident_id for alert in attempt.alerts]
            harness.outbox.record_result(ended(attempt, YES), harness.now)
        harness.wait(60.0 / 500)
        assert messages <= 18

    assert sorted(named) == sorted(alert.incident_id for alert in many_alerts(500))
    harness.database.close()
