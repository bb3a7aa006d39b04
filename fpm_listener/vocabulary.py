"""Closed sets that users see: state, tier, cause, severity."""

from __future__ import annotations

from enum import Enum, IntEnum


class Severity(IntEnum):
    """How urgent an incident is, in the order of urgency."""

    INFO = 0
    WARNING = 1
    CRITICAL = 2

    @classmethod
    def of(cls, word: str) -> Severity:
        """Return the severity of a label; an unknown word counts as critical."""
        return cls.__members__.get(word.upper(), cls.CRITICAL)


class State(Enum):
    """The states of supervisor's processes, by its own names (supervisor/states.py)."""

    STOPPED = "STOPPED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    BACKOFF = "BACKOFF"
    STOPPING = "STOPPING"
    EXITED = "EXITED"
    FATAL = "FATAL"
    UNKNOWN = "UNKNOWN"


class Tier(Enum):
    """The two windows of a restart loop."""

    FAST = "fast"
    SLOW = "slow"


class Cause(Enum):
    """Why a program fails; an earlier member has priority over a later one."""

    BIND_CONFLICT = "bind_conflict"
    ADDRESS_ABSENT = "address_absent"
    UNKNOWN_USER = "unknown_user"
    DISK_FULL = "disk_full"
    FD_LIMIT = "fd_limit"
    MISSING_PATH = "missing_path"
    PERMISSION = "permission"
    CONFIG_ERROR = "config_error"
    OUT_OF_MEMORY = "out_of_memory"
    CRASH_SIGNAL = "crash_signal"
    NOT_ANSWERING = "not_answering"
    RESTART_LOOP = "restart_loop"
    GAVE_UP = "gave_up"


#: The cause of alerts about a failing receiver; no cause of a program.
NOTIFICATION_FAILING = "notification_failing"


class Where(Enum):
    """Where an unexpected error was caught; the values are labels of a metric."""

    EVENT = "event"  #: an event of supervisord
    INPUT = "input"  #: other input of the main thread, and timers
    EFFECT = "effect"  #: the start of slow work
    DATABASE = "database"  #: a commit
    MEMORY = "memory"  #: data of an earlier listener in the database
    SETTINGS = "settings"  #: a reload of the settings
    LOG = "log"  #: one followed log file
    POOL = "pool"  #: the status page of one FPM pool
    RECEIVER = "receiver"  #: one receiver of alerts
    WEB = "web"  #: one HTTP request or connection
    CONTROL = "control"  #: one connection to the control socket
    GUARD = "guard"  #: one guard that requests its sockets
    SUPERVISOR = "supervisor"  #: supervisord's XML-RPC
    PROGRAMS = "programs"  #: the configuration of the programs
    HOLDER = "holder"  #: the search for the holder of an address
    EXIT = "exit"  #: the examination of a process that exited
    CHECK = "check"  #: the doctor's run at start
    TEXTFILE = "textfile"  #: the metrics as a file
    THREAD = "thread"  #: the start of a thread
