"""Polls php-fpm's pools: their queues, the numbers of their status pages, whether they answer.

Laws:
1. One request at a time, so that no pool has two of ours in its queue. A pool whose queue moves
   needs none, and one in whose queue ours still waits gets none.
2. A pool that does not answer is polled less and less often, since each request waits in its queue.
3. A problem of a pool is logged once, not at each poll.
4. An unexpected error with one pool delays no other pool. A shortage on our side proves nothing
   about a pool.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from fpm_listener.daemon.request_reader import read_requests
from fpm_listener.host import addresses, sock_diag
from fpm_listener.host.addresses import UnusableAddress
from fpm_listener.host.sock_diag import ListenQueue, NoQueue
from fpm_listener.internal_errors import is_exhausted, log_only, service_thread
from fpm_listener.monitor.messages import PoolsSeen
from fpm_listener.phpfpm import fastcgi
from fpm_listener.phpfpm.status_page import PoolTarget, PoolView, parse
from fpm_listener.vocabulary import Where

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fpm_listener.internal_errors import Caught
    from fpm_listener.phpfpm.worker_requests import PoolRequests
    from fpm_listener.supervisor.process import ProcessName

log = logging.getLogger(__name__)

#: Seconds that a pool has for its answer.
ANSWER_S = 3.0
#: The most seconds between two polls of a pool that does not answer.
SELDOM_S = 60.0
_OK = 200


class PoolPoller:
    """The thread that polls the pools."""

    def __init__(
        self,
        interval_s: float,
        put: Callable[[PoolsSeen], None],
        failed: Callable[[BaseException], None],
        caught: Caught = log_only,
        *,
        asks: bool = True,
        reads_requests: bool = False,
    ) -> None:
        """`caught`: called with an unexpected error about one pool; `asks`: also ask php-fpm."""
        self._reads_requests = reads_requests
        self._requests: list[PoolRequests] = []  # that the engine does not have yet
        self._caught = caught
        self._asks = asks
        self._interval_s = interval_s
        self._put = put
        self._targets: Mapping[ProcessName, tuple[PoolTarget, ...]] = {}
        self._changed = threading.Event()
        self._stop = False
        self._seen: dict[PoolTarget, PoolView] = {}
        self._silent: dict[PoolTarget, int] = {}  # polls in a row without an answer
        self._queues: dict[PoolTarget, ListenQueue] = {}
        self._due_s: dict[PoolTarget, float] = {}  # monotonic
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
            for process, targets in self._targets.items():
                if targets and not self._stop:
                    self._poll(process, targets)
            self._changed.wait(self._wait_s())

    def _wait_s(self) -> float:
        dues = [
            self._due_s.get(target, 0.0) for targets in self._targets.values() for target in targets
        ]
        return max(0.05, min(dues) - time.monotonic()) if dues else 3600.0

    def _poll(self, process: ProcessName, targets: tuple[PoolTarget, ...]) -> None:
        due = [one for one in targets if self._due_s.get(one, 0.0) <= time.monotonic()]
        for target in due:
            view = self._view(target)
            if view is not None:
                self._log_change(process, target, view)
                self._seen[target] = view
                self._silent[target] = self._silent.get(target, 0) + 1 if view.silent else 0
            delay_s = self._interval_s * 2 ** min(max(0, self._silent.get(target, 0) - 1), 8)
            self._due_s[target] = time.monotonic() + min(delay_s, max(SELDOM_S, self._interval_s))
        if due:
            views = tuple(self._seen[target] for target in targets if target in self._seen)
            requests, self._requests = tuple(self._requests), []
            self._put(PoolsSeen(process, views, requests))

    def _view(self, target: PoolTarget) -> PoolView | None:
        """Return the state of a pool; None if a shortage on our side hides it."""
        before = self._seen.get(target)
        failures = before.failures if before else 0
        try:
            queue = sock_diag.queue(target.address)
            view = self._seen_in(target, queue) or self._ask(target, failures)
            if isinstance(queue, ListenQueue):
                self._queues[target] = queue
                view = replace(view, waiting=queue.waiting, limit=queue.limit)
            return replace(view, max_children=target.max_children)
        except Exception as error:  # noqa: BLE001 - law 4
            self._caught(Where.POOL, error)
            if is_exhausted(error):
                return None
            return _without(target, _UNREADABLE, failures)

    def _seen_in(self, target: PoolTarget, queue: ListenQueue | NoQueue) -> PoolView | None:
        """Return what the queue alone shows; None if php-fpm must be asked."""
        before, last = self._seen.get(target), self._queues.get(target)
        failures = before.failures if before else 0
        if not self._asks or not (target.status_path or target.ping_path):
            return PoolView(pool=target.pool, up=None, failures=failures)
        if not isinstance(queue, ListenQueue) or not queue.waiting:
            return None
        if last is not None and queue.moved_since(last):
            return PoolView(pool=target.pool, up=True, failures=failures)
        return before if before is not None and before.silent else None

    def _ask(self, target: PoolTarget, failures: int) -> PoolView:
        # A worker that answers the status page proves as much as a ping, and a worker that has just
        # answered a ping would count as active.
        if target.ping_path and not target.status_takes_worker:
            answer = _get(target.address, target.ping_path, "")
            if isinstance(answer, fastcgi.NoAnswer):
                return _without(target, answer, failures)
            if answer.status != _OK or answer.body.strip() != target.ping_response:
                return _without(target, _odd(target.ping_path, answer), failures)
        if not target.status_path:
            return PoolView(pool=target.pool, up=True, failures=failures)
        where = target.status_address or target.address
        answer = _get(where, target.status_path, "json&full")
        if isinstance(answer, fastcgi.NoAnswer):
            return _without(target, answer, failures)
        found = parse(answer.body) if answer.status == _OK else None
        if found is None:
            return _without(target, _odd(target.status_path, answer), failures)
        if self._reads_requests:
            self._requests.append(read_requests(target, answer.body))
        numbers, states = found
        return PoolView(
            pool=target.pool,
            up=True,
            failures=failures,
            numbers=numbers,
            states=states,
            own_requests=int(target.status_takes_worker),
        )

    def _log_change(self, process: ProcessName, target: PoolTarget, view: PoolView) -> None:
        before = self._seen[target].detail if target in self._seen else ""
        if view.detail and view.detail != before:
            log.warning(
                "pool does not answer program=%s pool=%s why=%r",
                process,
                target.pool,
                view.detail,
            )
        elif before and not view.detail:
            log.info("pool answers again program=%s pool=%s", process, target.pool)


_UNREADABLE = fastcgi.NoAnswer("its answer cannot be read", silent=False)


def _get(address: str, path: str, query: str) -> fastcgi.Response | fastcgi.NoAnswer:
    deadline_s = time.monotonic() + ANSWER_S
    where = addresses.parse(address)
    if isinstance(where, UnusableAddress):
        return fastcgi.NoAnswer(f"nobody can connect to {address!r}: {where.why}", silent=False)
    return fastcgi.get(addresses.client_target(where), path, query, deadline_s)


def _odd(path: str, answer: fastcgi.Response) -> fastcgi.NoAnswer:
    why = f"{path} answers with status {answer.status}, and not as php-fpm does"
    return fastcgi.NoAnswer(why, silent=False)


def _without(target: PoolTarget, answer: fastcgi.NoAnswer, failures: int) -> PoolView:
    return PoolView(
        pool=target.pool,
        up=False,
        failures=failures + 1,
        silent=answer.silent,
        detail=answer.why,
    )
