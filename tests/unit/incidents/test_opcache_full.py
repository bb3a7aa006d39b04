"""An OPcache that restarts again and again because it is full."""

from __future__ import annotations

from fpm_listener.incidents.opcache_full import CALM_S, WINDOW_S
from fpm_listener.monitor.known_programs import ProgramsKnown
from fpm_listener.monitor.opcache_seen import OpcacheSeen
from fpm_listener.phpfpm.config import FpmSite
from fpm_listener.phpfpm.opcache import OpcacheView
from fpm_listener.supervisor.process import Program
from tests.unit.monitor.engine_scenario import FPM, Scenario

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
    assert "opcache.memory_consumption" in alert.annotations["remedy"]
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
