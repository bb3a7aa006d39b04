"""What a line of supervisord's log states."""

from __future__ import annotations

import pytest

from fpm_listener.replay.supervisord_lines import (
    Ended,
    EnteredRunning,
    GaveUp,
    Spawned,
    SpawnError,
    SupervisordEnds,
    SupervisordFact,
    SupervisordStarted,
    Waiting,
    parse,
)
from fpm_listener.supervisor.exit_log import ExitNote, ExitReason, KillNote

STAMP = "2026-11-23 08:39:55,123 "


def ended(line: str, *, stopped: bool, expected: bool, **reason: int) -> Ended:
    """Return the end of php-fpm that a line states."""
    note = ExitNote(process="php-fpm", reason=ExitReason(**reason), line=STAMP + line)
    return Ended("php-fpm", stopped, expected, note)


KILL = "WARN killing 'php-fpm' (812) with SIGKILL"
NO_COMMAND = "INFO spawnerr: can't find command '/x'"
NO_FILES = "INFO spawnerr: too many open files to spawn 'php-fpm'"
NO_LOG = "INFO spawnerr: unknown error making dispatchers for 'php-fpm': EACCES"


@pytest.mark.parametrize(
    ("line", "fact"),
    [
        ("INFO spawned: 'php-fpm' with pid 812", Spawned("php-fpm", 812)),
        (
            "INFO success: php-fpm entered RUNNING state, process has stayed up for 1 seconds",
            EnteredRunning("php-fpm"),
        ),
        ("INFO gave up: php-fpm entered FATAL state, too many start retries", GaveUp("php-fpm")),
        ("INFO waiting for php-fpm to stop", Waiting(("php-fpm",))),
        ("INFO waiting for php-fpm, queue_00 to die", Waiting(("php-fpm", "queue_00"))),
        (KILL, KillNote(process="php-fpm", pid=812, line=STAMP + KILL)),
        ("INFO supervisord started with pid 1", SupervisordStarted(1)),
        ("WARN received SIGTERM indicating exit request", SupervisordEnds("SIGTERM")),
        ("WARN received SIGHUP indicating restart request", SupervisordEnds("SIGHUP")),
        (NO_COMMAND, SpawnError(None, STAMP + NO_COMMAND)),
        (NO_FILES, SpawnError("php-fpm", STAMP + NO_FILES)),
        (NO_LOG, SpawnError("php-fpm", STAMP + NO_LOG)),
    ],
)
def test_a_line(line: str, fact: SupervisordFact) -> None:
    """Each line of supervisord 4 is understood."""
    assert parse(STAMP + line) == fact


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("WARN exited: php-fpm (exit status 78; not expected)", (False, False)),
        ("INFO exited: php-fpm (exit status 78; not expected)", (False, False)),  # supervisor 3
        ("INFO exited: php-fpm (exit status 78; expected)", (False, True)),
        ("INFO stopped: php-fpm (exit status 78)", (True, True)),
    ],
)
def test_an_end(line: str, expected: tuple[bool, bool]) -> None:
    """The line shows whether the end was requested and expected, and the exit status."""
    stopped, is_expected = expected

    assert parse(STAMP + line) == ended(line, stopped=stopped, expected=is_expected, status=78)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "spawned: 'php-fpm' with pid 812",
        f"{STAMP}INFO spawned: 'a b' with pid 812",
        f"{STAMP}INFO spawned: 'php-fpm' with pid 99999999999999999999",
        f"{STAMP}INFO spawned: '{'x' * 300}' with pid 812",
        f"{STAMP}INFO said: spawned: 'php-fpm' with pid 812",
        f"{STAMP}INFO waiting for {', '.join('a' * 9 for _ in range(5000))} to die",
        f"{STAMP}INFO exited: php-fpm (terminated by SIGNOTHING; not expected)",
        f"{STAMP}CRIT Supervisor is running as root.",
    ],
)
def test_no_fact(line: str) -> None:
    """Other lines, and lines that supervisord does not write, state nothing."""
    assert parse(line) is None
