"""Failures that only the machine or supervisord explains: no line of the program does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from fpm_listener.host.socket_tables import find_sockets
from tests.e2e.case_lab import CaseLab, running_case_lab
from tests.e2e.lab import kill, php_fpm, processes
from tests.other_user import needs_root
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.xdist_group("machine checks")  # one process: they share two labs

HOLD = (
    "import socket, sys, time; host, port = sys.argv[1].split(':');"
    "s = socket.create_server((host, int(port))); time.sleep(600)"
)
#: Programs of which the folder is mounted by root only.
MOUNTED = {"L01": ("ramfs", "ram", "rw"), "L26": ("tmpfs", "ro", "ro")}


@pytest.fixture(scope="module")
def mounts() -> Iterator[ExitStack]:
    """Unmount at the end what the labs have mounted."""
    with ExitStack() as stack:
        yield stack


def mount(stack: ExitStack, kind: str, folder: Path, options: str) -> None:
    folder.mkdir()
    subprocess.run(["mount", "-t", kind, "-o", options, kind, str(folder)], check=True)
    stack.callback(subprocess.run, ["umount", str(folder)], check=True)


def script(folder: Path, text: bytes, mode: int = 0o755) -> str:
    """Write a script into a folder of a program; return its path."""
    path = folder / "run.sh"
    path.write_bytes(text)
    path.chmod(mode)
    return str(path)


@pytest.fixture(scope="module")
def cases(mounts: ExitStack) -> Iterator[CaseLab]:
    """Run all failures at once."""
    with running_case_lab() as lab:
        for name in ("L16", "L17"):
            folder = lab.add_case(name)
            (folder / "logs").mkdir()
        add_refused(lab)
        folder = lab.folder / "scripts"
        folder.mkdir()
        for name, text in {
            "windows": b"#!/bin/sh\r\nexec sleep 100\r\n",
            "env": b"#!/usr/bin/env no-such-interpreter\n",
            "no-interpreter": b"#!/opt/no/such/python\n",
            "no-format": b"exec sleep 100\n",
        }.items():
            (folder / name).mkdir()
            lab.program(name, script(folder / name, text), autorestart="true")
        if os.geteuid() == 0:
            closed = folder / "closed"
            closed.mkdir(mode=0o700)
            user = {"user": "nobody", "autorestart": "true"}
            lab.program("closed", "/bin/sleep 100", directory=str(closed), **user)
            for name, (kind, below, options) in MOUNTED.items():
                mount(mounts, kind, lab.add_case(name) / below, options)
        lab.start()
        yield lab


@pytest.fixture(scope="module")
def blind() -> Iterator[CaseLab]:
    """Run failures below a supervisord without a server: its reasons cannot be asked for."""
    with running_case_lab() as lab:
        lab.rpc = False
        add_refused(lab)
        lab.add_case("L11")
        address = lab.addresses["L11"]
        lab.stray(sys.executable, "-c", HOLD, address)
        wait_until(lambda: find_sockets(address).inodes, "the other server")
        lab.start()
        yield lab


def add_refused(lab: CaseLab) -> None:
    """Add programs that supervisord cannot start."""
    folder = lab.add_case("L15")
    shutil.copy(php_fpm(), folder / "php-fpm")
    (folder / "php-fpm").chmod(0o644)
    lab.add_case("L19")


def texts(alert: dict[str, Any]) -> str:
    return "\n".join(alert["annotations"].values())


@pytest.mark.parametrize("lab", ["cases", "blind"])
def test_a_program_that_nobody_may_execute(lab: str, request: pytest.FixtureRequest) -> None:
    """The remedy makes it executable. Without a server too: the machine shows it."""
    made: CaseLab = request.getfixturevalue(lab)
    program = f"{made.folder}/L15/php-fpm"
    alert = made.alert("L15", cause="permission")

    assert f"chmod 755 {program}" in alert["annotations"]["remedy"]
    assert program in alert["annotations"]["evidence"]


@pytest.mark.parametrize("lab", ["cases", "blind"])
def test_a_directory_that_does_not_exist(lab: str, request: pytest.FixtureRequest) -> None:
    """It is named, and no alert says that a missing folder is ruled out."""
    made: CaseLab = request.getfixturevalue(lab)
    alert = made.alert("L19", cause="missing_path")

    assert f"its directory {made.folder}/L19/nowhere is missing" in alert["annotations"]["summary"]
    assert "directory=" in alert["annotations"]["remedy"]
    alerts = [texts(one) for one in made.webhook.alerts("", "L19")]
    assert not [one for one in alerts if "a missing program or folder" in one]


def test_an_address_in_use_and_nothing_is_written(blind: CaseLab) -> None:
    """The usual layout in Docker: output goes to a device, and no exit status is known."""
    address = blind.addresses["L11"]
    alert = blind.alert("L11", cause="bind_conflict")

    assert f"{address} is in use by pid " in alert["annotations"]["summary"]
    assert "socket.create_server" in alert["annotations"]["summary"]


def test_a_log_folder_that_is_removed(cases: CaseLab) -> None:
    """supervisord refuses each start with an errno and no path; the machine shows the path."""
    wait_until(lambda: cases.state("L16") == "RUNNING", "L16 to run")
    shutil.rmtree(cases.folder / "L16" / "logs")
    cases.ctl("restart", "L16")
    alert = cases.alert("L16", cause="missing_path")

    assert f"the folder {cases.folder}/L16/logs is missing" in alert["annotations"]["summary"]
    cases.shows("L16", "evidence", "making dispatchers for 'L16': ENOENT")


def test_a_kill_before_starts_that_supervisord_refuses(cases: CaseLab) -> None:
    """The kill is not the cause of what follows: no alert suspects an extension of PHP."""
    wait_until(lambda: cases.state("L17") == "RUNNING", "L17 to run")
    pool = next(pool for pool in cases.pools if pool.endswith("L17"))
    pattern = f"php-fpm: pool {pool}|{cases.folder}/L17/php-fpm.conf"
    wait_until(lambda: processes(f"php-fpm: pool {pool}"), "its workers")
    shutil.rmtree(cases.folder / "L17" / "logs")
    for pid in processes(pattern):
        kill(pid)
    alert = cases.alert("L17", cause="missing_path")

    assert f"{cases.folder}/L17/logs" in alert["annotations"]["summary"]
    causes = {one["annotations"]["cause"] for one in cases.webhook.alerts("", "L17")}
    assert "crash_signal" not in causes


@pytest.mark.parametrize(
    ("name", "cause", "words"),
    [
        ("windows", "missing_path", "ends with CR LF"),
        ("env", "missing_path", "no-such-interpreter"),
        ("no-interpreter", "missing_path", "/opt/no/such/python"),
        ("no-format", "config_error", "#!/bin/sh"),
    ],
)
def test_a_script_that_the_kernel_refuses(
    cases: CaseLab, name: str, cause: str, words: str
) -> None:
    """The alert says what is wrong with its first line."""
    alert = cases.alert(name, cause=cause)

    assert words in texts(alert)
    assert "Read its last" not in alert["annotations"]["remedy"]


@needs_root
def test_a_directory_that_the_user_may_not_enter(cases: CaseLab) -> None:
    """supervisord is root and could enter it. The program runs as another user."""
    alert = cases.alert("closed", cause="permission")

    assert f"{cases.folder}/scripts/closed" in alert["annotations"]["summary"]


@needs_root
def test_a_file_system_that_counts_no_blocks(cases: CaseLab) -> None:
    """It is not a full disk: ramfs says that it has no block, and no free one."""
    cases.alert("L01")

    causes = {one["annotations"]["cause"] for one in cases.webhook.alerts("", "L01")}
    assert "disk_full" not in causes


@needs_root
def test_a_read_only_file_system(cases: CaseLab) -> None:
    """The remedy makes it writable; the rights of the folders are right already."""
    cases.alert("L26", cause="permission")

    cases.shows("L26", "summary", "read-only file system")
    assert "namei" not in cases.shows("L26", "remedy", "mount -o remount,rw")
