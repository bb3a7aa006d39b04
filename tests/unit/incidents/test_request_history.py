"""With `fpm_status = full`, alerts about a few causes show the longest requests before them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from fpm_listener.incidents.request_history import RequestHistory
from fpm_listener.monitor.messages import PoolsSeen, SaveState
from fpm_listener.phpfpm.pool_life import Life
from fpm_listener.phpfpm.status_page import PoolView
from fpm_listener.phpfpm.worker_requests import PoolRequests, WorkerRequest
from fpm_listener.vocabulary import Cause
from tests.unit.monitor.engine_scenario import FPM, Scenario


def request(script: str, duration_s: float = 12.3, memory: int | None = None) -> WorkerRequest:
    return WorkerRequest("GET", script, duration_s, 4, memory)


def seen(
    at_s: float, *requests: WorkerRequest, pool: str = "www", silent: bool = False
) -> PoolsSeen:
    view = PoolView(
        pool=pool, up=not silent, silent=silent, detail="it does not answer", life=Life.STOPPED
    )
    answers = () if silent else (PoolRequests(pool, at_s, requests),)
    return PoolsSeen(FPM, (view,), answers)


def lines_of(scenario: Scenario) -> list[str]:
    """Return the lines about requests in the last alert."""
    evidence = scenario.alerts[-1].annotations["evidence"]
    return [line for line in evidence.split("\n") if " before " in line]


def running() -> Scenario:
    return Scenario().play("0 starting", "1 running")


def test_a_pool_that_does_not_answer() -> None:
    """The age is that of the answer at the first request without an answer."""
    scenario = running()
    scenario.give(10, seen(10, request("/srv/a.php", memory=45 << 20), request("/srv/b.php", 1.0)))
    for at_s in (25, 40, 55):
        scenario.give(at_s, seen(at_s, silent=True))

    assert scenario.sent == ["first: not_answering"]
    event = "seen: 15s before the first status request without an answer: pool www: "
    assert lines_of(scenario) == [
        f"{event}GET /srv/a.php, running for 12.3 s, 45 MiB",
        f"{event}GET /srv/b.php, running for 1.0 s",
    ]


def test_a_crash() -> None:
    """An answer after the crash, or at the same time, is not shown as what was before it."""
    scenario = Scenario(exits=True).play("0 starting", "1 running")
    scenario.give(10, seen(10, request("/srv/old.php")))
    for at_s in (20, 30, 40):
        scenario.play(f"{at_s} crash", f"{at_s}.1 exits -11", f"{at_s}.2 starting")
        scenario.play(f"{at_s + 2} running")
        scenario.give(at_s + 3, seen(at_s + 3, request(f"/srv/after-{at_s}.php")))

    assert scenario.sent[0] == "first: crash_signal"
    first = scenario.alerts[0].annotations["evidence"]
    assert "seen: 7s before the crash: pool www: GET /srv/after-30.php" in first
    assert "after-40" not in first


@pytest.mark.parametrize("cause", list(Cause))
def test_causes_with_requests(cause: Cause) -> None:
    """Other causes do not show them: the requests have nothing to do with a bind conflict."""
    history = RequestHistory()
    history.take([PoolRequests("www", 1.0, (request("/srv/a.php"),))])
    shown = {"not_answering", "saturated", "out_of_memory", "crash_signal"}

    assert bool(history.lines(cause, 13.0)) is (cause.value in shown)


def test_limits() -> None:
    """Five requests of all pools, none older than an hour, and a bounded memory."""
    history = RequestHistory()
    for pool in range(2000):
        for at_s in range(20):
            answer = (request(f"/srv/{pool}.php", pool),)
            history.take([PoolRequests(f"p{pool}", float(at_s), answer)])
    assert len(history._answers) == 1000
    assert sum(map(len, history._answers.values())) == 8000

    found = history.lines(Cause.NOT_ANSWERING, 30.0)
    assert [line.partition("GET ")[2][:12] for line in found] == [
        f"/srv/{pool}.php" for pool in range(999, 994, -1)
    ]
    assert history.lines(Cause.NOT_ANSWERING, 4000.0) == ()


def test_untrusted_text() -> None:
    """It is escaped, masked and one line."""
    history = RequestHistory()
    script = "/srv/token=s3cret/\x1b[31mx\ny\u202e.php"
    history.take([PoolRequests("www", 1.0, (request(script),))])
    (line,) = history.lines(Cause.NOT_ANSWERING, 13.0)

    assert "s3cret" not in line
    assert line.isprintable()


def test_only_alerts_have_them() -> None:
    """Neither the page nor the saved state has them; the resolved alert has none."""
    scenario = running()
    scenario.give(10, seen(10, request("/srv/secret.php")))
    for at_s in (25, 40, 55):
        scenario.give(at_s, seen(at_s, silent=True))
    assert lines_of(scenario)
    assert "secret.php" not in repr(scenario.view())
    saved = [one.memory for one in scenario.effects if isinstance(one, SaveState)]
    assert saved
    assert "secret.php" not in json.dumps(saved)
    scenario.give(70, seen(70))
    scenario.play("200 tick")

    assert scenario.sent[-1] == "resolved: not_answering"
    assert lines_of(scenario) == []


def test_another_setting() -> None:
    """`on` instead of `full` forgets them at once."""
    scenario = running()
    scenario.give(10, seen(10, request("/srv/a.php")))
    settings = scenario.engine._shared.settings
    scenario.engine.reconfigure(replace(settings, keeps_requests=False))
    for at_s in (25, 40, 55):
        scenario.give(at_s, seen(at_s, silent=True))

    assert scenario.sent == ["first: not_answering"]
    assert lines_of(scenario) == []
