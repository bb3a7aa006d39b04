"""An OPcache that is full, and restarts again and again: PHP compiles all scripts again each time.

Only restarts count that PHP itself makes: no free memory (oom) or no free key (hash).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fpm_listener.phpfpm.opcache import OpcacheView

#: Restarts within so many seconds that are a problem. One follows each large deployment.
RESTARTS, WINDOW_S = 3, 3600.0
#: Seconds without a restart, after which the problem is over.
CALM_S = 3600.0
_MIB = 1 << 20


class OpcacheFull:
    """The restarts of one OPcache. All moments are monotonic seconds."""

    def __init__(self, stable_for_s: float) -> None:
        self.stable_for_s = stable_for_s  #: that pass after `calm_since_s`, until it is resolved
        self.line = ""  #: what is seen; empty = no problem
        self.calm_since_s = float("-inf")
        self._total: int | None = None  # restarts of this OPcache; None = never read
        self._recent: deque[tuple[float, int]] = deque()  # when they were seen, and how many

    def take(self, now_s: float, view: OpcacheView) -> None:
        """Take a reading."""
        oom, full = view.number("restarts_oom"), view.number("restarts_hash")
        if oom is None or full is None:
            return
        before, self._total = self._total, int(oom + full)
        if before is None:
            return  # nobody knows when they happened
        if self._total < before:  # another OPcache: php-fpm was restarted
            self._recent.clear()
            self.calm_since_s = min(self.calm_since_s, now_s)
            before = 0
        if self._total > before:
            self._recent.append((now_s, self._total - before))
            self.calm_since_s = now_s + max(0.0, CALM_S - self.stable_for_s)
        while self._recent and self._recent[0][0] < now_s - WINDOW_S:
            self._recent.popleft()
        count = sum(more for _, more in self._recent)
        if count >= RESTARTS and not self.line:
            self.line = (
                f"seen: OPcache restarted {count} times in {WINDOW_S / 60:.0f} min; all restarts "
                f"because of memory: {oom:.0f}, because of keys: {full:.0f}"
                f"{_numbers(view)}"
            )

    def clear(self) -> None:
        """Forget the problem; later restarts count."""
        self.line, self.calm_since_s = "", float("-inf")
        self._recent.clear()


def _numbers(view: OpcacheView) -> str:
    """Return the numbers that show which setting is too low."""
    text = "; after the last restart:"  # it has emptied the cache
    parts = [view.number(f"memory_{part}") for part in ("used", "free", "wasted")]
    used, free, wasted = ((part or 0.0) / _MIB for part in parts)
    if None not in parts:
        text += f" memory: {used:.1f} MiB used, {free:.1f} free, {wasted:.1f} wasted"
    keys, most = view.number("keys"), view.number("max_keys")
    if keys is not None and most is not None:
        text += f"; keys: {keys:.0f} of {most:.0f}"
    used_strings, free_strings = view.number("strings_used"), view.number("strings_free")
    if used_strings is not None and free_strings is not None:
        size = (used_strings + free_strings) / _MIB
        text += f"; interned strings: {used_strings / _MIB:.1f} of {size:.1f} MiB"
    hits, misses = view.number("hits"), view.number("misses")
    if hits is not None and misses is not None:
        text += f"; hits: {hits:.0f}, misses: {misses:.0f}"
    return text
