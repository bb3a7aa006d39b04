"""What a look at a pool shows: the answer to one question, and its queue. Values only."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Outcome(Enum):
    """What the question showed."""

    ANSWERED = "answered"
    SILENT = "silent"  #: connected, in the queue or accepted, and no answer came in time
    QUEUE_FULL = "queue full"  #: no place in the queue until the deadline
    REFUSED = "refused"  #: nothing listens on the address
    NO_SOCKET = "no socket"  #: the path of the unix socket does not exist
    FORBIDDEN = "forbidden"  #: this user may not connect
    CLOSED = "closed"  #: php-fpm closed the connection without an answer
    NOT_FASTCGI = "not FastCGI"  #: another program answered
    UNUSABLE = "unusable"  #: the address cannot exist, or a name does not resolve


class Pong(NamedTuple):
    """The result of one question."""

    outcome: Outcome
    why: str = ""  #: one clause; empty if it answered

    @property
    def is_alive(self) -> bool:
        """Return whether php-fpm answered."""
        return self.outcome is Outcome.ANSWERED


class ProbeTarget(NamedTuple):
    """Where to ask a pool."""

    pool: str
    address: str  #: as configured
    ping_path: str | None = None
    is_restricted: bool = False  #: listen.allowed_clients is set: it may close our connection


class PoolProbe(NamedTuple):
    """The result of one look at a pool."""

    target: ProbeTarget
    looked_s: float  #: seconds
    pong: Pong | None = None  #: None = not asked, because clients waited in its queue
    moved: bool = False  #: the queue shows that a connection was accepted
    waited: bool = False  #: clients had to wait for a free worker
    waiting: int | None = None  #: clients in the queue at the end; None = unknown
    limit: int | None = None  #: the backlog
