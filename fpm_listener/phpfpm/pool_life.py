"""Whether the processes of a pool can accept a connection, from their states.

Law: a worker that is not stopped may be busy with a long request. So it is never a proof that the
pool is dead.

Source: proc(5), states T (stopped by a signal) and t (stopped by a debugger).
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.host import fpm_titles

if TYPE_CHECKING:
    from collections.abc import Collection

_STOPPED = frozenset({"T", "t"})
#: What is seen if a queue does not move.
QUEUED = "clients wait in its queue, and no worker accepts them"


class Life(Enum):
    """What the processes of a silent pool show."""

    STOPPED = "stopped"  #: each worker is stopped, or there is none and the master is stopped
    NO_WORKERS = "no workers"  #: the master runs, and it has started no worker
    ALIVE = "alive"  #: a worker runs: it can be busy
    UNKNOWN = "unknown"

    @property
    def is_dead(self) -> bool:
        """Return whether it is a proof that nobody accepts a connection."""
        return self in {Life.STOPPED, Life.NO_WORKERS}


class SocketUser(NamedTuple):
    """A process that has the listening socket of a pool open."""

    title: str
    state: str  #: one letter, as in proc(5)


def judge(users: Collection[SocketUser]) -> Life:
    """Return what the processes show; empty = none is visible."""
    workers = [one.state for one in users if one.title.startswith(fpm_titles.WORKER)]
    masters = [one.state for one in users if one.title.startswith(fpm_titles.MASTER)]
    if workers:
        return Life.STOPPED if _STOPPED.issuperset(workers) else Life.ALIVE
    if masters:
        return Life.STOPPED if _STOPPED.issuperset(masters) else Life.NO_WORKERS
    return Life.UNKNOWN
