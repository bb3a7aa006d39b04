"""Splits the JSON of php-fpm's full status page: the numbers of the pool, and its workers.

Laws:
1. Each worker is read alone. php-fpm 7.4 and 8.0 do not escape URIs, so a client can break one
   entry. The others stay readable.
2. Time and memory are bounded: any process can answer at the address of a pool. Of a long page,
   only values that are used are kept.

Source: `pm.status_path?json&full`; sapi/fpm/fpm/fpm_status.c of 7.4 to 8.5.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Entries, and characters of an entry, that are read.
_MOST_ENTRIES, _LONGEST = 10_000, 1 << 15
#: Characters of a page, or of the pool's own part, that are read at once.
_SHORT = 1 << 15
_PROCESSES, _ENTRY = '"processes":', '{"pid":'
_DECODER = json.JSONDecoder(strict=False)

_NUMBER = r"([0-9]{1,18})"
#: What is read of an entry that is not JSON.
_BROKEN = {
    "pid": re.compile(rf"\s*{_NUMBER}"),
    "state": re.compile(r'"state":"([^"]{1,40})"'),
    "request duration": re.compile(rf'"request duration":{_NUMBER}'),
    "request method": re.compile(r'"request method":"([^"]{1,40})"'),
    "request uri": re.compile(r'"request uri":"([^"?]{0,512})'),
}
#: The last one counts: a client can write the key into its URI.
_SCRIPT, _AFTER_SCRIPT = '"script":"', '","last request cpu"'
_KEYS = (*_BROKEN, "script")


class StatusPage(NamedTuple):
    """A status page."""

    pool: Mapping[str, object]  #: what it says about the pool
    workers: tuple[Mapping[str, object], ...]  #: of a long page, only the keys that are used
    is_whole: bool  #: all workers are there, and could be read


def split(text: str) -> StatusPage | None:
    """Return the parts of a page; None if it is none."""
    page = _object(text)  # the usual case: three times as fast
    if page is not None:
        workers = page.get("processes")
        entries = workers if isinstance(workers, list) else ()
        found = tuple(one for one in entries if isinstance(one, dict))
        return StatusPage(page, found, isinstance(workers, list))
    return _split(text)


def _split(text: str) -> StatusPage | None:
    """Return the parts of a page that is long, or is not JSON."""
    head, found, rest = text.partition(_PROCESSES)
    pool = _object(head.rstrip(", \n") + "}" if found else text)
    if pool is None:
        return None
    before, *parts = rest.split(_ENTRY, _MOST_ENTRIES)
    entries = [_entry(part, is_last=number == len(parts)) for number, part in enumerate(parts, 1)]
    is_whole = all(is_whole for _, is_whole in entries)
    if parts:
        is_whole = is_whole and before.strip() == "[" and len(parts) < _MOST_ENTRIES
    else:
        is_whole = "".join(before[:99].split()) == "[]}"
    return StatusPage(pool, tuple(entry for entry, _ in entries), is_whole)


def _object(text: str) -> dict[str, object] | None:
    if len(text) > _SHORT:
        return None
    try:
        found = _DECODER.decode(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _entry(part: str, *, is_last: bool) -> tuple[Mapping[str, object], bool]:
    """Return an entry, and whether it is JSON; `part`: what follows its first key."""
    try:
        found, end = _DECODER.raw_decode(_ENTRY + part[:_LONGEST])
    except (ValueError, RecursionError):
        return _broken_entry(part[:_LONGEST]), False
    after = "".join(part[end - len(_ENTRY) :][:99].split())
    values = {key: found[key] for key in _KEYS if isinstance(found.get(key), str | int)}
    return values, after == ("]}" if is_last else ",")


def _broken_entry(part: str) -> Mapping[str, object]:
    """Return an entry of a page that is not JSON."""
    found: dict[str, object] = {}
    for key, form in _BROKEN.items():
        match = form.match(part) if key == "pid" else form.search(part)
        if match:
            value = match[1]
            found[key] = int(value) if value.isdigit() else value
    script = part.rpartition(_SCRIPT)[2].partition(_AFTER_SCRIPT)
    if script[1]:
        found["script"] = script[0].replace("\\/", "/")
    return found
