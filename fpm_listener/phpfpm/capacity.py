"""Computes how many workers of php-fpm fit into the memory, from what the workers have needed.

Laws:
1. The result is never above what survives: all workers at their peak at the same time, and a
   reserve.
2. Without enough measurements the result is unknown (None).

Measured with php-fpm 8.2, Linux 6.18 and a real limit (`make bench-capacity`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fpm_listener.host.memory_sizes import MemoryLimit, WorkerMemory

#: So many workers must have served requests, before the peak of a pool is known.
ENOUGH = 3
#: A worker that has served no request yet needs less than this alone: 0.44 MiB in php-fpm 8.2.
FRESH = 1 << 20
#: Memory of the kernel for one worker: page tables, stacks, sockets. Measured: 0.25 MiB.
KERNEL = 320 << 10
#: The part of the limit that stays free, and its lowest value: for files that must be in memory.
_RESERVE, _LEAST_RESERVE = 25, 4 << 20


class PoolNeed(NamedTuple):
    """What a pool needs at its peak."""

    max_children: int
    peak: int | None  #: bytes of one worker, with the kernel's; None = unknown


class Fit(NamedTuple):
    """How many workers fit."""

    workers: int  #: of all pools together, at least 1
    needed: int  #: bytes that all configured workers need; pools with an unknown peak need 0
    available: int  #: bytes for workers

    @property
    def is_enough(self) -> bool:
        """Return whether all configured workers fit."""
        return self.needed <= self.available


def peak_of(workers: Iterable[WorkerMemory], enough: int = ENOUGH) -> int | None:
    """Return what one worker of a pool needs at most (p95).

    None: fewer than `enough` have served requests.
    """
    peaks = sorted(worker.peak for worker in workers if worker.peak >= FRESH)
    return quantile(peaks, 0.95) + KERNEL if len(peaks) >= enough else None


def quantile(values: Sequence[int], part: float) -> int:
    """Return the lowest value that is not below this part of the sorted values; not for none."""
    return values[max(0, -int(-part * len(values) // 1) - 1)]


def available(limit: MemoryLimit, workers: Iterable[WorkerMemory]) -> int | None:
    """Return the bytes that workers may use together. None: unknown.

    workers: all that run now and share the limit. What others use now is not available: the master,
    OPcache, other programs.
    """
    if limit.used is None:
        return None
    own = sum(worker.now + KERNEL for worker in workers)
    reserve = max(_LEAST_RESERVE, limit.limit // _RESERVE)
    return max(0, limit.limit - max(0, limit.used - own) - reserve)


def fit(pools: Sequence[PoolNeed], available_bytes: int) -> Fit | None:
    """Return how many workers fit, divided among the pools as now. None: no peak is known."""
    known = [pool for pool in pools if pool.peak is not None and pool.max_children > 0]
    needed = sum(pool.max_children * (pool.peak or 0) for pool in known)
    if not needed:
        return None
    count = sum(pool.max_children for pool in known)
    return Fit(max(1, available_bytes * count // needed), needed, available_bytes)
