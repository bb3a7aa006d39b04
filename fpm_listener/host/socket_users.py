"""Finds the processes that have a socket open, among those with a wanted title."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm_listener.host import procfs

if TYPE_CHECKING:
    from collections.abc import Callable


def socket_users(
    inode: int, is_wanted: Callable[[str], bool], proc: str = "/proc"
) -> list[tuple[str, str]] | None:
    """Return title and state of each process; None if one of them cannot be read.

    inode: of the socket. A zombie has nothing open.
    """
    found = []
    try:
        pids = procfs.pids(proc)
    except OSError:
        return None
    for pid in pids:
        title = procfs.title(pid, proc)
        if not is_wanted(title):
            continue
        has_it = procfs.has_socket(pid, [inode], proc)
        if has_it is None:
            return None
        stat = procfs.read_stat(pid, proc)
        if has_it and stat is not None and not stat.has_ended:
            found.append((title, stat.state))
    return found
