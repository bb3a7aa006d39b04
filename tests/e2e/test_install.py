"""The first minute of a new user: `pip install .` into an empty environment."""

from __future__ import annotations

import shutil
import subprocess
import venv
from pathlib import Path

from fpm_listener import __version__

ROOT = Path(__file__).resolve().parents[2]


def test_pip_install_into_an_empty_environment(tmp_path: Path) -> None:
    """The command works, its dependencies fit, and the files of supervisord.d/ are there."""
    clone, environment = tmp_path / "clone", tmp_path / "environment"
    shutil.copytree(ROOT, clone, ignore=shutil.ignore_patterns(".*", "*.egg-info", "build", "dist"))
    venv.create(environment, with_pip=True)
    run = (str(environment / "bin/python"), "-I", "-m")

    check(*run, "pip", "install", "--quiet", str(clone))

    assert check(environment / "bin/fpm-listener", "version") == f"fpm-listener {__version__}\n"
    assert check(*run, "fpm_listener", "version") == f"fpm-listener {__version__}\n"
    check(*run, "pip", "check")
    shipped = environment / "share/fpm-listener"
    names = {path.name for path in shipped.iterdir()}
    assert names == {"fpm_listener.conf", "php-fpm.conf", "monitoring"}
    assert_man_finds_the_page(environment, tmp_path / "local")


def assert_man_finds_the_page(environment: Path, local: Path) -> None:
    """After the README's line, `man fpm-listener` shows the page; man does not search a venv."""
    readme = (ROOT / "README.md").read_text()
    (line,) = [one for one in readme.splitlines() if "share/man/man1" in one]
    line = line.replace("/opt/fpm-listener", str(environment)).replace("/usr/local", str(local))
    (local / "bin").mkdir(parents=True)
    subprocess.run(["/bin/sh", "-ec", line], check=True)
    search = {"PATH": f"{local}/bin:/usr/bin:/bin", "LC_ALL": "C"}
    done = subprocess.run(
        ["man", "-w", "fpm-listener"], env=search, capture_output=True, text=True, check=False
    )

    page = environment / "share/man/man1/fpm-listener.1"
    assert Path(done.stdout.strip()).resolve() == page.resolve(), done.stderr


def check(*command: str | Path) -> str:
    """Run a command that must succeed; return its output."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
