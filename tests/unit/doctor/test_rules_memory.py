"""FPM057 with measured workers: they replace the estimate of 32 MiB."""

from __future__ import annotations

import pytest

from fpm_listener.doctor.rules import examine
from fpm_listener.doctor.running_facts import MeasuredWorkers, Running
from fpm_listener.host.memory_sizes import MemoryLimit, WorkerMemory
from tests.fakes import FakeHost
from tests.unit.doctor.checked_configs import FPM_CONF, TEXTS, checkup

MIB = 1 << 20
WWW, API = (FPM_CONF, "www"), (FPM_CONF, "api")
LIMIT = MemoryLimit("cgroup /app", 256 * MIB, 30 * MIB)
TWO_POOLS = (("[www]", "[api]\nlisten = 9001\npm.max_children = 4\n[www]"),)


def worker(peak: int) -> WorkerMemory:
    """Return an idle worker with a peak in MiB."""
    return WorkerMemory(MIB, peak * MIB)


def says(
    pools: dict[tuple[str, str], tuple[WorkerMemory, ...]],
    limit: MemoryLimit = LIMIT,
    memory: int = 64 * MIB,
    fpm: tuple[tuple[str, str], ...] = (),
) -> list[tuple[str, str, str, str]]:
    """Return what FPM057 finds. memory: of the machine, for the estimate."""
    config = checkup((), fpm, machine=FakeHost(memory=memory))
    running = Running(1, measured=MeasuredWorkers(limit, pools))
    found = examine(config._replace(running=running), TEXTS)
    return [(one.where, one.what, one.why, one.fix) for one in found if one.id == "FPM057"]


def test_too_many_workers() -> None:
    """The finding has the measurement, and a number that fits."""
    ((where, what, why, fix),) = says({WWW: (*(worker(0),) * 3, *(worker(40),) * 4)})

    assert where.endswith("[www]")
    assert what == (
        "8 workers need 323 MiB at their peak; 224 of 256 MiB are available (cgroup /app)"
    )
    assert "One worker of pool www has needed 40.3 MiB (p95 of 4 workers)" in why
    assert fix == "Set pm.max_children = 5 or less, all pools together"


def test_workers_that_fit() -> None:
    """The measurement counts, although the estimate says otherwise."""
    assert says({WWW: (worker(10),) * 4}) == []


@pytest.mark.parametrize(
    ("pools", "limit"),
    [
        ({}, LIMIT),
        ({WWW: (worker(40),) * 2}, LIMIT),
        ({WWW: (worker(0),) * 20}, LIMIT),
        ({("/other.conf", "www"): (worker(40),) * 4}, LIMIT),
        ({WWW: (worker(40),) * 4}, LIMIT._replace(used=None)),
    ],
)
def test_too_little_is_known(
    pools: dict[tuple[str, str], tuple[WorkerMemory, ...]], limit: MemoryLimit
) -> None:
    """Then the estimate counts: once, and only if it is too high for the machine."""
    ((_, what, _, _),) = says(pools, limit)

    assert what == "8 workers with 32 MiB each need 256 MiB; there are 64 MiB"
    assert says(pools, limit, memory=1 << 40) == []


def test_a_pool_without_measurements() -> None:
    """Its workers need memory too: the number is no recommendation, or nothing is known."""
    ((_, what, why, fix),) = says({WWW: (worker(40),) * 4}, fpm=TWO_POOLS)
    assert what.startswith("8 workers of pool www alone need 323 MiB")
    assert "The workers of pool api need memory too: how much is unknown" in why
    assert fix.startswith("Lower pm.max_children of pool www: more than 5 workers together never")
    assert "How many fit is unknown until pool api served requests" in fix

    ((_, what, _, _),) = says({WWW: (worker(10),) * 4}, fpm=TWO_POOLS)
    assert what.startswith("12 workers with 32 MiB each")


def test_process_max() -> None:
    """Not more workers can run; those of the larger pool count first."""
    pools = {WWW: (worker(20),) * 4, API: (worker(60),) * 3}
    limited = (*TWO_POOLS, ("[global]\n", "[global]\nprocess.max = 5\n"))
    ((_, what, _, _),) = says(pools, fpm=limited)
    assert what.startswith("5 workers need 262 MiB at their peak")

    assert says(pools, LIMIT._replace(limit=400 * MIB), fpm=limited) == []


def test_two_pools_together() -> None:
    """Their sum counts; the finding is at the one that needs most."""
    pools = {WWW: (worker(20),) * 4, API: (worker(60),) * 3}
    ((where, what, why, fix),) = says(pools, fpm=TWO_POOLS)

    assert where.endswith("[api]")
    assert what.startswith("12 workers need 404 MiB at their peak; 224 of 256 MiB")
    assert "pool api has needed 60.3 MiB (p95 of 3 workers)" in why
    assert fix.startswith("Set pm.max_children = 6 or less")
