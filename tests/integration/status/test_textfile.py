"""The metrics as a file."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from fpm_listener.status.metrics import make_registry
from fpm_listener.status.snapshot import Snapshot
from fpm_listener.status.textfile import TextfileWriter
from tests.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def writer(path: Path, interval_s: float = 0.02) -> TextfileWriter:
    registry = make_registry(Snapshot)
    return TextfileWriter(path, registry, print, interval_s)


def test_the_file_is_whole_and_readable(tmp_path: Path) -> None:
    """node_exporter, which is another user, finds a whole file, and nothing beside it."""
    path = tmp_path / "fpm.prom"
    writer(path).write()

    assert "fpm_listener_build_info" in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_it_is_written_again_and_again(tmp_path: Path) -> None:
    """The thread replaces the file until it is stopped."""
    path = tmp_path / "fpm.prom"
    thread = writer(path)
    thread.start()
    seen: set[int] = set()

    def was_replaced() -> bool:
        seen.add(path.stat().st_mtime_ns)
        return len(seen) >= 3

    wait_until(was_replaced, "three versions of the file")
    thread.stop()


def test_a_folder_that_is_not_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What hinders is said once, and so is that it is over."""
    caplog.set_level(logging.INFO)
    path = tmp_path / "missing" / "fpm.prom"
    made = writer(path)
    made.write()
    made.write()
    assert len(caplog.records) == 1
    assert "No such file or directory" in caplog.text

    path.parent.mkdir()
    made.write()
    assert path.exists()
    assert "works again" in caplog.text
