"""The state of the files of supervisord's configuration. Unchanged files are not parsed again.

Laws:
1. The child that parses records each state before it reads the file. A later change is thus seen.
2. A result is used again only if all files and all matches of the includes are the same. The result
   also contains uids and can contain the name of the host, so these count too.
"""

from __future__ import annotations

import glob
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class Recorder:
    """Records the states of files and the matches of includes. Only the child uses it."""

    def __init__(self) -> None:
        self._files: dict[str, list[int] | None] = {}
        self._includes: dict[str, list[str]] = {}
        self.add("/etc/passwd")

    def add(self, path: str) -> None:
        """Record the state of a file, which is not read yet."""
        self._files.setdefault(path, _state(path))

    def glob(self, pattern: str) -> list[str]:
        """Return the matches of an include, as supervisor's parser asks for them."""
        found = glob.glob(pattern)  # noqa: PTH207 - as supervisor
        for path in found:
            self.add(path)
        self._includes[pattern] = sorted(found)
        return found

    def seen(self) -> dict[str, Any]:
        """Return what `is_unchanged` compares."""
        return {"host": os.uname().nodename, "files": self._files, "includes": self._includes}


def is_unchanged(seen: Mapping[str, Any]) -> bool:
    """Return whether all files and includes are as a child recorded them."""
    return (
        seen["host"] == os.uname().nodename
        and all(_state(path) == state for path, state in seen["files"].items())
        and all(
            sorted(glob.glob(pattern)) == found  # noqa: PTH207 - as supervisor
            for pattern, found in seen["includes"].items()
        )
    )


def _state(path: str) -> list[int] | None:
    """Return numbers that change when the file changes; None = there is no such file."""
    try:
        found = os.stat(path)  # noqa: PTH116 - a text is enough
    except OSError:
        return None
    return [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]
