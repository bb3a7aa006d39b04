"""A limit of memory, and the memory of a worker, as values."""

from __future__ import annotations

from typing import NamedTuple


class MemoryLimit(NamedTuple):
    """The memory that a process and its neighbours may use together."""

    where: str  #: the path of the cgroup, or `this host`
    limit: int  #: bytes
    used: int | None  #: bytes that the kernel cannot free; None = unknown

    @property
    def free(self) -> int | None:
        """Return the bytes that are left; None = unknown."""
        return None if self.used is None else max(0, self.limit - self.used)


class WorkerMemory(NamedTuple):
    """The memory that one worker alone needs, in bytes."""

    now: int  #: its end would free so much
    peak: int  #: the largest since its start; at least `now`
    pss: int | None = None  #: None = not readable
