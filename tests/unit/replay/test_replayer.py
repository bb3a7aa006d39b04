"""What a replay finds in logs."""

from __future__ import annotations

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
    assert one["timeline"] == two["timeline"]


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
