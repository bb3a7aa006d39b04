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
    PROCESS_LIMIT = "process_limit"
    MISSING_PATH = "missing_path"
    PERMISSION = "permission"
    CONFIG_ERROR = "config_error"
    OUT_OF_MEMORY = "out_of_memory"
    CRASH_SIGNAL = "crash_signal"
    WORKER_FAILURE = "worker_failure"
    NOT_ANSWERING = "not_answering"
    RESTART_LOOP = "restart_loop"
    GAVE_UP = "gave_up"
    EXIT_LOOP = "exit_loop"
    STOP_TIMEOUT = "stop_timeout"
    OPCACHE_FULL = "opcache_full"
    SATURATED = "saturated"


class Fault(Enum):
    """What exactly makes a start fail, where a cause has several kinds; values are saved."""

    NO_FAMILY = "no_family"  #: the host has no address of this kind, usually IPv6
    NO_CONFIG_FILE = "no_config_file"  #: php-fpm's configuration file does not exist
    NO_LIBRARY = "no_library"  #: a shared library does not exist
    NO_COMMAND = "no_command"  #: a command in a script does not exist
    NO_POOL_FOLDER = "no_pool_folder"  #: chdir, chroot or prefix of a pool is not a directory
    SOCKET_OWNER = "socket_owner"  #: the owner of a unix socket cannot be changed
    PRIORITY = "priority"  #: the process may not raise its priority
    CORE_LIMIT = "core_limit"  #: rlimit_core is above the limit of the process
    CHANGE_USER = "change_user"  #: the process may not change its user
    APPARMOR = "apparmor"  #: AppArmor forbids the profile of a pool
    NO_ACL = "no_acl"  #: the file system of a unix socket has no access control lists
    BAD_LISTEN = "bad_listen"  #: `listen` has no valid port or host
    SHARED_ADDRESS = "shared_address"  #: two pools have the same listen address
    ROOT_POOL = "root_pool"  #: the workers of a pool would run as root
    PHP_SETTINGS = "php_settings"  #: PHP does not start: php.ini, an extension, preload
    USAGE = "usage"  #: php-fpm does not understand its options
    NO_SHARED_MEMORY = "no_shared_memory"  #: the kernel refuses shared memory
    NO_MEMORY = "no_memory"  #: the kernel refuses memory
    NO_PROGRAM = "no_program"  #: the executable does not exist
    NO_INTERPRETER = "no_interpreter"  #: the program in the first line of a script does not exist
    NO_LOADER = "no_loader"  #: the loader of an ELF program does not exist, such as ld-musl
    WINDOWS_LINE = "windows_line"  #: the first line of a script ends with CR LF
    NO_DIRECTORY = "no_directory"  #: directory= does not exist
    IS_DIRECTORY = "is_directory"  #: the executable is a directory
    NOT_EXECUTABLE = "not_executable"  #: nobody may execute the executable
    NOEXEC_MOUNT = "noexec_mount"  #: its file system is mounted with noexec
    NOT_ROOT = "not_root"  #: supervisord is not root, and user= is another user
    NO_UID = "no_uid"  #: user= is a number without an account
    NO_FORMAT = "no_format"  #: a script without #!, or a program for another processor
    BAD_COMMAND = "bad_command"  #: supervisord cannot parse command=

    @property
    def cause(self) -> Cause:
        """Return the cause of which it is a kind."""
        return _CAUSES[self]


_CAUSES = {
    Fault.NO_FAMILY: Cause.ADDRESS_ABSENT,
    Fault.NO_CONFIG_FILE: Cause.MISSING_PATH,
    Fault.NO_LIBRARY: Cause.MISSING_PATH,
    Fault.NO_COMMAND: Cause.MISSING_PATH,
    Fault.NO_POOL_FOLDER: Cause.MISSING_PATH,
    Fault.SOCKET_OWNER: Cause.PERMISSION,
    Fault.PRIORITY: Cause.PERMISSION,
    Fault.CORE_LIMIT: Cause.PERMISSION,
    Fault.CHANGE_USER: Cause.PERMISSION,
    Fault.APPARMOR: Cause.PERMISSION,
    Fault.NO_ACL: Cause.CONFIG_ERROR,
    Fault.BAD_LISTEN: Cause.CONFIG_ERROR,
    Fault.SHARED_ADDRESS: Cause.CONFIG_ERROR,
    Fault.ROOT_POOL: Cause.CONFIG_ERROR,
    Fault.PHP_SETTINGS: Cause.CONFIG_ERROR,
    Fault.USAGE: Cause.CONFIG_ERROR,
    Fault.NO_SHARED_MEMORY: Cause.OUT_OF_MEMORY,
    Fault.NO_MEMORY: Cause.OUT_OF_MEMORY,
    Fault.NO_PROGRAM: Cause.MISSING_PATH,
    Fault.NO_INTERPRETER: Cause.MISSING_PATH,
    Fault.NO_LOADER: Cause.MISSING_PATH,
    Fault.WINDOWS_LINE: Cause.MISSING_PATH,
    Fault.NO_DIRECTORY: Cause.MISSING_PATH,
    Fault.IS_DIRECTORY: Cause.PERMISSION,
    Fault.NOT_EXECUTABLE: Cause.PERMISSION,
    Fault.NOEXEC_MOUNT: Cause.PERMISSION,
    Fault.NOT_ROOT: Cause.PERMISSION,
    Fault.NO_UID: Cause.UNKNOWN_USER,
    Fault.NO_FORMAT: Cause.CONFIG_ERROR,
    Fault.BAD_COMMAND: Cause.CONFIG_ERROR,
}


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
