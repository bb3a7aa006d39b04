"""What a pool's samples say about its size."""

from __future__ import annotations

import pytest

from fpm_listener.host.memory_sizes import MemoryLimit, WorkerMemory
from fpm_listener.phpfpm.capacity import KERNEL, PoolNeed
from fpm_listener.phpfpm.pool_capacity import Capacity, PoolSamples, Unknown, divide
from fpm_listener.status.text import pool_capacity

MIB = 1 << 20
LIMIT = MemoryLimit("cgroup /", 512 * MIB, 100 * MIB)


def test_pools_share_a_limit_as_configured() -> None:
    """All shares together fit into the memory."""
    needs = (("a", PoolNeed(30, 10 * MIB)), ("b", PoolNeed(10, 20 * MIB)))

    assert divide(needs, LIMIT, 100 * MIB) == ((6, 2), None, "")


def test_a_small_pool_beside_a_large_one() -> None:
    """It gets its worker, and the large pool gets the rest."""
    needs = (("www", PoolNeed(50, 10 * MIB)), ("admin", PoolNeed(1, 20 * MIB)))
    shares = divide(needs, LIMIT, 100 * MIB).fits

    assert shares == (8, 1)
    assert divide(needs, LIMIT, 29 * MIB).fits == (2, 0)  # not one of each


def test_an_unknown_pool_makes_all_unknown() -> None:
    """Its part of the memory would be a guess."""
    needs = (("a", PoolNeed(30, 10 * MIB)), ("b", PoolNeed(10, None)))
    assert divide(needs, LIMIT, 100 * MIB) == (None, Unknown.FEW_WORKERS, "b")
    assert divide(needs, None, None) == (None, Unknown.NO_LIMIT, "")
    assert divide(needs, LIMIT, None) == (None, Unknown.NO_USAGE, "cgroup /")
    assert divide([], LIMIT, MIB).why is Unknown.UNMEASURED


def test_the_peak_of_24_hours() -> None:
    """An older peak is forgotten, and the basis begins later."""
    samples = PoolSamples()
    samples.take_busy(11, 0.0, 1000.0, waited=False)
    samples.take_busy(4, 7200.0, 8200.0, waited=False)
    first = samples.capacity(7200.0)
    assert (first.busy_peak, first.busy_samples, first.busy_since_s) == (11, 2, 1000.0)

    samples.take_busy(3, 90000.0, 91000.0, waited=False)
    later = samples.capacity(90000.0)
    assert (later.busy_peak, later.busy_since_s) == (4, 8200.0)

    much_later = samples.capacity(200000.0)  # php-fpm was stopped meanwhile
    assert (much_later.busy_peak, much_later.busy_samples) == (None, 0)


def test_a_worker_counts_once() -> None:
    """Without enough workers there is no number."""
    samples = PoolSamples()
    for _ in range(5):
        samples.take_worker(7, WorkerMemory(MIB, 20 * MIB), 0.0, 50.0)
    found = samples.capacity(0.0)
    assert (found.workers, found.memory, samples.peak) == (1, None, None)


@pytest.mark.parametrize("enough", [1, 2, 3])
def test_workers_that_need_more_since_a_deployment(enough: int) -> None:
    """So many as make a pool known raise its peak, however many smaller ones were before."""
    samples = PoolSamples()
    samples.enough = enough
    for pid in range(500):
        samples.take_worker(pid, WorkerMemory(MIB, 20 * MIB), 0.0, 50.0)
    for pid in range(500, 500 + enough):
        samples.take_worker(pid, WorkerMemory(MIB, 90 * MIB), 60.0, 110.0)
    assert samples.peak == 90 * MIB + KERNEL


def test_workers_of_yesterday_are_forgotten() -> None:
    """An earlier version of the application may have needed more."""
    samples = PoolSamples()
    for pid in range(3):
        samples.take_worker(pid, WorkerMemory(MIB, 90 * MIB), 0.0, 50.0)
    for pid in range(3, 6):
        samples.take_worker(pid, WorkerMemory(MIB, 20 * MIB), 90000.0, 90050.0)
    found = samples.capacity(90000.0)
    assert (samples.peak, found.workers, found.since_s) == (20 * MIB + KERNEL, 3, 90050.0)


def test_not_even_one_worker_fits() -> None:
    """0 is no valid pm.max_children: the text says it in words."""
    found = Capacity(fits=0, where="cgroup /", workers=3, since_s=50.0)
    text = pool_capacity({"capacity": found._asdict(), "max_children": 50}, 60.0)[0]
    assert text.startswith("not even one worker fits into this container; 50 are configured (3 ")
