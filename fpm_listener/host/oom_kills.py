"""An out-of-memory kill, as a value, and sizes of memory as text."""

from __future__ import annotations

from typing import NamedTuple

_MIB = 1 << 20


class OomKill(NamedTuple):
    """The kernel has killed processes because memory was short, in the cgroup of the process."""

    kills: int  #: since the last count before the exit
    where: str  #: the cgroup's path, or `this host`
    limit: int | None  #: bytes; None = only the memory of the host
    peak: int | None  #: bytes; None = unknown

    def __str__(self) -> str:
        limit = f"its limit is {mebibytes(self.limit)}" if self.limit else "it has no limit"
        peak = f", its peak was {mebibytes(self.peak)}" if self.peak else ""
        times = "once" if self.kills == 1 else f"{self.kills} times"
        return f"{self.where}: the kernel killed {times} because memory was short; {limit}{peak}"


def mebibytes(count: int) -> str:
    """Return `128 MiB`."""
    return f"{count / _MIB:.0f} MiB"
