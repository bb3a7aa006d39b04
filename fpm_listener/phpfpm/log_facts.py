"""The facts that lines of php-fpm's error log can state."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from fpm_listener.vocabulary import Fault


class FactKind(Enum):
    """The kinds of facts; the values are labels of a metric."""

    BIND_CONFLICT = "bind_conflict"  #: another process has the listen address
    ADDRESS_ABSENT = "address_absent"  #: the address is on no interface of this host
    MISSING_PATH = "missing_path"  #: a directory for a socket, pid file or log does not exist
    PERMISSION = "permission"  #: no permission for the address, socket, pid file or log
    UNKNOWN_USER = "unknown_user"  #: a user or group does not exist
    CONFIG_ERROR = "config_error"  #: php-fpm does not accept its configuration
    DISK_FULL = "disk_full"  #: no space for a socket, pid file or log
    FD_LIMIT = "fd_limit"  #: no file descriptor is left, or the limit is too low
    PROCESS_LIMIT = "process_limit"  #: a limit of processes is reached
    OUT_OF_MEMORY = "out_of_memory"  #: the kernel refuses memory
    START_ERROR = "start_error"  #: an error of a failed start that does not show its cause
    INIT_FAILED = "init_failed"  #: the last line of a failed start
    READY = "ready"  #: "fpm is running" or "ready to handle connections"
    RELOAD = "reload"  #: the master executes itself again: its start-up phase begins again
    ENDING = "ending"  #: the master begins to end its workers: it reloads or exits
    CHILD_SIGNAL = "child_signal"  #: a worker was killed by a signal
    CHILD_EXIT = "child_exit"  #: a worker exited with a code other than 0
    EMERGENCY_RELOAD = "emergency_reload"  #: too many workers crashed; the master reloads
    MAX_CHILDREN = "max_children"  #: a pool, or all of php-fpm, cannot start another worker
    SLOW = "slow"  #: a script ran longer than request_slowlog_timeout
    TERMINATED = "terminated"  #: a script ran longer than request_terminate_timeout


#: Facts of a failed start. An application can print any of these lines, so one counts only in a run
#: that was not READY yet and that ended soon after (monitor/lifecycle.py).
START_FAILURES = frozenset(
    {
        FactKind.BIND_CONFLICT,
        FactKind.ADDRESS_ABSENT,
        FactKind.MISSING_PATH,
        FactKind.PERMISSION,
        FactKind.UNKNOWN_USER,
        FactKind.CONFIG_ERROR,
        FactKind.DISK_FULL,
        FactKind.FD_LIMIT,
        FactKind.PROCESS_LIMIT,
        FactKind.OUT_OF_MEMORY,
        FactKind.START_ERROR,
        FactKind.INIT_FAILED,
    },
)


class LogFact(NamedTuple):
    """One line of php-fpm's error log with its fact."""

    kind: FactKind
    line: str  #: the whole line without its newline, cut at 1,024 characters
    address: str | None = None  #: the listen address as php-fpm's configuration has it
    named: str | None = None  #: a path, `user NAME`, `group NAME`, or `POOL, POOL`
    fault: Fault | None = None  #: what exactly is wrong
    errno: int | None = None  #: at the end of the line
    pool: str | None = None
    pid: int | None = None  #: of the master (READY) or of the worker (CHILD_…, SLOW, TERMINATED)
    signal: int | None = None  #: that killed the worker (CHILD_SIGNAL)
    status: int | None = None  #: with which the worker exited (CHILD_EXIT)
    lasted_s: float | None = None  #: seconds from the worker's start to its exit (CHILD_EXIT)
