"""The former masters of one program: the proof that an orphan is our own.

Laws:
1. A worker is our orphan where its process group is that of a master which this very program's
   guard has recorded, that master is gone, the worker came after it, and it runs the same php-fpm;
   by its title, where we may not look at its file. Its socket is the caller's to look at.
2. What was proven is proven again through the descriptor that is signalled, so that a pid that was
   given away meanwhile is never hit.
3. The record is of this boot: pids of another one mean nothing. A kernel gives no pid away while a
   process group has its number.
"""

from __future__ import annotations

import os

from fpm_listener import procfs

TYPE_CHECKING = False  # `typing` itself would cost the guard milliseconds
if TYPE_CHECKING:
    from collections.abc import Iterable

#: Masters that are remembered for one program.
_KEPT = 32
_FOLDER = "masters"
_WORKER = "php-fpm: pool "


class Master:
    """One life of a program, recorded by its guard."""

    def __init__(self, pid: int, started: int) -> None:
        """`started`: ticks since boot."""
        self.pid, self.started = pid, started


class Record:
    """The file with the masters of one process of supervisord's."""

    def __init__(self, state_dir: str, name: str) -> None:
        """`name`: `group:process`."""
        self._folder = f"{state_dir}/{_FOLDER}"
        self._path = f"{self._folder}/{name.replace('%', '%25').replace('/', '%2F')}"

    def read(self) -> tuple[Master, ...]:
        """Return the masters of this boot, oldest first; () where nothing is recorded."""
        try:
            with open(self._path, encoding="utf-8") as file:  # noqa: PTH123 - pathlib costs the guard milliseconds
                boot, *lines = file.read().splitlines()
            if boot != procfs.boot_id():
                return ()
            pairs = (line.split(" ", 1) for line in lines)
            return tuple(Master(int(pid), int(started)) for pid, started in pairs)
        except (OSError, ValueError, TypeError):
            return ()

    def add_self(self) -> None:
        """Record this process, which is about to become the master. Raises OSError."""
        own = procfs.read_stat("self")
        if own is None:
            raise OSError(0, "/proc cannot be read")
        known = [master for master in self.read() if master.pid != own.pid]
        masters = [*known, Master(own.pid, own.started)][-_KEPT:]
        os.makedirs(self._folder, mode=0o700, exist_ok=True)  # noqa: PTH103 - as above
        fresh = f"{self._path}.{own.pid}"
        lines = [procfs.boot_id(), *(f"{master.pid} {master.started}" for master in masters)]
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write("\n".join(lines))
        os.replace(fresh, self._path)  # noqa: PTH105 - as above


def alive(master: Master) -> bool:
    """Return whether this very master lives."""
    found = procfs.read_stat(master.pid)
    return found is not None and found.started == master.started and not found.has_ended


def have_left_somebody(masters: Iterable[Master]) -> bool:
    """Return whether a process is left of a group that one of them led, though it is gone."""
    return any(_has_group(master.pid) and not alive(master) for master in masters)


def orphans(masters: Iterable[Master], binary: str) -> tuple[int, ...]:
    """Return the workers that these masters have left, if they are gone; cheap where none are.

    binary: the real path of php-fpm.
    """
    groups = {master.pid: master for master in masters if _has_group(master.pid)}
    groups = {pid: master for pid, master in groups.items() if not alive(master)}
    if not groups:
        return ()
    return tuple(pid for pid in procfs.pids() if _is_orphan(pid, groups, binary))


def _has_group(pid: int) -> bool:
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _is_orphan(pid: int, groups: dict[int, Master], binary: str) -> bool:
    found = procfs.read_stat(pid)
    if found is None or found.has_ended or found.pgid not in groups:
        return False
    master = groups[found.pgid]
    if pid == master.pid or found.started < master.started:
        return False  # the number was given away: whose group this is, we do not know
    # Where the number leads a process, it lives, or was given to another whose workers these are.
    if procfs.read_stat(master.pid) is not None:
        return False
    runs = procfs.executable(pid)
    return runs == binary or (runs is None and procfs.title(pid).startswith(_WORKER))


def tell(pid: int, number: int, masters: Iterable[Master], binary: str) -> bool:
    """Signal an orphan, proven once more; return whether it could be told."""
    groups = {master.pid: master for master in masters}
    try:
        descriptor = procfs.open_pidfd(pid)
    except ProcessLookupError:
        return False
    try:
        if not _is_orphan(pid, groups, binary):
            return False
        if descriptor is not None:
            import signal  # noqa: PLC0415 - a start without orphans needs none

            signal.pidfd_send_signal(descriptor, number)
        else:
            os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    finally:
        if descriptor is not None:
            os.close(descriptor)
    return True
