"""The children of supervisord in /proc: for pids that no event contains, or if XML-RPC fails.

Laws:
1. A child counts only if supervisord itself started it: it leads its process group, and is in the
   session of supervisord. In a container supervisord is pid 1 and adopts foreign processes.
2. Nothing is read of a process that supervisord did not start.
"""

from __future__ import annotations

import os
import time

from fpm_listener.host import procfs
from fpm_listener.supervisor.process import Child, ProcessName

_GROUP, _PROCESS = b"SUPERVISOR_GROUP_NAME", b"SUPERVISOR_PROCESS_NAME"
#: The most parents that are examined: a shell can be between supervisord and the listener.
_PARENTS = 8


def look(proc: str = "/proc") -> tuple[Child, ...] | None:
    """Return the children of the supervisord that started us; None if /proc hides them."""
    supervisord = parent(proc)
    if supervisord is None:
        return None
    try:
        pids = procfs.children(supervisord.pid, proc)
    except OSError:
        return None
    outer_name = name_of(supervisord.pid, proc)
    booted_s = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    ticks = os.sysconf("SC_CLK_TCK")
    found = []
    for pid in pids:
        stat = procfs.read_stat(pid, proc)
        if (
            stat is not None
            and stat.ppid == supervisord.pid
            and stat.pgid == stat.pid
            and stat.session == supervisord.session
            and not stat.has_ended
        ):
            started_at_s = booted_s + stat.started / ticks
            name = name_of(pid, proc)
            # Before its exec, the child of a supervisord within another one has the outer name.
            name = None if name == outer_name else name
            found.append(Child(pid, name, procfs.title(pid, proc), started_at_s))
    return tuple(found)


def is_child(stat: procfs.ProcessStat, process: ProcessName, supervisord: int) -> bool:
    """Return whether a process is proven to be that child of supervisord.

    supervisord: its pid. Only a readable environment can refute the name.
    """
    own = name_of(stat.pid)
    return stat.ppid == supervisord and own in {None, process, name_of(supervisord)}


def name_of(pid: int | str, proc: str = "/proc") -> ProcessName | None:
    """Return the name that supervisord gave to a process; None if it is unknown.

    php-fpm overwrites its environment with its title, and those of other users are unreadable.
    """
    try:
        with open(f"{proc}/{pid}/environ", "rb") as file:  # noqa: PTH123 - as procfs does
            pairs = (word.partition(b"=") for word in file.read().split(b"\0"))
    except OSError:
        return None
    words = {name: value.decode("utf-8", "replace") for name, _, value in pairs}
    group, process = words.get(_GROUP), words.get(_PROCESS)
    return ProcessName(group, process) if group and process else None


def parent(proc: str = "/proc") -> procfs.ProcessStat | None:
    """Return the supervisord that started us: the nearest parent without our own process name."""
    own = name_of("self", proc)
    stat = procfs.read_stat("self", proc)
    for _ in range(_PARENTS):
        if own is None or stat is None or stat.ppid == 0:
            return None
        stat = procfs.read_stat(stat.ppid, proc)
        if stat is not None and name_of(stat.pid, proc) != own:
            return stat
    return None
