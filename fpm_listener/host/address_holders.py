"""The processes that hold a listen address, as values; `holder_search` finds them.

The guard imports this after a conflict, so it uses named tuples: dataclasses cost 10 ms.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from fpm_listener.values import assert_never


class HolderKind(Enum):
    """What a holder is for the program that needs the address."""

    ORPHAN = "orphan"  #: a worker whose php-fpm master is gone
    MASTER = "master"  #: another running php-fpm
    OTHER = "other"  #: something else


class Holder(NamedTuple):
    """One process that has the address; several workers of one master are one holder."""

    kind: HolderKind
    pid: int
    command: str  #: its command line, cut at 200 characters
    user: str | None  #: name, or number of a user without a name
    master_pid: int | None = None  #: ORPHAN: of the dead master; MASTER: of the running one
    ours: bool = False  #: ORPHAN: this program itself has started the dead master
    others: tuple[int, ...] = ()  #: pids of the same group that hold the same socket
    unit: str | None = None  #: systemd unit, such as php8.2-fpm.service
    container: str | None = None  #: id of the container it runs in, 12 characters
    started: int | None = None  #: ticks since boot; None = unknown

    @property
    def pids(self) -> tuple[int, ...]:
        """Return all its processes."""
        return (self.pid, *self.others)

    def __str__(self) -> str:
        where = ""
        if self.unit:
            where += f", unit {self.unit}"
        if self.container:
            where += f", container {self.container}"
        fellows = f" and {len(self.others)} more" if self.others else ""
        match self.kind:
            case HolderKind.ORPHAN:
                what = f", orphan of the dead master {self.master_pid}"
            case HolderKind.MASTER:
                what = ", another running php-fpm"
            case HolderKind.OTHER:
                what = ""
            case _:
                assert_never(self.kind)
        user = f", user {self.user}" if self.user else ""
        return f"pid {self.pid}{fellows} ({self.command}{user}{what}{where})"


class HolderReport(NamedTuple):
    """The holders of one address."""

    address: str  #: as asked
    holders: tuple[Holder, ...]  #: empty: it is free now, or the holder is unknown
    blind: str | None = None  #: why holders can be missing; None = all were seen

    @property
    def pids(self) -> tuple[int, ...]:
        """Return the processes of all holders."""
        return tuple(pid for holder in self.holders for pid in holder.pids)

    def __str__(self) -> str:
        if self.holders:
            return "; ".join(str(holder) for holder in self.holders)
        return self.blind or "nobody has it now"
