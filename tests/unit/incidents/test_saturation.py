"""When a queue of clients is a problem, and when it is none."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from fpm_listener.incidents.saturation import Saturation
from fpm_listener.monitor.messages import PoolsSeen
from fpm_listener.phpfpm.pool_life import Life
from fpm_listener.phpfpm.status_page import PoolView
from tests.unit.monitor.engine_scenario import FPM, Scenario

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT = 100


def look(waiting: int, limit: int = LIMIT) -> PoolView:
    return PoolView(pool="www", up=True, waiting=waiting, limit=limit, max_children=5)


def told_at_s(
    load: Callable[[float], float], *, limit: int = LIMIT, until_s: int = 400
) -> float | None:
    """Return when it is told, with looks as the poller makes them."""
    saturation, at_s = Saturation(), 0.0
    while at_s < until_s:
        waiting = min(limit, int(load(at_s)))
        saturation.take(at_s, [look(waiting, limit)])
        if saturation.line:
            return at_s
        at_s += 2.0 if waiting else 5.0
    return None


@pytest.mark.parametrize(
    ("load", "limit"),
    [
        pytest.param(lambda s: s / 60 * 100, 100, id="linear"),
        pytest.param(lambda s: s / 60 * 5, 5, id="a short queue"),
        pytest.param(lambda s: (s / 60) ** 3 * 511, 511, id="slow at first"),
        pytest.param(lambda s: (s / 60) ** 0.3 * 511, 511, id="fast at first"),
        pytest.param(lambda s: s / 300 * 4096, 4096, id="slow"),
        pytest.param(lambda s: 20 + max(0, s - 200) * 2.5, 100, id="fast after minutes"),
        pytest.param(lambda s: s / 80 * 100 - 10 * (s % 10 < 2), 100, id="with a few free places"),
        pytest.param(lambda s: 1 + max(0, s - 52) / 8 * 511, 511, id="a peak behind a full pool"),
    ],
)
def test_it_is_told_before_clients_are_refused(load: Callable[[float], float], limit: int) -> None:
    """The queue needs a minute or more from empty to full."""
    refused_at_s = next(s for s in range(1000) if load(s) >= limit)
    at_s = told_at_s(load, limit=limit)
    assert at_s is not None
    assert at_s < refused_at_s


def test_looks_that_were_late() -> None:
    """Many silent pools delay the looks at each one: one look proves nothing about 30 s."""
    saturation = Saturation()
    for at_s, waiting in ((0.0, 1), (40.0, 60), (42.0, 60), (58.0, 60)):
        saturation.take(at_s, [look(waiting)])
        assert not saturation.line
    saturation.take(60.0, [look(60)])
    assert saturation.line


@pytest.mark.parametrize(
    "load",
    [
        pytest.param(lambda _: 0, id="idle"),
        pytest.param(lambda _: 50, id="half full for minutes"),
        pytest.param(lambda s: min(45, s), id="it grows to less than half"),
        pytest.param(lambda s: 90 * (10 < s < 35), id="a peak of 25 s"),
        pytest.param(lambda s: max(0, 95 - abs(s - 30) * 5), id="a fast peak"),
        pytest.param(lambda s: 60 * (int(s) % 20 < 10), id="short peaks again and again"),
        pytest.param(lambda s: max(0, 99 - s * 2), id="it becomes shorter"),
        pytest.param(lambda s: 0.1 * s, id="a slow growth"),
        pytest.param(lambda s: max(0, min(s * 2.8, 70 - (s - 25) * 3.5)), id="a hill of 45 s"),
        pytest.param(lambda s: min(s * 4, 44) + 10 * (s % 4 < 2), id="about half full"),
        pytest.param(lambda s: 40 + 28 * (s % 60 < 12) * (s % 60) / 12, id="short growth"),
    ],
)
def test_peaks_and_short_queues_are_no_problem(load: Callable[[float], float]) -> None:
    """Nobody is refused, and nobody waits for long."""
    assert told_at_s(load) is None


def test_the_line_has_the_numbers() -> None:
    """Places used, the limit, for how long, and pm.max_children."""
    saturation = Saturation()
    for second in range(0, 31, 2):
        saturation.take(second, [look(61)])
    assert saturation.line == (
        "seen: pool www: 61 of 100 places in its queue are used, more than half for 30 s; "
        "pm.max_children is 5"
    )


def test_it_ends_when_the_queue_is_short_for_a_while() -> None:
    """A queue that is nearly full again and again is one problem."""
    saturation = Saturation()
    for second in range(0, 31, 2):
        saturation.take(second, [look(90)])
    for second in range(32, 181, 2):
        saturation.take(second, [look(0 if second % 20 else 80)])
        assert saturation.line
    for second in range(182, 212, 2):
        saturation.take(second, [look(10)])
    assert saturation.line
    saturation.take(212, [look(10)])
    assert not saturation.line
    assert saturation.ended_at_s == 212


@pytest.mark.parametrize(
    "unknown", [PoolView(pool="www", up=True), PoolView(pool="www", up=True, waiting=9, limit=0)]
)
def test_an_unknown_queue(unknown: PoolView) -> None:
    """Without numbers nothing is reported."""
    saturation = Saturation()
    for second in range(0, 300, 2):
        saturation.take(second, [unknown])
    assert not saturation.line


def saturated() -> Saturation:
    """Return a pool that is saturated since second 30."""
    saturation = Saturation()
    for second in range(0, 31, 2):
        saturation.take(second, [look(90)])
    assert saturation.line
    return saturation


@pytest.mark.parametrize(
    ("shown", "lasts_s"),
    [
        pytest.param({"own_requests": 1}, 30, id="a worker answers"),
        pytest.param({"numbers": {"idle_processes": 2.0}}, 30, id="a worker is free"),
        pytest.param({"numbers": {"idle_processes": 0.0}}, 300, id="no worker is free"),
        pytest.param({"numbers": {"idle_processes": 2.0}, "is_old": True}, 300, id="old numbers"),
        pytest.param({"up": None}, 300, id="nobody asks"),
        pytest.param({"own_requests": 1, "silent": True}, 300, id="no answer now"),
    ],
)
def test_a_queue_that_is_hidden_meanwhile(shown: dict[str, Any], lasts_s: int) -> None:
    """It ends with a proof that the queue is short, or when nothing shows it for minutes."""
    saturation, hidden = saturated(), PoolView(pool="www", up=True)
    for second in range(32, 32 + lasts_s, 2):
        saturation.take(second, [replace(hidden, **shown)])
        assert saturation.line
    saturation.take(32 + lasts_s, [replace(hidden, **shown)])
    assert not saturation.line


def test_a_queue_that_is_visible_again() -> None:
    """The time in which it was hidden does not count."""
    saturation, hidden = saturated(), PoolView(pool="www", up=None)
    for second in range(32, 1000, 2):
        saturation.take(second, [look(90) if second % 200 == 0 else hidden])
        assert saturation.line


def test_the_word_agrees_with_the_incident() -> None:
    """One client that waits is no problem, and a queue that is too long is one."""
    waits = replace(look(1), numbers={"active_processes": 1.0})
    fresh = Saturation()
    fresh.take(0.0, [waits])
    assert not any(pool.saturated for pool in fresh.marked([waits]))
    other = replace(waits, pool="api")
    assert [pool.saturated for pool in saturated().marked([waits, other])] == [True, False]


@pytest.mark.parametrize("later", [look(0), PoolView(pool="www", up=None)])
def test_the_word_ends_before_the_incident(later: PoolView) -> None:
    """The incident waits whether the queue stays short; the word is about the last look."""
    saturation = saturated()
    saturation.take(32.0, [later])
    assert saturation.line
    assert not any(pool.saturated for pool in saturation.marked([later]))


@pytest.mark.parametrize("life", [Life.UNKNOWN, Life.ALIVE])
def test_an_alert_and_its_end(life: Life) -> None:
    """It is a warning, also while no worker is free; it ends some time after the queue is short."""
    scenario = Scenario().play("0 starting", "1 running")
    for second in range(10, 60, 2):
        full = replace(look(90), silent=life is Life.ALIVE, life=life)
        scenario.give(float(second), PoolsSeen(FPM, (full,)))
    assert scenario.sent == ["first: saturated"]
    assert scenario.alerts[0].labels["severity"] == "warning"
    assert "90 of 100 places" in scenario.alerts[0].annotations["evidence"]
    for second in range(60, 100, 2):
        scenario.give(float(second), PoolsSeen(FPM, (look(0),)))
    scenario.play("400 tick")
    assert scenario.sent[-1] == "resolved: saturated"


def test_the_end_of_the_run_ends_it() -> None:
    """A restart closes the queue."""
    scenario = Scenario().play("0 starting", "1 running")
    for second in range(10, 60, 2):
        scenario.give(float(second), PoolsSeen(FPM, (look(90),)))
    scenario.play("60 stopping", "61 stopped", "62 starting", "63 running", "400 tick")
    assert scenario.sent[-1] == "resolved: saturated"


def test_a_php_fpm_that_has_not_started_is_not_saturated() -> None:
    """A guard waits with held sockets, and supervisord reports RUNNING. No worker is busy."""
    scenario = Scenario().play("0 starting", "1 running")
    for second in range(10, 100, 2):
        full = replace(look(90), silent=second > 10)
        scenario.give(float(second), PoolsSeen(FPM, (full,)))
    assert scenario.sent == []


def test_workers_that_are_not_visible() -> None:
    """In another pid namespace, an accepted connection proves that workers exist."""
    saturation = Saturation()
    for second in range(0, 41, 2):
        saturation.take(second, [replace(look(90), silent=second % 8 != 0)])
    assert saturation.line


def test_a_stopped_pool_is_not_saturated() -> None:
    """Its clients wait because nobody works: that is not_answering."""
    scenario = Scenario().play("0 starting", "1 running")
    dead = PoolView(
        pool="www", up=False, waiting=90, limit=100, silent=True, life=Life.STOPPED, detail="x"
    )
    for second in range(10, 100, 2):
        scenario.give(float(second), PoolsSeen(FPM, (dead,)))
    assert scenario.sent == ["first: not_answering"]
