"""Measures the workers of php-fpm below the supervisord that runs.

Law: masters with different limits share nothing, and then nothing is known.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fpm_listener.doctor.running_facts import MeasuredWorkers
from fpm_listener.host import memory_limits, worker_memory
from fpm_listener.phpfpm import process_tree

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fpm_listener.host.memory_sizes import WorkerMemory


def measure(supervisord: int, configs: Iterable[str], root: str = "/") -> MeasuredWorkers | None:
    """Return the measured workers; None = none run, or their limit is unknown.

    supervisord: its pid; configs: the configuration files of php-fpm; root: the directory with
    /proc and /sys.
    """
    proc = f"{root.rstrip('/')}/proc"
    wanted = {os.path.realpath(path): path for path in configs}
    pools: dict[tuple[str, str], list[WorkerMemory]] = {}
    masters = []
    for master, path in process_tree.masters(supervisord, proc):
        config = wanted.get(path)
        if config is not None:
            masters.append(master)
            for pool, workers in process_tree.workers(master, proc).items():
                read = (worker_memory.read(pid, master, proc) for pid in workers)
                pools.setdefault((config, pool), []).extend(one for one in read if one is not None)
    limits = [memory_limits.read(master, root) for master in masters]
    if not limits or limits[0] is None:
        return None
    if any(one is None or one.where != limits[0].where for one in limits):
        return None
    return MeasuredWorkers(limits[0], {key: tuple(found) for key, found in pools.items()})
