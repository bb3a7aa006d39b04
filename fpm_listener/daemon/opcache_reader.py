"""Asks php-fpm for the numbers of its OPcache, once a minute.

Laws:
1. One pool of each php-fpm is asked, because its pools share one OPcache. The next pool is asked
   only if a pool refuses. The pool that answered last is asked first.
2. A pool with a queue gets no request. Then the last numbers stay.
3. A problem is logged once, not at each reading.
"""

from __future__ import annotations

import logging
import math
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

from fpm_listener.phpfpm import opcache
from fpm_listener.phpfpm.fastcgi import NoAnswer
from fpm_listener.phpfpm.opcache import OpcacheView

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fpm_listener.daemon.pool_watch import PoolWatch
    from fpm_listener.supervisor.process import ProcessName

log = logging.getLogger(__name__)

#: Seconds between two readings, until a second attempt if no pool could be asked, and that a pool
#: has for its answer.
EVERY_S, _SOON_S, _ANSWER_S = 60.0, 5.0, 3.0
#: The most pools that one reading asks.
_MOST_POOLS = 5
_MORE = {opcache.PARAMETER: "1"}


class OpcacheReader:
    """The readings of all php-fpm programs. Only the thread of the pools uses it."""

    def __init__(self, script: str | None = None, every_s: float = EVERY_S) -> None:
        """`script`: another file than the one of this package."""
        self._every_s = every_s
        self._script = script or _packaged_script()
        self._due_s: dict[ProcessName, float] = {}  # monotonic
        self._seen: dict[ProcessName, OpcacheView] = {}
        self._answering: dict[ProcessName, str] = {}  # the pool that has answered

    def due_s(self, names: Iterable[ProcessName]) -> float:
        """Return the monotonic time of the next reading; `names`: programs that have pools."""
        return min((self._due_s.get(name, 0.0) for name in names), default=math.inf)

    def read(self, name: ProcessName, watches: Sequence[PoolWatch]) -> OpcacheView | None:
        """Return the numbers if a reading is due, and a pool is free to answer; otherwise None."""
        if not watches or self._due_s.get(name, 0.0) > time.monotonic():
            return None
        view = self._ask(name, watches)
        is_first = view is None and name not in self._seen  # php-fpm starts after the listener
        self._due_s[name] = time.monotonic() + (_SOON_S if is_first else self._every_s)
        if view is not None:
            self._log_change(name, view)
            self._seen[name] = view
        return view

    def _ask(self, name: ProcessName, watches: Sequence[PoolWatch]) -> OpcacheView | None:
        if self._script is None:
            return OpcacheView(problem=_NO_FILE)
        usable = [watch for watch in watches if not watch.target.chroot]
        if not usable:
            return OpcacheView(problem=_CHROOT)
        usable.sort(key=lambda watch: watch.target.pool != self._answering.get(name))
        first: OpcacheView | None = None
        for watch in usable[:_MOST_POOLS]:
            answer = watch.run_script(self._script, _MORE, _ANSWER_S)
            if answer is None or (isinstance(answer, NoAnswer) and answer.absent):
                continue  # it is busy, or it has not started
            if not isinstance(answer, NoAnswer):
                hint = _folder_hint(self._script)
                view = opcache.read(answer.status, answer.body, self._script, hint)
                if not view.problem:
                    self._answering[name] = watch.target.pool
                    return view
                first = first or view
                continue
            first = first or OpcacheView(problem=f"pool {watch.target.pool}: {answer.why}")
            if answer.silent:  # the next pool could take as long, and this thread has others
                return None if name in self._seen else first
        return first

    def _log_change(self, name: ProcessName, view: OpcacheView) -> None:
        before = self._seen.get(name)
        if view.problem and (before is None or before.problem != view.problem):
            log.warning("OPcache cannot be read program=%s why=%r", name, view.problem)
        elif before is not None and before.problem and not view.problem:
            log.info("OPcache can be read again program=%s", name)


_NO_FILE = (
    "php-fpm cannot run a script inside fpm-listener.pyz; type: fpm-listener.pyz unpack DIR, then "
    "start the listener as DIR/bin/fpm-listener"
)
_CHROOT = (
    "each pool has a chroot, so php-fpm cannot run the script of fpm-listener; add a pool without "
    "chroot, or set opcache_status = off"
)


def _folder_hint(script: str) -> str:
    """Return which part of the path other users cannot read; empty = none."""
    path = Path(script)
    for one in (*reversed(path.parents), path):
        need, what = (stat.S_IROTH, "read") if one == path else (stat.S_IXOTH, "enter")
        try:
            is_open = one.stat().st_mode & need
        except OSError:
            return ""
        if not is_open:
            return f"other users cannot {what} {one}"
    return ""


def _packaged_script() -> str | None:
    """Return the path of the script; None in a zip file."""
    found = Path(opcache.__file__).with_name("opcache_status.php").resolve()
    return str(found) if found.is_file() else None
