"""Keeps the samples of a pool, and tells how many workers it needs and how many fit.

Laws:
1. The samples are in memory only: a new listener has none.
2. A number is always given with its basis: how many samples, and since when.
3. If one pool below a limit is unknown, no pool below this limit gets a number.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.phpfpm import capacity

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fpm_listener.host.memory_sizes import MemoryLimit, WorkerMemory
    from fpm_listener.phpfpm.capacity import PoolNeed

#: Seconds of which samples are kept, and the length of one part of the peak of busy workers.
KEPT_S, _PART_S = 86400.0, 3600.0


class Unknown(Enum):
    """Why it is unknown how many workers fit; the values are in the status document."""

    UNMEASURED = "unmeasured"  #: so far, or since the last change of the configuration
    NO_LIMIT = "no_limit"  #: the limit cannot be read
    NO_USAGE = "no_usage"  #: what is in use of the limit cannot be read; `subject`: which limit
    FEW_WORKERS = "few_workers"  #: too few have served requests; `subject`: the pool
    NO_MAX_CHILDREN = "no_max_children"  #: `subject`: the pool
    NOT_FOLLOWED = "not_followed"  #: another php-fpm shares the memory; `subject`: which one


class Capacity(NamedTuple):
    """What is known about the size of a pool."""

    fits: int | None = None  #: the most workers that fit; None = unknown, see `why`
    why: Unknown | None = None
    subject: str = ""  #: what `why` is about
    where: str = ""  #: whose memory it is: a cgroup or this host
    workers: int = 0  #: workers that were measured since `since_s`
    memory: tuple[int, int] | None = None  #: bytes of one worker at its peak: median and p95
    since_s: float = 0.0  #: wall seconds of the first sample
    until_s: float = 0.0  #: wall seconds of the last sample
    busy_peak: int | None = None  #: most busy workers of the last 24 h
    busy_samples: int = 0
    busy_since_s: float = 0.0  #: wall seconds of the first of these samples
    waited: bool = False  #: clients waited meanwhile


#: Before anything is known.
NOTHING = Capacity()


class SharedLimit(NamedTuple):
    """process.max, if all pools of one php-fpm together can reach it."""

    most: int  #: workers of all pools together
    configured: int  #: the sum of pm.max_children
    fits: int | None  #: workers of all pools together; None = unknown


class PoolSize(NamedTuple):
    """A pool as configured, and what is known about its size."""

    pool: str
    max_children: int | None  #: None = unknown
    capacity: Capacity
    shared: SharedLimit | None = None  #: None = process.max limits nothing


class Shares(NamedTuple):
    """How many workers of each pool below one limit fit."""

    fits: tuple[int, ...] | None  #: None = unknown
    why: Unknown | None = None
    subject: str = ""


@dataclass(slots=True)
class _Part:
    """The busy workers of one hour."""

    began_s: float  #: wall seconds
    began: float  #: monotonic
    peak: int = 0
    samples: int = 0
    waited: bool = False


class _Measured(NamedTuple):
    """One worker; a worker that is measured again counts once."""

    memory: WorkerMemory
    since_s: float  #: wall seconds of its first sample
    last: float  #: monotonic, of its last sample


class _Memory(NamedTuple):
    """The memory of all workers that have served requests."""

    workers: int
    bytes: tuple[int, int]  #: median and p95
    since_s: float  #: wall seconds of the first sample


class PoolSamples:
    """The samples of one pool."""

    def __init__(self) -> None:
        self.enough = capacity.ENOUGH  #: workers that must be measured; fewer in a small pool
        self._parts: deque[_Part] = deque()
        self._workers: dict[int, _Measured] = {}  # those that were measured last are at the end
        self._until_s = 0.0
        self._memory: _Memory | None = None  # of them; None = it must be counted again

    def take_busy(
        self, busy: int | None, monotonic_s: float, wall_s: float, *, waited: bool
    ) -> None:
        """Take the number of busy workers, None = unknown, and whether requests wait."""
        while self._parts and not _is_kept(self._parts[0].began, monotonic_s):
            self._parts.popleft()
        if not self._parts or monotonic_s - self._parts[-1].began >= _PART_S:
            self._parts.append(_Part(wall_s, monotonic_s))
        part = self._parts[-1]
        part.waited = part.waited or waited
        if busy is not None:
            part.peak, part.samples = max(part.peak, busy), part.samples + 1

    def take_worker(
        self, pid: int, memory: WorkerMemory, monotonic_s: float, wall_s: float
    ) -> None:
        """Take the memory of one worker.

        After a deployment, workers can need more than all before. So few are remembered that
        `enough` larger ones raise the 95th percentile.
        """
        self._memory = None
        known = self._workers.pop(pid, None)
        since_s = known.since_s if known else wall_s
        self._workers[pid] = _Measured(memory, since_s, monotonic_s)
        self._until_s = wall_s
        oldest = next(iter(self._workers))
        while len(self._workers) >= 20 * self.enough or not _is_kept(
            self._workers[oldest].last, monotonic_s
        ):
            del self._workers[oldest]
            oldest = next(iter(self._workers))

    @property
    def peak(self) -> int | None:
        """Return what one worker needs at most; None = unknown."""
        return capacity.peak_of((one.memory for one in self._workers.values()), self.enough)

    def capacity(self, monotonic_s: float, last: Capacity = NOTHING) -> Capacity:
        """Return what is known; last: how many workers fit, or why that is unknown."""
        if self._memory is None:
            self._memory = _memory(self._workers.values())
        parts = [part for part in self._parts if _is_kept(part.began, monotonic_s)]
        samples = sum(part.samples for part in parts)
        return last._replace(
            workers=self._memory.workers,
            memory=self._memory.bytes if self._memory.workers >= self.enough else None,
            since_s=self._memory.since_s,
            until_s=self._until_s,
            busy_peak=max(part.peak for part in parts) if samples else None,
            busy_samples=samples,
            busy_since_s=parts[0].began_s if parts else 0.0,
            waited=any(part.waited for part in parts),
        )


def _memory(workers: Iterable[_Measured]) -> _Memory:
    measured = [one for one in workers if one.memory.peak >= capacity.FRESH]
    if not measured:
        return _Memory(0, (0, 0), 0.0)
    peaks = sorted(one.memory.peak + capacity.KERNEL for one in measured)
    sizes = capacity.quantile(peaks, 0.5), capacity.quantile(peaks, 0.95)
    return _Memory(len(peaks), sizes, min(one.since_s for one in measured))


def _is_kept(at_s: float, now_s: float) -> bool:
    return now_s - at_s <= KEPT_S


def divide(
    needs: Sequence[tuple[str, PoolNeed]], limit: MemoryLimit | None, available: int | None
) -> Shares:
    """Return how many workers of each pool fit, or why that is unknown.

    needs: all pools below the limit, with their names. They get shares as configured now, and one
    worker at least if one of each fits.
    """
    if limit is None:
        return Shares(None, Unknown.NO_LIMIT)
    if available is None:
        return Shares(None, Unknown.NO_USAGE, limit.where)
    for name, need in needs:
        if need.peak is None:
            return Shares(None, Unknown.FEW_WORKERS, name)
        if not need.max_children:
            return Shares(None, Unknown.NO_MAX_CHILDREN, name)
    pools = [(need.max_children, need.peak or 0) for _, need in needs]
    needed = sum(count * peak for count, peak in pools)
    if not needed:
        return Shares(None, Unknown.UNMEASURED)
    shares = tuple(count * available // needed for count, _ in pools)
    least = sum(peak for _, peak in pools)
    if all(shares) or available < least:
        return Shares(shares)
    rest, others = available - least, needed - least
    return Shares(tuple(1 + (count - 1) * rest // others for count, _ in pools))
