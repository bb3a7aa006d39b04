"""Measures the workers of the pools every two minutes, and keeps the result for each pool.

Laws:
1. Only children of a master that runs below our supervisord count; a title alone proves nothing.
2. A sample costs little: it reads the memory of a few workers of each pool, the largest ones.
3. A pool that the listener does not follow makes all pools below the same limit unknown.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fpm_listener.host import memory_limits, procfs, worker_memory
from fpm_listener.host.memory_sizes import WorkerMemory
from fpm_listener.phpfpm import capacity, process_tree
from fpm_listener.phpfpm.capacity import PoolNeed
from fpm_listener.phpfpm.pool_capacity import Capacity, PoolSamples, divide

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fpm_listener.host.memory_sizes import MemoryLimit
    from fpm_listener.phpfpm.status_page import PoolTarget, PoolView

#: Seconds between two samples. One of 10 pools with 5 workers costs 30 ms of CPU time: 0.025 %.
EVERY_S = 120.0
#: The most workers of one pool that one sample reads.
MOST_WORKERS = 16


@dataclass
class _Group:
    """The pools below one limit."""

    limit: MemoryLimit | None
    targets: list[PoolTarget] = field(default_factory=list)
    running: list[WorkerMemory] = field(default_factory=list)
    has_other_pools: bool = False  #: pools that are not followed


class CapacitySampler:
    """Keeps what is known about the size of each pool. Used by the thread of the pools."""

    def __init__(self, supervisord: int | None = None, root: str = "/") -> None:
        """`supervisord`: its pid, None = our parent; `root`: the directory with /proc, /sys."""
        self._supervisord = supervisord
        self._root = root
        self._proc = f"{root.rstrip('/')}/proc"
        self._samples: dict[PoolTarget, PoolSamples] = {}
        self._found: dict[PoolTarget, Capacity] = {}
        self._due_s = 0.0

    def count(self, target: PoolTarget, view: PoolView) -> None:
        """Count the busy workers of a pool. While requests wait, the number can be old."""
        is_waiting = bool(view.queue)
        if is_waiting or (view.up and view.busy is not None):
            samples = self._samples.setdefault(target, PoolSamples())
            samples.take_busy(view.busy or 0, time.monotonic(), time.time(), waited=is_waiting)

    def of(self, target: PoolTarget) -> Capacity:
        """Return what is known about the size of a pool."""
        samples = self._samples.setdefault(target, PoolSamples())
        last = self._found.get(target, Capacity(why="it was not measured yet"))
        return samples.capacity(last.fits, last.why, last.where)

    def update(self, targets: Iterable[PoolTarget]) -> None:
        """Measure the workers, if it is time."""
        if time.monotonic() < self._due_s:
            return
        self._due_s = time.monotonic() + EVERY_S
        wanted = list(targets)
        self._samples = {one: self._samples.get(one) or PoolSamples() for one in wanted}
        self._found = {}
        parent = self._supervisord
        if parent is None:
            program = procfs.program()
            parent = program.ppid if program is not None else 0
        groups: dict[str, _Group] = {}
        for master, config in process_tree.masters(parent, self._proc):
            own = {one.pool: one for one in wanted if os.path.realpath(one.config) == config}
            limit = memory_limits.read(master, self._root)
            key = limit.where if limit else f"unknown {master}"
            group = groups.setdefault(key, _Group(limit))
            group.targets.extend(own.values())
            workers = process_tree.workers(master, self._proc)
            group.has_other_pools |= not own.keys() >= workers.keys()
            for pool in own.keys() & workers.keys():
                group.running.extend(self._measure(master, own[pool], workers[pool]))
        for group in groups.values():
            self._judge(group)

    def _judge(self, group: _Group) -> None:
        available = None if group.limit is None else capacity.available(group.limit, group.running)
        needs = [
            (one.pool, PoolNeed(one.max_children or 0, self._samples[one].peak))
            for one in group.targets
        ]
        if group.has_other_pools:
            shares, why = None, "the listener does not follow all pools that share the memory"
        else:
            shares, why = divide(needs, group.limit, available)
        where = group.limit.where if group.limit else ""
        for number, target in enumerate(group.targets):
            fits = shares[number] if shares is not None else None
            self._found[target] = Capacity(fits, why, where)

    def _measure(
        self, master: int, target: PoolTarget, workers: Iterable[int]
    ) -> Iterator[WorkerMemory]:
        """Return the memory of all workers; of those that were not read, the least it can be."""
        sizes = {pid: worker_memory.resident(pid, self._proc) for pid in workers}
        largest = sorted(sizes, key=lambda pid: -sizes[pid])
        shared = 0
        for pid in largest[:MOST_WORKERS]:
            memory = worker_memory.read(pid, master, self._proc)
            if memory is not None:
                shared = max(shared, sizes[pid] - memory.now)
                self._samples[target].take_worker(pid, memory, time.time())
                yield memory
        for pid in largest[MOST_WORKERS:]:
            least = max(0, sizes[pid] - shared)
            yield WorkerMemory(least, least)
