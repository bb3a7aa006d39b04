"""Who is judged: fpm-listener and the good specimen, or any command given with `--listener`."""

from __future__ import annotations

import shlex
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from .theatre import OURS, Listener, Theatre, specimen

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--listener "CMD"` puts another listener on the stage."""
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
def theatre(listener: Listener, tmp_path: Path) -> Iterator[Theatre]:
    """A theatre for the listener that is judged."""
    with closing(Theatre(listener=listener, folder=tmp_path)) as theatre:
        yield theatre


@pytest.fixture
def our_theatre(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Theatre]:
    """A theatre for fpm-listener alone: the scene needs its settings."""
    if _foreign(request.config):
        pytest.skip("the scene is made with fpm-listener's own settings")
    with closing(Theatre(listener=OURS, folder=tmp_path)) as theatre:
        yield theatre
