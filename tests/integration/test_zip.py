"""fpm-listener.pyz: how it is built, and each command, file and child program from it.

The file runs here with `-S`: without site-packages it finds nothing but its own content.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fpm_listener import __version__
from release import build_pyz
from tests.container import Conditions, Container
from tests.ports import free_port
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

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

#: Loads the certificates as requests does, and prints how many there are.
CERTIFICATES = """
import os, ssl, sys, tempfile
if sys.argv[1:]:
    del os.memfd_create
import requests.adapters
context = ssl.create_default_context(cafile=requests.adapters.DEFAULT_CA_BUNDLE_PATH)
print(len(context.get_ca_certs()) > 50, tempfile.tempdir, requests.__file__)
"""
CONTAINERS = Path(__file__).parents[2] / "docs" / "containers.md"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return fpm-listener.pyz of this checkout."""
    build_pyz.download()
    path = tmp_path_factory.mktemp("zip") / "fpm-listener.pyz"
    build_pyz.build(path)
    return path


@pytest.fixture(scope="module")
def unpacked(archive: Path) -> Iterator[Path]:
    """Return the directory of `unpack`; it is below /tmp itself, which only root can change."""
    with tempfile.TemporaryDirectory(prefix="unpacked-") as folder:
        said = run(archive, Path(folder), "unpack", "fpm-listener", umask=0o077)
        target = Path(folder, "fpm-listener")
        assert f"command={target}/bin/fpm-listener\n" in said
        yield target


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """Return a folder with a short name: a unix socket's path has 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="zip-"))
    yield folder
    shutil.rmtree(folder)


def run(archive: Path, folder: Path, *words: str, code: int = 0, umask: int = -1) -> str:
    """Run a command of the file, far from the checkout; return what it printed."""
    return run_program([sys.executable, "-S", str(archive), *words], folder, code, umask)


def run_program(words: list[str], folder: Path, code: int = 0, umask: int = -1) -> str:
    done = subprocess.run(
        words,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=200,
        umask=umask,
    )
    assert done.returncode == code, done.stdout
    return done.stdout


def test_the_same_bytes(archive: Path, tmp_path: Path) -> None:
    """A second build has the same content, and it is small enough for an image."""
    second = tmp_path / "second.pyz"
    build_pyz.build(second)

    assert second.read_bytes() == archive.read_bytes()
    assert archive.stat().st_size < build_pyz.LARGEST
    assert os.access(archive, os.X_OK)


def test_an_old_python_can_read_the_first_file(archive: Path) -> None:
    """It prints which version is needed."""
    with zipfile.ZipFile(archive) as packed:
        text = packed.read("__main__.py").decode()

    ast.parse(text, feature_version=(3, 4))
    assert "Python 3.10 or later is needed" in text


def test_licences(archive: Path) -> None:
    """The licence of each package is in it."""
    with zipfile.ZipFile(archive) as packed:
        names = [name.split("/")[1] for name in packed.namelist() if name.startswith("licenses/")]

    assert set(names) == {"fpm-listener", *(name for name, _, _ in build_pyz._locks())}


def test_version(archive: Path, tmp_path: Path) -> None:
    """It prints the version, also under a relative name and as a program."""
    said = f"fpm-listener {__version__}\n"
    name = os.path.relpath(archive, tmp_path)
    environ_python = Path(sys.executable).parent

    assert run(Path(name), tmp_path, "version") == said
    assert (
        run_program(["env", f"PATH={environ_python}:/usr/bin:/bin", name, "version"], tmp_path)
        == said
    )


def test_check(archive: Path, tmp_path: Path) -> None:
    """supervisor's parser runs in a child, which loads our code from the zip file too."""
    conf = tmp_path / "supervisord.conf"
    conf.write_text(SUPERVISORD)

    said = run(archive, tmp_path, "check", "--supervisord-conf", str(conf), code=1)

    assert "[program:php-fpm]" in said


def test_init(archive: Path, tmp_path: Path) -> None:
    """It writes the file that the zip file has, with the path of the zip file."""
    run(archive, tmp_path, "init", str(tmp_path))
    text = (tmp_path / "fpm_listener.conf").read_text()

    assert "[eventlistener:fpm-listener]" in text
    assert f"\ncommand={archive} listen --config" in text


def test_unpacked(archive: Path, unpacked: Path, tmp_path: Path) -> None:
    """All users can read it, all of it is compiled, and init writes its program."""
    program = unpacked / "bin" / "fpm-listener"
    sources = sorted((unpacked / "lib").rglob("*.py"))
    compiled = {path.name.partition(".")[0] for path in (unpacked / "lib").rglob("*.pyc")}
    said = run_program([str(program), "init", str(tmp_path)], tmp_path)

    assert {stat.S_IMODE(path.stat().st_mode) & 0o055 for path in unpacked.rglob("*")} == {
        0o044,
        0o055,
    }
    assert {path.stem for path in sources} == compiled
    assert (unpacked / "share/fpm-listener/monitoring/rules.yml").is_file()
    assert "fpm_listener.conf written" in said
    assert f"\ncommand={program} listen" in (tmp_path / "fpm_listener.conf").read_text()
    assert "already" in run(archive, unpacked.parent, "unpack", str(unpacked))


def test_unpacked_check(unpacked: Path, tmp_path: Path) -> None:
    """The program finds supervisor's parser in its own directory."""
    conf = tmp_path / "supervisord.conf"
    conf.write_text(SUPERVISORD)
    program = str(unpacked / "bin" / "fpm-listener")

    said = run_program(
        [sys.executable, "-S", program, "check", "--supervisord-conf", str(conf)], tmp_path, 1
    )

    assert "[program:php-fpm]" in said


def test_guard(archive: Path, tmp_path: Path) -> None:
    """It becomes a real php-fpm, which prints its version."""
    php_fpm = os.environ["PHP_FPM"]

    said = run(archive, tmp_path, "guard", "--", php_fpm, "-v")

    assert "fpm-fcgi" in said


def test_listen_and_its_page(archive: Path, tmp_path: Path) -> None:
    """READY comes, and the page with its script is served."""
    port = free_port()
    conf = tmp_path / "fpm_listener.conf"
    conf.write_text(f"[fpm-listener]\nlisten = 127.0.0.1:{port}\nstate_dir = {tmp_path}/state\n")
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(
            [sys.executable, "-S", str(archive), "listen", "--config", str(conf)],
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
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=200) as answer:
        body: str = answer.read().decode()
        return body


def test_the_helper_for_unix_sockets(archive: Path, short_folder: Path) -> None:
    """It runs in a process of its own, from the zip file too."""
    path = short_folder / "s.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))

        words = ["env", f"PYTHONPATH={archive}", sys.executable, "-c", RELINK, str(path)]
        assert run_program(words, short_folder).split() == ["True", "True"]


@pytest.mark.parametrize("words", [[], ["old"]])
def test_certificates_of_authorities(archive: Path, tmp_path: Path, words: list[str]) -> None:
    """They need no temporary file: the file system can be read-only. An old Python leaves none."""
    command = ["env", f"PYTHONPATH={archive}", f"TMPDIR={tmp_path}", sys.executable, "-Sc"]

    said = run_program([*command, CERTIFICATES, *words], tmp_path).split()

    where = str(tmp_path) if words else "None"
    assert said == ["True", where, f"{archive}/requests/__init__.py"]
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def image(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    """Return a read-only container of another user, in which the lines of the document ran."""
    container = Container(
        tmp_path_factory.mktemp("image"), Conditions(uid=33, read_only=True, no_new_privileges=True)
    )
    _, _, section = CONTAINERS.read_text().partition("## Install without pip")
    lines = re.findall(r"```dockerfile\n(.*?)```", section.partition("\n## ")[0], re.DOTALL)
    for line in "".join(lines).splitlines():
        word, _, rest = line.partition(" ")
        if word == "ADD":
            mode, _, path = rest.split()
            container.add(path, archive.read_bytes(), int(mode.removeprefix("--chmod="), 8))
        else:
            assert word == "RUN", line
            container.build(rest.replace("/usr/local/bin/ ", "/usr/bin/ "))  # one image has both
    container.start("sleep", "1000")
    yield container
    container.close()


def test_the_dockerfile_lines(image: Container) -> None:
    """Another user runs the file and the directory, and init writes the name that was typed."""
    for path in ("/usr/local/bin/fpm-listener", "/opt/fpm-listener/bin/fpm-listener"):
        done = image.run(path, "version")
        assert (done.returncode, done.stdout) == (0, f"fpm-listener {__version__}\n"), done.stderr
        done = image.run(
            "sh", "-c", f"mkdir -p /tmp/x; {path} init /tmp/x; cat /tmp/x/*; rm -r /tmp/x"
        )
        assert f"\ncommand={path} guard" in done.stdout, done
