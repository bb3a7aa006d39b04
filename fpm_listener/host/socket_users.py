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
    for pid, title in _titled(is_wanted, proc):
        has_it = procfs.has_socket(pid, [inode], proc)
        if has_it is None:
            return None
        found += _state(pid, title, proc) if has_it else []
    return found


def processes(is_wanted: Callable[[str], bool], proc: str = "/proc") -> list[tuple[str, str]]:
    """Return title and state of each process with such a title, whoever its user is."""
    return [one for pid, title in _titled(is_wanted, proc) for one in _state(pid, title, proc)]


def _titled(is_wanted: Callable[[str], bool], proc: str) -> list[tuple[int, str]]:
    try:
        titles = [(pid, procfs.title(pid, proc)) for pid in procfs.pids(proc)]
    except OSError:
        return []
    return [(pid, title) for pid, title in titles if is_wanted(title)]


def _state(pid: int, title: str, proc: str) -> list[tuple[str, str]]:
    stat = procfs.read_stat(pid, proc)
    return [(title, stat.state)] if stat is not None and not stat.has_ended else []
