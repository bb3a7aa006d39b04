"""The children of supervisord in /proc, for use when XML-RPC fails.

Laws:
1. A child counts only if supervisord itself started it: it leads its process group, and is in the
   session of supervisord. In a container supervisord is pid 1 and adopts foreign processes.
2. Nothing is read of a process that supervisord did not start.
"""

from __future__ import annotations

import os
import time

from fpm_listener.host import procfs
from fpm_listener.monitor.messages import Child
from fpm_listener.supervisor.process import ProcessName

_GROUP, _PROCESS = b"SUPERVISOR_GROUP_NAME", b"SUPERVISOR_PROCESS_NAME"
#: The most parents that are examined: a shell can be between supervisord and the listener.
_PARENTS = 8


def look(proc: str = "/proc") -> tuple[Child, ...] | None:
    """Return the children of the supervisord that started us; None if /proc hides them."""
    supervisord = _supervisord(proc)
    if supervisord is None:
        return None
    try:
        pids = procfs.pids(proc)
    except OSError:
        return None
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
            found.append(Child(pid, name_of(pid, proc), procfs.title(pid, proc), started_at_s))
    return tuple(found)


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


def _supervisord(proc: str) -> procfs.ProcessStat | None:
    """Return the nearest parent that does not have our own process name."""
    own = name_of("self", proc)
    stat = procfs.read_stat("self", proc)
    for _ in range(_PARENTS):
        if own is None or stat is None or stat.ppid == 0:
            return None
        stat = procfs.read_stat(stat.ppid, proc)
        if stat is not None and name_of(stat.pid, proc) != own:
            return stat
    return None
