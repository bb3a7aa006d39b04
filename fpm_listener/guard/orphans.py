"""The recorded masters of one program, which prove that an orphan is its own.

Laws:
1. A worker is our orphan if four facts hold. A guard of this program has recorded the leader of
   its process group. That master is gone. The worker started later. It runs the same php-fpm: its
   executable, or its title where the executable cannot be read. Callers check its socket.
2. The proof is repeated through the descriptor that is signalled, so that a reused pid is never
   signalled.
3. The record is valid for this boot. A kernel does not reuse a pid while a process group has it.
4. The file is opened without following links, in directories that no other user can change.
"""

from __future__ import annotations

import errno
import os

from fpm_listener.host import procfs, state_directory

TYPE_CHECKING = False  # `typing` costs the guard milliseconds
if TYPE_CHECKING:
    from collections.abc import Iterable

#: Masters that are kept for one program, and characters of the file.
_KEPT, _LONGEST = 32, 4096
_FOLDER = "masters"
_WORKER = "php-fpm: pool "


class Master:
    """One run of a program, recorded by its guard."""

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
    """Return both without duplicates; of too many, the new ones and those with processes left."""
    found = list({(master.pid, master.started): master for master in (*known, *more)}.values())
    if len(found) > _KEPT:
        old, new = found[: -_KEPT // 2], found[-_KEPT // 2 :]
        found = [*(master for master in old if _has_group(master.pid)), *new]
    return tuple(found[-_KEPT:])


class MasterRecord:
    """The masters of one process: from its file, and from the listener."""

    def __init__(self, state_dir: str, name: str) -> None:
        """`name`: `group:process`."""
        self._state_dir = state_dir
        self._name = name.replace("%", "%25").replace("/", "%2F")
        self._from_listener: tuple[Master, ...] = ()

    def set_from_listener(self, lines: Iterable[str]) -> None:
        """Add the masters that the listener has recorded."""
        try:
            self._from_listener = parse(lines)
        except (ValueError, TypeError):
            self._from_listener = ()

    @property
    def is_shared(self) -> bool:
        """Return whether the listener records starts, too."""
        return bool(self._from_listener)

    def can_be_written(self) -> bool:
        """Return whether state_dir can have the record; otherwise only the listener can.

        Nothing is created: php-fpm may not start this time.
        """
        path = f"{self._state_dir}/{_FOLDER}"
        while len(path) > 1 and not os.access(path, os.F_OK):
            path = os.path.dirname(path)  # noqa: PTH120 - pathlib costs milliseconds
        return os.access(path, os.W_OK | os.X_OK)

    def read(self) -> tuple[Master, ...]:
        """Return the masters of this boot, oldest first."""
        return add(self._read_file(), self._from_listener)

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
    """Return a descriptor of the directory with the records. Raises OSError."""
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
    """Raise OSError if another user can change the directory."""
    found = os.fstat(folder)
    if found.st_uid not in {0, os.geteuid()}:
        raise OSError(errno.EPERM, f"the directory belongs to user {found.st_uid}", path)
    if found.st_mode & 0o002 or (found.st_mode & 0o020 and found.st_gid not in {0, os.getegid()}):
        raise OSError(errno.EPERM, "other users can write to the directory", path)


def is_running(master: Master) -> bool:
    """Return whether this master still runs."""
    found = procfs.read_stat(master.pid)
    return found is not None and found.started == master.started and not found.has_ended


def have_left_processes(masters: Iterable[Master]) -> bool:
    """Return whether a process group still exists although its master is gone."""
    return any(_has_group(master.pid) and not is_running(master) for master in masters)


def find(masters: Iterable[Master], binary: str) -> tuple[int, ...]:
    """Return the workers that these masters have left behind.

    binary: the real path of php-fpm.
    """
    groups = {master.pid: master for master in masters if _has_group(master.pid)}
    groups = {pid: master for pid, master in groups.items() if not is_running(master)}
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
        return False  # the pid was reused
    # A process with this pid is the master itself, or another master whose workers these are.
    if procfs.read_stat(master.pid) is not None:
        return False
    runs = procfs.executable(pid)
    return runs == binary or (runs is None and procfs.title(pid).startswith(_WORKER))


def send_signal(pid: int, number: int, masters: Iterable[Master], binary: str) -> bool:
    """Prove an orphan again and signal it; return whether the signal was sent."""
    groups = {master.pid: master for master in masters}
    try:
        descriptor = procfs.open_pidfd(pid)
    except ProcessLookupError:
        return False
    try:
        if not _is_orphan(pid, groups, binary):
            return False
        if descriptor is not None:
            import _signal  # type: ignore[import-not-found] # noqa: PLC0415 - most starts do not need it

            _signal.pidfd_send_signal(descriptor, number)
        else:
            os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    finally:
        if descriptor is not None:
            os.close(descriptor)
    return True
