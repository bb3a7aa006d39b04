"""Reads the numbers of a pool from php-fpm's status page.

Laws:
1. Data of requests (URIs, scripts, users) is never read here; see `worker_requests`.
2. Old versions write lists of processes that are not JSON (quotes in URIs). Then the states of the
   workers are unknown, and the pool's numbers are read.

Source: `pm.status_path?json&full` of php-fpm 8.2; sapi/fpm/fpm/fpm_status.c of 7.4 to 8.4.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.phpfpm.pool_capacity import NOTHING, Capacity
from fpm_listener.phpfpm.pool_life import Life

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fpm_listener.phpfpm.status_entries import StatusPage

#: Keys of the numbers in the JSON, with their names in exporters.
NUMBERS = {
    "start since": "start_since",
    "accepted conn": "accepted_connections",
    "listen queue": "listen_queue",
    "max listen queue": "max_listen_queue",
    "listen queue len": "listen_queue_length",
    "idle processes": "idle_processes",
    "active processes": "active_processes",
    "total processes": "total_processes",
    "max active processes": "max_active_processes",
    "max children reached": "max_children_reached",
    "slow requests": "slow_requests",
    "memory peak": "memory_peak",  # from 8.4 on
}

#: States of a worker, in php-fpm's words (fpm_request.c).
STATES = {
    "Creating": "creating",
    "Idle": "idle",
    "Reading headers": "reading_headers",
    "Getting request informations": "getting_request_information",
    "Getting request information": "getting_request_information",
    "Running": "running",
    "Ending": "ending",
    "Finishing": "finishing",
}

#: No number of php-fpm is larger; an integer in JSON can exceed a float.
_LARGEST = 1 << 64


class PoolTarget(NamedTuple):
    """Where a pool listens, and where it answers status requests."""

    pool: str
    address: str  #: as configured
    status_path: str | None = None
    status_address: str | None = None  #: pm.status_listen: it answers if all workers are busy
    ping_path: str | None = None
    ping_response: str = "pong"
    max_children: int | None = None  #: pm.max_children; None = unknown
    process_max: int = 0  #: process.max of its php-fpm; 0 = no limit
    chroot: str | None = None
    config: str = ""  #: path of the main file of its php-fpm

    @property
    def status_takes_worker(self) -> bool:
        """Return whether a worker of the pool answers our status request."""
        return bool(self.status_path and not self.status_address)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolView:
    """The state of one pool."""

    pool: str
    up: bool | None  #: it has answered the last request; None = it was not asked
    failures: int = 0  #: requests without an answer since the start of the listener
    numbers: Mapping[str, float] = field(default_factory=dict)  #: by NUMBERS' names
    states: Mapping[str, int] = field(default_factory=dict)  #: workers by STATES' names
    silent: bool = False  #: a connection waits for its acceptance or answer, so far without one
    life: Life = Life.UNKNOWN  #: what the processes of a silent pool show
    detail: str = ""  #: why there was no answer
    #: Connections that wait to be accepted, and the most of them (the backlog), from the kernel;
    #: None = not visible. php-fpm itself reports 0 for unix sockets.
    waiting: int | None = None
    limit: int | None = None

    max_children: int | None = None  #: pm.max_children; None = unknown
    process_max: int = 0  #: process.max of its php-fpm; 0 = no limit
    own_requests: int = 0  #: active workers that only answered us
    is_old: bool = False  #: `numbers` and `states` are of an earlier answer
    running: int | None = None  #: workers, if clients wait for longer: all of them are busy
    capacity: Capacity = NOTHING
    too_many_wait: bool = False  #: its queue is a problem: see incidents/saturation.py

    @property
    def busy(self) -> int | None:
        """Return how many workers serve other requests; None if unknown."""
        if self.is_old:
            return self.running
        active = self.numbers.get("active_processes")
        return None if active is None else max(0, int(active) - self.own_requests)

    @property
    def has_worker(self) -> bool:
        """Return whether a worker is known: it accepts connections, or it is visible.

        A held socket has a queue before php-fpm starts, while the guard still waits.
        """
        return not self.silent or self.life is Life.ALIVE

    @property
    def queue(self) -> int | None:
        """Return how many connections wait to be accepted; None = unknown.

        php-fpm itself reports 0 of 0 for each unix socket.
        """
        if self.waiting is not None:
            return self.waiting
        waiting = self.numbers.get("listen_queue")
        is_known = waiting or self.numbers.get("listen_queue_length")
        return int(waiting) if waiting is not None and is_known else None

    @property
    def queue_limit(self) -> int | None:
        """Return the most connections that can wait to be accepted; None = unknown."""
        limit = self.numbers.get("listen_queue_length") or None
        return int(limit) if self.limit is None and limit else self.limit

    @property
    def saturated(self) -> bool:
        """Return whether too many clients wait, or nearly all of the most workers are busy.

        A client that waits now proves nothing: idle workers accept it in a moment.
        A pool starts workers up to pm.max_children, so a pool without idle workers is not full.
        While a worker answers us, only the others can be busy: in a pool of four or more that
        counts as nearly all. The rule FpmPoolSaturated of monitoring/rules.yml is the same.
        """
        if self.too_many_wait:
            return True
        busy, most = self.busy, self.max_children
        if busy is None or most is None:
            return False
        return busy * 10 > most * 9 or (busy * 4 >= most * 3 and busy >= most - 1)


def unseen(target: PoolTarget) -> PoolView:
    """Return the state of a pool before the first look."""
    return PoolView(
        pool=target.pool,
        up=None,
        max_children=target.max_children,
        process_max=target.process_max,
    )


def started_again(before: Iterable[PoolView], after: Iterable[PoolView]) -> bool:
    """Return whether php-fpm has started or reloaded in between, as its own numbers show."""
    began = {one.pool: one.numbers.get("start_since") for one in before}
    return any(
        (past := began.get(one.pool)) is not None and one.numbers.get("start_since", past) < past
        for one in after
    )


def parse(page: StatusPage | None) -> tuple[dict[str, float], dict[str, int]] | None:
    """Return the numbers and the states of the workers; None if it is not a status page."""
    if page is None or "accepted conn" not in page.pool:
        return None
    numbers = {
        name: float(value)
        for key, name in NUMBERS.items()
        if type(value := page.pool.get(key)) is int and 0 <= value <= _LARGEST  # and no bool
    }
    return numbers, _states(page) if page.is_whole else {}


def _states(page: StatusPage) -> dict[str, int]:
    counts = dict.fromkeys(STATES.values(), 0)
    for worker in page.workers:
        word = worker.get("state")
        state = STATES.get(word) if isinstance(word, str) else None
        if state is not None:
            counts[state] += 1
    return counts
