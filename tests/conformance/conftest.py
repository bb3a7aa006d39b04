"""The listeners under test: fpm-listener and specimens/good.py, or a command after `--listener`."""

from __future__ import annotations

import shlex
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from .listeners import OURS, HarnessFactory, Listener, specimen

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--listener "CMD"` tests another listener."""
    parser.addoption("--listener", metavar="CMD", help="test this listener instead of our own")


def _other_listener(config: pytest.Config) -> Listener | None:
    # pytest does not know the option when it starts above this folder.
    """Return the listener of the command line, if there is one."""
    command = config.getoption("--listener", None)
    return Listener(name="other", argv=tuple(shlex.split(command))) if command else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test with every listener."""
    if "listener" in metafunc.fixturenames:
        other = _other_listener(metafunc.config)
        listeners = [other] if other else [OURS, specimen("good")]
        metafunc.parametrize("listener", listeners, ids=[listener.name for listener in listeners])


@pytest.fixture(autouse=True)
def _no_supervisord(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the supervisord under which the tests may run from the listener."""
    monkeypatch.delenv("SUPERVISOR_SERVER_URL", raising=False)


@pytest.fixture
def factory(listener: Listener, tmp_path: Path) -> Iterator[HarnessFactory]:
    """Return a factory of harnesses for the listener under test."""
    with closing(HarnessFactory(listener=listener, folder=tmp_path)) as factory:
        yield factory


@pytest.fixture
def our_factory(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[HarnessFactory]:
    """Return a factory of harnesses for fpm-listener only: the test needs its settings."""
    if _other_listener(request.config):
        pytest.skip("the test needs fpm-listener's own settings")
    with closing(HarnessFactory(listener=OURS, folder=tmp_path)) as factory:
        yield factory
