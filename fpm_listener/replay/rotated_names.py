"""Finds the older files of a log by their names.

Source: supervisor/loggers.py (`x.log.1` is the newest old file); logrotate 3.21: numbers,
`dateext` with its usual formats, `extension`, and compressed files.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Names of compressed files end with one of these.
PACKED = (".gz", ".xz", ".bz2", ".zst", ".lz4", ".Z")
_NUMBER = r"[.](?P<number>[0-9]{1,5})"
_DATE = r"[-.](?P<date>[0-9]{4}-?[0-9]{2}-?[0-9]{2}(?:[-_T.]?[0-9]{2,10})?)"
_PACKED = "(?:" + "|".join(re.escape(end) for end in PACKED) + ")?"


def older_names(name: str, others: Iterable[str]) -> list[str]:
    """Return the older files of the log `name`, oldest first. others: the names in its directory.

    Of a file that exists with and without compression, only the latter is returned.
    """
    stem, dot, ending = name.rpartition(".")
    pattern = rf"{re.escape(name)}(?:{_NUMBER}|{_DATE}){_PACKED}"
    if stem:  # `x-20261128.log` and `x.1.log`
        inner = _DATE.replace("?P<date>", "?P<inner_date>")
        number = _NUMBER.replace("?P<number>", "?P<inner_number>")
        pattern += rf"|{re.escape(stem)}(?:{inner}|{number}){re.escape(dot + ending)}{_PACKED}"
    compiled = re.compile(pattern)
    found: dict[str, tuple[tuple[int, int, str], str]] = {}
    for other in sorted(others, key=len):  # the plain name is shorter than that with `.gz`
        matched = compiled.fullmatch(other)
        if matched is None or other == name:
            continue
        words = matched.groupdict(default="")
        count = words["number"] or words.get("inner_number", "")
        date = words["date"] or words.get("inner_date", "")
        digits = re.sub(r"[^0-9]", "", date)
        key = (1, -int(count), "") if count else (0, 0, digits)
        found.setdefault(_plain(other), (key, other))
    return [other for _, other in sorted(found.values())]


def _plain(name: str) -> str:
    for end in PACKED:
        name = name.removesuffix(end)
    return name
