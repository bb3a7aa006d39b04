"""Reads how much memory a process may use, and how much is in use: of its cgroups and of the host.

Laws:
1. Each visible ancestor counts: a process may use what the tightest of them has left.
2. A cgroup that exists and is not visible makes the limit unknown (None), and is not a guess.
3. Memory that the kernel can free for others, such as the cache of files, is not in use.
4. Nothing here needs root.

Source: the kernel's cgroup-v2.rst (memory.max, .high, .current, .stat), cgroup-v1/memory.rst
(memory.limit_in_bytes, memory.usage_in_bytes, memory.stat) and proc_meminfo(5).
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from fpm_listener import regular_file
from fpm_listener.host import memory_cgroups
from fpm_listener.host.memory_sizes import MemoryLimit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm_listener.host.memory_cgroups import MemoryCgroup

#: From here on, a limit of cgroup v1 means `no limit`.
UNLIMITED = 1 << 60
#: What the host is called in `where`.
HOST = "this host"

_LONGEST = 1 << 20
#: Files of v1 and v2: the limits, of which the lowest counts, and the memory in use.
_LIMITS = {1: ("memory.limit_in_bytes",), 2: ("memory.max", "memory.high")}
_IN_USE = {1: "memory.usage_in_bytes", 2: "memory.current"}
#: Lines of memory.stat with memory that the kernel can free; those of v1 include descendants.
_FREED = {
    1: ("total_inactive_file", "total_active_file"),
    2: ("inactive_file", "active_file", "slab_reclaimable"),
}
_PAIR = re.compile(r"^(\w+(?:\(\w+\))?):?[ \t]+([0-9]{1,19})\b", re.MULTILINE | re.ASCII)


def read(pid: int | str = "self", root: str = "/") -> MemoryLimit | None:
    """Return the tightest limit of a process: the one with the least free memory. None = unknown.

    root: the directory with /proc and /sys.
    """
    return tightest(read_all(pid, root))


def read_all(pid: int | str = "self", root: str = "/") -> list[MemoryLimit]:
    """Return the limits of a process: of its cgroups and the host; none if they are unknown."""
    base = root.rstrip("/")
    cgroup, own = _text(f"{base}/proc/{pid}/cgroup"), _text(f"{base}/proc/self/cgroup")
    places = memory_cgroups.places(
        cgroup, _text(f"{base}/proc/self/mountinfo"), is_first_namespace=_is_first(base)
    )
    if places.is_hidden or (own and not cgroup):  # it is gone, or not readable
        return []
    found = [_of_way(way, base) for way in places.ways if _is_cgroup(way[0], base)]
    if places.ways and not found:
        return []
    host = of_host(_text(f"{base}/proc/meminfo"))
    limits = found[0] if found else []
    return limits if host is None else [*limits, host]


def tightest(limits: list[MemoryLimit]) -> MemoryLimit | None:
    """Return the limit with the least free memory; without usage, the lowest one."""
    return min(limits, key=lambda one: one.limit if one.free is None else one.free, default=None)


def of_host(meminfo: str) -> MemoryLimit | None:
    """Return the memory of the host, from /proc/meminfo."""
    numbers = pairs(meminfo)
    total, available = numbers.get("MemTotal"), numbers.get("MemAvailable")
    if not total:
        return None
    used = None if available is None else max(0, total - available) * 1024
    return MemoryLimit(HOST, total * 1024, used)


def of_cgroup(version: int, where: str, files: Mapping[str, str]) -> MemoryLimit | None:
    """Return the limit of one cgroup; None = it has none. files: their texts, by name."""
    numbers = [number(files.get(name, "")) for name in _LIMITS[version]]
    stat = pairs(files.get("memory.stat", ""))
    # An ancestor that is not visible in a container may have a lower limit. v1 tells it.
    numbers.append(stat.get("hierarchical_memory_limit"))
    limits = [one for one in numbers if one is not None and one < UNLIMITED]
    if not limits:
        return None
    in_use = number(files.get(_IN_USE[version], ""))
    freed = sum(stat.get(name, 0) for name in _FREED[version])
    used = None if in_use is None or not stat else max(0, in_use - freed)
    return MemoryLimit(where, min(limits), used)


def number(text: str) -> int | None:
    """Return the number of a file of one line; None = `max`, or no number."""
    return int(text) if re.fullmatch(r"[0-9]{1,19}\n?", text, re.ASCII) else None


def pairs(text: str) -> dict[str, int]:
    """Return the numbers of memory.stat or meminfo, by name, in the unit of the file."""
    return {found[1]: int(found[2]) for found in _PAIR.finditer(text)}


def _of_way(way: tuple[MemoryCgroup, ...], base: str) -> list[MemoryLimit]:
    """Return the limits of a cgroup and its ancestors."""
    found = []
    for place in way:
        names = (*_LIMITS[place.version], _IN_USE[place.version], "memory.stat")
        files = {name: _text(f"{base}{place.folder}/{name}") for name in names}
        limit = of_cgroup(place.version, place.where, files)
        if limit is not None:
            found.append(limit)
    return found


def _is_cgroup(place: MemoryCgroup, base: str) -> bool:
    return os.path.exists(f"{base}{place.folder}/cgroup.procs")  # noqa: PTH110 - a text


def _is_first(base: str) -> bool:
    try:
        return os.readlink(f"{base}/proc/self/ns/cgroup") == memory_cgroups.FIRST_NAMESPACE  # noqa: PTH115 - a text
    except OSError:
        return False


def _text(path: str) -> str:
    try:
        return regular_file.read(path, _LONGEST).decode("utf-8", "replace")
    except (OSError, ValueError):
        return ""
