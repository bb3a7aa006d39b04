"""Who has a listen address: the words for it. Looking is done in `sockets.py`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from fpm_listener.values import assert_never


class HolderKind(Enum):
    """What a holder is to the program that wanted the address."""

    ORPHAN = "orphan"  #: a worker whose php-fpm master is gone
    MASTER = "master"  #: another running php-fpm
    OTHER = "other"  #: something else


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """One process that has the address; several workers of one master are one holder."""

    kind: HolderKind
    pid: int
    command: str  #: its command line, cut at 200 characters
    user: str | None  #: name, or number where it has no name
    master_pid: int | None = None  #: ORPHAN: of the dead master; MASTER: of the living one
    ours: bool = False  #: ORPHAN: the dead master was a former life of this very program
    others: tuple[int, ...] = ()  #: pids of its fellows that hold the same socket
    unit: str | None = None  #: systemd unit, such as php8.2-fpm.service
    container: str | None = None  #: id of the container it runs in, 12 characters
    started: int | None = None  #: ticks since boot: a pid alone proves nothing; None = not known

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


@dataclass(frozen=True, slots=True, kw_only=True)
class HolderReport:
    """The answer to the question who has an address."""

    address: str  #: as asked
    holders: tuple[Holder, ...]  #: empty: nobody has it now, or we could not see who
    blind: str | None = None  #: why we could not look, or not everywhere; None = we saw all

    def __str__(self) -> str:
        if self.holders:
            return "; ".join(str(holder) for holder in self.holders)
        return self.blind or "nobody has it now"
