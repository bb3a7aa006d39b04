"""What supervisord's log tells of deaths, and which of it is new."""

from __future__ import annotations

from itertools import pairwise
from signal import SIGRTMIN

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm_listener.supervisor.exit_log import ExitNote, ExitReason, LogCursor, parse_line

STAMP = "2026-11-23 08:39:55,123"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("WARN exited: php-fpm (exit status 78; not expected)", ExitReason(status=78)),
        ("INFO exited: php-fpm (exit status 0; expected)", ExitReason(status=0)),
        ("WARN exited: php-fpm (terminated by SIGKILL; not expected)", ExitReason(signal=9)),
        (
            "WARN exited: php-fpm (terminated by SIGSEGV (core dumped); not expected)",
            ExitReason(signal=11),
        ),
        ("WARN exited: php-fpm (terminated by signal 42; not expected)", ExitReason(signal=42)),
        (
            "WARN exited: php-fpm (terminated by SIGRTMIN; not expected)",
            ExitReason(signal=int(SIGRTMIN)),
        ),
        # signame() names a number by the last of its names in the signal module.
        ("WARN exited: php-fpm (terminated by SIGIOT; not expected)", ExitReason(signal=6)),
        ("INFO stopped: php-fpm (exit status 0)", ExitReason(status=0)),
        ("WARN stopped: php-fpm (terminated by SIGTERM)", ExitReason(signal=15)),
    ],
)
def test_every_wording_of_an_exit(said: str, reason: ExitReason) -> None:
    """All that supervisor 4.2.5 and 4.3.0 can say of an end, with status or signal."""
    line = f"{STAMP} {said}"
    note = parse_line(line)

    assert note is not None
    assert (note.process, note.reason, note.line) == ("php-fpm", reason, line)


def test_a_name_is_all_up_to_the_blank() -> None:
    """supervisor forbids blanks, colons and slashes in names, and nothing else."""
    note = parse_line(f"{STAMP} WARN exited: café-(1)_00 (exit status 3; not expected)")

    assert note is not None
    assert note.process == "café-(1)_00"


@pytest.mark.parametrize(
    "line",
    [
        "",
        f"{STAMP} INFO spawned: 'php-fpm' with pid 812",
        f"{STAMP} INFO reaped unknown pid 77 (exit status 0)",
        f"{STAMP} INFO success: php-fpm entered RUNNING state, process has stayed up for",
        f"{STAMP} INFO gave up: php-fpm entered FATAL state, too many start retries too quickly",
        f"{STAMP} INFO waiting for php-fpm to stop",
        f"{STAMP} WARN exited: php-fpm (unknown termination cause 0x137f; not expected)",
        f"{STAMP} WARN exited: php-fpm (terminated by SIGNOTHING; not expected)",
        f"{STAMP} WARN exited: php-fpm (exit status 78; not expected",
        f"{STAMP} WARN exited: php-fpm (exit status 78; not expected) and more",
        f"{STAMP[6:]} WARN exited: php-fpm (exit status 78; not expected)",
        f"{STAMP} DEBG 'php-fpm' stdout output: exited: php-fpm (exit status 78; not expected)",
    ],
)
def test_other_lines_are_ignored(line: str) -> None:
    """Neither other messages, nor halves of lines, nor what programs print."""
    assert parse_line(line) is None


@pytest.mark.parametrize("how", ["exit status {}", "terminated by signal {}"])
def test_a_number_of_thousands_of_digits(how: str) -> None:
    """Python refuses to convert it, so it is no death; the line may come from any program."""
    line = f"2026-11-23 08:39:55,123 WARN exited: php-fpm ({how.format('9' * 5000)}; not expected)"

    assert parse_line(line) is None


def test_the_metric_is_the_code_or_minus_the_signal() -> None:
    """One number for both."""
    assert ExitReason(status=78).as_metric == 78
    assert ExitReason(signal=9).as_metric == -9


# -- what is new -----------------------------------------------------------------------------------


def death(number: int) -> str:
    """Return the line of a death, its exit status told by its number."""
    stamp = f"2026-11-23 08:39:{number // 1000 % 60:02},{number % 1000:03}"
    return f"{stamp} WARN exited: php-fpm (exit status {number % 256}; not expected)\n"


def taken(cursor: LogCursor, text: str) -> list[int | None]:
    return [note.reason.status for note in cursor.take(text) if isinstance(note, ExitNote)]


def test_the_first_look_only_sets_the_mark() -> None:
    """What was in the log before we came is no news."""
    cursor = LogCursor()

    assert taken(cursor, death(1) + death(2)) == []
    assert taken(cursor, death(1) + death(2)) == []
    assert taken(cursor, death(1) + death(2) + death(3)) == [3]


def test_the_first_look_can_be_wanted() -> None:
    """With skip_old off, all that the log says is returned once."""
    cursor = LogCursor(skip_old=False)

    assert taken(cursor, death(1) + death(2)) == [1, 2]
    assert taken(cursor, death(1) + death(2)) == []


def test_an_empty_log_sets_the_mark_too() -> None:
    """The first line of a log that was empty at the first look is news."""
    cursor = LogCursor()

    assert taken(cursor, "") == []
    assert taken(cursor, death(1)) == [1]


def test_a_half_line_waits_for_its_end() -> None:
    """supervisord was writing while we read; the line is returned whole, and once."""
    cursor = LogCursor(skip_old=False)

    assert taken(cursor, death(1) + death(2)[:30]) == [1]
    assert taken(cursor, death(1) + death(2)[:-1]) == []
    assert taken(cursor, death(1) + death(2)) == [2]


def test_a_window_that_slides_begins_within_a_line() -> None:
    """The half line at its start is known, and is no mark of a new log."""
    cursor = LogCursor()
    taken(cursor, death(1) + death(2) + death(3))

    assert taken(cursor, death(2)[40:] + death(3) + death(4)) == [4]
    assert taken(cursor, "\ufffd" + death(3)[41:] + death(4) + death(5)) == [5]


def test_a_window_that_begins_between_two_lines_is_aligned() -> None:
    """Its first line is whole."""
    cursor = LogCursor()
    taken(cursor, death(1) + death(2))

    assert taken(cursor, death(2) + death(3)) == [3]


def test_windows_of_other_sizes_find_their_place() -> None:
    """A shorter reading, then a longer one that shows old lines again, returns only the new."""
    cursor = LogCursor()
    log = "".join(map(death, range(1, 10)))
    taken(cursor, log)

    assert taken(cursor, death(9)[50:] + death(10)) == [10]
    assert taken(cursor, log + death(10) + death(11)) == [11]


def test_a_log_that_was_rotated_is_all_new() -> None:
    """Its first line included."""
    cursor = LogCursor()
    taken(cursor, death(1) + death(2))

    assert taken(cursor, death(3) + death(4)) == [3, 4]


def test_a_log_that_outgrew_the_window_gives_what_is_left_of_it() -> None:
    """More was written than the window has: its lines are new, the half one is dropped."""
    cursor = LogCursor()
    taken(cursor, death(1))

    assert taken(cursor, death(5)[30:] + death(6) + death(7)) == [6, 7]


def test_two_equal_lines_are_two_exits() -> None:
    """Two groups have a process of that name each, and they die in the same millisecond."""
    cursor = LogCursor(skip_old=False)

    assert taken(cursor, death(7)) == [7]
    assert taken(cursor, death(7) * 2) == [7]
    assert taken(cursor, death(7) * 2 + death(8)) == [8]
    assert taken(cursor, death(7) + death(8) + death(9)) == [9]


@given(
    times=st.lists(st.integers(1, 2), min_size=1, max_size=60),
    cuts=st.lists(st.integers(0, 10_000), max_size=20),
    windows=st.lists(st.integers(1500, 6000), min_size=1, max_size=5),
)
def test_every_exit_is_reported_once(
    times: list[int],
    cuts: list[int],
    windows: list[int],
) -> None:
    """Whenever the log is read, and how much of it: each death is returned once, in order.

    times: how often each line stands there.
    """
    log = "".join(death(number) * count for number, count in enumerate(times))
    moments = sorted({0, len(log), *(cut % (len(log) + 1) for cut in cuts)})
    cursor = LogCursor()
    cursor.take("")
    found: list[int | None] = []
    for at, (before, now) in enumerate(pairwise(moments)):
        # Long enough for what is new and for some lines that are known.
        window = (now - before) + windows[at % len(windows)]
        found += taken(cursor, log[max(0, now - window) : now])

    assert found == [number for number, count in enumerate(times) for _ in range(count)]
