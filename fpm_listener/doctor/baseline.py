"""A file with known findings: `check` reports only new ones.

Law: the file contains no line, because lines move, and no value, because it can be a secret.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.doctor.fingerprints import fingerprints

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fpm_listener.doctor.rule import Finding

_VERSION = 1
_ABOUT = "Findings that fpm-listener check --baseline does not report. --write-baseline wrote it."


class Entry(NamedTuple):
    """One known finding."""

    id: str
    file: str  #: relative to the directory of the baseline
    section: str
    fingerprint: str


def entries(findings: Sequence[Finding]) -> list[Entry]:
    """Return an entry for each finding, in this order; files are relative to the baseline."""
    marks = fingerprints(findings)
    return [
        Entry(one.id, one.file, one.section, mark)
        for one, mark in zip(findings, marks, strict=True)
    ]


def render(known: Iterable[Entry]) -> str:
    """Return the text of the file."""
    found = [one._asdict() for one in sorted(known, key=lambda one: (one.file, one))]
    document = {"about": _ABOUT, "version": _VERSION, "findings": found}
    return json.dumps(document, indent=2) + "\n"


def parse(text: str) -> frozenset[Entry]:
    """Return the entries of a file. Raises ValueError with a clause that says what is wrong."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", 0)
        raise ValueError(f"line {line} is not JSON" if line else "it is not JSON") from error
    if not isinstance(document, dict) or not isinstance(document.get("findings"), list):
        raise ValueError('it is not an object with a list "findings"')  # noqa: TRY004 - one kind
    if document.get("version") != _VERSION:
        raise ValueError(f"its version is not {_VERSION}")
    found = set()
    for number, one in enumerate(document["findings"], 1):
        values = [one.get(key) for key in Entry._fields] if isinstance(one, dict) else [None]
        if not all(isinstance(value, str) for value in values):
            raise ValueError(f"finding {number} has not the texts {', '.join(Entry._fields)}")
        found.add(Entry(*values))
    return frozenset(found)
