"""The version of the package on the disk, while an older one runs."""

from __future__ import annotations

import os
import zipfile
from typing import TYPE_CHECKING

from fpm_listener import __version__
from fpm_listener.daemon.own_checks import CheckRequest, OwnChecks
from fpm_listener.host.installed_version import InstalledVersion

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

OWN = f'__version__ = "{__version__}"\n'


def install(path: Path, text: str) -> None:
    """Replace the file, as pip does."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    os.replace(fresh, path)  # noqa: PTH105 - both are paths


def test_an_upgrade(tmp_path: Path) -> None:
    """It is seen once; the same version again is none, and a missing file proves nothing."""
    path = tmp_path / "__init__.py"
    path.write_text(OWN)
    seen = InstalledVersion(str(path))
    assert (seen.look(), seen.other) == (False, "")
    install(path, f"# the same version\n{OWN}")
    assert (seen.look(), seen.other) == (False, "")
    install(path, '"""Text."""\n\n__version__ = "9.0.1rc1"\n')
    assert (seen.look(), seen.other) == (True, "9.0.1rc1")
    assert (seen.look(), seen.other) == (False, "9.0.1rc1")
    path.unlink()
    assert (seen.look(), seen.other) == (False, "")
    install(path, '__version__ = "x\x1b[31m"\n')
    assert (seen.look(), seen.other) == (False, "")
    install(path, OWN)
    assert (seen.look(), seen.other) == (False, "")


def test_an_upgrade_of_the_zip_file(tmp_path: Path) -> None:
    """The zip file is replaced as a whole; what is no zip file proves nothing."""
    path = tmp_path / "fpm-listener"
    install_zip(path, OWN)
    seen = InstalledVersion(f"{path}/fpm_listener/__init__.py")
    install_zip(path, '__version__ = "9.0"\n')
    assert (seen.look(), seen.other) == (True, "9.0")
    install(path, "no zip file")
    assert (seen.look(), seen.other) == (False, "")
    assert InstalledVersion().other == ""


def install_zip(path: Path, text: str) -> None:
    with zipfile.ZipFile(path.with_suffix(".new"), "w") as archive:
        archive.writestr("fpm_listener/__init__.py", text)
    os.replace(path.with_suffix(".new"), path)  # noqa: PTH105 - both are paths


def test_an_upgrade_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The line says what to do, and comes once."""
    path = tmp_path / "__init__.py"
    path.write_text(OWN)
    results: list[object] = []
    checks = OwnChecks(results.append, InstalledVersion(str(path)))
    install(path, '__version__ = "9.0"\n')
    for _ in range(2):
        checks.work((CheckRequest((), supervisord=False),))

    assert len(results) == 2
    (line,) = (one for one in caplog.messages if "another version" in one)
    assert "restart it: supervisorctl restart fpm-listener" in line
    assert line.endswith(f"running={__version__} installed=9.0")
