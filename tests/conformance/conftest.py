"""Who is judged: fpm-listener and the good specimen, or any command given with `--listener`."""

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
    parser.addoption("--listener", metavar="CMD", help="judge this listener instead of our own")


def _foreign(config: pytest.Config) -> Listener | None:
    # The option is unknown where a run begins above this folder.
    command = config.getoption("--listener", None)
    return Listener(name="foreign", argv=tuple(shlex.split(command))) if command else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Play each scene with every listener that is judged."""
    if "listener" in metafunc.fixturenames:
        foreign = _foreign(metafunc.config)
        listeners = [foreign] if foreign else [OURS, specimen("good")]
        metafunc.parametrize("listener", listeners, ids=[judged.name for judged in listeners])


@pytest.fixture(autouse=True)
def _no_supervisord(monkeypatch: pytest.MonkeyPatch) -> None:
    """The supervisord under which the tests may run is none of the listener's business."""
    monkeypatch.delenv("SUPERVISOR_SERVER_URL", raising=False)


@pytest.fixture
def factory(listener: Listener, tmp_path: Path) -> Iterator[HarnessFactory]:
    """Return a factory of harnesses for the listener under test."""
    with closing(HarnessFactory(listener=listener, folder=tmp_path)) as factory:
        yield factory


@pytest.fixture
def our_factory(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[HarnessFactory]:
    """Return a factory of harnesses for fpm-listener only, because the test needs its settings."""
    if _foreign(request.config):
        pytest.skip("the scene is made with fpm-listener's own settings")
    with closing(HarnessFactory(listener=OURS, folder=tmp_path)) as factory:
        yield factory
