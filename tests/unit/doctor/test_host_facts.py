"""What the doctor asks its host."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from fpm_listener.doctor.host_facts import Host

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("name", "mode", "is_used"),
    [
        ("fpm-listener", 0o755, True),
        ("fpm-listener", 0o644, False),
        ("__main__.py", 0o755, False),
        ("a b/fpm-listener", 0o755, False),
    ],
)
def test_the_program_that_runs(
    name: str,
    mode: int,
    is_used: bool,  # noqa: FBT001 - a test's
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """supervisord has another PATH, so only an absolute path is sure."""
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.touch()
    path.chmod(mode)
    monkeypatch.chdir(path.parent)
    for word in (str(path), f"./{path.name}"):
        monkeypatch.setattr(sys, "argv", [word])
        assert Host().fpm_listener() == (str(path) if is_used else "")


def test_a_user() -> None:
    """With its name, if it has one."""
    assert Host().named_user(0) == "root (0)"
    assert Host().named_user(2_000_000_001) == "2000000001"
