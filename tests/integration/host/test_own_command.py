"""How to start this program again, as supervisord's file needs it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from fpm_listener.host import own_command

if TYPE_CHECKING:
    from pathlib import Path


def program(folder: Path, name: str) -> str:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.touch(mode=0o755)
    return str(path)


@pytest.mark.parametrize("name", ["fpm-listener", "fpm-listener.pyz", "fpm-listener-0.1.0.pyz"])
def test_the_command_that_was_typed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its absolute path, under the name that the user typed."""
    path = program(tmp_path, name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [f"./{name}"])

    assert own_command.line() == path


def test_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`python -m fpm_listener` is the program beside Python."""
    path = program(tmp_path, "fpm-listener")
    monkeypatch.setattr(sys, "argv", [program(tmp_path, "__main__.py")])
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python3"))

    assert own_command.line() == path


@pytest.mark.parametrize("folder", ["my apps", "x" * 120])
def test_a_script_that_linux_does_not_start(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pip does not quote the path of Python in its first line; Python's own option helps."""
    python = program(tmp_path / folder, "python3")
    path = program(tmp_path / folder, "fpm-listener")
    (tmp_path / folder / "fpm-listener").write_text(f"#!{python}\n")
    monkeypatch.setattr(sys, "executable", python)
    monkeypatch.setenv("PATH", str(tmp_path / folder))
    monkeypatch.setattr(sys, "argv", [path])

    assert own_command.words() == [python, "-m", "fpm_listener"]


def test_a_zip_file_that_is_not_executable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It needs Python's path before it."""
    monkeypatch.setattr(sys, "argv", ["f.pyz"])
    monkeypatch.setattr(own_command, "archive", lambda: str(tmp_path / "f.pyz"))

    assert own_command.words() == [sys.executable, str(tmp_path / "f.pyz")]
