"""`fpm-listener explain --logs`: files, exit status, errors, JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fpm_listener.__main__ import main
from fpm_listener.cli import machine_logs
from fpm_listener.replay.log_lines import LogFile, Source
from fpm_listener.values import FpmListenerError

LOGS = Path(__file__).parents[2] / "data" / "logs"
SUPERVISORD = ("--supervisord-log", str(LOGS / "supervisord.log"))
CONFLICT = ("--fpm-log", str(LOGS / "inuse-fpm.log"))
#: Of an incident: they are the interface.
KEYS = {
    *(
        "container",
        "program",
        "id",
        "cause",
        "severity",
        "started_at_s",
        "failures",
        "gave_up",
        "summary",
    ),
    *("address", "holder", "evidence", "remedy", "end", "last_state", "last_failure_at_s"),
    *("recovered_at_s", "resolved_at_s", "container"),
}


def explain(*words: str) -> int:
    """Run the command and return its exit status."""
    return main(["explain", "--logs", "--tz", "UTC", *words])


def test_an_incident(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 1; the text has the cause, its evidence, the remedy and the limits of logs."""
    assert explain(*SUPERVISORD, *CONFLICT) == 1
    text = capsys.readouterr().out

    assert "7 incidents in " in text.splitlines()[0]
    assert "inuse-fpm failed: exit status 78 (4 times)" in text
    assert "  cause:    bind_conflict, 4 failures" in text
    assert "evidence: [29-Nov-2026 01:35:00] ERROR: unable to bind" in text
    assert "remedy:   As root, find the process that uses the address: ss -ltnp" in text
    assert "WHAT THESE LOGS DO NOT SHOW" in text


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    """The keys are stable."""
    assert explain("--json", *SUPERVISORD, *CONFLICT) == 1
    found = json.loads(capsys.readouterr().out)

    assert found.keys() == {
        *("files", "lines", "first_at_s", "last_at_s", "programs", "timeline", "incidents"),
        *("incidents_left_out", "not_shown", "notes"),
    }
    assert all(one.keys() == KEYS for one in found["incidents"])


def failing(container: str, second: int) -> str:
    """Return a start of php-fpm that fails, as docker compose shows it."""
    at = f"{container}  | 2026-11-23 08:00:{second:02}"
    return (
        f"{at},000 INFO spawned: 'php-fpm' with pid 8\n"
        f"{at},100 WARN exited: php-fpm (exit status 78; not expected)\n"
    )


def test_containers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each has its own supervisord, although programs and pids are the same."""
    log = tmp_path / "log"
    log.write_text("".join(failing(f"web-{second}", second) for second in range(3)))
    assert explain(str(log)) == 0

    well = "web-2  | 2026-11-23 08:00:30,000 INFO success: php-fpm entered RUNNING state, process\n"
    log.write_text("".join(failing("web-1", second) for second in range(3)) + well)
    capsys.readouterr()
    assert explain(str(log)) == 1
    text = capsys.readouterr().out
    assert "INCIDENT 1 of 1, CRITICAL: web-1: php-fpm: it is in a restart loop" in text
    assert "  2026-11-23 08:00:00 to 08:00:02  web-1 php-fpm failed: exit status 78" in text
    assert "still open at the end of the logs, in the state BACKOFF" in text
    assert explain("--json", str(log)) == 1
    programs = json.loads(capsys.readouterr().out)["programs"]
    assert [one["container"] for one in programs] == ["web-1", "web-2"]


def test_copies_of_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """supervisord writes lines twice to /dev/stdout, or `tail -f` repeats them: they count once."""
    log = tmp_path / "log"
    once = (failing("x", 0) + failing("x", 2)).replace("x  | ", "")
    log.write_text(once * 2)

    assert explain(str(log)) == 0
    assert "php-fpm failed: exit status 78 (2 times)" in capsys.readouterr().out


def test_two_machines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Files with lines of supervisord at the same time are perhaps not of one supervisord."""
    for name, second in (("a", 0), ("b", 1)):
        text = failing("x", second) + failing("x", second + 20)
        (tmp_path / name).write_text(text.replace("x  | ", ""))
    explain(str(tmp_path / "a"), str(tmp_path / "b"))

    assert "they are of two machines or containers, diagnose each alone" in capsys.readouterr().out


def test_no_incident(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 0, and the result says what the logs do not show."""
    log = tmp_path / "log"
    log.write_text("2026-11-23 08:00:00,000 INFO spawned: 'php-fpm' with pid 7\n")

    assert explain(str(log)) == 0
    assert "no incident in 1 line" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("/no/such/log",), "/no/such/log"),
        (("/etc/passwd",), "no line of supervisord or php-fpm was read"),
        (("FPM014",), "FPM014 is a rule of check"),
        ((*SUPERVISORD, "--since", "yesterday"), "--since 'yesterday'"),
    ],
)
def test_a_mistake(words: tuple[str, ...], error: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 2 and one line; nothing is printed as a result."""
    assert explain(*words) == 2
    printed = capsys.readouterr()

    assert printed.out == ""
    assert error in printed.err


def test_an_option_without_logs(capsys: pytest.CaptureFixture[str]) -> None:
    """It is refused."""
    assert main(["explain", "--since", "2h"]) == 2
    assert "--since needs --logs" in capsys.readouterr().err


def test_the_logs_of_a_configuration(tmp_path: Path) -> None:
    """Those that exist are read, and each log has the program that writes it."""
    conf, fpm = tmp_path / "supervisord.conf", tmp_path / "fpm.conf"
    for name in ("supervisord.log", "fpm.log", "queue.err"):
        (tmp_path / name).touch()
    fpm.write_text(f"[global]\nerror_log = {tmp_path}/fpm.log\n[www]\nlisten = 127.0.0.1:9000\n")
    conf.write_text(
        f"[supervisord]\nlogfile={tmp_path}/supervisord.log\n"
        f"[program:php-fpm]\ncommand=php-fpm -F -y {fpm}\nstdout_logfile=/dev/null\n"
        f"stderr_logfile={tmp_path}/none\n"
        f"[program:queue]\ncommand=/bin/true\nstdout_logfile=/dev/null\n"
        f"stderr_logfile={tmp_path}/queue.err\n"
    )
    files, known = machine_logs.find(str(conf))

    assert set(files) == {
        LogFile(f"{tmp_path}/supervisord.log", Source.SUPERVISORD),
        LogFile(f"{tmp_path}/fpm.log", Source.FPM, "php-fpm:php-fpm"),
        LogFile(f"{tmp_path}/queue.err", Source.OUTPUT, "queue:queue"),
    }
    assert [str(name) for name in known.sites] == ["php-fpm:php-fpm"]
    for file in files:
        Path(file.path).unlink()
    with pytest.raises(FpmListenerError, match="docker logs NAME"):
        machine_logs.find(str(conf))
