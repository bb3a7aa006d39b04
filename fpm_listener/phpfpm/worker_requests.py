"""Reads what the workers of a pool are doing from php-fpm's full status page.

Laws:
1. Only method, script, duration and pid are read, of the longest requests. URIs can have secrets:
   they leave this module in no form.
2. All text is from clients: it is bounded here, and escaped and masked before it is shown.

Source: `pm.status_path?json&full`; sapi/fpm/fpm/fpm_status.c of 7.4 to 8.5. php-fpm reports no
memory for a request that runs: `last request memory` is 0 until its end.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fpm_listener.phpfpm.status_entries import StatusPage

#: Requests that are kept of one pool.
MOST = 5
#: Characters of a script and of a method that are kept.
_LONGEST_SCRIPT, _LONGEST_METHOD = 200, 16
#: States of workers that serve no request.
_FREE = frozenset({"Idle", "Creating"})
#: The largest duration, in microseconds: a hundred years.
_LONGEST_US = 100 * 365 * 86400 * 1_000_000

_QUERY = re.compile(r"\?|%3f", re.IGNORECASE)


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


def longest(page: StatusPage, own_paths: Iterable[str | None] = ()) -> tuple[WorkerRequest, ...]:
    """Return the longest requests that run, at most `MOST`; empty if the page has none.

    own_paths: of the status page and the ping; a request for them is ours.
    """
    own = {path for path in own_paths if path}
    found = (_request(entry, own) for entry in page.workers)
    running = [one for one in found if one is not None]
    return tuple(sorted(running, key=lambda one: -one.duration_s)[:MOST])


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
