"""What `python -m build` makes of this checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fpm_listener import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The packages are built once.
pytestmark = pytest.mark.xdist_group("packaging")

ROOT = Path(__file__).resolve().parents[2]

#: What a checkout holds that a clone does not.
LEFTOVERS = shutil.ignore_patterns(".*", "*.egg-info", "build", "dist", "__pycache__")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str | Path]:
    """Return what the build printed, and the folder of its two files; the checkout stays clean."""
    clone = tmp_path_factory.mktemp("clone") / "fpm-listener"
    shutil.copytree(ROOT, clone, ignore=LEFTOVERS)
    # Byte-compiling is a matter of the environment, and forbidding it makes setuptools warn.
    environ = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, "-W", "always", "-m", "build", "--no-isolation", clone],
        env=environ | {"PYTHONWARNINGS": "always"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout
    return {"said": done.stdout, "dist": clone / "dist"}


def wheel(built: Mapping[str, str | Path]) -> zipfile.ZipFile:
    (path,) = Path(built["dist"]).glob("*.whl")
    assert path.name == f"fpm_listener-{__version__}-py3-none-any.whl"
    return zipfile.ZipFile(path)


def test_nothing_is_warned_of(built: Mapping[str, str | Path]) -> None:
    """Neither setuptools nor its MANIFEST.in reader has a complaint, deprecations included."""
    complaints = [
        line
        for line in str(built["said"]).splitlines()
        if ("warning" in line.lower() or "deprecat" in line.lower())
        and not line.startswith("adding")
    ]

    assert complaints == []


def test_the_wheel_has_code_types_and_licence(built: Mapping[str, str | Path]) -> None:
    """All of the package and nothing beside it; type checkers are told that it is typed."""
    with wheel(built) as archive:
        names = archive.namelist()
    package = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "fpm_listener").rglob("*")
        if path.suffix in {".py", ".typed", ".html", ".conf"}
    }

    assert package <= set(names)
    assert "fpm_listener/py.typed" in names
    assert f"fpm_listener-{__version__}.dist-info/licenses/LICENSE" in names
    assert {name.split("/")[0] for name in names} == {
        "fpm_listener",
        f"fpm_listener-{__version__}.data",
        f"fpm_listener-{__version__}.dist-info",
    }


def test_init_writes_the_files_of_the_project() -> None:
    """The package's copy is the same as supervisord.d/, which people read and copy."""
    folder, copy = ROOT / "supervisord.d", ROOT / "fpm_listener" / "cli" / "supervisord.d"

    assert {path.name for path in copy.iterdir()} == {path.name for path in folder.iterdir()}
    for path in folder.iterdir():
        assert (copy / path.name).read_bytes() == path.read_bytes(), path.name


def test_the_wheel_brings_the_files_to_drop_in(built: Mapping[str, str | Path]) -> None:
    """They are installed below share/fpm-listener/, the same as in supervisord.d/."""
    share = f"fpm_listener-{__version__}.data/data/share/fpm-listener"
    with wheel(built) as archive:
        for path in (ROOT / "supervisord.d").iterdir():
            assert archive.read(f"{share}/{path.name}") == path.read_bytes()


def test_the_metadata_say_what_it_is_and_needs(built: Mapping[str, str | Path]) -> None:
    """Licence, Python floor, three dependencies, the console script, the README."""
    info = f"fpm_listener-{__version__}.dist-info"
    with wheel(built) as archive:
        metadata = archive.read(f"{info}/METADATA").decode()
        scripts = archive.read(f"{info}/entry_points.txt").decode()
    fields = metadata.partition("\n\n")[0].splitlines()
    needs = {line.split()[1].split(">")[0] for line in fields if is_runtime_need(line)}

    assert "License-Expression: MIT" in fields
    assert "Requires-Python: >=3.10" in fields
    assert "Description-Content-Type: text/markdown" in fields
    assert needs == {"supervisor", "requests", "prometheus-client"}
    assert "fpm-listener = fpm_listener.__main__:main" in scripts
    assert (ROOT / "README.md").read_text().splitlines()[0] in metadata


def is_runtime_need(line: str) -> bool:
    return line.startswith("Requires-Dist:") and "extra ==" not in line


def test_the_sdist_has_all_that_one_needs_to_build_and_test(
    built: Mapping[str, str | Path],
) -> None:
    """Each file that MANIFEST.in should name is there; no machine's leftovers."""
    (path,) = Path(built["dist"]).glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    folders = ("bench", "demo", "docs", "scripts", "supervisord.d", "tests")
    wanted = {
        str(path.relative_to(ROOT))
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    assert wanted - names == set()
    assert {"LICENSE", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile"} <= names
    assert not [name for name in names if "__pycache__" in name or name.startswith(".")]
