"""How far a log file was read, so that the next listener continues there."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """A place in one file."""

    device: int
    inode: int
    offset: int  #: bytes, at the beginning of a line
    head: str  #: hex of the file's first bytes, at most 256

    def to_json(self) -> dict[str, Any]:
        """Return the position as a JSON object."""
        return asdict(self)


def restore_positions(saved: object) -> dict[str, Position]:
    """Return the positions that an earlier listener saved; invalid ones are left out."""
    found = {}
    for path, words in saved.items() if isinstance(saved, dict) else ():
        with suppress(TypeError, ValueError):
            position = Position(**words)
            bytes.fromhex(position.head)
            whole = (position.device, position.inode, position.offset)
            if all(type(number) is int for number in whole) and position.offset >= 0:
                found[path] = position
    return found
