"""supervisord's own reasons, word by word as versions 4.2.5 and 4.3.0 write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm_listener.supervisor.spawn_error import parse
from fpm_listener.vocabulary import Cause, Fault


@pytest.mark.parametrize(
    ("line", "proves", "named"),
    [
        ("can't find command '/srv/run.sh'", Fault.NO_PROGRAM, "/srv/run.sh"),
        ("can't find command 'node'", Fault.NO_PROGRAM, "node"),
        ("can't find command \"/srv/it's\"", Fault.NO_PROGRAM, "/srv/it's"),
        ("command at '/srv/run.sh' is not executable", Fault.NOT_EXECUTABLE, "/srv/run.sh"),
        ("command at '/srv' is a directory", Fault.IS_DIRECTORY, "/srv"),
        ("no permission to run command '/root/x'", Cause.PERMISSION, "/root/x"),
        ("command is empty", Fault.BAD_COMMAND, None),
        ("can't parse command '\"x': No closing quotation", Fault.BAD_COMMAND, None),
        ("too many open files to spawn 'php-fpm'", Cause.FD_LIMIT, None),
        ("Too many processes in process table to spawn 'x'", Cause.PROCESS_LIMIT, None),
        ("unknown error making dispatchers for 'x': ENOENT", Cause.MISSING_PATH, None),
        ("unknown error making dispatchers for 'x': EACCES", Cause.PERMISSION, None),
        ("unknown error making dispatchers for 'x': EROFS", Cause.PERMISSION, None),
        ("unknown error making dispatchers for 'x': ENOSPC", Cause.DISK_FULL, None),
        ("unknown error during fork for 'x': ENOMEM", Fault.NO_MEMORY, None),
        ("supervisor: couldn't chdir to /srv/no: ENOENT", Fault.NO_DIRECTORY, "/srv/no/"),
        ("supervisor: couldn't chdir to /root/x: EACCES", Cause.PERMISSION, "/root/x"),
        ("supervisor: couldn't exec /srv/run.sh: ENOENT", Fault.NO_INTERPRETER, "/srv/run.sh"),
        ("supervisor: couldn't exec /srv/run.sh: EACCES", Cause.PERMISSION, "/srv/run.sh"),
        ("supervisor: couldn't exec /srv/run.sh: ENOEXEC", Fault.NO_FORMAT, "/srv/run.sh"),
        (
            "supervisor: couldn't setuid to 1234: Can't find uid 1234",
            Fault.NO_UID,
            "user 1234",
        ),
        (
            "supervisor: couldn't setuid to 33: Can't drop privilege as nonroot user",
            Fault.NOT_ROOT,
            None,
        ),
    ],
)
def test_a_reason(line: str, proves: Cause | Fault, named: str | None) -> None:
    """It proves a cause, and often names the path."""
    found = parse(line)
    assert found is not None
    assert (found.fault or found.cause, found.named) == (proves, named)
    assert found.cause is (proves.cause if isinstance(proves, Fault) else proves)
    assert line in found.evidence


def test_a_line_of_the_log() -> None:
    """It has time and level; the evidence shows the whole line."""
    line = "2026-11-23 08:39:55,123 INFO spawnerr: can't find command '/srv/run.sh'"
    found = parse(line)

    assert found is not None
    assert (found.fault, found.evidence) == (Fault.NO_PROGRAM, line)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "Exited too quickly (process log may have details)",
        "Bad exit code 78",
        "supervisor: child process was not spawned",
        "unknown error making dispatchers for 'x': EIO",
        "PHP Warning: can't find command '/srv/run.sh'",
        "2026-11-23 08:39:55,123 INFO spawned: 'x' with pid 7",
    ],
)
def test_no_reason(line: str) -> None:
    """An ordinary failed start, an unknown errno, and text of the program prove nothing."""
    assert parse(line) is None


@given(st.text())
def test_any_text(text: str) -> None:
    """Nothing raises, and no control character gets through."""
    for line in (text, f"can't find command '{text}'", f"supervisor: couldn't exec {text}: ENOENT"):
        found = parse(line)
        if found is not None:
            assert found.evidence.isprintable()
            assert found.named is None or found.named.isprintable()
