"""Reads how a process ended from /proc while it is a zombie: before its parent has reaped it.

Law: an unproven 0 is not an answer. The kernel writes 0 into the field if the reader has no
permission, for example for a program that has changed its user.

Source: proc(5), fs/proc/array.c (do_task_stat), fs/proc/base.c (proc_pid_readlink).
"""

from __future__ import annotations

import os

from fpm_listener.host import procfs


def wait_status(pid: int, started: int, proc: str = "/proc") -> int | None:
    """Return the status that its parent is going to get from wait(2); None = unknown.

    started: the start of the process in ticks since boot; a pid is reused.
    """
    status = _status(pid, started, proc)
    if status != 0:
        return status
    # With permission there is no executable any more. The second look shows that the process was
    # still a zombie then: after its end the answer is the same, and proves nothing.
    return 0 if _has_no_executable(pid, proc) and _status(pid, started, proc) == 0 else None


def _status(pid: int, started: int, proc: str) -> int | None:
    stat = procfs.read_stat(pid, proc)
    is_zombie = stat is not None and stat.started == started and stat.state == "Z"
    return stat.wait_status if stat is not None and is_zombie else None


def _has_no_executable(pid: int, proc: str) -> bool:
    try:
        os.readlink(f"{proc}/{pid}/exe")  # noqa: PTH115 - a text, as in procfs
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False
