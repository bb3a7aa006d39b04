"""A slow start of Python does not make supervisord report RUNNING for a refused start."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.e2e.lab import Lab, php_fpm
from tests.ports import free_port
from tests.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

#: Seconds. Enough of startsecs is left after the delay, also on a busy machine.
STARTSECS, LATE_S = 12, 1.2
STARTS = 2


def slow_python_path(folder: Path, seconds: float) -> str:
    """Return a PYTHONPATH that delays the start of Python by this time."""
    place = folder / "late"
    place.mkdir()
    (place / "sitecustomize.py").write_text(f"import time\ntime.sleep({seconds})\n")
    return str(place)


@pytest.mark.parametrize("rpc", [True, False], ids=["XML-RPC", "no XML-RPC"])
def test_python_starts_slowly(lab: Lab, rpc: bool) -> None:  # noqa: FBT001 - a column
    """Every refused start fails: the guard counts startsecs from the start of the process."""
    address = f"127.0.0.1:{free_port()}"
    lab.hold_port(int(address.rpartition(":")[2]))
    conf = lab.fpm_conf(address)
    lab.rpc = rpc
    guard = f"{sys.executable} -m fpm_listener guard --wait 60s"
    lab.program(
        "php-fpm",
        f"{guard} -- {php_fpm()} -F -y {conf}",
        autorestart="true",
        startsecs=str(STARTSECS),
        startretries=str(STARTS - 1),
        environment=f'PYTHONPATH="{slow_python_path(lab.folder, LATE_S)}"',
    )
    lab.start()
    log = lab.folder / "supervisord.log"
    wait_until(lambda: "gave up: php-fpm entered FATAL" in log.read_text(), "FATAL")

    assert "success: php-fpm entered RUNNING" not in log.read_text()
    assert log.read_text().count("exited: php-fpm (exit status 75; not expected)") == STARTS
