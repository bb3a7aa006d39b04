"""Measures the workers of the pools every two minutes, and keeps the result for each pool.

Laws:
1. Only children of a master that runs below our supervisord count; a title alone proves nothing.
2. A sample costs little: it reads at most a few workers of each pool.
"""

from __future__ import annotations

import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.host import memory_limits, procfs, worker_memory
from fpm_listener.phpfpm import capacity
from fpm_listener.phpfpm.capacity import PoolNeed
from fpm_listener.phpfpm.pool_capacity import Capacity, PoolSamples, divide

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fpm_listener.host.memory_sizes import MemoryLimit, WorkerMemory
    from fpm_listener.phpfpm.status_page import PoolTarget, PoolView

#: Seconds between two samples. One of 10 pools with 5 workers costs 30 ms of CPU time: 0.025 %.
EVERY_S = 120.0
#: The most workers of one pool that one sample reads.
MOST_WORKERS = 16
_MASTER = re.compile(r"php-fpm: master process \((/[^()\x00-\x1f]{1,4000})\)")
_POOL = "php-fpm: pool "
#: Processes between supervisord and php-fpm: a guard or a shell.
_DEEPEST = 3


class _Group(NamedTuple):
    """The pools below one limit."""

    limit: MemoryLimit | None
    targets: list[PoolTarget]
    running: list[WorkerMemory]


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
        self._round = 0

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
        self._round += 1
        wanted = list(targets)
        self._samples = {one: self._samples.get(one) or PoolSamples() for one in wanted}
        self._found = {}
        parent = self._supervisord
        if parent is None:
            program = procfs.program()
            parent = program.ppid if program is not None else 0
        groups: dict[str, _Group] = {}
        for master, config in self._masters(parent, _DEEPEST):
            own = {one.pool: one for one in wanted if one.config == config}
            if not own:
                continue
            limit = memory_limits.read(master, self._root)
            key = limit.where if limit else f"unknown {master}"
            group = groups.setdefault(key, _Group(limit, [], []))
            group.targets.extend(own.values())
            group.running.extend(self._measure(master, own))
        for group in groups.values():
            self._judge(group)

    def _judge(self, group: _Group) -> None:
        available = None if group.limit is None else capacity.available(group.limit, group.running)
        needs = [
            (one.pool, PoolNeed(one.max_children or 0, self._samples[one].peak))
            for one in group.targets
        ]
        shares, why = divide(needs, group.limit, available)
        where = group.limit.where if group.limit else ""
        for number, target in enumerate(group.targets):
            fits = shares[number] if shares is not None else None
            self._found[target] = Capacity(fits, why, where)

    def _measure(self, master: int, own: dict[str, PoolTarget]) -> Iterator[WorkerMemory]:
        """Return the memory of all workers that run; those that were not read have the lowest."""
        pids: dict[str, list[int]] = {}
        for pid in self._children(master):
            title = procfs.title(pid, self._proc)
            if title.startswith(_POOL) and title[len(_POOL) :] in own:
                pids.setdefault(title[len(_POOL) :], []).append(pid)
        for pool, workers in pids.items():
            start = self._round * MOST_WORKERS % len(workers)
            chosen = (workers[start:] + workers[:start])[:MOST_WORKERS]
            read = []
            for pid in chosen:
                memory = worker_memory.read(pid, master, self._proc)
                if memory is not None:
                    read.append(memory)
                    self._samples[own[pool]].take_worker(pid, memory, time.time())
            yield from read
            if read:
                lowest = min(read, key=lambda one: one.now)
                yield from [lowest] * (len(workers) - len(chosen))

    def _masters(self, parent: int, depth: int) -> Iterator[tuple[int, str]]:
        for pid in self._children(parent):
            found = _MASTER.fullmatch(procfs.title(pid, self._proc))
            if found:
                yield pid, found[1]
            elif depth > 1:
                yield from self._masters(pid, depth - 1)

    def _children(self, pid: int) -> list[int]:
        with suppress(OSError, ValueError):
            return procfs.children(pid, self._proc) if pid > 0 else []
        return []
