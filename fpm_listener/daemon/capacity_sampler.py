"""Measures the workers of the pools, and keeps the result for each pool.

Laws:
1. Only children of a master that runs below our supervisord count; a title alone proves nothing.
2. A sample costs little: it reads the memory of a few workers of each pool, the largest ones.
3. A php-fpm or a pool that the listener does not follow makes all pools below the same limit
   unknown, also while it has no workers.
4. A php-fpm that does not run now keeps its part of the memory: it will start again.
5. Samples follow each other fast until all pools are measured, and then every two minutes.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from fpm_listener.host import memory_limits, procfs, worker_memory
from fpm_listener.host.memory_sizes import WorkerMemory
from fpm_listener.host.worker_memory import WorkerReader
from fpm_listener.phpfpm import capacity, process_tree
from fpm_listener.phpfpm.capacity import PoolNeed
from fpm_listener.phpfpm.pool_capacity import Capacity, PoolSamples, Shares, Unknown, divide
from fpm_listener.untrusted_text import escaped

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fpm_listener.host.memory_sizes import MemoryLimit
    from fpm_listener.phpfpm.status_page import PoolTarget, PoolView

#: Seconds between two samples, and after the first one. The time doubles until pools are measured.
EVERY_S, SOON_S = 120.0, 5.0
#: The most workers of one pool that one sample reads.
MOST_WORKERS = 16
#: The longest name of another php-fpm in a text.
_LONGEST = 200
#: So long as php-fpm was not seen.
_UNMEASURED = Capacity(why=Unknown.UNMEASURED)


@dataclass
class _Group:
    """The pools below one limit."""

    limit: MemoryLimit | None
    targets: list[PoolTarget] = field(default_factory=list)
    running: list[WorkerMemory] = field(default_factory=list)
    not_followed: str = ""  #: a php-fpm with pools that are not followed; empty = there is none


@dataclass
class _Pool:
    """What is known about one pool."""

    samples: PoolSamples = field(default_factory=PoolSamples)
    last: Capacity = _UNMEASURED  #: the last result: how many workers fit
    master: int | None = None  #: its pid at the last sample; None = it did not run
    has_served: bool = False  #: a worker has served a request of a client
    has_waited: bool = False  #: clients waited at the last look
    most_active: float | None = None  #: since the start of php-fpm, at the last look


class CapacitySampler:
    """Keeps what is known about the size of each pool. Used by the thread of the pools."""

    def __init__(
        self, supervisord: int | None = None, root: str = "/", soon_s: float = SOON_S
    ) -> None:
        """`supervisord`: its pid, None = our parent; `root`: the directory with /proc, /sys.

        `soon_s`: seconds after the first sample.
        """
        self._supervisord = supervisord
        self._soon_s = soon_s
        self._root = root
        self._proc = f"{root.rstrip('/')}/proc"
        self._pools: dict[PoolTarget, _Pool] = {}
        self._reader = WorkerReader(self._proc)
        self._wait_s = soon_s
        self._sampled_s = self._due_s = float("-inf")

    def count(self, target: PoolTarget, view: PoolView) -> PoolView:
        """Count the busy workers of a pool, and return what is known about it now."""
        pool = self._pools.get(target) or self._pools.setdefault(target, _Pool())
        is_waiting = bool(view.queue)
        if view.is_old:
            is_full = pool.has_waited and not view.life.is_dead
            view = replace(view, running=self._workers(target, pool) if is_full else None)
        pool.has_waited = is_waiting
        if is_waiting or (view.up and view.busy is not None):
            busy = _most_busy(pool, view)
            pool.samples.take_busy(busy, time.monotonic(), time.time(), waited=is_waiting)
        if not pool.has_served and (is_waiting or view.busy):
            pool.has_served = True
            self._hurry()
        return replace(view, capacity=pool.samples.capacity(time.monotonic(), pool.last))

    def _workers(self, target: PoolTarget, pool: _Pool) -> int | None:
        """Return how many workers of a pool run; None = unknown."""
        found = {} if pool.master is None else process_tree.workers(pool.master, self._proc)
        return len(found[target.pool]) if target.pool in found else None

    def update(self, targets: Iterable[PoolTarget]) -> None:
        """Measure the workers, if it is time."""
        wanted = list(targets)
        if self._pools.keys() != set(wanted):
            self._follow(wanted)
        now_s = time.monotonic()
        if not wanted or now_s < self._due_s:
            return
        self._sample()
        is_known = all(pool.samples.peak is not None for pool in self._pools.values())
        self._sampled_s, self._due_s = now_s, now_s + (EVERY_S if is_known else self._wait_s)
        self._wait_s = min(self._wait_s * 2, EVERY_S)

    def _follow(self, wanted: list[PoolTarget]) -> None:
        """Measure these pools from now on. A pool with new settings keeps its samples."""
        before = {(one.config, one.pool): pool.samples for one, pool in self._pools.items()}
        self._pools = {
            one: self._pools.get(one) or _Pool(before.get((one.config, one.pool)) or PoolSamples())
            for one in wanted
        }
        for one, pool in self._pools.items():
            pool.samples.enough = min(capacity.ENOUGH, one.max_children or capacity.ENOUGH)
        self._hurry()

    def _hurry(self) -> None:
        """Sample soon: there are new pools, or a pool serves its first requests."""
        self._wait_s = self._soon_s
        self._due_s = min(self._due_s, self._sampled_s + self._soon_s)

    def _sample(self) -> None:
        parent = self._supervisord
        if parent is None:
            program = procfs.program()
            parent = program.ppid if program is not None else 0
        for pool in self._pools.values():
            pool.master = None
        groups: dict[str, _Group] = {}
        running: set[int] = set()
        for master, config in process_tree.masters(parent, self._proc):
            own = {one.pool: one for one in self._pools if os.path.realpath(one.config) == config}
            limit = memory_limits.read(master, self._root)
            key = limit.where if limit else f"unknown {master}"
            group = groups.setdefault(key, _Group(limit))
            group.targets.extend(own.values())
            for target in own.values():
                self._pools[target].master = master
            workers = process_tree.workers(master, self._proc)
            others = sorted(workers.keys() - own.keys())
            if others or not own:
                name = f", pool {others[0]}" if others else ""
                group.not_followed = escaped(f"pid {master}, {config}{name}"[:_LONGEST])
            for name in own.keys() & workers.keys():
                running.update(workers[name])
                group.running.extend(self._measure(master, own[name], workers[name]))
        self._reader.keep(running)
        for target, pool in self._pools.items():
            if pool.master is None and pool.last.where in groups:
                groups[pool.last.where].targets.append(target)
        for group in groups.values():
            self._judge(group)

    def _judge(self, group: _Group) -> None:
        available = None if group.limit is None else capacity.available(group.limit, group.running)
        needs = [
            (one.pool, PoolNeed(one.max_children or 0, self._pools[one].samples.peak))
            for one in group.targets
        ]
        shares = divide(needs, group.limit, available)
        if group.not_followed:
            shares = Shares(None, Unknown.NOT_FOLLOWED, group.not_followed)
        where = group.limit.where if group.limit else ""
        for number, target in enumerate(group.targets):
            fits = None if shares.fits is None else shares.fits[number]
            self._pools[target].last = Capacity(fits, shares.why, shares.subject, where)

    def _measure(
        self, master: int, target: PoolTarget, workers: Iterable[int]
    ) -> Iterator[WorkerMemory]:
        """Return the memory of all workers; of those that were not read, the least it can be."""
        sizes = {pid: worker_memory.resident(pid, self._proc) for pid in workers}
        largest = sorted(sizes, key=lambda pid: -sizes[pid])
        samples, shared = self._pools[target].samples, 0
        for pid in largest[:MOST_WORKERS]:
            memory = self._reader.read(pid, master)
            if memory is not None:
                shared = max(shared, sizes[pid] - memory.now)
                samples.take_worker(pid, memory, time.monotonic(), time.time())
                yield memory
        for pid in largest[MOST_WORKERS:]:
            least = max(0, sizes[pid] - shared)
            yield WorkerMemory(least, least)


def _most_busy(pool: _Pool, view: PoolView) -> int | None:
    """Return the most workers that were busy since the last look; None = unknown.

    php-fpm keeps the most since its start. If that is another number than at the last look, it was
    reached in between, or php-fpm has started in between.
    """
    busy, most = view.busy, view.numbers.get("max_active_processes")
    if view.is_old or busy is None or most is None:
        return busy
    before, pool.most_active = pool.most_active, most
    # If they are active now, the request of the listener is among them.
    is_new = before not in {None, most} and most > busy + view.own_requests
    return int(most) if is_new else busy
