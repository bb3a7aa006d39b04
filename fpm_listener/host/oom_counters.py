"""Counts kills by the kernel's out-of-memory killer in the cgroup of supervisord.

Laws:
1. The cgroup is that of supervisord: its programs stay in it, or in one below it.
2. A count proves nothing. Only its growth since shortly before an exit counts.
3. An unreadable file counts as missing; nothing here needs root.

Source: the kernel's Documentation/admin-guide/cgroup-v2.rst (memory.events, .max, .peak) and
cgroup-v1/memory.rst (memory.oom_control, whose oom_kill is there since 4.13); proc(5), vmstat.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.host import memory_cgroups
from fpm_listener.host.oom_kills import OomKill

if TYPE_CHECKING:
    from fpm_listener.host.memory_cgroups import MemoryCgroup

#: Above this, a limit of cgroup v1 means `no limit`.
_UNLIMITED = 1 << 60
#: Counts that are kept: one each half minute, for ten minutes.
_KEPT = 20


class _Counter(NamedTuple):
    """The file with the count of kills, and related files."""

    where: str  #: for people
    file: Path
    limits: tuple[Path, ...]  #: the lowest one counts
    peak: Path | None


class OomKills:
    """Used by one thread."""

    def __init__(self, pid: int, root: str = "/") -> None:
        """`pid`: of supervisord; `root`: the directory with /proc and /sys."""
        self._root = Path(root)
        self._counter = self._find(pid)
        self._looks: deque[tuple[float, int]] = deque(maxlen=_KEPT)

    @property
    def visible(self) -> bool:
        """Return whether kills are counted here."""
        return self._counter is not None

    def look(self, now_s: float) -> int | None:
        """Record and return the present count; None = unavailable."""
        count = self._count()
        if count is not None:
            self._looks.append((now_s, count))
        return count

    def since(self, at_s: float, now_s: float) -> OomKill | None:
        """Return the kills since the last count before `at_s`; None = none."""
        before = [count for looked_s, count in self._looks if looked_s < at_s]
        count = self.look(now_s)
        counter = self._counter
        if counter is None or count is None or not before or count <= before[-1]:
            return None
        limits = [limit for path in counter.limits if (limit := _number(path)) is not None]
        return OomKill(
            kills=count - before[-1],
            where=counter.where,
            limit=min((limit for limit in limits if limit < _UNLIMITED), default=None),
            peak=_number(counter.peak) if counter.peak else None,
        )

    def _count(self) -> int | None:
        counter = self._counter
        if counter is None:
            return None
        with suppress(OSError, ValueError):
            for line in counter.file.read_text(encoding="utf-8").split("\n"):
                name, _, value = line.partition(" ")
                if name == "oom_kill":
                    return int(value)
        return None

    def _find(self, pid: int) -> _Counter | None:
        for way in self._ways(pid):
            folders = [self._root / place.folder.lstrip("/") for place in way]
            for events, limit, peak in (
                ("memory.events", "memory.max", "memory.peak"),
                ("memory.oom_control", "memory.limit_in_bytes", "memory.max_usage_in_bytes"),
            ):
                if _is_file(folders[0] / events):
                    limits = tuple(one / limit for one in folders if _is_file(one / limit))
                    return _Counter(way[0].where, folders[0] / events, limits, folders[0] / peak)
        vmstat = self._root / "proc/vmstat"
        return _Counter("this host", vmstat, (), None) if vmstat.is_file() else None

    def _ways(self, pid: int) -> tuple[tuple[MemoryCgroup, ...], ...]:
        """Return the memory cgroup of the process and its ancestors, in each mount."""
        try:
            cgroup = (self._root / f"proc/{pid}/cgroup").read_text(encoding="utf-8")
            # Our own: we are its child, and reading those of others needs rights.
            mounts = (self._root / "proc/self/mountinfo").read_text(encoding="utf-8")
        except (OSError, ValueError):
            return ()
        return memory_cgroups.places(cgroup, mounts, is_first_namespace=False).ways


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # the path is too long, or not accessible
        return False


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # `max`, among others
        return None
