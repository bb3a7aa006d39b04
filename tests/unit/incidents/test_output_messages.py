"""The output of any program shows why it does not start, if the run fits the line."""

from __future__ import annotations

import pytest

from fpm_listener.incidents.output_messages import FailedRun, explain
from fpm_listener.phpfpm.log_facts import FactKind
from fpm_listener.supervisor.exit_log import ExitReason
from fpm_listener.vocabulary import Fault

NGINX = "nginx: [emerg] bind() to 0.0.0.0:8080 failed (98: Address already in use)"
RUN = FailedRun(reason=ExitReason(status=1), lasted_s=0.4, is_fpm=False)
FPM = FailedRun(reason=ExitReason(status=70), lasted_s=0.1, is_fpm=True)
FATAL = "Fatal error:  Directive 'track_errors' is no longer available in PHP in Unknown on line 0"
USAGE = "Usage: php [-n] [-e] [-h] [-i] [-m] [-v] [-t] [-p <prefix>]"
JAVA = (
    "java.io.IOException: Failed to bind to 0.0.0.0/0.0.0.0:8080",
    "Caused by: java.net.BindException: Address already in use",
)
NODE = (
    "Error: listen EADDRINUSE: address already in use :::3000",
    "    at Server.setupListenHandle [as _listen2] (node:net:1463:16)",
    "  code: 'EADDRINUSE',",
    "  port: 3000",
    "}",
)


def kinds(run: FailedRun, *lines: str) -> list[tuple[str, str | None]]:
    """Return kind, and address or name, of the facts of a run."""
    return [(fact.kind.value, fact.address or fact.named) for fact in explain(run, lines)]


def exited(status: int | None) -> FailedRun:
    """Return a short run with this exit status; None = unknown."""
    return RUN._replace(reason=None if status is None else ExitReason(status=status))


@pytest.mark.parametrize(
    ("line", "status", "kind", "named", "fault"),
    [
        ("sh: 1: nosuch: not found", 127, "missing_path", "nosuch", Fault.NO_COMMAND),
        ("/entry.sh: 3: /opt/x: not found", 127, "missing_path", "/opt/x", Fault.NO_COMMAND),
        ("/entry.sh: line 3: php: not found", 127, "missing_path", "php", Fault.NO_COMMAND),
        ("/e.sh: 3: exec: php: not found", 127, "missing_path", "php", Fault.NO_COMMAND),
        ("bash: nosuch: command not found", 127, "missing_path", "nosuch", Fault.NO_COMMAND),
        ("bash: line 1: x: command not found", 127, "missing_path", "x", Fault.NO_COMMAND),
        ("zsh:1: command not found: x", 127, "missing_path", "x", Fault.NO_COMMAND),
        ("bash: /a/b: No such file or directory", 127, "missing_path", "/a/b", Fault.NO_COMMAND),
        (
            "env: \u2018node\u2019: No such file or directory",
            127,
            "missing_path",
            "node",
            Fault.NO_COMMAND,
        ),
        (
            "env: can't execute 'node': No such file or directory",
            *(127, "missing_path", "node", Fault.NO_COMMAND),
        ),
        (
            "timeout: failed to run command \u2018x\u2019: No such file or directory",
            *(127, "missing_path", "x", Fault.NO_COMMAND),
        ),
        (
            "setpriv: failed to execute x: No such file or directory",
            *(127, "missing_path", "x", Fault.NO_COMMAND),
        ),
        (
            "[FATAL tini (7)] exec x failed: No such file or directory",
            *(127, "missing_path", "x", Fault.NO_COMMAND),
        ),
        (
            'error: exec: "x": executable file not found in $PATH',
            1,
            "missing_path",
            "x",
            Fault.NO_COMMAND,
        ),
        (
            "/a: error while loading shared libraries: libx.so.1: cannot open shared object file",
            *(127, "missing_path", "libx.so.1", Fault.NO_LIBRARY),
        ),
        (
            "Error loading shared library libx.so.1: No such file or directory (needed by /a)",
            *(127, "missing_path", "libx.so.1", Fault.NO_LIBRARY),
        ),
        ("sh: 1: ./x: Permission denied", 126, "permission", "./x", None),
        ("sh: 1: /tmp: Permission denied", 126, "permission", "/tmp", None),
        ("/e.sh: line 3: ./x: Permission denied", 126, "permission", "./x", None),
        (
            "bash: /x: cannot execute binary file: Exec format error",
            *(126, "config_error", "/x", Fault.NO_FORMAT),
        ),
        (USAGE, 64, "config_error", None, Fault.USAGE),
    ],
)
def test_a_message(
    line: str, status: int, kind: str, named: str | None, fault: Fault | None
) -> None:
    """It counts with the exit status of such a failure, and with no other one."""
    (fact,) = explain(exited(status), ["starting", line])

    assert (fact.kind.value, fact.named, fact.fault) == (kind, named, fault)
    assert fact.fault is None or fact.fault.cause.value == kind
    if status != 1:
        assert explain(exited(3), [line]) == []
    assert bool(explain(exited(None), [line])) == (status == 1)  # with any status


def test_a_folder_for_cd_is_no_command() -> None:
    """The last command can have the status 127 for another reason."""
    line = "bash: line 1: cd: /var/www/html: No such file or directory"

    assert explain(exited(127), [line]) == []


def test_an_address_in_use() -> None:
    """Any exit status fits, and an unknown one."""
    for status in (1, 2, 98, 255, None):
        assert kinds(exited(status), NGINX, "later") == [("bind_conflict", "0.0.0.0:8080")]


def test_a_port_that_is_reserved_for_root() -> None:
    """The address is named; so is one that this host does not have."""
    denied = "nginx: [emerg] bind() to 0.0.0.0:80 failed (13: Permission denied)"
    absent = "listen tcp 10.9.9.9:80: bind: cannot assign requested address"

    assert kinds(RUN, denied) == [("permission", "0.0.0.0:80")]
    assert kinds(RUN, absent) == [("address_absent", "10.9.9.9:80")]


def test_the_address_is_in_another_line() -> None:
    """Java names it before; Node.js names it in the same line."""
    assert kinds(RUN, *JAVA) == [("bind_conflict", "0.0.0.0:8080")]
    assert kinds(RUN, *NODE) == [("bind_conflict", "[::]:3000"), ("bind_conflict", None)]


@pytest.mark.parametrize(
    "run",
    [
        RUN._replace(reason=ExitReason(signal=9)),
        RUN._replace(lasted_s=3600.0),
    ],
)
def test_a_run_that_does_not_fit(run: FailedRun) -> None:
    """A signal, or a long run: a line about a failed start is not the reason."""
    assert kinds(run, NGINX) == []


def test_php_fpm_writes_to_stdout() -> None:
    """Lines of php-fpm and of PHP count too, wherever supervisord writes them."""
    bind = "ERROR: unable to bind listening socket for address '9000': Address already in use (98)"

    assert [fact.fault for fact in explain(FPM, [FATAL])] == [Fault.PHP_SETTINGS]
    assert kinds(FPM, bind) == [("bind_conflict", "9000")]
    assert kinds(RUN, FATAL) == []


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("supervisor: couldn't chdir to /srv/no: ENOENT", [("missing_path", "/srv/no/")]),
        ("supervisor: couldn't chdir to /srv/x: EACCES", [("permission", "/srv/x")]),
        ("supervisor: couldn't exec /srv/run.sh: ENOEXEC", [("config_error", "/srv/run.sh")]),
        ("supervisor: couldn't exec /srv/run.sh: EIO", []),
    ],
)
def test_the_child_of_supervisord_cannot_become_the_program(
    line: str, found: list[tuple[str, str | None]]
) -> None:
    """Its reason counts with status 127, or if that is unknown; its last line says no more."""
    lines = (line, "supervisor: child process was not spawned")

    assert kinds(exited(127), *lines) == found
    assert kinds(exited(None), *lines) == found
    assert kinds(exited(1), *lines) == []
    assert kinds(exited(None), *lines, "a later line") == []


def test_php_fpm_prints_its_usage() -> None:
    """The exit status is unknown; the word that php-fpm refuses is named once."""
    run = FPM._replace(reason=None, refused="--nodaemon")
    (fact,) = explain(run, [USAGE, "  -n  No php.ini file will be used", USAGE])

    assert (fact.fault, fact.named) == (Fault.USAGE, "--nodaemon")
    assert explain(run._replace(reason=ExitReason(status=70)), [USAGE]) == []
    assert len(explain(run._replace(reason=ExitReason(status=64)), [USAGE])) == 1


def test_a_line_without_a_meaning() -> None:
    """Most lines have no fact."""
    assert explain(RUN, ["listening on :80", ""]) == []
    (fact,) = explain(RUN, [NGINX])
    assert (fact.kind, fact.line) == (FactKind.BIND_CONFLICT, NGINX)


def test_a_hostile_line() -> None:
    """A line is bounded, and a name has no control characters."""
    (fact,) = explain(RUN, [NGINX + " x" * 9000])
    assert len(fact.line) <= 1024
    run = RUN._replace(reason=ExitReason(status=127))
    (named,) = explain(run, ["sh: 1: a\x1b[2J: not found"])
    assert named.named == "a\\x1b[2J"


def test_a_long_line_of_php() -> None:
    """It is bounded too."""
    (fact,) = explain(FPM, [FATAL + "x" * 9000])

    assert len(fact.line) == 1024
