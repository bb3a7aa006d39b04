"""php-fpm's status page becomes numbers and states; silence becomes a cause after a while."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm_listener.monitor.known_programs import ProgramsKnown
from fpm_listener.monitor.messages import PoolsSeen
from fpm_listener.phpfpm.config import FpmSite
from fpm_listener.phpfpm.pool_life import Life
from fpm_listener.phpfpm.status_entries import split
from fpm_listener.phpfpm.status_page import PoolTarget, PoolView, parse
from fpm_listener.supervisor.process import Program
from tests.unit.monitor.engine_scenario import FPM, Scenario

#: What php-fpm 8.2 says, its list of processes shortened.
PAGE = {
    "pool": "www",
    "process manager": "static",
    "start time": 1795467600,
    "start since": 12,
    "accepted conn": 3,
    "listen queue": 0,
    "max listen queue": 1,
    "listen queue len": 511,
    "idle processes": 1,
    "active processes": 1,
    "total processes": 2,
    "max active processes": 2,
    "max children reached": 0,
    "slow requests": 4,
    "processes": [
        {"pid": 11, "state": "Running", "request uri": "/status?json&full&token=s3cret"},
        {"pid": 12, "state": "Idle", "request uri": "/"},
        {"pid": 13, "state": "Something new"},
    ],
}


def numbers_of(text: str) -> tuple[dict[str, float], dict[str, int]] | None:
    """Return the numbers and the states of a page."""
    return parse(split(text))


def test_a_page() -> None:
    """All numbers by the names of the exporters, and workers by what they do."""
    found = numbers_of(json.dumps(PAGE))

    assert found is not None
    numbers, states = found
    assert numbers == {
        "start_since": 12,
        "accepted_connections": 3,
        "listen_queue": 0,
        "max_listen_queue": 1,
        "listen_queue_length": 511,
        "idle_processes": 1,
        "active_processes": 1,
        "total_processes": 2,
        "max_active_processes": 2,
        "max_children_reached": 0,
        "slow_requests": 4,
    }
    assert (states["running"], states["idle"], sum(states.values())) == (1, 1, 2)
    assert "s3cret" not in repr(found)


def test_all_words_of_a_page() -> None:
    """Those of 8.4, and of versions before; 2^64 is the largest number that is taken."""
    words = {
        "Creating": "creating",
        "Idle": "idle",
        "Reading headers": "reading_headers",
        "Getting request informations": "getting_request_information",
        "Getting request information": "getting_request_information",
        "Running": "running",
        "Ending": "ending",
        "Finishing": "finishing",
    }
    for word, state in words.items():
        pool = {key: value for key, value in PAGE.items() if key != "processes"}
        page = {**pool, "memory peak": 1 << 64, "slow requests": (1 << 64) + 1}
        found = numbers_of(json.dumps({**page, "processes": [{"pid": 11, "state": word}]}))
        assert found is not None
        assert {name for name, count in found[1].items() if count} == {state}
        assert set(found[1]) == set(words.values())
        assert found[0]["memory_peak"] == float(1 << 64)
        assert "slow_requests" not in found[0]


def test_a_list_that_is_no_json() -> None:
    """Old versions do not escape URIs: the pool's own numbers are read all the same."""
    text = json.dumps(PAGE, separators=(",", ":")).replace("/status?json", 'a"b\x01\\x')
    found = numbers_of(text.replace(',"processes"', ', "processes"'))  # as php-fpm writes it

    assert found is not None
    assert found[0]["accepted_connections"] == 3
    assert found[1] == {}


@pytest.mark.parametrize(
    "value", [None, True, 1, 10**400, -1, 1.5, "Idle", [], {}, [[]], {"a": {}}]
)
@pytest.mark.parametrize("key", ["accepted conn", "idle processes", "processes", "state", "pool"])
def test_values_of_other_types(key: str, value: object) -> None:
    """Any process can answer on a pool's port: a value of another type is skipped."""
    processes: object = [{"pid": 11, "state": value}, value] if key == "state" else value
    page = {**PAGE, **({"processes": processes} if key == "state" else {key: value})}

    numbers, states = numbers_of(json.dumps(page)) or ({}, {})
    assert all(isinstance(number, float) for number in numbers.values())
    assert set(states.values()) <= {0, 1}


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "pong", '{"pool":"www"}', "{" * 100_000, '{"accepted conn":"x"', "null"],
)
def test_what_is_no_page(text: str) -> None:
    """It is none, and nothing raises."""
    assert numbers_of(text) is None


@given(st.text(max_size=300))
def test_any_text(text: str) -> None:
    """Nothing raises, whatever stands in a page."""
    numbers_of(text)
    numbers_of(json.dumps({**PAGE, "processes": [text]}))
    numbers_of(json.dumps({**PAGE, "idle processes": text}))


def pool(
    active: int, most: int | None, *, own: int = 1, total: int | None = None, queue: int = 0
) -> PoolView:
    idle = (active if total is None else total) - active
    numbers = {"active_processes": active, "idle_processes": idle, "listen_queue": queue}
    return PoolView(pool="www", up=True, numbers=numbers, max_children=most, own_requests=own)


@pytest.mark.parametrize(
    "view",
    [
        pytest.param(pool(1, 5), id="idle ondemand"),
        pytest.param(pool(1, 1), id="idle ondemand of one"),
        pytest.param(pool(2, 50), id="dynamic that starts more workers when it needs them"),
        pytest.param(pool(1, 5, total=5), id="idle static"),
        pytest.param(pool(1, 1, total=1), id="idle static of one"),
        pytest.param(pool(2, 2, total=2), id="one of two is busy, and the other one answers"),
        pytest.param(pool(3, 3, total=3), id="two of three are busy, and the third one answers"),
        pytest.param(pool(4, 5, total=5), id="static with one idle worker"),
        pytest.param(PoolView(pool="www", up=True, max_children=5), id="it answers only pings"),
        pytest.param(pool(0, 5, own=0), id="idle ondemand, status from pm.status_listen"),
        pytest.param(pool(7, None), id="pm.max_children is unknown"),
        pytest.param(pool(1, 5, total=5, queue=1), id="a request waits for a moment"),
    ],
)
def test_a_pool_that_is_not_saturated(view: PoolView) -> None:
    """Our own request fills no pool, and a pool may start workers up to pm.max_children."""
    assert not view.saturated


@pytest.mark.parametrize(
    "view",
    [
        pytest.param(pool(5, 5), id="ondemand"),
        pytest.param(pool(50, 50), id="dynamic"),
        pytest.param(pool(4, 4), id="static"),
        pytest.param(pool(2, 2, own=0), id="static of two, status from pm.status_listen"),
        pytest.param(pool(1, 1, own=0), id="static of one, status from pm.status_listen"),
        pytest.param(replace(pool(1, 5, queue=60), too_many_wait=True), id="many requests wait"),
    ],
)
def test_a_pool_that_is_saturated(view: PoolView) -> None:
    """All its workers are busy, except the one that answers us, or too many requests wait."""
    assert view.saturated


def test_busy_workers() -> None:
    """Our own request is not counted; a pool that only answers pings tells no number."""
    assert [pool(3, 5).busy, pool(3, 5, own=0).busy, pool(0, 5).busy] == [2, 3, 0]
    assert PoolView(pool="www", up=True).busy is None


def seen(
    scenario: Scenario,
    at_s: float,
    *,
    silent: bool,
    up: bool = True,
    life: Life = Life.STOPPED,
) -> None:
    view = PoolView(
        pool="www", up=up and not silent, silent=silent, detail="it does not answer", life=life
    )
    scenario.give(at_s, PoolsSeen(FPM, (view,)))


def running() -> Scenario:
    return Scenario().play("0 starting", "1 running")


def test_an_unresponsive_master() -> None:
    """It is told after three probes in a row over some time, as critical, and its end as well."""
    scenario = running()
    for at_s in (10, 25):
        seen(scenario, at_s, silent=True)
    assert scenario.sent == []
    seen(scenario, 55, silent=True)
    seen(scenario, 115, silent=True)

    assert scenario.sent == ["first: not_answering"]
    alert = scenario.alerts[0]
    assert alert.labels["severity"] == "critical"
    evidence = alert.annotations["evidence"]
    assert (
        "seen: pool www: it does not answer for 45 s; its processes are stopped (state T)"
        in evidence
    )
    assert "--ppid $(supervisorctl pid php-fpm)" in alert.annotations["remedy"]
    seen(scenario, 175, silent=False)
    scenario.play("290 tick")
    assert len(scenario.sent) == 1
    scenario.play("300 tick")
    assert scenario.sent[-1] == "resolved: not_answering"


TARGET = PoolTarget(pool="www", address="127.0.0.1:9000", status_path="/status")


@pytest.mark.parametrize(
    ("site", "sent"),
    [
        pytest.param(FpmSite(targets=(TARGET,)), ["first"], id="it is polled as before"),
        pytest.param(FpmSite(), ["first", "resolved"], id="no status page any more"),
        pytest.param(None, ["first", "resolved"], id="it is no php-fpm any more"),
    ],
)
def test_nobody_asks_any_more(site: FpmSite | None, sent: list[str]) -> None:
    """A silence ends then, since no answer could end it."""
    scenario = running()
    for at_s in (10, 25, 55):
        seen(scenario, at_s, silent=True)
    sites = {} if site is None else {FPM: site}
    scenario.give(60.0, ProgramsKnown(programs=(Program(name=FPM),), sites=sites))
    scenario.play("190 tick")

    assert scenario.sent == [f"{reason}: not_answering" for reason in sent]


@pytest.mark.parametrize(
    ("life", "told_at_s"),
    [(Life.STOPPED, 14), (Life.NO_WORKERS, 20), (Life.UNKNOWN, 310), (Life.ALIVE, 310)],
)
def test_who_may_be_busy_gets_more_time(life: Life, told_at_s: int) -> None:
    """A worker that is not stopped can serve a long request."""
    scenario = running()
    for at_s in range(10, told_at_s, 2):
        seen(scenario, at_s, silent=True, life=life)
    assert scenario.sent == []
    seen(scenario, told_at_s, silent=True, life=life)
    assert scenario.sent == ["first: not_answering"]


def test_a_pause_between_silences() -> None:
    """Who answers in between is busy, not dead."""
    scenario = running()
    for at_s in range(10, 600, 15):
        seen(scenario, at_s, silent=at_s % 45 != 10)

    assert scenario.sent == []


def test_probes_too_close_to_one_another() -> None:
    """A moment of silence is none."""
    scenario = running()
    for tenth in range(39):
        seen(scenario, 10 + tenth / 10, silent=True)

    assert scenario.sent == []


def test_who_refuses_is_not_silent() -> None:
    """A connection that is refused, or forbidden, says something of us, not of php-fpm."""
    scenario = running()
    for at_s in range(10, 600, 15):
        seen(scenario, at_s, silent=False, up=False)

    assert scenario.sent == []


def test_an_operators_stop_and_a_start_are_no_silence() -> None:
    """Held sockets take connections while php-fpm is away."""
    scenario = running()
    for at_s in (10, 25):
        seen(scenario, at_s, silent=True)
    scenario.play("30 stopping", "31 stopped")
    for at_s in (40, 55, 85):
        seen(scenario, at_s, silent=True)
    scenario.play("90 starting", "91 running")
    for at_s in (92, 107):
        seen(scenario, at_s, silent=True)

    assert scenario.sent == []


@pytest.mark.parametrize("late_s", [0.0, 40.0])
def test_the_evidence_is_of_this_run(late_s: float) -> None:
    """Earlier stops and failures do not explain why php-fpm does not answer now."""
    scenario = Scenario(exits=True).play("0 starting", "1 backoff", "1.1 exits 78", "2 starting")
    scenario.play("3 running", "200 stopping", "201 stopped", f"{201.1 + late_s} exits 0")
    scenario.play("242 starting", "243 running")
    for at_s in (250, 265, 900):
        seen(scenario, at_s, silent=True, life=Life.STOPPED)
    assert scenario.sent == ["first: not_answering"]
    evidence = scenario.alerts[0].annotations["evidence"]
    assert evidence.startswith("seen: pool www")
    assert "exit status" not in evidence
