"""What a replay finds in logs."""

from __future__ import annotations

import pytest

from tests.unit.replay.replays import clock, replay, whole

TAKEN = whole("""
2026-11-23 08:39:51,010 INFO spawned: 'php-fpm' with pid 7
[23-Nov-2026 08:39:51] ERROR: IN USE
[23-Nov-2026 08:39:51] ERROR: FPM initialization failed
2026-11-23 08:39:51,123 WARN exited: php-fpm (exit status 78; not expected)
2026-11-23 08:39:52,130 INFO spawned: 'php-fpm' with pid 8
[23-Nov-2026 08:39:52] ERROR: IN USE
[23-Nov-2026 08:39:52] ERROR: FPM initialization failed
2026-11-23 08:39:52,223 WARN exited: php-fpm (exit status 78; not expected)
2026-11-23 08:39:54,230 INFO spawned: 'php-fpm' with pid 9
[23-Nov-2026 08:39:54] ERROR: IN USE
[23-Nov-2026 08:39:54] ERROR: FPM initialization failed
2026-11-23 08:39:54,323 WARN exited: php-fpm (exit status 78; not expected)
2026-11-23 08:39:55,323 INFO gave up: php-fpm FATAL
""")
AGAIN = whole("""
2026-11-23 09:00:00,000 INFO spawned: 'php-fpm' with pid 20
[23-Nov-2026 09:00:00] NOTICE: fpm is running, pid 20
2026-11-23 09:00:01,000 INFO success: php-fpm RUNNING
2026-11-23 10:00:00,000 INFO reaped unknown pid 1
2026-11-23 10:00:00,000 INFO spawned: 'other' with pid 21
""")


def of(text: str, mark: str) -> str:
    """Return the lines of supervisord (`2`) or of php-fpm (`[`) in a text."""
    return "\n".join(line for line in text.splitlines() if line.startswith(mark))


def test_an_address_that_is_in_use() -> None:
    """The incident has the cause, the exit status, the address, and is open at the end."""
    (incident,) = replay(TAKEN)["incidents"]

    assert (incident["program"], incident["cause"]) == ("php-fpm:php-fpm", "bind_conflict")
    assert (incident["address"], incident["gave_up"]) == ("127.0.0.1:9000", True)
    assert (incident["end"], incident["last_state"]) == ("open", "FATAL")
    assert clock(incident["started_at_s"]) == "08:39:54"
    assert any("exit status 78" in line for line in incident["evidence"])


def test_the_end_of_an_incident() -> None:
    """It is resolved when php-fpm has run for two minutes, and says since when it is well."""
    (incident,) = replay(TAKEN + AGAIN)["incidents"]

    assert incident["end"] == "resolved"
    assert clock(incident["recovered_at_s"]) == "09:00:01"
    assert clock(incident["resolved_at_s"]) == "09:02:01"


def test_two_files_give_what_one_gives() -> None:
    """php-fpm's whole seconds do not change the result: a line can seem to be before its start."""
    text = TAKEN + AGAIN
    one = replay(text)
    two = replay(of(text, "2"), of(text, "["))

    assert one["incidents"] == two["incidents"]
    assert [(entry["what"], clock(entry["first_at_s"])) for entry in one["timeline"]] == [
        (entry["what"], clock(entry["first_at_s"])) for entry in two["timeline"]
    ]


def test_only_the_log_of_php_fpm() -> None:
    """Failed starts and runs are found in it, and the result says what is missing."""
    found = replay(of(TAKEN, "["))
    (incident,) = found["incidents"]

    assert (incident["cause"], incident["failures"]) == ("bind_conflict", 3)
    assert any("exit statuses" in sentence for sentence in found["not_shown"])


def test_only_the_log_of_supervisord() -> None:
    """The failures are found, and the result says that the reason is missing."""
    found = replay(of(TAKEN, "2"))
    (incident,) = found["incidents"]

    assert (incident["cause"], incident["gave_up"]) == ("restart_loop", True)
    assert any("--fpm-log" in sentence for sentence in found["not_shown"])


SEVERAL = """
2026-11-23 08:00:00,100 INFO spawned: 'web-fpm' with pid 7
2026-11-23 08:00:00,100 INFO spawned: 'api-fpm' with pid 8
2026-11-23 08:00:01,200 INFO success: web-fpm RUNNING
2026-11-23 08:00:01,200 INFO success: api-fpm RUNNING
2026-11-23 09:00:00,000 INFO spawned: 'other' with pid 9
"""
RUNS = "[23-Nov-2026 08:00:00] NOTICE: fpm is running, pid {}\n"
CRASHES = "\n".join(
    f"[23-Nov-2026 08:10:0{second}] WARNING: [pool www] child {second + 50} exited on signal 11"
    " (SIGSEGV) after 2.0 seconds from start"
    for second in range(6)
)


def test_the_pid_shows_whose_log_it_is() -> None:
    """Crashes of workers belong to the php-fpm whose pid is in the same file."""
    found = replay(whole(SEVERAL), RUNS.format(8) + CRASHES, RUNS.format(7))

    assert [one["program"] for one in found["incidents"]] == ["api-fpm:api-fpm"]


def test_lines_of_one_of_several_php_fpm() -> None:
    """A line that two php-fpm can have written is attributed to none of them, and this is said."""
    found = replay(whole(SEVERAL), CRASHES)

    assert found["incidents"] == []
    assert any("Which of several php-fpm has written 6 lines" in one for one in found["not_shown"])


def test_a_program_that_does_not_exist() -> None:
    """supervisord's reason names the command; the program is known when supervisord gives up."""
    reason = "INFO spawnerr: can't find command '/usr/sbin/php-fpm9'"
    starts = "\n".join(f"2026-11-23 08:00:0{second},000 {reason}" for second in (0, 1, 3, 6))
    (incident,) = replay(
        f"{starts}\n2026-11-23 08:00:06,001 INFO gave up: web entered FATAL state, too many"
    )["incidents"]

    assert (incident["program"], incident["cause"]) == ("web:web", "missing_path")
    assert "/usr/sbin/php-fpm9" in incident["summary"]
    assert clock(incident["started_at_s"]) == "08:00:03"


def test_a_log_without_starts() -> None:
    """With loglevel=warn the log shows exits only: the end of the incident is unknown."""
    (incident,) = (
        found := replay(
            "\n".join(
                f"2026-11-23 08:00:{second:02d},000 WARN exited: web (exit status 1; not expected)"
                for second in (0, 5, 10, 15)
            )
        )
    )["incidents"]

    assert (incident["end"], incident["gave_up"]) == ("unknown", False)
    assert clock(incident["last_failure_at_s"]) == "08:00:15"
    assert any("loglevel is above info" in one for one in found["not_shown"])


def test_supervisord_is_killed() -> None:
    """What ran before is stopped in the new supervisord; no failure is invented."""
    found = replay(
        whole(
            """
2026-11-23 08:00:00,000 INFO supervisord started with pid 1
2026-11-23 08:00:00,100 INFO spawned: 'web-fpm' with pid 7
2026-11-23 08:00:01,200 INFO success: web-fpm RUNNING
2026-11-23 09:00:00,000 INFO supervisord started with pid 1
2026-11-23 09:30:00,000 INFO supervisord started with pid 1
"""
        )
    )

    assert found["incidents"] == []
    assert [one["state"] for one in found["programs"]] == ["STOPPED"]
    assert any("it started again (2 times)" in one for one in found["not_shown"])


def test_the_clock_is_set_back() -> None:
    """Three failures in 60 s of monotonic time are a loop, also if an hour comes twice."""
    text = "\n".join(
        f"2026-10-25 {at},000 INFO spawned: 'web' with pid 7\n"
        f"2026-10-25 {at},500 WARN exited: web (exit status 1; not expected)"
        for at in ("02:59:50", "02:59:58", "02:00:05", "02:00:10")
    )
    (incident,) = (found := replay(text))["incidents"]

    assert incident["cause"] == "restart_loop"
    assert any("set back (1 time)" in one for one in found["not_shown"])


def loops(*names: str) -> str:
    """Return the log of programs whose shell does not find a command, in one file."""
    lines = []
    for second in (0, 2, 5):
        at = f"2026-11-23 08:00:0{second}"
        lines += [f"{at},000 INFO spawned: '{name}' with pid 7" for name in names]
        for name in names:
            lines += ["sh: 1: imagemagick: not found"]
            lines += [f"{at},500 WARN exited: {name} (exit status 127; not expected)"]
    return "\n".join(lines)


def test_output_of_the_only_program_that_starts() -> None:
    """In a log of several programs, the lines before an exit show its reason."""
    (incident,) = replay(loops("queue"))["incidents"]

    assert incident["cause"] == "missing_path"
    assert "sh: 1: imagemagick: not found" in incident["evidence"]


def test_output_of_one_of_two_programs_that_start() -> None:
    """It is attributed to none of them."""
    found = replay(loops("queue", "cron"))["incidents"]

    assert {one["cause"] for one in found} == {"restart_loop"}


@pytest.mark.parametrize(
    "line",
    ["sh: 1: imagemagick: not found", "PHP Fatal error:  Uncaught PDOException in /app/x.php:3"],
)
def test_output_beside_a_program_that_runs(line: str) -> None:
    """Its application can have written it. So it is no cause of php-fpm's failure."""
    well = "2026-11-23 07:59:00,000 INFO success: worker RUNNING\n"
    loop = loops("php-fpm").replace("sh: 1: imagemagick: not found", line)
    (incident,) = replay(whole(well) + loop)["incidents"]

    assert incident["cause"] == "restart_loop"
    assert line not in incident["evidence"]


STOPS = """
2026-11-23 08:39:56,000 WARN received SIGTERM indicating exit request
2026-11-23 08:39:56,010 INFO waiting for web-fpm to die
"""


def test_logs_that_begin_late() -> None:
    """A program can be down since then, so silence is not taken for health."""
    started = "2026-11-23 07:59:00,000 INFO supervisord started with pid 1\n"
    before = "Whether a program was down before the first line"

    assert any(text.startswith(before) for text in replay(AGAIN)["not_shown"])
    assert not any(text.startswith(before) for text in replay(started + AGAIN)["not_shown"])


def test_exit_of_a_shutdown() -> None:
    """The incident shows how php-fpm failed, and not that it has stopped well."""
    loop = loops("web-fpm").replace("127;", "78;")
    starts = "\n2026-11-23 08:00:09,000 INFO spawned: 'web-fpm' with pid 7"
    stopped = "2026-11-23 08:39:56,500 INFO stopped: web-fpm (exit status 0)"
    (incident,) = replay(loop + starts + STOPS + stopped)["incidents"]

    assert "exit status 78" in incident["summary"]
    assert incident["last_state"] == "STOPPED"


def test_a_shutdown_ends_no_incident() -> None:
    """The incident goes on in the next supervisord, and ends when php-fpm has run there."""
    (incident,) = replay(TAKEN + STOPS)["incidents"]
    assert (incident["end"], incident["recovered_at_s"]) == ("open", None)
    assert "recovering" not in incident["summary"]

    started = "2026-11-23 08:59:59,000 INFO supervisord started with pid 1"
    (incident,) = replay(TAKEN + STOPS + started + AGAIN)["incidents"]
    assert clock(incident["recovered_at_s"]) == "09:00:01"
    assert clock(incident["resolved_at_s"]) == "09:02:01"
