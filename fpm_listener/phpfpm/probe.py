"""Looks at pools: whether they are alive, and whether clients wait.

Laws:
1. A pool whose queue is not empty is watched, not asked: our own question would wait there too, and
   stay in the queue after its end. So a dead pool gets one question of ours at most.
2. A queue that moves is a proof of life. Nothing accepted until the deadline is the proof of the
   opposite; a connection alone proves nothing, because the kernel makes it.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from fpm_listener.host import sock_diag
from fpm_listener.host.listen_queue import ListenQueue
from fpm_listener.phpfpm.ping import ping
from fpm_listener.phpfpm.pool_probe import Outcome, PoolProbe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fpm_listener.phpfpm.pool_probe import ProbeTarget

#: Seconds between two looks at a queue.
_LOOK_S = 0.02
#: Seconds after which an answer shows that no worker was free.
_SLOW_S = 0.5
#: Pools that are looked at at the same time.
_MOST_THREADS = 64


def probe_all(targets: Sequence[ProbeTarget], timeout_s: float) -> list[PoolProbe]:
    """Look at all pools at the same time; return the results in the order of `targets`.

    Raises OSError and RuntimeError if this process has no descriptor, memory or thread left.
    """
    if len(targets) == 1:
        return [probe(targets[0], timeout_s)]
    found: dict[int, PoolProbe] = {}
    errors: list[Exception] = []

    def look(index: int, target: ProbeTarget) -> None:
        try:
            found[index] = probe(target, timeout_s)
        except Exception as error:  # noqa: BLE001 - it is raised below
            errors.append(error)

    for first in range(0, len(targets), _MOST_THREADS):
        batch = range(first, min(first + _MOST_THREADS, len(targets)))
        threads = [
            threading.Thread(target=look, args=(at, targets[at]), daemon=True) for at in batch
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]
    return [found[index] for index in range(len(targets))]


def probe(target: ProbeTarget, timeout_s: float) -> PoolProbe:
    """Look at one pool for at most `timeout_s` seconds.

    Raises OSError if this process has no descriptor or memory left.
    """
    began_s = time.monotonic()
    deadline_s = began_s + timeout_s
    first = sock_diag.queue(target.address)
    if isinstance(first, ListenQueue) and first.waiting:
        watched = _watch(target, first, began_s, deadline_s)
        if watched is not None:
            return watched
    pong = ping(target.address, deadline_s, target.ping_path)
    if pong.outcome is Outcome.CLOSED and not target.is_restricted:
        # A restart of php-fpm closes what waits: only the next answer says something about it.
        pong = ping(target.address, deadline_s, target.ping_path)
    last = sock_diag.queue(target.address)
    looked_s = time.monotonic() - began_s
    known = last if isinstance(last, ListenQueue) else None
    return PoolProbe(
        target,
        looked_s,
        pong,
        waited=looked_s >= _SLOW_S,
        waiting=known.waiting if known else None,
        limit=known.limit if known else None,
    )


def _watch(
    target: ProbeTarget, first: ListenQueue, began_s: float, deadline_s: float
) -> PoolProbe | None:
    """Watch a queue until it moves, or until the deadline; None if there is none to watch.

    A php-fpm that was restarted has a new socket, in whose queue nobody may wait.
    """
    last = first
    moved = False
    while not moved and time.monotonic() < deadline_s:
        time.sleep(_LOOK_S)
        found = sock_diag.queue(target.address)
        if not isinstance(found, ListenQueue):
            return None
        moved = found.moved_since(last)
        if not moved and not found.waiting:
            return None
        last = found
    return PoolProbe(
        target,
        time.monotonic() - began_s,
        moved=moved,
        waited=last.waiting > 0,
        waiting=last.waiting,
        limit=last.limit,
    )
