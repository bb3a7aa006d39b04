"""Facts of the host that cannot be read, and paths and names that no host has."""

from __future__ import annotations

from pathlib import Path

import pytest

from fpm_listener.doctor.host_facts import Host

LONG = f"/{'x' * 300}/y"


@pytest.mark.parametrize("path", [LONG, "/a\0b", "/a\0b/c"])
def test_a_path_that_no_host_has(path: str) -> None:
    """It does not exist, and nothing raises."""
    host = Host()

    assert not host.exists(path)
    assert not host.is_folder(path)
    assert host.command_fault(path) in {"", "does not exist"}
    assert host.file_fault("/a\0b/c") == "/a\0b is not an existing directory"
    assert host.may_read(1, path)
    assert isinstance(host.may_write(1, path), bool)


def test_a_directory_that_this_user_may_not_enter(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in it counts as existing."""

    def denied(*_: object, **__: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "stat", denied)

    assert Host().exists("/secret/bin/php-fpm")
    assert isinstance(Host().may_write(1, "/secret/x.log"), bool)


def test_a_loop_of_links(tmp_path: Path) -> None:
    """php-fpm cannot open it."""
    (tmp_path / "loop.log").symlink_to("loop.log")

    assert Host().file_fault(f"{tmp_path}/loop.log") == f"{tmp_path}/loop.log is a loop of links"
    assert not Host().exists(f"{tmp_path}/loop.log")


@pytest.mark.parametrize("name", ["a\0b", "\u00b2"])
def test_a_name_that_no_host_has(name: str) -> None:
    """There is no such user or group, and nothing raises."""
    host = Host()

    assert not host.user(name)
    assert not host.group(name)
    assert host.may_give(1, "owner", name)
    assert host.may_give(1, "group", name)


def test_a_number_of_a_user() -> None:
    """supervisor needs an account for it."""
    assert Host().user("0")
    assert not Host().user("54321678")
    assert not Host().user("9" * 30)
