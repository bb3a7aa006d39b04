"""`fpm-listener.pyz unpack DIR`: what it refuses, and what stays unchanged then."""

from __future__ import annotations

import os
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fpm_listener.cli import unpack
from fpm_listener.values import FpmListenerError

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder that only we can change, and all directories above it too."""
    with tempfile.TemporaryDirectory(prefix="unpack-") as name:
        yield Path(name)


def archive(folder: Path, text: str = "x = 1\n") -> Path:
    """Return a zip file with one module."""
    path = folder / "small.pyz"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("__main__.py", "")
        packed.writestr("fpm_listener/__init__.py", text)
        packed.writestr("share/man/man1/fpm-listener.1", "")
    return path


def install(folder: Path, target: Path, text: str = "x = 1\n") -> str:
    said: list[str] = []
    unpack.install(archive(folder, text), target, said.append)
    return "".join(said)


def module(target: Path) -> str:
    return (target / "lib/fpm_listener/__init__.py").read_text()


def test_a_new_directory(folder: Path) -> None:
    """It is created with the directories above it, and nothing else stays."""
    said = install(folder, folder / "a" / "b")

    assert f"{folder}/a/b/bin/fpm-listener" in said
    assert os.listdir(folder / "a") == ["b"]  # noqa: PTH208 - names
    assert sorted(os.listdir(folder / "a/b/lib")) == ["fpm_listener"]  # noqa: PTH208 - names
    assert (folder / "a/b/share/man/man1/fpm-listener.1").exists()
    assert os.access(folder / "a/b/bin/fpm-listener", os.X_OK)


def test_an_older_version(folder: Path) -> None:
    """It is replaced; the same version is not written again."""
    target = folder / "a"
    target.mkdir()
    install(folder, target, "x = 1\n")
    assert "now; next: start it in supervisord's file" in install(folder, target, "x = 2\n")
    inode = target.stat().st_ino

    assert module(target) == "x = 2\n"
    assert "already; next" in install(folder, target, "x = 2\n")
    assert target.stat().st_ino == inode
    assert sorted(os.listdir(folder)) == ["a", "small.pyz"]  # noqa: PTH208 - names


def test_other_files(folder: Path) -> None:
    """A directory with other content stays unchanged."""
    (folder / "a").mkdir()
    (folder / "a" / "mine").touch()

    with pytest.raises(FpmListenerError, match="has files of other programs"):
        install(folder, folder / "a")
    assert os.listdir(folder / "a") == ["mine"]  # noqa: PTH208 - names


@pytest.mark.parametrize("kind", ["file", "symlink", "dangling"])
def test_no_directory(folder: Path, kind: str) -> None:
    """A file or a symlink is not followed and not replaced."""
    target, other = folder / "a", folder / "other"
    if kind == "file":
        target.write_text("mine")
    else:
        target.symlink_to(other)
        if kind == "symlink":
            other.mkdir()

    with pytest.raises(FpmListenerError, match="name another directory"):
        install(folder, target)
    assert target.is_symlink() == (kind != "file")
    assert not other.exists() or not list(other.iterdir())


@pytest.mark.parametrize("mode", [0o777, 0o757])
@pytest.mark.parametrize("depth", [0, 1])
def test_others_can_write(folder: Path, mode: int, depth: int) -> None:
    """A directory above it that others can change is refused, also if a symlink leads there."""
    open_ = folder / "open"
    open_.mkdir()
    open_.chmod(mode)
    target = open_ / "a" if depth == 0 else folder / "link" / "a"
    (folder / "link").symlink_to(open_)

    with pytest.raises(FpmListenerError, match="is writable for all users"):
        install(folder, target)
    assert not list(open_.iterdir())


@pytest.mark.parametrize(
    ("group", "is_safe"),
    [
        (0, True),
        pytest.param(
            12345, False, marks=pytest.mark.skipif(os.geteuid() != 0, reason="chown needs root")
        ),
    ],
)
def test_a_group_can_write(folder: Path, group: int, is_safe: bool) -> None:  # noqa: FBT001 - a test's
    """Group 0 is root's own; another group is refused."""
    if os.geteuid() == 0:
        os.chown(folder, 0, group)
    folder.chmod(0o770)
    if is_safe or os.stat(folder).st_gid == 0:  # noqa: PTH116 - the same
        install(folder, folder / "a")
        return
    with pytest.raises(FpmListenerError, match="is writable for group 12345"):
        install(folder, folder / "a")


def test_a_disk_that_refuses(folder: Path) -> None:
    """The message has the reason, and nothing stays."""
    (folder / "file").touch()

    with pytest.raises(FpmListenerError, match="Not a directory"):
        install(folder, folder / "file" / "a")
    assert sorted(os.listdir(folder)) == ["file", "small.pyz"]  # noqa: PTH208 - names


def test_an_installed_package() -> None:
    """It has no zip file, and says what to run."""
    with pytest.raises(FpmListenerError, match=r"run the file: fpm-listener\.pyz unpack DIR"):
        unpack.run("/nonexistent", print)
