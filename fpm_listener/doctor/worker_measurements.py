"""Measures the workers of php-fpm below the supervisord that runs.

Laws:
1. A name of a process proves nothing: only descendants of supervisord count.
2. Masters with different limits share nothing, and then nothing is known.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING

from fpm_listener.doctor.running_facts import MeasuredWorkers
from fpm_listener.host import memory_limits, procfs, worker_memory

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fpm_listener.host.memory_sizes import WorkerMemory

_MASTER = re.compile(r"php-fpm: master process \((.+)\)")
_POOL = re.compile(r"php-fpm: pool (.+)")
#: Processes between supervisord and php-fpm: a guard or a shell.
_DEEPEST = 3


def measure(supervisord: int, configs: Iterable[str], root: str = "/") -> MeasuredWorkers | None:
    """Return the measured workers; None = none run, or their limit is unknown.

    supervisord: its pid; configs: the configuration files of php-fpm; root: the directory with
    /proc and /sys.
    """
    proc = f"{root.rstrip('/')}/proc"
    wanted = {os.path.realpath(path): path for path in configs}
    pools: dict[tuple[str, str], list[WorkerMemory]] = {}
    masters = []
    for master, path in _masters(supervisord, proc, _DEEPEST):
        config = wanted.get(os.path.realpath(path))
        if config is not None:
            masters.append(master)
            for pool, worker in _workers(master, proc):
                pools.setdefault((config, pool), []).append(worker)
    limits = [memory_limits.read(master, root) for master in masters]
    if not limits or limits[0] is None:
        return None
    if any(one is None or one.where != limits[0].where for one in limits):
        return None
    return MeasuredWorkers(limits[0], {key: tuple(found) for key, found in pools.items()})


def _masters(parent: int, proc: str, depth: int) -> Iterator[tuple[int, str]]:
    """Return the masters below a process, with the path of their configuration."""
    for pid in _children(parent, proc):
        found = _MASTER.fullmatch(procfs.title(pid, proc))
        if found:
            yield pid, found[1]
        elif depth > 1:
            yield from _masters(pid, proc, depth - 1)


def _workers(master: int, proc: str) -> Iterator[tuple[str, WorkerMemory]]:
    for pid in _children(master, proc):
        found = _POOL.fullmatch(procfs.title(pid, proc))
        memory = worker_memory.read(pid, master, proc) if found else None
        if found and memory is not None:
            yield found[1], memory


def _children(pid: int, proc: str) -> list[int]:
    with suppress(OSError):
        return procfs.children(pid, proc)
    return []
