"""Replaces the text of a file that belongs to somebody, without a moment with half of it.

Laws:
1. The file is complete at every moment: the new text gets the name of the old one with rename(2).
2. Owner and mode stay. If they cannot stay, nothing changes.
3. A symlink of another user than root and our own is not followed.
"""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from fpm_listener import regular_file

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The old file keeps its content under this name.
SUFFIX = ".before-fpm-listener"


class NotReplacedError(OSError):
    """The file has not changed; the text says why."""


def replace(path: str, content: bytes) -> str:
    """Replace the content of a regular file; return the path of a copy of the old one.

    No other copy is replaced: each has a text that somebody wrote. Raises OSError.
    """
    link = os.lstat(path)
    if stat.S_ISLNK(link.st_mode) and link.st_uid not in {0, os.geteuid()}:
        raise NotReplacedError(f"it is a symlink of user {link.st_uid}; write its target's path")
    real = Path(path).resolve(strict=True)
    descriptor = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise NotReplacedError("it is not a regular file")
        old = file.read()
    copy = next(one for one in _copies(real) if not os.path.lexists(one) or _has(one, old))
    if not os.path.lexists(copy):
        _create(copy, old, found, is_new=True)
    _create(real, content, found)
    return str(copy)


def _copies(path: Path) -> Iterator[Path]:
    """Yield the names of copies: the first one has no number."""
    yield path.with_name(f"{path.name}{SUFFIX}")
    yield from (path.with_name(f"{path.name}{SUFFIX}.{number}") for number in count(2))


def _has(path: Path, content: bytes) -> bool:
    try:
        return regular_file.read(str(path), len(content) + 1) == content
    except OSError:
        return False


def _create(path: Path, content: bytes, like: os.stat_result, *, is_new: bool = False) -> None:
    """Create a file with the owner and the mode of another one, and give it its name."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            own = os.fstat(descriptor)
            if (own.st_uid, own.st_gid) != (like.st_uid, like.st_gid):
                os.fchown(descriptor, like.st_uid, like.st_gid)
            os.fchmod(descriptor, stat.S_IMODE(like.st_mode))
            os.fsync(descriptor)
        if is_new:
            os.link(name, path)  # does not replace a file that appeared meanwhile
        else:
            os.rename(name, path)  # noqa: PTH104 - replaces the file at once
    finally:
        with suppress(FileNotFoundError):
            os.unlink(name)  # noqa: PTH108 - a text
