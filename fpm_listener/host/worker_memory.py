"""Reads the memory that a worker of php-fpm alone needs, now and at its peak.

Laws:
1. Memory that a worker shares with its master, such as OPcache, is not counted: it exists once.
2. Without the right to read smaps_rollup, the result is rather too large than too small. Root in a
   container often lacks CAP_SYS_PTRACE.

PSS answers another question: its part of a shared page shrinks with each worker more.
Source: proc_pid_status(5), proc_pid_smaps(5). Measured with php-fpm 8.2 and Linux 6.18: the sum of
this for all workers, and the anonymous memory of the master, was `rss` in memory.stat (cgroup v1).
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING

from fpm_listener import regular_file
from fpm_listener.host.memory_sizes import WorkerMemory

if TYPE_CHECKING:
    from collections.abc import Container

_LONGEST = 1 << 16
_LINE = re.compile(r"^(\w+):[ \t]+([0-9]{1,15}) kB$", re.MULTILINE | re.ASCII)
#: The part of the master's memory that a worker still shares with it: 0.93 in php-fpm 8.2.
_SHARED_PART = 0.75


def read(pid: int, master: int, proc: str = "/proc") -> WorkerMemory | None:
    """Return the memory of a worker. None: it is gone.

    The peak is too small if the shared memory of the worker grew after its peak.
    """
    status = _text(f"{proc}/{pid}/status")
    rollup = _text(f"{proc}/{pid}/smaps_rollup")
    return of_texts(status, rollup, "" if rollup else _text(f"{proc}/{master}/status"))


class WorkerReader:
    """Reads workers again and again; smaps_rollup, which is slow, only after a change."""

    def __init__(self, proc: str = "/proc") -> None:
        self._proc = proc
        self._known: dict[int, tuple[str, WorkerMemory]] = {}

    def read(self, pid: int, master: int) -> WorkerMemory | None:
        """Return the memory of a worker. None: it is gone."""
        status = _text(f"{self._proc}/{pid}/status")
        sizes = status[status.find("VmHWM") : status.find("VmData")]  # peak, resident and its parts
        known = self._known.get(pid)
        if known is not None and sizes and known[0] == sizes:
            return known[1]
        memory = read(pid, master, self._proc)
        if memory is not None:
            self._known[pid] = sizes, memory
        return memory

    def keep(self, pids: Container[int]) -> None:
        """Forget the workers that are gone."""
        self._known = {pid: known for pid, known in self._known.items() if pid in pids}


def resident(pid: int, proc: str = "/proc") -> int:
    """Return the bytes of a process that are in memory, also shared ones; 0 = unknown. Cheap."""
    with suppress(ValueError, IndexError):
        return int(_text(f"{proc}/{pid}/statm").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def of_texts(status: str, rollup: str, master: str) -> WorkerMemory | None:
    """Return the memory. status, rollup: of the worker; master: the status of the master."""
    sizes, shares = _sizes(status), _sizes(rollup)
    anonymous, peak = sizes.get("RssAnon"), sizes.get("VmHWM")
    if anonymous is None or peak is None:
        return None
    if "Private_Dirty" in shares:
        # From one file: the worker can free memory between the reads of two files.
        anonymous = shares.get("Anonymous", anonymous)
        now = min(anonymous, shares["Private_Dirty"])
        shared = anonymous - now
    else:
        shared = min(anonymous, int(_sizes(master).get("RssAnon", 0) * _SHARED_PART))
        now = anonymous - shared
    highest = peak - sizes.get("RssFile", 0) - sizes.get("RssShmem", 0) - shared
    return WorkerMemory(now, max(now, highest), shares.get("Pss"))


def _sizes(text: str) -> dict[str, int]:
    return {found[1]: int(found[2]) << 10 for found in _LINE.finditer(text)}


def _text(path: str) -> str:
    try:
        return regular_file.read(path, _LONGEST).decode("utf-8", "replace")
    except (OSError, ValueError):
        return ""
