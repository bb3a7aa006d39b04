"""Files of other people: regular files are read, and nothing blocks or fills the memory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fpm_listener import regular_file
from fpm_listener.delivery.receivers.secrets import BadFileError, Secrets
from fpm_listener.doctor import gathering
from fpm_listener.doctor.sources import Sources
from fpm_listener.settings.receivers import ReceiverSettings
from fpm_listener.web.certificate import Certificate

#: A file with a hole: it takes no room on the disk.
HUGE = 1 << 33


def bad_files(folder: Path) -> dict[str, str]:
    """Return paths that are not small regular files, and the reason for each."""
    os.mkfifo(folder / "fifo")
    with (folder / "huge").open("wb") as file:
        file.truncate(HUGE)
    (folder / "link").symlink_to(folder / "fifo")
    return {
        str(folder / "fifo"): "is not a regular file",
        str(folder / "link"): "is not a regular file",
        "/dev/zero": "is not a regular file",
        str(folder): "is a directory",
        str(folder / "huge"): "is longer than",
    }


def test_files_that_are_not_small_regular_files(tmp_path: Path) -> None:
    """Each is an error at once, with the reason."""
    for path, why in bad_files(tmp_path).items():
        with pytest.raises(OSError, match=why):
            regular_file.read(path)


def test_regular_files(tmp_path: Path) -> None:
    """A link as Kubernetes creates it, an open descriptor, and the longest file are read."""
    (tmp_path / "..data").mkdir()
    secret = tmp_path / "..data" / "secret"
    secret.write_bytes(b"hidden")
    (tmp_path / "secret").symlink_to("..data/secret")
    with secret.open("rb") as file:
        for path in (tmp_path / "secret", f"/proc/self/fd/{file.fileno()}"):
            assert regular_file.read(path, 6) == b"hidden"
        assert regular_file.read(f"/dev/fd/{file.fileno()}") == b"hidden"
    assert regular_file.read(os.devnull) == b""
    with pytest.raises(OSError, match="is longer than 5 bytes"):
        regular_file.read(secret, 5)


def test_secrets_of_a_receiver(tmp_path: Path) -> None:
    """The receiver fails with the reason, and its thread continues."""
    for path, why in bad_files(tmp_path).items():
        secrets = Secrets(ReceiverSettings(name="x", kind="webhook", url_file=Path(path)))
        with pytest.raises(BadFileError, match=why):
            secrets.url()


def test_secrets_of_the_page(tmp_path: Path) -> None:
    """No request waits for them."""
    for path, why in bad_files(tmp_path).items():
        with pytest.raises(OSError, match=why):
            regular_file.read_secret(path)
        with pytest.raises(OSError, match=why):
            Certificate(Path(path), Path(path))


def test_included_files_of_check(tmp_path: Path) -> None:
    """They are skipped."""
    good = tmp_path / "good.conf"
    good.write_text("[program:a]\n")
    texts = gathering.texts_of([*bad_files(tmp_path), str(good)], Sources())

    assert texts == [(str(good), "[program:a]\n")]
    for path in bad_files_again(tmp_path):
        assert gathering._included(path) == []


def bad_files_again(folder: Path) -> list[str]:
    """Return the same paths."""
    return [*(str(folder / name) for name in ("fifo", "link", "huge")), "/dev/zero", str(folder)]
