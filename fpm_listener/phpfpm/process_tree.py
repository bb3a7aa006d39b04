"""Finds the masters of php-fpm below a supervisord, and their workers, in /proc.

Law: a name of a process proves nothing. Only descendants of supervisord count.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from fpm_listener.host import fpm_titles, procfs

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Processes between supervisord and php-fpm: a guard or a shell.
_DEEPEST = 3


def masters(
    supervisord: int, proc: str = "/proc", depth: int = _DEEPEST
) -> Iterator[tuple[int, str]]:
    """Return the pid of each master, and the real path of its configuration."""
    for pid in _children(supervisord, proc):
        config = fpm_titles.config_of(procfs.title(pid, proc))
        if config is not None:
            yield pid, _real_path(pid, config, proc)
        elif depth > 1:
            yield from masters(pid, proc, depth - 1)


def workers(master: int, proc: str = "/proc") -> dict[str, list[int]]:
    """Return the pids of the workers of each pool."""
    found: dict[str, list[int]] = {}
    for pid in _children(master, proc):
        pool = fpm_titles.pool_of(procfs.title(pid, proc))
        if pool is not None:
            found.setdefault(pool, []).append(pid)
    return found


def _real_path(master: int, path: str, proc: str) -> str:
    """Return the path of a configuration as the master sees it, without symlinks."""
    folder = Path("/")
    with suppress(OSError):
        folder = Path(f"{proc}/{master}/cwd").readlink()
    return os.path.realpath(folder / path)


def _children(pid: int, proc: str) -> list[int]:
    with suppress(OSError, ValueError):
        return procfs.children(pid, proc) if pid > 0 else []
    return []
