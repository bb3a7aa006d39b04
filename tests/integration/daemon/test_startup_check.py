"""The doctor's visit at the listener's start."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from fpm_listener.daemon import startup_check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Start = Callable[[str], int]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Return a function that runs what looks like a supervisord, and returns its pid."""
    running: list[subprocess.Popen[bytes]] = []

    def starter(conf: str) -> int:
        path, script = tmp_path / "supervisord.conf", tmp_path / "supervisord.py"
        path.write_text(conf)
        script.write_text("import sys\nprint('up', flush=True)\nsys.stdin.read()\n")
        child = subprocess.Popen(
            [sys.executable, str(script), "-c", str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        running.append(child)
        assert child.stdout
        assert child.stdout.readline() == b"up\n"
        return child.pid

    yield starter
    for child in running:
        child.communicate(b"")


def test_what_it_finds_is_counted_and_said(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    """Each error with its fix, and the number of the others."""
    caplog.set_level(logging.INFO)
    pid = start(
        "[supervisord]\nnodaemon=true\n[program:x]\ncommand=service php8.2-fpm start\nexitcode=0\n"
    )

    examined = startup_check.run(pid)

    assert examined is not None
    assert examined.counts == {"error": 1, "warning": 1, "hint": 0}
    assert [(one.id, one.severity) for one in examined.found] == [
        ("FPM004", "error"),
        ("FPM112", "warning"),
    ]
    assert "[program:x]" in examined.found[0].where
    assert "error in the configuration id=FPM004" in caplog.text
    assert "errors=1 warnings=1 hints=0" in caplog.text
    assert "FPM112" not in caplog.text


def test_a_configuration_that_is_not_found() -> None:
    """A process that is no supervisord, and none at the usual places here."""
    if any(os.path.exists(path) for path in ("/etc/supervisord.conf", "/etc/supervisor")):  # noqa: PTH110 - names
        pytest.skip("this host has a supervisord of its own")
    assert startup_check.run(os.getpid()) is None


def test_nothing_is_imported_from_where_it_stands(start: Start, tmp_path: Path) -> None:
    """In a container that is often a folder that php may write to."""
    package = tmp_path / "fpm_listener"
    package.mkdir()
    (package / "__init__.py").write_text("open('pwned', 'w')\n")
    pid = start("[supervisord]\n")
    before = os.getcwd()  # noqa: PTH109 - a text is needed
    os.chdir(tmp_path)
    try:
        assert startup_check.run(pid) is not None
    finally:
        os.chdir(before)

    assert not (tmp_path / "pwned").exists()


def test_what_is_true_only_now_is_left_out(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page shows the findings for days: an address is not in use for so long."""
    texts = {"severity": "error", "where": "x", "title": "x", "what": "x", "why": "x", "fix": "x"}
    findings = [{"id": name, **texts} for name in ("FPM115", "FPM117", "FPM004")]
    done = subprocess.CompletedProcess("", 0, stdout=json.dumps(findings).encode())
    pid = start("[supervisord]\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)

    examined = startup_check.run(pid)

    assert examined is not None
    assert examined.counts["error"] == 1
    assert [one.id for one in examined.found] == ["FPM004"]
