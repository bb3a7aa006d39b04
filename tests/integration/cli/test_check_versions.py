"""`check` beside a listener of another version."""

from __future__ import annotations

import json
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from fpm_listener import __version__
from fpm_listener.cli.check import note_old_listener
from fpm_listener.daemon.control_client import SOCKET_NAME

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"listener": {"version": "0.0.9"}}, "supervisorctl restart fpm-listener"),
        ({"listener": {"version": "\x1b[31m"}}, "the listener that runs is version ?[31m"),
        ({"listener": {"version": "9" * 1000}}, f"version {'9' * 40}, and this is version"),
        ({"listener": {"version": __version__}}, ""),
        ({"listener": None}, ""),
        ([], ""),
        (None, ""),
    ],
)
def test_the_version_of_the_listener_that_runs(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answer: object,
    words: str,
) -> None:
    """After an upgrade it is to be restarted; what is no answer says nothing."""
    monkeypatch.setenv("FPM_LISTENER_STATE_DIR", str(tmp_path))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / SOCKET_NAME))
        server.listen()

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(json.dumps(answer).encode())

        thread = threading.Thread(target=serve)
        thread.start()
        note_old_listener()
        thread.join()

    said = capsys.readouterr().err
    assert words in said
    assert bool(said) is bool(words)


def test_no_listener_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Then nothing is said."""
    monkeypatch.setenv("FPM_LISTENER_STATE_DIR", str(tmp_path))
    note_old_listener()

    assert capsys.readouterr().err == ""
