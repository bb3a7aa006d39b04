"""How many workers fit, from their measured memory."""

from __future__ import annotations

import pytest

from fpm_listener.host.memory_sizes import MemoryLimit, WorkerMemory
from fpm_listener.host.worker_memory import of_texts
from fpm_listener.phpfpm import capacity
from fpm_listener.phpfpm.capacity import KERNEL, Fit, PoolNeed

MIB = 1 << 20
#: A worker of php-fpm 8.2 after a request of 20 MiB, and its master.
STATUS = (
    "Name:\tphp-fpm8.2\nVmHWM:\t   31904 kB\nVmRSS:\t   11612 kB\n"
    "RssAnon:\t    4304 kB\nRssFile:\t    6904 kB\nRssShmem:\t     404 kB\n"
)
ROLLUP = (
    "55d0-7ffe ---p 0 00:00 0 [rollup]\n"
    "Pss:  2488 kB\nPrivate_Dirty:   448 kB\nAnonymous:   4304 kB\n"
)
MASTER = "RssAnon:\t    4144 kB\n"


def worker(now: int, peak: int) -> WorkerMemory:
    """Return a worker with sizes in MiB."""
    return WorkerMemory(now * MIB, peak * MIB)


def test_memory_of_a_worker() -> None:
    """What it shares with its master is not counted, and the peak is that of the request."""
    assert of_texts(STATUS, ROLLUP, "") == WorkerMemory(448 << 10, 20740 << 10, 2488 << 10)


def test_memory_that_is_freed_between_two_reads() -> None:
    """What the worker has freed since does not count as shared."""
    before = STATUS.replace("RssAnon:\t    4304 kB", "RssAnon:\t   24304 kB")
    found = of_texts(before, ROLLUP, "")

    assert found is not None
    assert found.peak == 20740 << 10


def test_memory_without_the_right_to_read_it() -> None:
    """The estimate is a little larger, and never smaller."""
    found = of_texts(STATUS, "", MASTER)

    assert found == WorkerMemory(1196 << 10, 21488 << 10, None)


@pytest.mark.parametrize("status", ["", "VmHWM: many kB\n", "\0\xff", "RssAnon:\t5 kB\n"])
def test_memory_of_nothing(status: str) -> None:
    """A process that is gone, or is a zombie, has none."""
    assert of_texts(status, ROLLUP, MASTER) is None


def test_peaks() -> None:
    """A worker without a request says nothing; three others are enough."""
    fresh = [WorkerMemory(450 << 10, 500 << 10)] * 50

    assert capacity.peak_of([*fresh, worker(1, 20), worker(1, 20)]) is None
    assert capacity.peak_of([*fresh, *[worker(1, 20)] * 3]) == 20 * MIB + KERNEL
    assert capacity.peak_of([*[worker(1, 20)] * 39, worker(1, 500)]) == 20 * MIB + KERNEL
    assert capacity.peak_of([*[worker(1, 20)] * 9, worker(1, 500)]) == 500 * MIB + KERNEL


def test_what_others_use() -> None:
    """The workers themselves do not count, and 4 % stay free."""
    limit = MemoryLimit("cgroup /x", 1000 * MIB, 300 * MIB)
    workers = [WorkerMemory(50 * MIB - KERNEL, 60 * MIB)] * 4

    assert capacity.available(limit, workers) == (1000 - 100 - 40) * MIB
    assert capacity.available(limit._replace(used=None), workers) is None
    assert capacity.available(MemoryLimit("x", 10 * MIB, 2 * MIB), []) == 4 * MIB
    assert capacity.available(MemoryLimit("x", 10 * MIB, 12 * MIB), []) == 0


def test_how_many_fit() -> None:
    """The number is rounded down, and pools share as configured."""
    assert capacity.fit([PoolNeed(50, 10 * MIB)], 99 * MIB) == Fit(9, 500 * MIB, 99 * MIB)
    pools = [PoolNeed(10, 10 * MIB), PoolNeed(10, 30 * MIB), PoolNeed(5, None)]
    assert capacity.fit(pools, 200 * MIB) == Fit(10, 400 * MIB, 200 * MIB)
    assert capacity.fit([PoolNeed(5, None)], MIB) is None
    assert capacity.fit([], MIB) is None
    found = capacity.fit([PoolNeed(5, MIB)], 0)
    assert found == Fit(1, 5 * MIB, 0)
    assert not found.is_enough
