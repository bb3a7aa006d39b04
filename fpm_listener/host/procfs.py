"""Reads one process in /proc.

Law: a process that is gone or not readable is None. Pid and start together identify a process; a
pid is reused.

Source: proc(5).
"""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False  # `typing` costs the guard milliseconds
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator


#: Longest seconds of a script before us.
_SCRIPT_S = 10.0


class ProcessStat:
    """One process in /proc/PID/stat."""

    def __init__(self, text: str) -> None:
        """Raise ValueError and IndexError if the text is of another kind."""
        head, _, tail = text.rpartition(")")
        words = tail.split()
        self.pid = int(head[: head.index(" ")])
        self.name = head.partition("(")[2]  #: of the executable, at most 15 bytes
        self.state = words[0]
        self.ppid, self.pgid, self.session = int(words[1]), int(words[2]), int(words[3])
        self.started = int(words[19])  #: ticks since boot
        #: Of a zombie; 0 also means: not readable.
        self.wait_status = int(words[49]) if len(words) > 49 else 0

    @property
    def has_ended(self) -> bool:
        """Return whether it is a zombie, which holds nothing."""
        return self.state in {"Z", "X"}


def read_stat(pid: int | str, proc: str = "/proc") -> ProcessStat | None:
    """Return the state of a process; `self` is ours."""
    try:
        with open(f"{proc}/{pid}/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - pathlib costs the guard milliseconds
            return ProcessStat(file.read())
    except (OSError, ValueError, IndexError):
        return None


def pid_and_start(pid: int, proc: str = "/proc") -> tuple[int, int]:
    """Return what identifies a process: its pid and its start in ticks (0 = unknown)."""
    stat = read_stat(pid, proc)
    return pid, stat.started if stat is not None else 0


def program() -> ProcessStat | None:
    """Return the process of our program that supervisord has started; None = no procfs.

    A script can be between supervisord and us. supervisord makes each program the leader of a
    process group, so the leader is the started process, and its parent is supervisord.
    """
    own = read_stat("self")
    return own and _leader(own)


def program_began_at_s() -> float:
    """Return the monotonic moment at which supervisord started our program."""
    own, leader = read_stat("self"), program()
    if own is None or leader is None:
        return time.monotonic()
    second = os.sysconf("SC_CLK_TCK")
    # A script that has run much longer than we restarts php-fpm by itself.
    started = leader.started if own.started - leader.started < _SCRIPT_S * second else own.started
    age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - started / second
    return time.monotonic() - max(0.0, age_s)


def supervisor_of(pid: int) -> int | None:
    """Return the parent of a process's group leader, which is supervisord; None if unknown."""
    found = read_stat(pid)
    return _leader(found).ppid if found is not None else None


def _leader(process: ProcessStat) -> ProcessStat:
    if process.pgid in {process.pid, 0}:
        return process
    leader = read_stat(process.pgid)
    return process if leader is None or leader.has_ended else leader


def executable(pid: int, proc: str = "/proc") -> str | None:
    """Return the path of the executable, even if it was replaced since.

    None: the process is gone, or not readable. In a container, root lacks CAP_SYS_PTRACE.
    """
    try:
        return os.readlink(f"{proc}/{pid}/exe").removesuffix(" (deleted)")  # noqa: PTH115 - a text
    except OSError:
        return None


def title(pid: int, proc: str = "/proc") -> str:
    """Return the command line with spaces between its words; empty if it is gone."""
    return command_line(pid, proc).replace("\0", " ").rstrip()


def command_line(pid: int, proc: str = "/proc") -> str:
    """Return the command line, a null byte after each word; empty if it is gone."""
    try:
        with open(f"{proc}/{pid}/cmdline", encoding="utf-8", errors="replace", newline="") as file:  # noqa: PTH123 - pathlib costs the guard milliseconds
            return file.read()
    except OSError:
        return ""


def resident_bytes(pid: int, proc: str = "/proc") -> int | None:
    """Return the resident memory, shared pages included; None if it is gone."""
    try:
        with open(f"{proc}/{pid}/statm", encoding="ascii") as file:  # noqa: PTH123 - as above
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None


def environment(pid: int, proc: str = "/proc") -> bytes:
    """Return the first environment of the process; empty if it is gone or not readable."""
    try:
        with open(f"{proc}/{pid}/environ", "rb") as file:  # noqa: PTH123 - pathlib costs the guard milliseconds
            return file.read()
    except OSError:
        return b""


def has_socket(pid: int, inodes: Collection[int], proc: str = "/proc") -> bool | None:
    """Return whether the process has one of the sockets open; None if it is not readable."""
    links = {f"socket:[{inode}]" for inode in inodes}
    try:
        return any(target in links for target in _open_files(pid, proc))
    except PermissionError:
        return None
    except OSError:
        return False  # it has ended


def sockets(pid: int, proc: str = "/proc") -> set[str] | None:
    """Return its open sockets as procfs names them (socket:[42]); None if they are not readable."""
    try:
        return {target for target in _open_files(pid, proc) if target.startswith("socket:")}
    except PermissionError:
        return None
    except OSError:
        return set()  # it has ended


def _open_files(pid: int, proc: str) -> Iterator[str]:
    folder = f"{proc}/{pid}/fd"
    for name in os.listdir(folder):  # noqa: PTH208 - names only
        yield _target(f"{folder}/{name}")


def _target(path: str) -> str:
    try:
        return os.readlink(path)  # noqa: PTH115 - a text
    except FileNotFoundError:
        return ""  # closed meanwhile


def pids(proc: str = "/proc") -> list[int]:
    """Return all processes. Raises OSError without procfs."""
    return [int(name) for name in os.listdir(proc) if name.isdigit()]  # noqa: PTH208 - names only


def children(pid: int, proc: str = "/proc") -> list[int]:
    """Return the children of a process without threads, zombies too. Raises OSError without procfs.

    Only a kernel without CONFIG_PROC_CHILDREN needs a look at all processes.
    """
    try:
        with open(f"{proc}/{pid}/task/{pid}/children", encoding="ascii") as file:  # noqa: PTH123 - as above
            return [int(word) for word in file.read().split()]
    except FileNotFoundError:
        found = ((one, read_stat(one, proc)) for one in pids(proc))
        return [one for one, stat in found if stat is not None and stat.ppid == pid]


def boot_id(proc: str = "/proc") -> str:
    """Return the id of this boot; empty if the kernel has none."""
    try:
        with open(f"{proc}/sys/kernel/random/boot_id", encoding="utf-8") as file:  # noqa: PTH123 - as above
            return file.read().strip()
    except OSError:
        return ""


def open_pidfd(pid: int) -> int | None:
    """Return a descriptor that becomes readable when the process exits.

    None: a kernel before 5.3, a sandbox that forbids it, or no descriptor is left.
    Raises ProcessLookupError if the process is gone.
    """
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        raise
    except (OSError, AttributeError):
        return None
