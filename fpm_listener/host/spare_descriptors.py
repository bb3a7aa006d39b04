"""Keeps some file descriptors free, so that modules can be loaded late.

If no descriptor is left while hashlib is loaded, it has no sha256 until the process ends (CPython
3.11): then nothing serves the page, and no alert can be signed.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Loading a module needs one; other threads can take some meanwhile.
_COUNT = 4
_kept: list[int] = []
_loading = threading.RLock()  # a module that is loaded late can load another one


def keep() -> None:
    """Keep descriptors for a later load; fewer if there are not enough."""
    with _loading, suppress(OSError):
        while len(_kept) < _COUNT:
            _kept.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))


@contextmanager
def for_modules() -> Iterator[None]:
    """Release the descriptors while modules are loaded, by one thread at a time."""
    with _loading:
        while _kept:
            os.close(_kept.pop())
        try:
            yield
        finally:
            keep()
