"""Every error with which php-fpm does not start has a cause, or is evidence."""

from pathlib import Path

import pytest

from fpm_listener.phpfpm.log_facts import START_FAILURES, FactKind
from fpm_listener.phpfpm.log_parser import classify
from fpm_listener.phpfpm.start_messages import explain
from fpm_listener.vocabulary import Fault

CASES = Path(__file__).parents[2] / "data" / "cases"
STAMP = "[23-Nov-2025 12:00:00] ERROR: "
ACL = "[pool www] failed to read the ACL of the socket '/run/w.sock'"
LIMITS = "for this pool. Please check your system limits or decrease"

#: The message, and the kind, fault and name that it gives.
MESSAGES = (
    # fpm_unix.c
    (f"{ACL}: Operation not supported (95)", "config_error", Fault.NO_ACL, "/run/w.sock"),
    (f"{ACL}: Permission denied (13)", "permission", None, "/run/w.sock"),
    (f"{ACL}: Cannot allocate memory (12)", "out_of_memory", Fault.NO_MEMORY, "/run/w.sock"),
    (
        "[pool www] failed to add entry to the ACL of the socket '/w': Invalid argument (22)",
        *("config_error", Fault.NO_ACL, "/w"),
    ),
    (
        "[pool www] failed to write the ACL of the socket '/w': Not supported (95)",
        *("config_error", Fault.NO_ACL, "/w"),
    ),
    (
        "[pool www] cannot create ACL for user 'web': Invalid argument (22)",
        *("config_error", Fault.NO_ACL, None),
    ),
    (
        "[pool www] cannot allocate ACL: Cannot allocate memory (12)",
        *("out_of_memory", Fault.NO_MEMORY, None),
    ),
    (
        "[pool www] failed to chown() the socket '/run/w.sock': Operation not permitted (1)",
        *("permission", Fault.SOCKET_OWNER, "/run/w.sock"),
    ),
    (
        "Unable to set priority for the master process: Permission denied (13)",
        *("permission", Fault.PRIORITY, None),
    ),
    (
        "[pool www] Unable to set priority for this new process: Operation not permitted (1)",
        *("permission", Fault.PRIORITY, None),
    ),
    (
        f"failed to set rlimit_files {LIMITS} rlimit_files. setrlimit(RLIMIT_NOFILE, 9): No (1)",
        *("fd_limit", None, None),
    ),
    (
        f"failed to set rlimit_core {LIMITS} rlimit_files. setrlimit(RLIMIT_NOFILE, 9): No (1)",
        *("fd_limit", None, None),
    ),
    (
        f"failed to set rlimit_core {LIMITS} rlimit_core. setrlimit(RLIMIT_CORE, -1): No (1)",
        *("permission", Fault.CORE_LIMIT, None),
    ),
    (
        "[pool www] failed to chroot(/srv/jail): Operation not permitted (1)",
        *("permission", None, "/srv/jail"),
    ),
    (
        "[pool www] failed to chdir(/srv/app): No such file or directory (2)",
        *("missing_path", None, "/srv/app"),
    ),
    (
        "[pool www] failed to setuid(33): Operation not permitted (1)",
        *("permission", Fault.CHANGE_USER, None),
    ),
    (
        "[pool www] failed to setuid(33): Resource temporarily unavailable (11)",
        *("process_limit", None, None),
    ),
    (
        "[pool www] failed to initgroups(web, 33): Operation not permitted (1)",
        *("permission", Fault.CHANGE_USER, None),
    ),
    ("[pool www] failed to prctl(PR_SET_DUMPABLE): No (22)", "start_error", None, None),
    (
        (
            "[pool www] failed to query apparmor confinement. Please check if "
            '"/proc/*/attr/current" is read and writeable.: Invalid argument (22)'
        ),
        *("permission", Fault.APPARMOR, None),
    ),
    (
        "[pool www] failed to change to new confinement (a//b). Please check …: No such file (2)",
        *("missing_path", None, None),
    ),
    (
        "[pool www] please specify user and group other than root",
        *("config_error", Fault.ROOT_POOL, None),
    ),
    ("failed to create pipe: Too many open files (24)", "fd_limit", None, None),
    (
        "failed to daemonize: Resource temporarily unavailable (11)",
        *("process_limit", None, None),
    ),
    ("no data have been read from pipe", "start_error", None, None),
    # fpm_children.c
    ("fork() failed: Resource temporarily unavailable (11)", "process_limit", None, None),
    ("fork() failed: Cannot allocate memory (12)", "out_of_memory", Fault.NO_MEMORY, None),
    ("[pool www] child failed to initialize", "start_error", None, None),
    ("[pool www] unable to malloc new child", "out_of_memory", Fault.NO_MEMORY, None),
    # fpm_sockets.c
    (
        (
            "failed to create new listening socket: socket(): "
            "Address family not supported by protocol (97)"
        ),
        *("address_absent", Fault.NO_FAMILY, None),
    ),
    ("getaddrinfo: Name or service not known", "config_error", Fault.BAD_LISTEN, None),
    ("invalid port value '99999'", "config_error", Fault.BAD_LISTEN, None),
    # fpm_conf.c
    (
        "[pool b] unable to set listen address as it's already used in another pool 'www'",
        *("config_error", Fault.SHARED_ADDRESS, "b, www"),
    ),
    (
        "failed to open configuration file '/etc/php84/php-fpm.conf': Permission denied (13)",
        *("permission", None, "/etc/php84/php-fpm.conf"),
    ),
    (
        "failed to open configuration file '/etc/php84/f.conf': No such file or directory (2)",
        *("missing_path", Fault.NO_CONFIG_FILE, "/etc/php84/f.conf"),
    ),
    (
        "failed to open configuration file '/etc/f.conf/x': Not a directory (20)",
        *("missing_path", Fault.NO_CONFIG_FILE, "/etc/f.conf/x"),
    ),
    ("failed to open configuration file '/etc': Is a directory (21)", "config_error", None, "/etc"),
    (
        "[pool www] the chdir path '/srv/app/public' does not exist or is not a directory",
        *("missing_path", Fault.NO_POOL_FOLDER, "/srv/app/public/"),
    ),
    (
        "[pool www] the chroot path '/srv/jail' does not exist or is not a directory",
        *("missing_path", Fault.NO_POOL_FOLDER, "/srv/jail/"),
    ),
    (
        (
            "[pool www] the chdir path '/a' within the chroot path '/j' ('/j/a') does not exist "
            "or is not a directory"
        ),
        *("missing_path", Fault.NO_POOL_FOLDER, "/j/a/"),
    ),
    (
        "[pool www] the prefix '/opt/php' does not exist or is not a directory",
        *("missing_path", Fault.NO_POOL_FOLDER, "/opt/php/"),
    ),
    (
        "the global prefix '/opt/php' does not exist or is not a directory",
        *("missing_path", Fault.NO_POOL_FOLDER, "/opt/php/"),
    ),
    ("[pool www] the chdir path 'a' must start with a '/'", "config_error", None, None),
    ("[pool www] the status path 'a' must start with a '/'", "config_error", None, None),
    ("[pool www] the ping response page '' is not long enough", "config_error", None, None),
    (
        (
            "[pool www] 'request_slowlog_timeout' (9) can't be greater than "
            "'request_terminate_timeout' (5)"
        ),
        *("config_error", None, None),
    ),
    ("[pool www] failed to initialize a status listener pool", "config_error", None, None),
    ("process.priority must be included into [-19,20]", "config_error", None, None),
    ("process_max can't be negative", "config_error", None, None),
    ("malloc() failed", "out_of_memory", Fault.NO_MEMORY, None),
    (
        "fpm_conf_set_string(): strdup() failed",
        *("out_of_memory", Fault.NO_MEMORY, None),
    ),
    (
        "Unable to create or open slowlog(/var/log/slow): Permission denied (13)",
        *("permission", None, "/var/log/slow"),
    ),
    (
        "failed to open access log (/var/log/a.log): Read-only file system (30)",
        *("permission", None, "/var/log/a.log"),
    ),
    (
        "failed to open error_log (/proc/self/fd/2): No such device or address (6)",
        *("permission", None, "/proc/self/fd/2"),
    ),
    (
        "Unable to create the PID file (/run/a/b.pid).: Not a directory (20)",
        *("missing_path", None, "/run/a/b.pid"),
    ),
    # fpm_log.c
    ("[pool www] Invalid token in the access.format (%Z)", "config_error", None, None),
    # fpm_shm.c, fpm_scoreboard.c, fpm_signals.c, fpm_stdio.c
    (
        "unable to allocate 134217728 bytes in shared memory: Cannot allocate memory (12)",
        *("out_of_memory", Fault.NO_SHARED_MEMORY, None),
    ),
    (
        "unable to allocate 4096 bytes in shared memory: Cannot allocate memory",
        *("out_of_memory", Fault.NO_SHARED_MEMORY, None),
    ),
    ("[pool www] no free scoreboard slot", "start_error", None, None),
    ("failed to init child signals: sigaction(): Invalid argument (22)", "start_error", None, None),
    ("failed to prepare the stdout pipe: Too many open files (24)", "fd_limit", None, None),
    # fpm_events.c, events
    ("event mechanism 'kqueue' is not available on this system", "config_error", None, None),
    ("epoll: unable to initialize", "start_error", None, None),
    ("epoll: unable to allocate 9 events", "out_of_memory", Fault.NO_MEMORY, None),
    ("Unable to initialize the event module epoll", "start_error", None, None),
    # fpm_process_ctl.c, fpm_systemd.c
    ("failed to reload: execvp() failed: No such file or directory (2)", "start_error", None, None),
    ("failed to notify start to systemd: No (2)", "start_error", None, None),
)


@pytest.mark.parametrize(("text", "kind", "fault", "named"), MESSAGES)
def test_a_message(text: str, kind: str, fault: Fault | None, named: str | None) -> None:
    """It has the kind, the fault and the path that it shows; a failed start must follow."""
    fact = classify(STAMP + text)

    assert fact is not None
    assert (fact.kind.value, fact.fault, fact.named) == (kind, fault, named)
    assert fact.kind in START_FAILURES
    assert fact.fault is None or fact.fault.cause.value == kind


def test_the_number_is_kept() -> None:
    """It says more than the kind: 30 is a read-only file system."""
    fact = classify(f"{STAMP}failed to open error_log (/var/log/e): Read-only file system (30)")

    assert fact is not None
    assert fact.errno == 30


@pytest.mark.parametrize(
    "text",
    [
        "Connection disallowed: IP address '10.0.0.1' has been dropped.",
        "Wrong IP address 'x' in listen.allowed_clients",
        "Unable to open primary script: /x.php (No such file or directory)",
        "failed to ptrace(ATTACH) child 7: Operation not permitted (1)",
        "unable to read what child say: Bad file descriptor (9)",
        "unable to read what child 7 said into stderr: Bad file descriptor (9)",
    ],
)
def test_a_message_of_a_php_fpm_that_runs(text: str) -> None:
    """It is about one request, client or worker."""
    assert explain(text) is None


def lines(case: str) -> list[str]:
    """Return the lines of a case."""
    return (CASES / case / "lines.txt").read_text(encoding="utf-8").splitlines()


def test_lines_of_start_ups() -> None:
    """Each line has a fact with its cause."""
    facts = [classify(line) for line in lines("C01")]

    assert [(fact.kind, fact.fault) if fact else None for fact in facts] == [
        (FactKind.CONFIG_ERROR, Fault.NO_ACL),
        (FactKind.PERMISSION, Fault.PRIORITY),
        (FactKind.ADDRESS_ABSENT, Fault.NO_FAMILY),
        (FactKind.PROCESS_LIMIT, None),
        (FactKind.OUT_OF_MEMORY, Fault.NO_SHARED_MEMORY),
        (FactKind.CONFIG_ERROR, Fault.PHP_SETTINGS),
        (FactKind.CONFIG_ERROR, Fault.PHP_SETTINGS),
        (FactKind.START_ERROR, None),
    ]


def test_paths_that_are_missing_or_forbidden() -> None:
    """The path is named; a folder ends with a slash."""
    facts = [classify(line) for line in lines("C03")]

    assert [(fact.kind.value, fact.named) if fact else None for fact in facts] == [
        ("missing_path", "/srv/app/public/"),
        ("missing_path", "/srv/jail/"),
        ("permission", "/etc/php84/php-fpm.conf"),
        ("missing_path", "/etc/php84/php-fpm.conf"),
    ]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("PHP Fatal error:  Failed opening required '/x.php' in Unknown on line 0", True),
        ("NOTICE: PHP message: PHP Fatal error:  Failed opening required '/x.php'", True),
        ("NOTICE: PHP message: PHP Warning:  PHP Startup: Failed to open stream", False),
        ("PHP Fatal error: Directive 'magic_quotes_gpc' is no longer available in PHP", True),
        ('Sun Nov  2 12:00:00 2025 (4): Fatal Error "opcache.preload" requires …', True),
        ("Sun Nov 23 12:00:00 2025 (4711): Warning Interned string buffer overflow", False),
        ("PHP Warning:  PHP Startup: Unable to load dynamic library 'x' in Unknown", False),
        ("PHP:  syntax error, unexpected '~' in /etc/php/php.ini on line 3", False),
    ],
)
def test_a_line_of_php_itself(line: str, fault: bool) -> None:  # noqa: FBT001 - a column of a table
    """A fatal error is the cause; php-fpm starts in spite of the others."""
    fact = classify(line)

    assert (fact is not None and fact.fault is Fault.PHP_SETTINGS) is fault
    assert fault or fact is None
