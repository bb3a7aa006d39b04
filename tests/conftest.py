"""All tests: the Python processes that they start keep their compiled modules.

Images of containers set PYTHONDONTWRITEBYTECODE. Then each process compiles the whole package
again: it needs 0.9 s of CPU instead of 0.35 s, and the tests start more than a thousand processes.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Spread the end-to-end tests over the run: they wait, and the others compute."""
    waiting = [item for item in items if "/e2e/" in item.nodeid]
    computing = [item for item in items if "/e2e/" not in item.nodeid]
    if waiting and computing:
        every = max(1, int(_SPREAD * len(computing) / len(waiting)))
        items[:] = []
        for at, item in enumerate(waiting):
            items += [item, *computing[at * every : (at + 1) * every]]
        items += computing[len(waiting) * every :]


#: The part of the other tests that runs beside the end-to-end tests. The run ends with short tests.
_SPREAD = 0.9
