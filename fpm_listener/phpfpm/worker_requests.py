"""Reads what the workers of a pool are doing from php-fpm's full status page.

Laws:
1. Only method, script, duration and pid are read, of the longest requests. URIs can have secrets:
   they leave this module in no form.
2. All text is from clients: it is bounded here, and escaped and masked before it is shown.
3. php-fpm 7.4 and 8.0 do not escape URIs, so a client can break the list. Then each entry is
   read alone, and the others stay readable.

Source: `pm.status_path?json&full`; sapi/fpm/fpm/fpm_status.c of 7.4 to 8.5. php-fpm reports no
memory for a request that runs: `last request memory` is 0 until its end.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

#: Requests that are kept of one pool.
MOST = 5
#: Characters of a script and of a method that are kept.
_LONGEST_SCRIPT, _LONGEST_METHOD = 200, 16
#: Entries and characters of an entry that are read.
_MOST_ENTRIES, _LONGEST_ENTRY = 10_000, 8192
#: States of workers that serve no request.
_FREE = frozenset({"Idle", "Creating"})
#: The largest duration, in microseconds: a hundred years.
_LONGEST_US = 100 * 365 * 86400 * 1_000_000

_QUERY = re.compile(r"\?|%3f", re.IGNORECASE)
_ENTRY = '{"pid":'
_NUMBER = r"([0-9]{1,18})"
_BROKEN = {
    "pid": re.compile(rf"\s*{_NUMBER}"),
    "state": re.compile(r'"state":"([^"]{1,40})"'),
    "request duration": re.compile(rf'"request duration":{_NUMBER}'),
    "request method": re.compile(r'"request method":"([^"]{1,40})"'),
    "request uri": re.compile(r'"request uri":"([^"?]{0,512})'),
}
#: The last one counts: a client can write the key into its URI.
_SCRIPT, _AFTER_SCRIPT = '"script":"', '","last request cpu"'


class WorkerRequest(NamedTuple):
    """The request of one worker."""

    method: str  #: `-` = unknown
    script: str  #: its path, without a query string; `-` = unknown
    duration_s: float  #: so far
    pid: int = 0  #: of the worker, in php-fpm's pid namespace; 0 = unknown
    memory_bytes: int | None = None  #: resident memory of the worker; None = unknown


class PoolRequests(NamedTuple):
    """What the busy workers of a pool were doing at one moment."""

    pool: str
    at_s: float  #: monotonic
    requests: tuple[WorkerRequest, ...]  #: the longest first


def longest(text: str, own_paths: Iterable[str | None] = ()) -> tuple[WorkerRequest, ...]:
    """Return the longest requests that run, at most `MOST`; empty if the page has none.

    own_paths: of the status page and the ping; a request for them is ours.
    """
    own = {path for path in own_paths if path}
    found = (_request(entry, own) for entry in _entries(text))
    running = [one for one in found if one is not None]
    return tuple(sorted(running, key=lambda one: -one.duration_s)[:MOST])


def _entries(text: str) -> Iterator[Mapping[str, object]]:
    try:
        page = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        parts = text.split(_ENTRY, _MOST_ENTRIES)[1:]
        yield from (_broken_entry(part[:_LONGEST_ENTRY]) for part in parts)
        return
    entries = page.get("processes") if isinstance(page, dict) else None
    if isinstance(entries, list):
        yield from (one for one in entries[:_MOST_ENTRIES] if isinstance(one, dict))


def _broken_entry(part: str) -> Mapping[str, object]:
    """Return an entry of a page that is no JSON."""
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


def _request(entry: Mapping[str, object], own: set[str]) -> WorkerRequest | None:
    """Return the request of a worker; None = it serves none, or only ours."""
    state, duration_us = entry.get("state"), _number(entry.get("request duration"))
    if not isinstance(state, str) or state in _FREE or duration_us is None:
        return None
    if _path(entry.get("request uri")) in own:
        return None
    return WorkerRequest(
        method=_path(entry.get("request method"))[:_LONGEST_METHOD] or "-",
        script=_shortened(_path(entry.get("script"))) or "-",
        duration_s=duration_us / 1_000_000,
        pid=_number(entry.get("pid")) or 0,
    )


def _number(value: object) -> int | None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _LONGEST_US:
        return None
    return value


def _path(value: object) -> str:
    """Return the text without a query string, encoded or not."""
    return _QUERY.split(value, maxsplit=1)[0] if isinstance(value, str) else ""


def _shortened(path: str) -> str:
    """Return the end of a long path: it names the script."""
    return path if len(path) <= _LONGEST_SCRIPT else f"…{path[1 - _LONGEST_SCRIPT :]}"
