"""Which rules count: lists of ids and of beginnings of ids, and the severity that fails a run."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.doctor.rule import FindingSeverity

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

#: The values of `--fail-on`, with the severities that make the exit status 1.
FAIL_ON: dict[str, tuple[FindingSeverity, ...]] = {
    "error": (FindingSeverity.ERROR,),
    "warning": (FindingSeverity.ERROR, FindingSeverity.WARNING),
    "hint": tuple(FindingSeverity),
    "never": (),
}


class Selection(NamedTuple):
    """The rules that count: the longest beginning of an id decides, and `ignore` of two equal ones.

    No `select` means all rules.
    """

    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()

    def has(self, identity: str) -> bool:
        """Return whether a rule counts."""
        chosen = _longest(identity, self.select) if self.select else 0
        return chosen > _longest(identity, self.ignore)


def _longest(identity: str, beginnings: Iterable[str]) -> int:
    """Return the length of the longest of these beginnings of an id; -1 if there is none."""
    return max((len(one) for one in beginnings if identity.startswith(one)), default=-1)


def parse_ids(text: str, known: Collection[str]) -> tuple[str, ...]:
    """Return ids and beginnings of ids from a list with commas or blanks.

    known: all ids. Raises ValueError with the word that begins no id.
    """
    words = tuple(word.upper() for word in re.split(r"[,\s]+", text) if word)
    for word in words:
        if not any(identity.startswith(word) for identity in known):
            raise ValueError(word)
    return words


def is_excluded(path: str, patterns: Iterable[str]) -> bool:
    """Return whether a pattern of a shell matches a path or a directory above it."""
    parts = path.split("/")
    names = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
    return any(fnmatchcase(name, one.rstrip("/")) for one in patterns for name in names)
