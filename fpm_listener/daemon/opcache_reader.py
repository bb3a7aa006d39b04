"""Asks php-fpm for the numbers of its OPcache, once a minute.

Laws:
1. One pool of each php-fpm is asked, because its pools share one OPcache. The next pool is asked
   only if a pool refuses.
2. A pool with a queue gets no request.
3. A problem is logged once, not at each reading.
"""

from __future__ import annotations

import logging
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING

from fpm_listener.host import addresses, sock_diag
from fpm_listener.host.addresses import UnusableAddress
from fpm_listener.host.listen_queue import ListenQueue
from fpm_listener.phpfpm import fastcgi, opcache
from fpm_listener.phpfpm.opcache import OpcacheView

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fpm_listener.phpfpm.status_page import PoolTarget
    from fpm_listener.supervisor.process import ProcessName

log = logging.getLogger(__name__)

#: Seconds between two readings, and seconds that a pool has for its answer.
EVERY_S, _ANSWER_S = 60.0, 3.0
#: The most pools that one reading asks.
_MOST_POOLS = 5


class OpcacheReader:
    """The readings of all php-fpm programs. Only the thread of the pools uses it."""

    def __init__(self, script: str | None = None) -> None:
        """`script`: another file than the one of this package."""
        self._script = script or _packaged_script()
        self._due_s: dict[ProcessName, float] = {}  # monotonic
        self._seen: dict[ProcessName, OpcacheView] = {}

    def due_s(self, targets: Mapping[ProcessName, Sequence[PoolTarget]]) -> float:
        """Return the monotonic time of the next reading."""
        names = [name for name, those in targets.items() if those]
        return min((self._due_s.get(name, 0.0) for name in names), default=math.inf)

    def read(self, name: ProcessName, targets: Sequence[PoolTarget]) -> OpcacheView | None:
        """Return the numbers if a reading is due, and a pool is free to answer; otherwise None."""
        if not targets or self._due_s.get(name, 0.0) > time.monotonic():
            return None
        self._due_s[name] = time.monotonic() + EVERY_S
        view = self._ask(targets)
        if view is not None:
            self._log_change(name, view)
            self._seen[name] = view
        return view

    def _ask(self, targets: Sequence[PoolTarget]) -> OpcacheView | None:
        if self._script is None:
            why = "opcache_status.php is not a file: fpm-listener.pyz has none; install the package"
            return OpcacheView(problem=why)
        usable = [target for target in targets if not target.chroot]
        if not usable:
            why = "each pool has a chroot, so php-fpm cannot run the script of fpm-listener"
            return OpcacheView(problem=why)
        first: OpcacheView | None = None
        for target in usable[:_MOST_POOLS]:
            answer = self._get(target, self._script)
            if answer is None:
                continue
            if isinstance(answer, fastcgi.NoAnswer):
                if answer.silent:  # the next pool could take as long, and this thread has others
                    return first
                continue  # the check of the pool reports it
            view = opcache.read(answer.status, answer.body, self._script)
            if not view.problem:
                return view
            first = first or view
        return first

    def _get(self, target: PoolTarget, script: str) -> fastcgi.Response | fastcgi.NoAnswer | None:
        where = addresses.parse(target.address)
        queue = sock_diag.queue(target.address)
        if isinstance(where, UnusableAddress) or (isinstance(queue, ListenQueue) and queue.waiting):
            return None
        deadline_s = time.monotonic() + _ANSWER_S
        return fastcgi.get(
            addresses.client_target(where), script, "", deadline_s, {opcache.PARAMETER: "1"}
        )

    def _log_change(self, name: ProcessName, view: OpcacheView) -> None:
        before = self._seen.get(name)
        if view.problem and (before is None or before.problem != view.problem):
            log.warning("OPcache cannot be read program=%s why=%r", name, view.problem)
        elif before is not None and before.problem and not view.problem:
            log.info("OPcache can be read again program=%s", name)


def _packaged_script() -> str | None:
    """Return the path of the script; None in a zip file."""
    found = Path(opcache.__file__).with_name("opcache_status.php").resolve()
    return str(found) if found.is_file() else None
