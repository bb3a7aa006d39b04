"""The package in a zip file on sys.path: every command, its files and its child programs."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fpm_listener import __version__
from tests.ports import free_port
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(__file__).resolve().parents[2] / "fpm_listener"
SUPERVISORD = """\
[supervisord]
nodaemon = true
[program:php-fpm]
command = /usr/sbin/php-fpm -D
"""
#: Restores the name of a held socket once, as the listener does.
RELINK = """
import os, sys, time
from fpm_listener.host import socket_paths
from fpm_listener.host.relinker import Relinker
held = socket_paths.keep(sys.argv[1])
relinker = Relinker()
relinker.follow([held])
os.unlink(sys.argv[1])
end = time.monotonic() + 60
while not held.is_there() and time.monotonic() < end:
    time.sleep(0.01)
print(held.is_there(), relinker.pid is not None)
relinker.close()
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a zip file with the package."""
    path = tmp_path_factory.mktemp("zip") / "fpm-listener.zip"
    with zipfile.ZipFile(path, "w") as packed:
        for file in sorted(PACKAGE.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                packed.write(file, file.relative_to(PACKAGE.parent))
    return path


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """Return a folder with a short name: a unix socket's path has 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="zip-"))
    yield folder
    shutil.rmtree(folder)


def run(archive: Path, folder: Path, *words: str, code: int = 0) -> str:
    """Run Python with the zip file, far from the checkout; return what it printed."""
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(archive)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == code, done.stdout
    return done.stdout


def test_the_package_comes_from_the_zip_file(archive: Path, tmp_path: Path) -> None:
    """The checkout, which may be installed as well, is not used."""
    found = run(archive, tmp_path, "-c", "import fpm_listener; print(fpm_listener.__file__)")

    assert found.strip() == f"{archive}/fpm_listener/__init__.py"


def test_version(archive: Path, tmp_path: Path) -> None:
    """It prints the version."""
    assert (
        run(archive, tmp_path, "-m", "fpm_listener", "version") == f"fpm-listener {__version__}\n"
    )


def test_check(archive: Path, tmp_path: Path) -> None:
    """supervisor's parser runs in a child, which loads our code from the zip file too."""
    conf = tmp_path / "supervisord.conf"
    conf.write_text(SUPERVISORD)

    said = run(
        archive, tmp_path, "-m", "fpm_listener", "check", "--supervisord-conf", str(conf), code=1
    )

    assert "[program:php-fpm]" in said


def test_init(archive: Path, tmp_path: Path) -> None:
    """It writes the file that the zip file has."""
    run(archive, tmp_path, "-m", "fpm_listener", "init", str(tmp_path))

    assert "[eventlistener:fpm-listener]" in (tmp_path / "fpm_listener.conf").read_text()


def test_guard(archive: Path, tmp_path: Path) -> None:
    """It becomes a real php-fpm, which prints its version."""
    php_fpm = os.environ["PHP_FPM"]

    said = run(archive, tmp_path, "-m", "fpm_listener", "guard", "--", php_fpm, "-v")

    assert "fpm-fcgi" in said


def test_listen_and_its_page(archive: Path, tmp_path: Path) -> None:
    """READY comes, and the page with its script is served."""
    port = free_port()
    conf = tmp_path / "fpm_listener.conf"
    conf.write_text(f"[fpm-listener]\nlisten = 127.0.0.1:{port}\nstate_dir = {tmp_path}/state\n")
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(
            [sys.executable, "-m", "fpm_listener", "listen", "--config", str(conf)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(archive)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        ) as child,
    ):
        try:
            assert child.stdout
            assert child.stdin
            assert child.stdout.read(6) == b"READY\n"
            page = wait_until(lambda: fetch(port), "the page")
            child.stdin.close()
            assert child.wait(60) == 0, (tmp_path / "log").read_text()
        finally:
            child.kill()

    assert "<script>" in page
    assert "fpm-listener" in page


def fetch(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as answer:
        body: str = answer.read().decode()
        return body


def test_the_helper_for_unix_sockets(archive: Path, short_folder: Path) -> None:
    """It runs in a process of its own, from the zip file too."""
    path = short_folder / "s.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))

        assert run(archive, short_folder, "-c", RELINK, str(path)).split() == ["True", "True"]
