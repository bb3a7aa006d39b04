"""Watches one pool: its queue, the numbers of its status page, whether it accepts connections.

Laws:
1. A pool whose queue is not empty gets no request: the kernel knows whether it accepts connections,
   and our request would wait there too.
2. A request without an answer stays open, so that a dead pool has one of ours at most, and one for
   a script. In a queue they are not counted as clients.
3. Who accepts a connection is alive, however long the answer takes.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fpm_listener.daemon import open_request, pool_processes
from fpm_listener.daemon.open_request import OpenRequest
from fpm_listener.daemon.request_reader import read_requests
from fpm_listener.host import sock_diag
from fpm_listener.host.listen_queue import ListenQueue, NoQueue, Obstacle
from fpm_listener.phpfpm import pool_life, status_entries
from fpm_listener.phpfpm.fastcgi import NoAnswer, Response
from fpm_listener.phpfpm.pool_life import Life
from fpm_listener.phpfpm.status_page import PoolTarget, PoolView, parse, unseen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fpm_listener.phpfpm.worker_requests import PoolRequests

#: Seconds that a look waits for an answer; a later one is read by the next look.
ANSWER_S = 1.0
#: Seconds for the rest of a late answer.
_LATE_S = 0.1
#: Seconds between two looks while clients wait, or while an answer is missing.
SOON_S = 2.0
#: The most seconds between two requests to a pool that does not answer.
SELDOM_S = 60.0
_OK = 200
_QUERY = "json&full"
_QUIET: dict[str, Any] = {"silent": False, "life": Life.UNKNOWN}  # without what a silence showed
_SILENT = NoAnswer("it accepts connections and does not answer", silent=True)


class PoolWatch:
    """One pool. Moments are monotonic seconds."""

    def __init__(
        self,
        target: PoolTarget,
        interval_s: float,
        *,
        asks: bool,
        reads_requests: bool = False,
        find_queue: Callable[..., ListenQueue | NoQueue] = sock_diag.queue,
    ) -> None:
        """`asks`: also ask php-fpm, if it has a status page or a ping page."""
        self._find_queue = find_queue
        self._reads_requests = reads_requests
        self._requests: PoolRequests | None = None  # not taken yet
        self.target = target
        self.view = self._unseen = unseen(target)
        self.due_s = 0.0  #: of the next look
        self.obstacle = ""  #: why the queue is unknown; empty = it is known
        self._interval_s = interval_s
        self._asks = asks and bool(target.status_path or target.ping_path)
        self._queue: ListenQueue | None = None  # at the last look
        self._pending: OpenRequest | None = None  # our request without an answer so far
        self._script: OpenRequest | None = None  # the same, for a script
        self._found: ListenQueue | NoQueue | None = None  # by `begin`
        self._early: OpenRequest | NoAnswer | None = None  # the request that it sent
        self._unanswered = 0  # requests in a row
        self._ask_due_s = 0.0

    def begin(self) -> None:
        """Do the first part of `look`, so that many pools answer at the same time. Raises as it."""
        target, path = self.target, self.target.status_path
        self._found = found = self._find_queue(target.address, last=self._queue)
        if isinstance(found, ListenQueue) and found.waiting:  # law 1
            return
        is_ping_first = target.ping_path and not target.status_takes_worker
        if self._asks and path and not (is_ping_first or self._pending or self._script):
            where, deadline_s = target.status_address or target.address, time.monotonic() + ANSWER_S
            self._early = open_request.send(where, path, _QUERY, deadline_s)

    def look(self) -> PoolView:
        """Return the state of the pool now. Raises OSError if no descriptor or memory is left."""
        found = self._found or self._find_queue(self.target.address, last=self._queue)
        self._found = None
        queue = found if isinstance(found, ListenQueue) else None
        last, self._queue = self._queue, queue
        own = [
            one for one in (self._pending, self._script) if queue and one and one.waits_in(queue)
        ]
        waiting = queue.waiting - len(own) if queue else None
        view = self._judge(queue, last, own)
        if view.silent:
            life = pool_processes.life(self.target.pool, queue)
            view = replace(view, life=life)
            if self._asks and life.is_dead:
                view = replace(view, up=False)
            if life is Life.ALIVE and view.detail == pool_life.QUEUED:  # busy, and no fault
                view = replace(view, detail="")
        self.view = replace(view, waiting=waiting, limit=queue.limit if queue else None)
        if isinstance(found, NoQueue):  # a php-fpm that is stopped has no socket
            is_hidden = found.obstacle is not Obstacle.NOT_VISIBLE or view.up
            self.obstacle = found.why if is_hidden else ""
        is_soon = view.silent or (queue is not None and queue.waiting > 0)
        wait_s = min(SOON_S, self._interval_s) if is_soon else self._interval_s
        self.due_s = time.monotonic() + wait_s
        return self.view

    def take_requests(self) -> PoolRequests | None:
        """Return the requests that the last looks have read; None = nothing new."""
        found, self._requests = self._requests, None
        return found

    def close(self) -> None:
        """Close our requests that have no answer."""
        for one in (self._pending, self._script, self._early):
            if isinstance(one, OpenRequest):
                one.close()
        self._pending = self._script = self._early = None

    def _close_pending(self) -> None:
        if self._pending is not None:
            self._pending.close()
            self._pending = None

    def run_script(
        self, path: str, more: Mapping[str, str], answer_s: float
    ) -> Response | NoAnswer | None:
        """Return what a script answers; None = clients or an earlier request of ours wait.

        Raises as `look`.
        """
        queue = self._find_queue(self.target.address)
        if isinstance(queue, ListenQueue) and queue.waiting:
            return None
        if self._script is not None:  # a worker has taken it
            self._script.close()
        deadline_s = time.monotonic() + answer_s
        sent = open_request.send(self.target.address, path, "", deadline_s, more)
        self._script = None if isinstance(sent, NoAnswer) else sent
        answer = sent if isinstance(sent, NoAnswer) else sent.finish(deadline_s)
        if self._script is not None and not (isinstance(answer, NoAnswer) and answer.silent):
            self._script.close()
            self._script = None
        return answer

    def postpone(self) -> None:
        """Look again after the usual time: a shortage on our side hides the pool."""
        if isinstance(self._early, OpenRequest):
            self._early.close()
        self._early = None
        self.due_s = time.monotonic() + self._interval_s

    def fail(self, why: str) -> None:
        """Note that a look failed unexpectedly."""
        self.close()
        self.view = self._without(NoAnswer(why, silent=False))
        self.postpone()

    # -- what a look shows -------------------------------------------------------------------------

    def _judge(
        self, queue: ListenQueue | None, last: ListenQueue | None, own: Sequence[OpenRequest]
    ) -> PoolView:
        if queue is not None and queue.waiting > len(own):  # law 1
            quiet = self._with_numbers(replace(self.view, **_QUIET, is_old=True))
            if last is None or last.inode != queue.inode or not last.waiting:
                return self.view if self._pending else quiet
            if queue.moved_since(last):
                self._unanswered = 0
                return replace(quiet, up=True if self._asks else None, detail="")
            return replace(quiet, silent=True, detail=pool_life.QUEUED)
        if self._pending is not None:
            return self._read_late(self._pending, is_own_waiting=self._pending in own)
        if own:
            return self._without(_SILENT)
        if not self._asks:
            self._unanswered = 0
            return replace(self.view, **_QUIET, detail="")
        return self._ask()

    def _with_numbers(self, view: PoolView) -> PoolView:
        """Add the numbers that pm.status_listen reports: its worker is free."""
        path, where = self.target.status_path, self.target.status_address
        if not self._asks or path is None or where is None or self._pending is not None:
            return view
        answer = self._get(where, path, _QUERY)
        self._close_pending()
        found = self._numbers(answer) if isinstance(answer, Response) else None
        if found is None:
            return view
        return replace(view, numbers=found[0], states=found[1], is_old=False)

    def _read_late(self, pending: OpenRequest, *, is_own_waiting: bool) -> PoolView:
        """Look whether the open request has an answer now."""
        if is_own_waiting or not pending.has_answer:
            if is_own_waiting or time.monotonic() < self._ask_due_s:
                return self._without(_SILENT, is_new=False)
            self._close_pending()  # a worker took it, and does not answer; another one may
            return self._ask()
        answer = pending.finish(time.monotonic() + _LATE_S)
        if isinstance(answer, NoAnswer) and answer.silent and time.monotonic() < self._ask_due_s:
            return self._without(answer, is_new=False)  # a part of the answer is there
        self._close_pending()
        is_ping = pending.path == self.target.ping_path
        return self._take_ping(answer) if is_ping else self._take_status(answer)

    def _ask(self) -> PoolView:
        target, path = self.target, self.target.status_path
        # A worker that answers the status page proves as much as a ping, and a worker that has just
        # answered a ping would count as active.
        if target.ping_path and not target.status_takes_worker:
            view = self._take_ping(self._get(target.address, target.ping_path, ""))
            if not view.up or path is None:
                return view
        if path is None:
            return self.view
        return self._take_status(self._get(target.status_address or target.address, path, _QUERY))

    def _get(self, address: str, path: str, query: str) -> Response | NoAnswer:
        """Send a request; it stays open if its answer does not come in time (law 2)."""
        deadline_s = time.monotonic() + ANSWER_S  # also if `begin` sent it: other looks take time
        early, self._early = self._early, None
        sent = early or open_request.send(address, path, query, deadline_s)
        if isinstance(sent, NoAnswer):
            return sent
        self._pending = sent
        answer = sent.finish(deadline_s)
        if isinstance(answer, Response) or not answer.silent:
            self._close_pending()
        return answer

    def _take_ping(self, answer: Response | NoAnswer) -> PoolView:
        if isinstance(answer, NoAnswer):
            return self._without(answer)
        if answer.status != _OK or answer.body.strip() != self.target.ping_response:
            return self._without(_odd(self.target.ping_path, answer))
        return self._alive({}, {})

    def _take_status(self, answer: Response | NoAnswer) -> PoolView:
        if isinstance(answer, NoAnswer):
            return self._without(answer)
        found = self._numbers(answer)
        if found is None:
            return self._without(_odd(self.target.status_path, answer))
        return self._alive(*found, own=int(self.target.status_takes_worker))

    def _numbers(self, answer: Response) -> tuple[dict[str, float], dict[str, int]] | None:
        """Return numbers and states; None if it is not a status page. Notes the requests."""
        page = status_entries.split(answer.body) if answer.status == _OK else None
        found = parse(page)
        if page is not None and found is not None and self._reads_requests:
            self._requests = read_requests(self.target, page)
        return found

    def _alive(
        self, numbers: Mapping[str, float], states: Mapping[str, int], own: int = 0
    ) -> PoolView:
        """Return the state of a pool that answers; own: workers that only answer us."""
        self._unanswered = 0
        return replace(
            self._unseen,
            up=True,
            failures=self.view.failures,
            numbers=numbers,
            states=states,
            own_requests=own,
        )

    def _without(self, answer: NoAnswer, *, is_new: bool = True) -> PoolView:
        """Return the state of a pool that does not answer; `is_new`: this request.

        The first look at a silence proves nothing: a busy machine answers late.
        """
        self._unanswered += 1
        if is_new:  # else an open request would never be too old
            delay_s = self._interval_s * 2.0 ** min(self._unanswered, 8)
            self._ask_due_s = time.monotonic() + min(delay_s, max(SELDOM_S, self._interval_s))
        if answer.silent and self._unanswered == 1:
            return replace(self.view, silent=True, is_old=True)
        failed = self._asks and (self._unanswered == 2 or not answer.silent)
        return replace(
            self._unseen,
            up=False if self._asks else None,
            failures=self.view.failures + int(failed),
            silent=answer.silent,
            detail=answer.why,
        )


def _odd(path: str | None, answer: Response) -> NoAnswer:
    why = f"{path} answers with status {answer.status}, and not as php-fpm does"
    return NoAnswer(why, silent=False)
