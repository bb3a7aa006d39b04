"""What one line of php-fpm's error log can state, as a closed set."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class FactKind(Enum):
    """The facts that we tell apart; the value is the metric's label."""

    BIND_CONFLICT = "bind_conflict"  #: somebody has the listen address
    ADDRESS_ABSENT = "address_absent"  #: the address is on no interface of this host
    MISSING_PATH = "missing_path"  #: a folder for a socket, pid file or log is not there
    PERMISSION = "permission"  #: the address, socket, pid file or log is forbidden
    UNKNOWN_USER = "unknown_user"  #: user, group, or one of listen's, does not exist
    CONFIG_ERROR = "config_error"  #: php-fpm does not accept its configuration
    DISK_FULL = "disk_full"  #: no room for a socket, pid file or log
    FD_LIMIT = "fd_limit"  #: no file descriptor is left, or more are wanted than may be had
    INIT_FAILED = "init_failed"  #: closes the group of lines of a failed start
    READY = "ready"  #: "fpm is running" or "ready to handle connections"
    RELOAD = "reload"  #: the master executes itself anew: its start-up phase begins again
    CHILD_SIGNAL = "child_signal"  #: a worker was killed by a signal
    CHILD_EXIT = "child_exit"  #: a worker ended with a code other than 0
    EMERGENCY_RELOAD = "emergency_reload"  #: too many workers crashed; the master reloads
    MAX_CHILDREN = "max_children"  #: a pool, or all of php-fpm, has no worker left to start
    SLOW = "slow"  #: a script ran longer than request_slowlog_timeout
    TERMINATED = "terminated"  #: a script ran longer than request_terminate_timeout


#: Facts of a start that failed. An application can print any of these lines, so one is believed
#: only in a life that had not yet said READY and that ended soon after (monitor/lifecycle.py).
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
        FactKind.INIT_FAILED,
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFact:
    """One line of php-fpm's error log, and what it states."""

    kind: FactKind
    line: str  #: the whole line without its newline, cut at 1,024 characters
    address: str | None = None  #: the listen address as php-fpm's configuration has it
    named: str | None = None  #: what it is about: a path, or `user NAME`, `group NAME`
    pool: str | None = None
    pid: int | None = None  #: of the master (READY) or of the worker (CHILD_…, SLOW, TERMINATED)
    signal: int | None = None  #: what killed the worker (CHILD_SIGNAL)
