"""Rules on the number of workers: memory, open files, and process.max.

Each consequence was measured with php-fpm 8.2 or is in its source.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fpm_listener.doctor.checked_config import pools, read_fpms, whole
from fpm_listener.doctor.rule import Match, match, rule
from fpm_listener.doctor.rules_fpm_config import catches_output
from fpm_listener.phpfpm import capacity
from fpm_listener.phpfpm.capacity import PoolNeed
from fpm_listener.phpfpm.ini_values import number

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fpm_listener.doctor.checked_config import CheckedConfig, CheckedPool, Fpm
    from fpm_listener.doctor.running_facts import MeasuredWorkers

#: Bytes that a worker of a small application needs.
_WORKER_BYTES = 32 << 20
#: More workers than any machine has.
_ENDLESS = 1 << 40


def _children(pool: CheckedPool) -> int:
    return _whole(pool.section.get("pm.max_children")) or 0


def _whole(text: str) -> int | None:
    """Return the number; None if it is not one, or if php-fpm cannot use it."""
    return int(text) if re.fullmatch(r"[0-9]{1,10}", text) else None


@rule("FPM057", whole)
def memory(config: CheckedConfig) -> Iterator[Match]:
    """The kernel may kill the master when memory is short. Measured workers count first."""
    measured = config.running.measured if config.running is not None else None
    found = _measured([*pools(config)], measured) if measured is not None else None
    if found is not None:
        yield from found
        return
    limit = config.machine.memory_limit()
    count = sum(_most_workers(fpm, fpm.pools) for fpm in config.fpms)
    if limit is not None and count * _WORKER_BYTES > limit:
        most = max(1, limit // _WORKER_BYTES * 3 // 4)
        section = max(pools(config), key=_children).section
        numbers = {"count": count, "needed": count * 32, "limit": limit >> 20, "most": most}
        yield match(section, "pm.max_children", **numbers)


def _measured(checked: list[CheckedPool], measured: MeasuredWorkers) -> list[Match] | None:
    """Return what the workers that run show; None = too little is known."""
    runs = [measured.pools.get((pool.fpm.conf.path, pool.name), ()) for pool in checked]
    peaks = [capacity.peak_of(run) for run in runs]
    counts = _counts(checked, peaks)
    needs = [PoolNeed(*one) for one in zip(counts, peaks, strict=True)]
    workers = [worker for run in measured.pools.values() for worker in run]
    available = capacity.available(measured.limit, workers)
    fit = capacity.fit(needs, available) if available is not None else None
    if fit is None or (fit.is_enough and any(need.peak is None for need in needs)):
        return None
    if fit.is_enough:
        return []
    rows = [row for row in zip(needs, checked, runs, strict=True) if row[0].peak is not None]
    need, pool, run = max(rows, key=lambda row: row[0].max_children * (row[0].peak or 0))
    numbers = {
        "count": sum(row[0].max_children for row in rows),
        "needed": -(-fit.needed >> 20),
        "available": fit.available >> 20,
        "limit": measured.limit.limit >> 20,
        "where": measured.limit.where,
        "pool": pool.name,
        "peak": f"{(need.peak or 0) / (1 << 20):.1f}",
        "samples": sum(worker.peak >= capacity.FRESH for worker in run),
        "most": fit.workers,
    }
    # Workers that were not measured need memory too: the number is an upper bound.
    others = [
        other.name
        for need, other in zip(needs, checked, strict=True)
        if need.peak is None and need.max_children
    ]
    names = {"others": _named(others), "known": _named([row[1].name for row in rows])}
    variant = "partly" if others else "measured"
    return [match(pool.section, "pm.max_children", {}, variant, **numbers, **names)]


def _counts(checked: list[CheckedPool], peaks: list[int | None]) -> list[int]:
    """Return how many workers of each pool need the most memory together, within process.max."""
    counts = [0] * len(checked)
    left: dict[str, int] = {}  # by the name of the program
    for at in sorted(range(len(checked)), key=lambda at: -(peaks[at] or 0)):
        pool = checked[at]
        most = left.get(pool.fpm.program.name, _process_max(pool.fpm) or _ENDLESS)
        counts[at] = min(_children(pool), most)
        left[pool.fpm.program.name] = most - counts[at]
    return counts


def _named(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"pool{'' if len(names) == 1 else 's'} {', '.join(names[:3])}{more}"


@rule("FPM074", read_fpms)
def process_max(fpm: Fpm) -> Iterator[Match]:
    """php-fpm counts the workers of all pools."""
    total, most = sum(map(_children, fpm.pools)), _process_max(fpm)
    if most and total > most:
        names = _named([pool.name for pool in fpm.pools])
        yield match(fpm.main, "process.max", most=most, named=names, total=total)


def _process_max(fpm: Fpm) -> int:
    """Return how many workers all pools may have together; 0 = no limit."""
    return max(0, number(fpm.main.get("process.max") or ""))


def _most_workers(fpm: Fpm, pools: Iterable[CheckedPool]) -> int:
    """Return how many workers these pools of one php-fpm can have together."""
    count, most = sum(map(_children, pools)), _process_max(fpm)
    return min(count, most) if most else count


@rule("FPM058", whole)
def descriptors(config: CheckedConfig) -> Iterator[Match]:
    """The master has two descriptors for each worker whose output it catches."""
    for fpm in config.fpms:
        count = _most_workers(fpm, (one for one in fpm.pools if catches_output(one.section)))
        own = _whole(fpm.main.get("rlimit_files"))
        limit = int(config.supervisord.get("minfds") or 1024)
        limit = max(limit, config.machine.open_files()) if own is None else own
        if count * 2 + 64 > limit:
            numbers = {"count": count, "limit": limit, "needed": count * 3 + 64}
            yield match(fpm.main, "rlimit_files", **numbers)


RULES = (memory, descriptors, process_max)
