"""The metadata of the packages, with and without an address of the project; times in an sdist."""

from __future__ import annotations

import os
import re
import tarfile
from typing import TYPE_CHECKING

import pytest

from release import metadata, sdist

if TYPE_CHECKING:
    from pathlib import Path

URL = "https://example.org/me/fpm-listener"


def test_links_of_the_description() -> None:
    """All of them are absolute; links in the text stay as they are."""
    text = metadata.long_description(URL)

    assert f"]({URL}/blob/HEAD/docs/receivers.md)" in text
    assert f"({URL}/blob/HEAD/docs/containers.md#install-without-pip)" in text
    assert f'src="{URL}/raw/HEAD/docs/images/page-light.png"' in text
    assert f'srcset="{URL}/raw/HEAD/docs/images/page-dark.png"' in text
    targets = re.findall(r"\]\(([^)]+)\)", text) + re.findall(r'src(?:set)?="([^"]+)"', text)
    assert targets
    assert all(target.startswith(("https://", "#")) for target in targets)
    assert metadata.project_urls(URL)["Homepage"] == URL


def test_no_address() -> None:
    """Nothing is invented."""
    assert metadata.long_description("") == (metadata.ROOT / "README.md").read_text()
    assert metadata.project_urls("") == {}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", ""),
        ('PROJECT_URL = "https://example.org/me/x/"', "https://example.org/me/x"),
        ('PROJECT_URL = "example.org"', None),
    ],
)
def test_the_address(
    line: str,
    expected: str | None,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has no slash at its end; a wrong one stops the build."""
    root = tmp_path_factory.mktemp("root")
    (root / "fpm_listener").mkdir()
    (root / "fpm_listener" / "__init__.py").write_text(f'PROJECT_URL = ""\n{line}\n')
    monkeypatch.setattr(metadata, "ROOT", root)

    if expected is None:
        with pytest.raises(SystemExit, match="without https://"):
            metadata.project_url()
    else:
        assert metadata.project_url() == expected


def test_times_and_owners_of_an_sdist(tmp_path: Path) -> None:
    """They are no part of the result."""
    found = set()
    for time in (1.5, 2_000_000_000.25):
        source = tmp_path / "file"
        source.write_text("x")
        os.utime(source, (time, time))
        path = tmp_path / "x.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            archive.add(source, "x/file")
        sdist.normalise(path, 1_000_000_000)
        found.add(path.read_bytes())
        with tarfile.open(path) as archive:
            assert archive.getmember("x/file").mtime == 1_000_000_000

    assert len(found) == 1
