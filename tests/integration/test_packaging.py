"""The files that `python -m build` creates from this checkout."""

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

from fpm_listener import PROJECT_URL, __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The packages are built once.
pytestmark = pytest.mark.xdist_group("packaging")

ROOT = Path(__file__).resolve().parents[2]

#: What a checkout holds that a clone does not.
LEFTOVERS = shutil.ignore_patterns(".*", "*.egg-info", "build", "dist", "__pycache__")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str | Path]:
    """Return the output of the build, and the folder of its two files; the checkout stays clean."""
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
        timeout=200,
    )
    assert done.returncode == 0, done.stdout
    return {"said": done.stdout, "dist": clone / "dist"}


def wheel(built: Mapping[str, str | Path]) -> zipfile.ZipFile:
    (path,) = Path(built["dist"]).glob("*.whl")
    assert path.name == f"fpm_listener-{__version__}-py3-none-any.whl"
    return zipfile.ZipFile(path)


def test_warnings_of_the_build(built: Mapping[str, str | Path]) -> None:
    """Neither setuptools nor its MANIFEST.in reader warns, not even of deprecations."""
    complaints = [
        line
        for line in str(built["said"]).splitlines()
        if ("warning" in line.lower() or "deprecat" in line.lower())
        and not line.startswith("adding")
    ]

    assert complaints == []


def test_code_types_and_licence_in_the_wheel(built: Mapping[str, str | Path]) -> None:
    """It has the whole package and nothing else, and py.typed."""
    with wheel(built) as archive:
        names = archive.namelist()
    package = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "fpm_listener").rglob("*")
        if path.suffix in {".py", ".typed", ".html", ".conf", ".txt"}
    }

    assert package <= set(names)
    assert "fpm_listener/py.typed" in names
    assert f"fpm_listener-{__version__}.dist-info/licenses/LICENSE" in names
    assert {name.split("/")[0] for name in names} == {
        "fpm_listener",
        f"fpm_listener-{__version__}.data",
        f"fpm_listener-{__version__}.dist-info",
    }


def test_files_of_init() -> None:
    """The copy in the package equals supervisord.d/, which people read and copy."""
    folder, copy = ROOT / "supervisord.d", ROOT / "fpm_listener" / "cli" / "supervisord.d"

    assert {path.name for path in copy.iterdir()} == {path.name for path in folder.iterdir()}
    for path in folder.iterdir():
        assert (copy / path.name).read_bytes() == path.read_bytes(), path.name


def test_supervisord_d_in_the_wheel(built: Mapping[str, str | Path]) -> None:
    """The files are installed below share/fpm-listener/, unchanged."""
    share = f"fpm_listener-{__version__}.data/data/share/fpm-listener"
    with wheel(built) as archive:
        for path in (ROOT / "supervisord.d").iterdir():
            assert archive.read(f"{share}/{path.name}") == path.read_bytes()


def test_metadata(built: Mapping[str, str | Path]) -> None:
    """Licence, Python version, three dependencies, the command, the README."""
    info = f"fpm_listener-{__version__}.dist-info"
    with wheel(built) as archive:
        metadata = archive.read(f"{info}/METADATA").decode()
        names = archive.namelist()
        script = archive.read(f"fpm_listener-{__version__}.data/scripts/fpm-listener").decode()
    fields = metadata.partition("\n\n")[0].splitlines()
    needs = {line.split()[1].split(">")[0] for line in fields if is_runtime_need(line)}

    assert "License-Expression: MIT" in fields
    assert "Requires-Python: >=3.10" in fields
    assert "Description-Content-Type: text/markdown" in fields
    assert needs == {"supervisor", "requests", "prometheus-client"}
    assert script.startswith("#!python\n")  # pip writes the path of its Python there
    assert f"{info}/entry_points.txt" not in names  # its script would import `re`: 8 ms
    assert (ROOT / "README.md").read_text().splitlines()[0] in metadata
    assert any(field.startswith("Project-URL: Homepage, ") for field in fields) == bool(PROJECT_URL)
    assert ("PROJECT_URL" in str(built["said"])) == (not PROJECT_URL)


def is_runtime_need(line: str) -> bool:
    return line.startswith("Requires-Dist:") and "extra ==" not in line


def test_sdist(
    built: Mapping[str, str | Path],
) -> None:
    """It has all files to build and test, and no temporary ones."""
    (path,) = Path(built["dist"]).glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    folders = ("bench", "demo", "docs", "release", "scripts", "supervisord.d", "tests")
    wanted = {
        str(path.relative_to(ROOT))
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    assert wanted - names == set()
    assert {"LICENSE", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile"} <= names
    assert not [name for name in names if "__pycache__" in name or name.startswith(".")]
