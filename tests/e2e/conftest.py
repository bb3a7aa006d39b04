"""The lab as a fixture."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.lab import Lab

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """Return a lab in a folder with a short path: a unix socket's path has at most 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="lab-"))
    folder.chmod(0o755)
    made = Lab(folder)
    try:
        yield made
        if request.node.stash.get(FAILED, default=False):
            print(made.log())  # noqa: T201 - what one wants to read when a scenario fails
            print((folder / "supervisord.log").read_text())  # noqa: T201 - likewise
    finally:
        made.close()
        shutil.rmtree(folder, ignore_errors=True)


FAILED: pytest.StashKey[bool] = pytest.StashKey()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:  # noqa: ANN401 - pytest's own
    """Tell the fixture whether its test has failed."""
    report = yield
    if report.when == "call":
        item.stash[FAILED] = report.failed
    return report
