"""An OPcache that is full: it restarts again and again, or stores no more scripts."""

from __future__ import annotations

import json

from fpm_listener.incidents.opcache_full import CALM_S, FULL_FOR_S, WINDOW_S
from fpm_listener.incidents.text_en import ENGLISH
from fpm_listener.monitor.known_programs import ProgramsKnown
from fpm_listener.monitor.messages import SaveState
from fpm_listener.monitor.opcache_seen import OpcacheSeen
from fpm_listener.phpfpm.config import FpmSite
from fpm_listener.phpfpm.opcache import OpcacheView
from fpm_listener.supervisor.process import Program
from tests.unit.monitor.engine_scenario import FPM, Scenario, moment

MIB = 1 << 20


def running() -> Scenario:
    """Return a scene with a php-fpm that has run since 1."""
    scenario = Scenario()
    site = FpmSite(config="/etc/php-fpm.conf")
    scenario.give(0.0, ProgramsKnown(programs=(Program(name=FPM),), sites={FPM: site}))
    return scenario.play("0 starting", "1 running")


def read(scenario: Scenario, at_s: float, oom: int, full: int = 0) -> None:
    """Give one reading with these restarts."""
    numbers = {"memory_used": 7 * MIB, "memory_free": 0.5 * MIB, "memory_wasted": 0.5 * MIB}
    numbers |= {"keys": 180, "max_keys": 223, "strings_used": MIB, "strings_free": MIB}
    numbers |= {"hits": 100, "misses": 90, "restarts_oom": oom, "restarts_hash": full}
    scenario.give(at_s, OpcacheSeen(FPM, OpcacheView(numbers=numbers)))


def test_three_restarts_in_an_hour() -> None:
    """One warning with the numbers; resolved after an hour without a restart."""
    scenario = running()
    for at_s, oom, full in ((60.0, 7, 0), (120.0, 8, 0), (600.0, 8, 1)):
        read(scenario, at_s, oom, full)
    assert scenario.sent == []

    read(scenario, 1200.0, 9, 1)
    assert scenario.sent == ["first: opcache_full"]
    alert = scenario.alerts[0]
    assert alert.labels["severity"] == "warning"
    assert alert.annotations["evidence"] == (
        "seen: OPcache restarted 3 times in 60 min; all restarts because of memory: 9, because of "
        "keys: 1; after the last restart: memory: 7.0 MiB used, 0.5 free, 0.5 wasted; "
        "keys: 180 of 223; interned strings: 1.0 of 2.0 MiB; hits: 100, misses: 90"
    )
    assert (
        "In php.ini, set opcache.memory_consumption = 16 and opcache.max_accelerated_files = 446. "
        in alert.annotations["remedy"]
    )
    assert "keeps failing" not in alert.annotations["summary"]

    read(scenario, 1200.0 + CALM_S - 10, 9, 1)
    assert len(scenario.sent) == 1
    read(scenario, 1200.0 + CALM_S + 10, 9, 1)
    assert scenario.sent[1:] == ["resolved: opcache_full"]


def test_rare_restarts() -> None:
    """Restarts in different hours, by hand, or before the first reading are no problem."""
    scenario = running()
    read(scenario, 60.0, 50)
    for hour in range(1, 6):
        read(scenario, hour * (WINDOW_S + 1), 50 + hour)
    scenario.give(30000.0, OpcacheSeen(FPM, OpcacheView(numbers={"restarts_manual": 99})))
    scenario.give(30060.0, OpcacheSeen(FPM, OpcacheView(problem="OPcache is disabled")))

    assert scenario.sent == []


def test_php_fpm_restarted_with_more_memory() -> None:
    """Another OPcache counts from 0: the warning is resolved without the wait of an hour."""
    scenario = running()
    read(scenario, 60.0, 0)
    read(scenario, 120.0, 3)
    assert scenario.sent == ["first: opcache_full"]

    read(scenario, 180.0, 0)
    read(scenario, 400.0, 0)
    assert scenario.sent[1:] == ["resolved: opcache_full"]


def test_another_opcache_restarts_too() -> None:
    """Restarts of the new OPcache count from its start."""
    scenario = running()
    read(scenario, 60.0, 9)
    read(scenario, 120.0, 3)

    assert scenario.sent == ["first: opcache_full"]


# -- full without restarts -------------------------------------------------------------------------

#: Readings of half an hour, one a minute.
TIMES = [60.0 * minute for minute in range(1, 31)]


def fill(scenario: Scenario, at_s: float, misses: float, **more: float) -> None:
    """Give one reading of an OPcache that is full, or not full with `full=0`."""
    numbers = {"memory_used": 7 * MIB, "memory_free": MIB, "memory_wasted": 0, "misses": misses}
    numbers |= {"restarts_oom": 0, "restarts_hash": 0, "keys": 180, "max_keys": 223, "hits": 5}
    is_full = bool(more.pop("full", 1))
    scenario.give(at_s, OpcacheSeen(FPM, OpcacheView(numbers=numbers | more, is_full=is_full)))


def test_scripts_that_do_not_fit() -> None:
    """A warning after some minutes of misses; resolved an hour after the last of them."""
    scenario = running()
    for at_s in TIMES:
        fill(scenario, at_s, at_s * 2)
        assert bool(scenario.sent) == (at_s >= 60.0 + FULL_FOR_S)
    assert scenario.sent == ["first: opcache_full"]
    annotations = scenario.alerts[0].annotations
    assert annotations["evidence"] == (
        "seen: OPcache is full and stores no more scripts; misses: 600 in 5 min; memory: 7.0 MiB "
        "used, 1.0 free, 0.0 wasted; keys: 180 of 223; hits: 5, misses: 720"
    )
    assert "In php.ini, set opcache.memory_consumption = 16. Files" in annotations["remedy"]

    for at_s in range(1860, int(TIMES[-1] + CALM_S + 60), 60):
        fill(scenario, at_s, 3600)
        assert (len(scenario.sent) == 2) == (at_s >= TIMES[-1] + CALM_S)
    assert scenario.sent[1:] == ["resolved: opcache_full"]


def test_keys_are_full() -> None:
    """The remedy names the other directive."""
    scenario = running()
    for at_s in TIMES:
        fill(scenario, at_s, at_s, keys=223)

    assert (
        "set opcache.max_accelerated_files = 446. Files" in scenario.alerts[0].annotations["remedy"]
    )


def test_no_problem_of_a_full_opcache() -> None:
    """No warning: full and static, few misses, one minute of many, restarts, or not full."""
    for number, misses in enumerate(
        (
            [100.0] * 30,
            [float(minute) for minute in range(30)],  # our own script
            [0.0] * 10 + [5000.0] * 20,
            [minute * 50.0 % 170 for minute in range(30)],  # it restarts
        )
    ):
        scenario = running()
        for at_s, count in zip(TIMES, misses, strict=True):
            fill(scenario, at_s, count)
        assert scenario.sent == [], number
    scenario = running()
    for at_s in TIMES:
        fill(scenario, at_s, at_s * 50, full=0)
    assert scenario.sent == []


def test_more_memory_solves_it() -> None:
    """A php-fpm that is started again has another OPcache: resolved without the wait of an hour."""
    scenario = running()
    for at_s in TIMES:
        fill(scenario, at_s, at_s * 2)
    scenario.play("1801 stopping", "1802 stopped", "1803 starting", "1804 running")
    fill(scenario, 1860.0, 100, full=0)
    fill(scenario, 2200.0, 900, full=0)

    assert scenario.sent == ["first: opcache_full", "resolved: opcache_full"]


def test_numbers_of_the_last_run() -> None:
    """They are forgotten with the run, also those that come late."""
    scenario = running()
    fill(scenario, 60.0, 5)
    assert scenario.view().opcache
    scenario.play("61 stopping", "62 stopped")
    assert scenario.view().opcache is None
    fill(scenario, 63.0, 5)
    assert scenario.view().opcache is None


def restored() -> Scenario:
    """Return a scene in which the listener starts again, with the incident of the last one."""
    before = running()
    for at_s in TIMES:
        fill(before, at_s, at_s * 2)
    memory = [effect.memory for effect in before.effects if isinstance(effect, SaveState)][-1]
    after = Scenario()
    after.engine.restore(moment(0.0), {FPM: json.loads(json.dumps(memory))})
    return after.play("1 running")


def test_the_listener_starts_again() -> None:
    """The incident stays open: a new listener has seen no hour without the problem."""
    scenario = restored()
    incident = scenario.view().incident
    assert incident
    assert "opcache.memory_consumption = 16." in ENGLISH.remedy(incident.facts)
    for at_s in range(60, int(CALM_S), 60):
        fill(scenario, at_s, 3600)
    assert scenario.sent == []
    assert scenario.view().incident
    for at_s in range(int(CALM_S), int(CALM_S) + 300, 60):
        fill(scenario, at_s, 3600)
    assert scenario.sent == ["resolved: opcache_full"]


def test_the_listener_starts_again_with_another_opcache() -> None:
    """An OPcache that is not full, and that was never restarted, has no problem."""
    scenario = restored()
    for at_s in range(60, 360, 60):
        fill(scenario, at_s, 10, full=0)
    assert scenario.sent == ["resolved: opcache_full"]
