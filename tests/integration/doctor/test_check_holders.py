"""The doctor sees who has php-fpm's address now: real supervisord, real php-fpm."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fpm_listener.doctor import check
from tests.fakes import FakeHost
from tests.integration.supervisor.test_pipe import run
from tests.ports import free_port
from tests.waiting import accepts, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

SUPERVISORD = """\
[supervisord]
{user}
logfile={folder}/supervisord.log
pidfile={folder}/supervisord.pid
childlogdir={folder}
{server}
[program:php-fpm]
command={binary} -F -y {folder}/php-fpm.conf
autostart={autostart}
stopsignal=QUIT
"""
SERVER = """\
[unix_http_server]
file={folder}/s.sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""
BINARY = os.environ.get("PHP_FPM") or "/usr/sbin/php-fpm8.2"


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Return what writes both configurations, and returns supervisord's."""
    port = free_port()

    def written(*, autostart: bool, server: bool = True) -> Path:
        is_root = os.geteuid() == 0
        (tmp_path / "php-fpm.conf").write_text(
            f"[global]\nerror_log = {tmp_path}/fpm.log\npid = {tmp_path}/fpm.pid\n[www]\n"
            + ("user = www-data\n" if is_root else "")
            + f"listen = 127.0.0.1:{port}\npm = static\npm.max_children = 1\n"
        )
        path = tmp_path / "supervisord.conf"
        path.write_text(
            SUPERVISORD.format(
                folder=tmp_path,
                user="user=root" if is_root else "",
                server=SERVER.format(folder=tmp_path) if server else "",
                binary=BINARY,
                autostart=str(autostart).lower(),
            )
        )
        return path

    return written


def found(path: Path) -> list[str]:
    findings = check.check(str(path), FakeHost(), live=True)
    return [one.what for one in findings if one.id == "FPM117"]


def serves(folder: Path) -> bool:
    log = folder / "fpm.log"
    return log.exists() and "ready to handle" in log.read_text()


def test_a_php_fpm_that_was_started_by_hand(write: Callable[..., Path], tmp_path: Path) -> None:
    """The finding names it, on the very configuration that the program uses."""
    path = write(autostart=False)
    subprocess.run([BINARY, "-D", "-y", tmp_path / "php-fpm.conf"], check=True)
    wait_until(lambda: serves(tmp_path))
    pid = int((tmp_path / "fpm.pid").read_text())
    child = run(path)
    try:
        wait_until(lambda: accepts(tmp_path / "s.sock"), "supervisord to listen")
        (what,) = found(path)
        assert f"is in use by pid {pid}" in what
        assert "another running php-fpm" in what
    finally:
        child.terminate()
        child.wait(30)
        os.kill(pid, signal.SIGQUIT)
        wait_until(lambda: not Path(f"/proc/{pid}/fd").exists(), "php-fpm to exit")


@pytest.mark.parametrize("server", [True, False])
def test_the_program_itself(
    write: Callable[..., Path],
    tmp_path: Path,
    server: bool,  # noqa: FBT001 - a column
) -> None:
    """It has its own address, whether supervisord can be asked or not."""
    path = write(autostart=True, server=server)
    child = run(path)
    try:
        wait_until(lambda: serves(tmp_path))
        assert found(path) == []
    finally:
        child.terminate()
        child.wait(30)
