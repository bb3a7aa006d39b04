"""The file from which Kubernetes reads why a container ended."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from fpm_listener.host import termination_log

if TYPE_CHECKING:
    from pathlib import Path


def test_content(tmp_path: Path) -> None:
    """It replaces the old content, in whole characters of at most 4096 bytes."""
    path = tmp_path / "log"
    path.write_text("x" * 9000)
    assert termination_log.write(str(path), "a" + "é" * 3000)
    assert path.read_text() == "a" + "é" * 2047
    assert termination_log.write(str(path), "short\n")
    assert path.read_text() == "short\n"


def test_no_file(tmp_path: Path) -> None:
    """It is never created."""
    assert not termination_log.write(str(tmp_path / "log"), "text")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["symlink", "fifo", "directory"])
def test_other_files(tmp_path: Path, kind: str) -> None:
    """They are refused, and nothing blocks."""
    path, reader = tmp_path / "log", -1
    if kind == "symlink":
        (tmp_path / "target").write_text("kept")
        path.symlink_to(tmp_path / "target")
    elif kind == "fifo":
        os.mkfifo(path)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    else:
        path.mkdir()
    with pytest.raises(OSError):  # noqa: PT011 - a number for each kind
        termination_log.write(str(path), "text")
    if kind == "symlink":
        assert (tmp_path / "target").read_text() == "kept"
    if kind == "fifo":
        os.close(reader)
