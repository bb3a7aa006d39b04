"""Pools whose queue of clients becomes too long: all workers are busy.

A pool is saturated if its queue
- is more than half full in most looks of 30 s, or
- is not empty for 30 s, is more than two thirds full, still grows, and will be full within 60 s.

So a peak that ends soon is none. A queue that takes a minute from empty to full is found before.
ADR 039 has the measurements.
It ends when the queue is short for 30 s. If the queue is not visible any more, a free worker shows
that it is short. If nothing shows it for five minutes, it is unknown, and ends too.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fpm_listener.phpfpm.status_page import PoolView

USED_FOR_S = 30.0  #: seconds with clients in all looks
SEEN_FOR_S = 20.0  #: seconds of them in which there must be looks
MOST_LOOKS = 0.8  #: the part of them with a queue that is more than half full: others are chance
GROWS_S, WINDOW_S = 10.0, 60.0  #: seconds over which its growth is measured: both must be enough
FULL_WITHIN_S = 60.0
SHORT_FOR_S = 30.0  #: seconds with a short queue, until it is over
HIDDEN_FOR_S = 300.0  #: seconds in which nothing shows the queue any more, until it is over


class _Look(NamedTuple):
    at_s: float
    waiting: int


def _growth(first: _Look, last: _Look) -> float:
    """Return the clients by which it grows in a second."""
    return (last.waiting - first.waiting) / (last.at_s - first.at_s)


class PoolQueue:
    """The queue of one pool. All moments are monotonic seconds."""

    def __init__(self) -> None:
        self.line = ""  #: what is seen; empty = it is not saturated
        self._looks: deque[_Look] = deque()  # since it was empty, at most WINDOW_S
        self._short_since_s: float | None = None
        self._hidden_since_s: float | None = None  # while saturated
        self._waiting = 0  # when it became saturated

    @property
    def is_long(self) -> bool:
        """Return whether it is saturated, and the last look shows no short queue."""
        return bool(self.line) and self._short_since_s is None and self._hidden_since_s is None

    def take(self, now_s: float, view: PoolView) -> None:
        """Take a look at the queue; nothing is known without its length and limit."""
        waiting, limit = view.queue, view.queue_limit
        if waiting is None or not limit:
            if self.line:
                self._take_hidden(now_s, view)
            return
        self._hidden_since_s = None
        if not waiting:
            self._looks.clear()
        else:
            self._looks.append(_Look(now_s, waiting))
            while self._looks[0].at_s < now_s - WINDOW_S:
                self._looks.popleft()
        if self.line:
            self._end(now_s, waiting, limit)
        elif view.has_worker and (why := self._reason(now_s, waiting, limit)):
            self._waiting, self._short_since_s, self._hidden_since_s = waiting, None, None
            workers = f"; pm.max_children is {view.max_children}" if view.max_children else ""
            self.line = (
                f"seen: pool {view.pool}: {waiting} of {limit} places in its queue are used, "
                f"{why}{workers}"
            )

    def _reason(self, now_s: float, waiting: int, limit: int) -> str:
        """Return why it is saturated; empty = it is not."""
        if waiting * 2 <= limit or now_s - self._looks[0].at_s < USED_FOR_S:
            return ""
        recent = [one for one in self._looks if one.at_s >= now_s - USED_FOR_S]
        is_seen = now_s - recent[0].at_s >= SEEN_FOR_S  # else there was a gap in the looks
        most = sum(one.waiting * 2 > limit for one in recent) >= MOST_LOOKS * len(recent)
        if is_seen and most:
            return f"more than half for {USED_FOR_S:.0f} s"
        if waiting * 3 <= limit * 2:
            return ""
        before = next(one for one in reversed(self._looks) if one.at_s <= now_s - GROWS_S)
        still_grows = waiting >= self._looks[-2].waiting
        growth = min(_growth(self._looks[0], self._looks[-1]), _growth(before, self._looks[-1]))
        if still_grows and growth * FULL_WITHIN_S >= limit - waiting:
            return f"{before.waiting} were used {now_s - before.at_s:.0f} s ago"
        return ""

    def _take_hidden(self, now_s: float, view: PoolView) -> None:
        """Take a look that does not show the queue."""
        is_answer = view.up and not view.is_old and not view.silent
        # A worker that answers us has accepted all clients before us.
        if is_answer and (view.own_requests or view.numbers.get("idle_processes")):
            self._hidden_since_s = None
            self._end(now_s, 0, 1)
            return
        self._short_since_s = None
        self._hidden_since_s = now_s if self._hidden_since_s is None else self._hidden_since_s
        if now_s - self._hidden_since_s >= HIDDEN_FOR_S:
            self.line = ""

    def _end(self, now_s: float, waiting: int, limit: int) -> None:
        if waiting * 4 > limit or waiting * 2 > self._waiting:
            self._short_since_s = None
            return
        self._short_since_s = now_s if self._short_since_s is None else self._short_since_s
        if now_s - self._short_since_s >= SHORT_FOR_S:
            self.line = ""


class Saturation:
    """The queues of one process."""

    def __init__(self) -> None:
        self.line = ""  #: what is seen; empty = no pool is saturated
        self.ended_at_s = float("-inf")  #: after it was saturated
        self.pools: tuple[str, ...] = ()  #: that were saturated last
        self._queues: dict[str, PoolQueue] = {}

    def take(self, now_s: float, pools: Sequence[PoolView]) -> None:
        """Take a look at the queues of all pools."""
        self._queues = {pool.pool: self._queues.get(pool.pool) or PoolQueue() for pool in pools}
        for pool in pools:
            self._queues[pool.pool].take(now_s, pool)
        self._set_line(now_s, (queue.line for queue in self._queues.values()))
        if self.line:
            self.pools = tuple(name for name, queue in self._queues.items() if queue.line)

    def marked(self, pools: Sequence[PoolView]) -> tuple[PoolView, ...]:
        """Return the pools, and whether too many clients wait for each."""
        return tuple(
            replace(one, too_many_wait=True)
            if (queue := self._queues.get(one.pool)) and queue.is_long
            else one
            for one in pools
        )

    def clear(self, now_s: float) -> None:
        """Forget the queues: the process has ended, or nobody looks any more."""
        self._queues = {}
        self._set_line(now_s, ())

    def _set_line(self, now_s: float, lines: Iterable[str]) -> None:
        before, self.line = self.line, next((line for line in lines if line), "")
        if before and not self.line:
            self.ended_at_s = now_s
