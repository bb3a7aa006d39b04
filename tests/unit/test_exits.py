"""supervisord's own log, read for how processes ended."""

from __future__ import annotations

import pytest

from fpm_listener.core.exits import ExitReason, LogCursor, parse_line


@pytest.mark.parametrize(
    ("text", "process", "reason"),
    [
        ("WARN exited: php-fpm (exit status 78; not expected)", "php-fpm", ExitReason(status=78)),
        ("INFO exited: a_00 (exit status 0; expected)", "a_00", ExitReason(status=0)),
        ("WARN exited: x (terminated by SIGKILL; not expected)", "x", ExitReason(signal=9)),
        (
            "WARN exited: x (terminated by SIGSEGV (core dumped); not expected)",
            "x",
            ExitReason(signal=11),
        ),
        ("INFO stopped: php-fpm (exit status 0)", "php-fpm", ExitReason(status=0)),
        ("WARN stopped: php-fpm (terminated by SIGQUIT)", "php-fpm", ExitReason(signal=3)),
        ("WARN exited: x (terminated by signal 42; not expected)", "x", ExitReason(signal=42)),
    ],
)
def test_deaths_are_read(text: str, process: str, reason: ExitReason) -> None:
    """Exit codes and signals of 4.2.5 and 4.3.0, of ends that were and were not expected."""
    note = parse_line(f"2026-11-23 08:39:55,123 {text}")

    assert note is not None
    assert (note.process, note.reason) == (process, reason)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "2026-11-23 08:39:55,123 INFO spawned: 'php-fpm' with pid 12",
        "2026-11-23 08:39:55,123 INFO success: php-fpm entered RUNNING state, process has",
        "2026-11-23 08:39:55,123 INFO gave up: php-fpm entered FATAL state",
        "exited: php-fpm (exit status 78; not expected)",
        "2026-11-23 08:39:55,123 DEBG 'x' stdout output:\n",
    ],
)
def test_other_lines_are_not(line: str) -> None:
    """What tells of no death is passed over."""
    assert parse_line(line) is None


def test_metric_of_a_reason() -> None:
    """Exit codes are positive, signals negative."""
    assert ExitReason(status=78).as_metric == 78
    assert ExitReason(signal=9).as_metric == -9


def line(number: int) -> str:
    return (
        f"2026-11-23 08:39:{number:02d},000 WARN exited: p (exit status {number}; not expected)\n"
    )


def codes(cursor: LogCursor, text: str) -> list[int | None]:
    return [note.reason.status for note in cursor.take(text)]


def test_each_line_is_taken_once() -> None:
    """Windows that overlap give each line once; the first look takes none."""
    cursor = LogCursor()
    assert codes(cursor, line(1) + line(2)) == []
    assert codes(cursor, line(1) + line(2)) == []
    assert codes(cursor, line(2) + line(3) + line(4)) == [3, 4]
    assert codes(cursor, line(3) + line(4)) == []
    assert codes(cursor, line(4) + line(5)) == [5]


def test_half_lines_wait() -> None:
    """A line that is being written is taken when it is whole; half of an old one is nothing."""
    cursor = LogCursor()
    codes(cursor, line(1))
    assert codes(cursor, line(1)[10:] + line(2)[:40]) == []
    assert codes(cursor, line(1)[30:] + line(2)) == [2]


def test_a_log_that_begins_anew() -> None:
    """After a rotation all that is there is new."""
    cursor = LogCursor()
    codes(cursor, line(1) + line(2))

    assert codes(cursor, line(3) + line(4)) == [3, 4]


def test_an_empty_log() -> None:
    """A log that was empty at the first look misses nothing."""
    cursor = LogCursor()
    codes(cursor, "")

    assert codes(cursor, line(1)) == [1]
    assert codes(cursor, line(1) + line(2)) == [2]
