"""Alerts about memory and busy workers have the size of the pools, also after php-fpm has ended."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from fpm_listener.host.oom_kills import OomKill
from fpm_listener.incidents import size_texts
from fpm_listener.incidents.effects import ExamineExit, ExitExamined
from fpm_listener.incidents.incident_facts import IncidentFacts
from fpm_listener.incidents.live_view import LiveView, WorkersView
from fpm_listener.incidents.pool_sizes import PoolSizes
from fpm_listener.incidents.post_mortem import PostMortem
from fpm_listener.incidents.size_en import SIZES
from fpm_listener.incidents.text_en import ENGLISH
from fpm_listener.incidents.text_zh import CHINESE
from fpm_listener.monitor.messages import PoolsSeen
from fpm_listener.phpfpm.pool_capacity import Capacity, PoolSize, Unknown
from fpm_listener.phpfpm.status_page import PoolView
from fpm_listener.supervisor.exit_log import ExitReason
from fpm_listener.vocabulary import Cause, Fault
from tests.unit.monitor.engine_scenario import EPOCH, FPM, Scenario

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm_listener.incidents.language import Language

KNOWN = Capacity(
    fits=14,
    where="cgroup /",
    workers=12,
    since_s=EPOCH,
    until_s=EPOCH + 50.0,
    busy_peak=11,
    busy_samples=5760,
    busy_since_s=EPOCH,
)
WWW = PoolView(pool="www", up=True, waiting=0, limit=100, max_children=50, capacity=KNOWN)
OOM = OomKill(kills=1, where="cgroup /", limit=128 << 20, peak=None)


def out_of_memory(scenario: Scenario) -> Mapping[str, str]:
    """Let the kernel kill the master, and return the first alert."""
    for at in (60, 63, 66):
        scenario.play(f"{at} crash", f"{at + 0.01} exits -9", f"{at + 1} starting")
        scenario.play(f"{at + 2} running")
    asked = [one for one in scenario.effects if isinstance(one, ExamineExit)][-1]
    scenario.give(68.1, ExitExamined(FPM, asked.exited_at_s, PostMortem(oom=OOM)))
    assert scenario.sent[-1].endswith("out_of_memory"), scenario.sent
    return scenario.alerts[-1].annotations


def started(*looks: tuple[PoolView, ...]) -> Scenario:
    """Return a php-fpm that runs; looks: at its pools."""
    scenario = Scenario(exits=True).play("0 starting", "1 running")
    for second, look in enumerate(looks, 50):
        scenario.give(float(second), PoolsSeen(FPM, look))
    return scenario


def test_memory_is_short_and_the_pools_are_gone() -> None:
    """The number is that of the last look; the remedy says what to set."""
    told = out_of_memory(started((WWW,), ()))
    assert "at most 14 workers fit into this container; 50 are configured" in told["description"]
    assert "(12 workers measured since " in told["description"]
    assert "; peak of the last 24 h: 11 busy workers (5760 samples since " in told["description"]
    assert told["remedy"].startswith("Set pm.max_children to at most 14 (pool www), ")


def test_new_settings_of_the_listener() -> None:
    """New samples begin; until then the old number counts."""
    told = out_of_memory(
        started((WWW,), (replace(WWW, capacity=Capacity(why=Unknown.UNMEASURED)),))
    )
    assert "at most 14 (pool www)" in told["remedy"]


@pytest.mark.parametrize(
    "later",
    [
        pytest.param(
            replace(WWW, capacity=Capacity(why=Unknown.NOT_FOLLOWED)), id="another php-fpm"
        ),
        pytest.param(
            replace(WWW, max_children=5, capacity=Capacity(why=Unknown.UNMEASURED)),
            id="another configuration",
        ),
    ],
)
def test_an_old_number_that_is_not_valid_any_more(later: PoolView) -> None:
    """Then it is unknown."""
    told = out_of_memory(started((WWW,), (later,)))
    assert told["remedy"].startswith("Lower pm.max_children or memory_limit")
    assert "14" not in told["description"]


def test_the_age_of_an_old_number() -> None:
    """A repeated alert says how old the last sample is."""
    scenario = started((WWW,))
    assert " ago" not in out_of_memory(scenario)["description"]
    scenario.play("71 crash", "72 fatal", "15000 tick")
    assert scenario.sent[-1].startswith("repeat: ")
    assert ", the last one 4h ago)" in scenario.alerts[-1].annotations["description"]


KILLED = ExitReason(signal=9)


@pytest.mark.parametrize(
    ("facts", "lacks_memory"),
    [
        ({"cause": Cause.OUT_OF_MEMORY}, True),
        ({"cause": Cause.OUT_OF_MEMORY, "fault": Fault.NO_SHARED_MEMORY}, False),
        ({"cause": Cause.CRASH_SIGNAL, "last_exit": KILLED}, True),
        ({"cause": Cause.CRASH_SIGNAL, "last_exit": ExitReason(signal=11)}, False),
        ({"cause": Cause.CONFIG_ERROR, "last_exit": KILLED}, False),
        ({"cause": Cause.WORKER_FAILURE, "live": LiveView(WorkersView(9, 9))}, True),
        ({"cause": Cause.WORKER_FAILURE, "live": LiveView(WorkersView(9, None, 1))}, False),
    ],
)
def test_causes_with_the_size_of_the_pools(facts: dict[str, Any], lacks_memory: bool) -> None:  # noqa: FBT001 - a parameter
    """SIGKILL is perhaps because of memory, unless that is ruled out."""
    known = IncidentFacts(name=FPM, **facts)
    assert known.lacks_memory is lacks_memory
    ruled_out = PostMortem(looked_for=(Cause.OUT_OF_MEMORY,))
    is_certain = known.cause is Cause.OUT_OF_MEMORY and lacks_memory
    assert replace(known, post_mortem=ruled_out).lacks_memory is is_certain


def test_clients_wait() -> None:
    """The remedy names the pool and the limit; the other pool is not described."""
    full = replace(WWW, waiting=90, capacity=KNOWN._replace(fits=80))
    scenario = started()
    for second in range(10, 60, 2):
        scenario.give(float(second), PoolsSeen(FPM, (replace(WWW, pool="api"), full)))
    told = scenario.alerts[-1].annotations
    assert told["cause"] == "saturated"
    assert told["remedy"].endswith("raise pm.max_children of pool www to at most 80")
    assert "at most 80 workers fit into this container; 50 are configured" in told["description"]
    assert "api" not in told["description"]


def sizes(*pools: tuple[int | None, int | None]) -> tuple[PoolSize, ...]:
    """Return pools; pools: how many workers fit, and pm.max_children."""
    return tuple(
        PoolSize("www", most, Capacity(fits, None if fits is not None else Unknown.FEW_WORKERS))
        for fits, most in pools
    )


@pytest.mark.parametrize("language", [ENGLISH, CHINESE], ids=["English", "Chinese"])
def test_no_remedy_has_more_workers_than_fit(language: Language) -> None:
    """With any numbers, pm.max_children never becomes larger than what fits."""
    for fits, most in itertools.product((None, 0, 1, 5, 80), (None, 1, 5, 50)):
        for text in (size_texts.grow, size_texts.lower):
            words = text(language.frames, sizes((fits, most)))
            numbers = {int(number) for number in re.findall(r"\d+", words)}
            assert numbers <= {fits, most}
            if fits is not None and most is not None and fits <= most:
                assert "to at most" not in words or text is size_texts.lower
            if fits is None:
                assert not numbers


@pytest.mark.parametrize(
    ("process_max", "other", "fits", "remedy"),
    [
        (0, 50, 80, "raise pm.max_children of pool www to at most 80"),
        (101, 50, 80, "raise pm.max_children of pool www to at most 80"),
        (
            100,
            50,
            80,
            (
                "raise pm.max_children of pool www to at most 80; raise process.max, which limits "
                "all pools together to 100 workers, to at most 160"
            ),
        ),
        (
            60,
            50,
            40,
            "raise process.max, which limits all pools together to 60 workers, to at most 80",
        ),
        (
            60,
            50,
            30,
            (
                "add memory before you raise process.max: it limits all pools together to 60 "
                "workers, and at most 60 fit"
            ),
        ),
        (
            60,
            None,
            None,
            "raise pm.max_children of pool www to at most 80",
        ),
        (
            50,
            None,
            None,
            (
                "find out how many workers fit into the memory before you raise pm.max_children: "
                "fpm-listener status; process.max limits all pools together to 50 workers"
            ),
        ),
    ],
)
def test_process_max(process_max: int, other: int | None, fits: int | None, remedy: str) -> None:
    """If it is the limit, a higher pm.max_children changes nothing."""
    size = KNOWN._replace(fits=80 if fits is None and process_max == 60 else fits)
    www = replace(WWW, process_max=process_max, capacity=size)
    known = PoolSizes()
    known.take((www, replace(www, pool="api", max_children=other)))

    assert size_texts.grow(ENGLISH.frames, known.of(("www",))) == remedy
    assert size_texts.grow(CHINESE.frames, known.of(("www",)))


def test_one_worker() -> None:
    """The words fit the number."""
    one = Capacity(fits=1, where="x", workers=1, busy_peak=1, busy_samples=1)
    fits, peak = size_texts.lines(SIZES, one, 1, lambda _: "X", 0.0)
    assert fits == "at most 1 worker fits into x; 1 is configured (1 worker measured since X)"
    assert peak == "peak of the last 24 h: 1 busy worker (1 sample since X)"
    more = one._replace(fits=11, workers=21, busy_peak=31, busy_samples=41)
    fits, peak = size_texts.lines(SIZES, more, 51, lambda _: "X", 0.0)
    assert fits == "at most 11 workers fit into x; 51 are configured (21 workers measured since X)"
    assert peak == "peak of the last 24 h: 31 busy workers (41 samples since X)"


def test_nothing_is_known() -> None:
    """Then nothing is said, and nothing is invented."""
    assert size_texts.described(SIZES, (), 0.0) == ""
    assert size_texts.described(SIZES, (PoolSize("www", None, Capacity()),), 0.0) == ""
