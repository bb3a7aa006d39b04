"""The former masters of one program: the proof that an orphan is our own.

Laws:
1. A worker is our orphan where its process group is that of a master which this very program's
   guard has recorded, that master is gone, the worker came after it, and it runs the same php-fpm;
   by its title, where we may not look at its file. Its socket is the caller's to look at.
2. What was proven is proven again through the descriptor that is signalled, so that a pid that was
   given away meanwhile is never hit.
3. The record is of this boot: pids of another one mean nothing. A kernel gives no pid away while a
   process group has its number.
4. The file is opened without following links, in folders that no other user can change.
"""

from __future__ import annotations

import errno
import os

from fpm_listener.host import procfs, state_directory

TYPE_CHECKING = False  # `typing` itself would cost the guard milliseconds
if TYPE_CHECKING:
    from collections.abc import Iterable

#: Masters that are remembered for one program, and characters of the file.
_KEPT, _LONGEST = 32, 4096
_FOLDER = "masters"
_WORKER = "php-fpm: pool "


class Master:
    """One life of a program, recorded by its guard."""

    def __init__(self, pid: int, started: int) -> None:
        """`started`: ticks since boot."""
        self.pid, self.started = pid, started


def parse(lines: Iterable[str]) -> tuple[Master, ...]:
    """Return the masters of lines `pid start`. Raises ValueError."""
    pairs = (line.split(" ", 1) for line in lines)
    return tuple(Master(int(pid), int(started)) for pid, started in pairs)


def lines(masters: Iterable[Master]) -> tuple[str, ...]:
    """Return what `parse` reads."""
    return tuple(f"{master.pid} {master.started}" for master in masters)


def add(known: Iterable[Master], more: Iterable[Master]) -> tuple[Master, ...]:
    """Return both without duplicates; where there are too many, those that have left a process."""
    found = list({(master.pid, master.started): master for master in (*known, *more)}.values())
    if len(found) > _KEPT:
        old, new = found[: -_KEPT // 2], found[-_KEPT // 2 :]
        found = [*(master for master in old if _has_group(master.pid)), *new]
    return tuple(found[-_KEPT:])


class MasterRecord:
    """The masters of one process of supervisord's: in a file, and as the listener knows them."""

    def __init__(self, state_dir: str, name: str) -> None:
        """`name`: `group:process`."""
        self._state_dir = state_dir
        self._name = name.replace("%", "%25").replace("/", "%2F")
        self._told: tuple[Master, ...] = ()

    def learn(self, lines: Iterable[str]) -> None:
        """Take in what the listener has recorded."""
        try:
            self._told = parse(lines)
        except (ValueError, TypeError):
            self._told = ()

    @property
    def is_shared(self) -> bool:
        """Return whether the listener has recorded this start as well."""
        return bool(self._told)

    def read(self) -> tuple[Master, ...]:
        """Return the masters of this boot, oldest first; () where nothing is recorded."""
        return add(self._read_file(), self._told)

    def _read_file(self) -> tuple[Master, ...]:
        try:
            folder = _open_folder(self._state_dir)
            try:
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                file = os.open(self._name, flags, dir_fd=folder)
            finally:
                os.close(folder)
            with os.fdopen(file, encoding="utf-8") as text:
                boot, *lines = text.read(_LONGEST).splitlines()
            return parse(lines) if boot == procfs.boot_id() else ()
        except (OSError, ValueError, TypeError):
            return ()

    def add_self(self) -> None:
        """Record this process, which is about to become the master. Raises OSError."""
        own = procfs.read_stat("self")
        if own is None:
            raise OSError(0, "/proc cannot be read")
        known = [master for master in self.read() if master.pid != own.pid]
        masters = add(known, [Master(own.pid, own.started)])
        text = "\n".join((procfs.boot_id(), *lines(masters)))
        fresh = f".{os.urandom(8).hex()}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        folder = _open_folder(self._state_dir, make=True)
        try:
            file = os.open(fresh, flags, 0o600, dir_fd=folder)
            try:
                os.write(file, text.encode())
            finally:
                os.close(file)
            os.rename(fresh, self._name, src_dir_fd=folder, dst_dir_fd=folder)
        finally:
            os.close(folder)


def _open_folder(state_dir: str, *, make: bool = False) -> int:
    """Return a descriptor of the folder with the records. Raises OSError."""
    if make:
        state_directory.prepare(state_dir)
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    above = os.open(state_dir, flags)
    try:
        _check_owner(above, state_dir)
        if make:
            try:  # noqa: SIM105 - contextlib costs as much as pathlib
                os.mkdir(_FOLDER, 0o700, dir_fd=above)
            except FileExistsError:
                pass  # of an earlier start
        folder = os.open(_FOLDER, flags | os.O_NOFOLLOW, dir_fd=above)
    finally:
        os.close(above)
    try:
        _check_owner(folder, f"{state_dir}/{_FOLDER}")
    except OSError:
        os.close(folder)
        raise
    return folder


def _check_owner(folder: int, path: str) -> None:
    """Raise OSError where another user can change the folder."""
    found = os.fstat(folder)
    if found.st_uid not in {0, os.geteuid()}:
        raise OSError(errno.EPERM, f"the folder belongs to another user, {found.st_uid}", path)
    if found.st_mode & 0o002 or (found.st_mode & 0o020 and found.st_gid not in {0, os.getegid()}):
        raise OSError(errno.EPERM, "other users can write to the folder", path)


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
