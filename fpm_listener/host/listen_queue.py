"""The queue of one listening socket, as `sock_diag` reads it, or the reason why it is unknown."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Obstacle(Enum):
    """Why a queue cannot be read."""

    FORBIDDEN = "forbidden"  #: a security policy, such as seccomp
    UNSUPPORTED = "unsupported"  #: the kernel or the sandbox has no sock_diag
    NOT_VISIBLE = "not visible"  #: nothing listens there in this network namespace
    FAILED = "failed"  #: the kernel's answer cannot be read


class NoQueue(NamedTuple):
    """The reason why there are no numbers."""

    obstacle: Obstacle
    why: str  #: one clause


class ListenQueue(NamedTuple):
    """The queue of one listening socket."""

    waiting: int  #: connections that were not accepted yet
    limit: int  #: the backlog
    inode: int  #: of the socket; another one is another socket
    #: Connections that wait: of a unix socket in their order, with 0 for a closed client.
    clients: tuple[object, ...] | None = None  #: None = unknown
    #: TCP: connections that were accepted; only read while a client waits, because the kernel
    #: walks through all connections of the machine.
    served: frozenset[object] = frozenset()
    again: bytes = b""  #: the question about this socket alone; empty = there is none

    @property
    def is_full(self) -> bool:
        """Return whether the next client is refused, or waits outside the queue."""
        return self.waiting > self.limit or (self.waiting == self.limit and self.waiting > 0)

    def moved_since(self, before: ListenQueue) -> bool:
        """Return whether a connection that waited was certainly accepted between two looks."""
        if self.inode != before.inode or not before.waiting:
            return False
        if self.waiting < before.waiting or self.served - before.served:
            return True
        if before.clients is None or self.clients is None or self.served or before.served:
            return False
        pairs = zip(before.clients, self.clients, strict=False)
        return any(new not in {old, 0} for old, new in pairs)
