"""The command line of `healthy`, the settings that lead to the socket, and what answers there."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from fpm_listener.cli import healthy
from fpm_listener.cli.healthy_options import NoVerdict, Options, parse
from fpm_listener.daemon.health_check import read_question

if TYPE_CHECKING:
    from pathlib import Path


def test_options() -> None:
    """Values can follow an equals sign; times can have a unit."""
    words = ["web:*", "--timeout=2", "--start-period", "1m", "--nagios", "--config", "/c", "x"]
    found = parse([*words, "--direct", "--supervisord-conf=/s"])

    assert found.programs == ["web:*", "x"]
    assert (found.timeout_s, found.start_period_s) == (2.0, 60.0)
    assert (found.nagios, found.direct) == (True, True)
    assert (found.config, found.supervisord_conf) == ("/c", "/s")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--what"], "'--what' is not an option; usage: "),
        (["--timeout"], "--timeout needs a value"),
        (["--timeout", "soon"], "--timeout 'soon' is not a time from 0 to 600 seconds"),
        (["--timeout", "nan"], "is not a time"),
        (["--start-period=-1"], "is not a time"),
        (["--start-period=1d"], "is not a time"),
    ],
)
def test_mistakes(words: list[str], message: str, capfd: pytest.CaptureFixture[str]) -> None:
    """The status is 1, because Docker reserves 2; for Nagios it is 3."""
    with pytest.raises(NoVerdict, match=r"write|usage|needs"):
        parse(words)
    assert healthy.run(words) == 1
    assert message in capfd.readouterr().out
    assert healthy.run(["--nagios", *words]) == 3
    assert capfd.readouterr().out.startswith("FPM UNKNOWN - ")


def test_a_request_with_any_name() -> None:
    """The request is JSON, whatever the names contain."""
    options = Options()
    options.programs = ['a"b\\c', "caf\u00e9", "\x1b\n", "\udcff", "\U0001f600"]
    words = json.loads(healthy.request(options))

    question = read_question(words["question"])
    assert words["action"] == "healthy"
    assert question.programs == (*options.programs[:4], "\ufffd")
    assert question.patience.timeout_s == 5.0


@pytest.mark.parametrize(
    "words",
    [
        {},
        {"programs": [], "timeout_s": True, "start_period_s": 0, "nagios": False},
        {"programs": [], "timeout_s": 1e9, "start_period_s": 0, "nagios": False},
        {"programs": [], "timeout_s": float("nan"), "start_period_s": 0, "nagios": False},
        {"programs": [1], "timeout_s": 1, "start_period_s": 0, "nagios": False},
        {"programs": "x", "timeout_s": 1, "start_period_s": 0, "nagios": False},
        {"programs": [], "timeout_s": 1, "start_period_s": 0, "nagios": 1},
    ],
)
def test_a_damaged_question(words: dict[str, object]) -> None:
    """The listener does not answer it."""
    with pytest.raises(ValueError, match=r"is not a number|no list|is not text"):
        read_question(words)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b'"0 php-fpm: fine \\u00e9"\n', "0 php-fpm: fine \u00e9"),
        (b'"2 FPM CRITICAL"', "2 FPM CRITICAL"),
        (b"", None),
        (b"null\n", None),
        (b'"0 cut', None),
        (b'"9 what"', None),
        (b'"no number"', None),
        (b"\xff\xfe", None),
        (b"HTTP/1.1 400 Bad Request", None),
    ],
)
def test_answers(answer: bytes, text: str | None) -> None:
    """Only a string of JSON with a status and a line is an answer of the listener."""
    assert healthy.decode(answer) == text


def test_a_program_that_hangs(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An endless answer, and one with escapes, end in one harmless line."""
    monkeypatch.setenv("FPM_LISTENER_STATE_DIR", str(tmp_path))
    tmp_path.chmod(0o700)
    answers = [b'"' + b"x" * (1 << 21), b'"1 \\u001b[2Jred\\n"']
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "control.sock"))
        server.listen(5)

        def serve() -> None:
            for answer in answers:
                connection, _ = server.accept()
                with connection:
                    try:
                        connection.recv(4096)
                        connection.sendall(answer)
                    except OSError:
                        continue

        thread = threading.Thread(target=serve)
        thread.start()
        assert healthy.run([]) == 1
        assert "gives no answer" in capfd.readouterr().out
        assert healthy.run([]) == 1
        assert capfd.readouterr().out == "?[2Jred?\n"
        thread.join()


def test_few_modules_are_imported() -> None:
    """Each probe pays for each module: none of the expensive ones is loaded."""
    code = (
        "from fpm_listener.__main__ import main; main(['healthy', '--config', '/none']);"
        "print(*sorted({'json', 're', 'typing', 'argparse', 'logging', 'socket', 'dataclasses',"
        " 'sqlite3', 'requests', 'prometheus_client', 'enum'} & {*sys.modules}))"
    )
    command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}; {code}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[1:] == [""]
