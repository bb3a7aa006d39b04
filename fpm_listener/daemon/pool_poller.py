"""Polls php-fpm's pools: their queues, the numbers of their status pages, whether they answer.

Laws:
1. One thread polls all pools, one after the other.
2. A problem of a pool is logged once, not at each poll.
3. An unexpected error with one pool delays no other pool. A shortage on our side proves nothing
   about a pool.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from fpm_listener.daemon.capacity_sampler import CapacitySampler
from fpm_listener.daemon.pool_watch import PoolWatch
from fpm_listener.host import sock_diag
from fpm_listener.host.netlink import Kernel
from fpm_listener.internal_errors import is_exhausted, log_only, service_thread
from fpm_listener.monitor.messages import PoolsSeen
from fpm_listener.monitor.opcache_seen import OpcacheSeen
from fpm_listener.vocabulary import Where

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from fpm_listener.daemon.opcache_reader import OpcacheReader
    from fpm_listener.internal_errors import Caught
    from fpm_listener.phpfpm.status_page import PoolTarget, PoolView
    from fpm_listener.supervisor.process import ProcessName

log = logging.getLogger(__name__)

#: Seconds, and the part of the interval, by which a look may be early: pools that are due at nearly
#: the same time need one message and one wake-up.
_EARLY_S, _EARLY_PART = 0.25, 0.1


class PoolPoller:
    """The thread that polls the pools."""

    def __init__(
        self,
        interval_s: float,
        put: Callable[[PoolsSeen | OpcacheSeen], None],
        failed: Callable[[BaseException], None],
        caught: Caught = log_only,
        *,
        asks: bool = True,
        reads_requests: bool = False,
        opcache: bool = False,
    ) -> None:
        """`caught`: called with an unexpected error about one pool; `asks`: also ask php-fpm.

        `opcache`: read the numbers of OPcache.
        """
        self._reads_requests = reads_requests
        self._caught = caught
        self._asks = asks
        self._interval_s = interval_s
        self._put = put
        self._targets: Mapping[ProcessName, tuple[PoolTarget, ...]] = {}
        self._watches: dict[PoolTarget, PoolWatch] = {}
        self._obstacles: set[str] = set()  # that are in the log already
        self._unanswered: set[PoolTarget] = set()  # pools that the log reports as such
        self._capacity = CapacitySampler()
        self._kernel = Kernel()
        self._find_queue = partial(sock_diag.queue, kernel=self._kernel.ask)
        self._changed = threading.Event()
        self._stop = False
        self._opcache: OpcacheReader | None = None
        if opcache:
            from fpm_listener.daemon.opcache_reader import OpcacheReader  # noqa: PLC0415 - late, see ADR 044

            self._opcache = OpcacheReader()
        self._thread = service_thread("pools", self._run, failed)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def follow(self, targets: Mapping[ProcessName, tuple[PoolTarget, ...]]) -> None:
        """Poll these pools from now on."""
        self._targets = targets
        self._changed.set()

    def stop(self) -> None:
        """Stop the thread; does not wait for it."""
        self._stop = True
        self._changed.set()

    def _run(self) -> None:
        while not self._stop:
            self._changed.clear()
            targets = self._targets
            self._choose(one for those in targets.values() for one in those)
            self._measure()
            for process, those in targets.items():
                if those and not self._stop:
                    watches = [self._watches[one] for one in those]
                    self._poll(process, watches)
                    self._read_opcache(process, watches)
            self._changed.wait(self._wait_s())
        self._choose(())
        self._kernel.close()

    def _choose(self, targets: Iterable[PoolTarget]) -> None:
        """Watch these pools only."""
        before = self._watches
        self._watches = {
            one: before.pop(one) if one in before else self._watch(one)
            for one in dict.fromkeys(targets)
        }
        for watch in before.values():
            watch.close()
        self._unanswered.intersection_update(self._watches)

    def _watch(self, target: PoolTarget) -> PoolWatch:
        asks, reads, find = self._asks, self._reads_requests, self._find_queue
        return PoolWatch(target, self._interval_s, asks=asks, reads_requests=reads, find_queue=find)

    def _measure(self) -> None:
        """Measure the workers, if it is time."""
        try:
            self._capacity.update(self._watches)
        except Exception as error:  # noqa: BLE001 - law 3
            self._caught(Where.POOL, error)

    def _wait_s(self) -> float:
        dues = [watch.due_s for watch in self._watches.values()]
        if not dues:
            return 3600.0
        if self._opcache is not None:
            followed = [process for process, those in self._targets.items() if those]
            dues.append(self._opcache.due_s(followed))
        return max(0.05, min(dues) - time.monotonic())

    def _read_opcache(self, process: ProcessName, watches: Sequence[PoolWatch]) -> None:
        if self._opcache is None:
            return
        try:
            view = self._opcache.read(process, watches)
        except Exception as error:  # noqa: BLE001 - law 3
            self._caught(Where.POOL, error)
            return
        if view is not None:
            self._put(OpcacheSeen(process, view))

    def _poll(self, process: ProcessName, watches: Sequence[PoolWatch]) -> None:
        early_s = min(_EARLY_S, self._interval_s * _EARLY_PART)
        now_s = time.monotonic()
        due = [one for one in watches if one.due_s <= now_s + early_s]
        if len(due) == len({one.target.address for one in due}):  # else they would see each other
            for watch in due:
                with suppress(Exception):  # `look` meets it again
                    watch.begin()
        for watch in due:
            before = watch.view
            try:
                watch.look()
            except Exception as error:  # noqa: BLE001 - law 3
                self._caught(Where.POOL, error)
                if is_exhausted(error):
                    watch.postpone()
                else:
                    watch.fail("its answer cannot be read")
            self._log_change(process, watch.target, before, watch.view)
            self._log_obstacle(process, watch)
            watch.view = self._capacity.count(watch.target, watch.view)
        if due:
            found = (one.take_requests() for one in watches)
            requests = tuple(one for one in found if one is not None)
            self._put(PoolsSeen(process, tuple(one.view for one in watches), requests))

    def _log_obstacle(self, process: ProcessName, watch: PoolWatch) -> None:
        why = watch.obstacle
        if why and why not in self._obstacles:
            self._obstacles.add(why)
            log.warning(
                "queue unknown, so saturated is not detected program=%s pool=%s why=%r",
                process,
                watch.view.pool,
                why,
            )

    def _log_change(
        self, process: ProcessName, target: PoolTarget, before: PoolView, view: PoolView
    ) -> None:
        if view.detail and view.detail != before.detail:
            self._unanswered.add(target)
            log.warning(
                "pool does not answer program=%s pool=%s why=%r", process, view.pool, view.detail
            )
        elif target in self._unanswered and not view.detail and not view.silent:
            self._unanswered.discard(target)
            log.info("pool answers again program=%s pool=%s", process, view.pool)
