"""An OPcache that is full: PHP compiles scripts again and again.

A full OPcache restarts only if more than `opcache.max_wasted_percentage` of it is wasted. Otherwise
it stores no more scripts, and PHP compiles the scripts that do not fit at each request.

Source: zend_accel_schedule_restart_if_necessary and persistent_compile_file in
ext/opcache/ZendAccelerator.c of php 7.4 to 8.5.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from fpm_listener.phpfpm.opcache import OpcacheView

#: Restarts within so many seconds that are a problem. One follows each large deployment.
RESTARTS, WINDOW_S = 3, 3600.0
#: Misses of a full OPcache in each minute that are a problem, and seconds that it must last. One
#: miss of each reading is the script of the listener.
MISSES_A_MINUTE, FULL_FOR_S = 10.0, 300.0
#: Seconds without a restart and without these misses, after which the problem is over.
CALM_S = 3600.0
_MIB = 1 << 20
#: The largest value of opcache.max_accelerated_files.
_MOST_FILES = 1_000_000


class OpcacheFull:
    """The problems of one OPcache. All moments are monotonic seconds."""

    def __init__(self, stable_for_s: float) -> None:
        self.view: OpcacheView | None = None  #: the last reading of this run
        self.line = ""  #: what is seen; empty = no problem
        self.setting: str | None = None  #: the directive and a value that solves it
        self._parts = (_Restarts(), _Rejections())
        self._stable_for_s = stable_for_s

    @property
    def calm_since_s(self) -> float:
        """Return since when there is no problem; it is resolved `stable_for_s` later."""
        wait_s = max(0.0, CALM_S - self._stable_for_s)
        return max(min(part.last_s + wait_s, part.ended_at_s) for part in self._parts)

    def reconfigure(self, stable_for_s: float) -> None:
        """Use new settings."""
        self._stable_for_s = stable_for_s

    def take(self, now_s: float, view: OpcacheView) -> None:
        """Take a reading."""
        self.view = view
        for part in self._parts:
            line = part.take(now_s, view)
            if line and not self.line:
                self.line, self.setting = f"seen: OPcache {line}", part.setting(view)

    def restore(self, now_s: float, line: str, setting: str | None) -> None:
        """Restore the problem of an earlier listener; the next reading can show that it is over."""
        self.line, self.setting = line, setting
        for part in self._parts:
            part.see(now_s)

    def end_run(self, now_s: float) -> None:
        """Forget the OPcache: php-fpm has ended, and the next one has another."""
        self.view = None
        for part in self._parts:
            part.end_run(now_s)

    def clear(self) -> None:
        """Forget the problem; later restarts and misses count."""
        self.line, self.setting = "", None
        for part in self._parts:
            part.clear()


class _Problem:
    """When it was seen last, and since when another OPcache or free memory excludes it."""

    def __init__(self) -> None:
        self.last_s, self.ended_at_s = float("-inf"), float("inf")

    def see(self, now_s: float) -> None:
        """Note that it is seen now."""
        self.last_s, self.ended_at_s = now_s, float("inf")

    def end_run(self, now_s: float) -> None:
        """Forget the OPcache."""
        self.ended_at_s = min(self.ended_at_s, now_s)


class _Restarts(_Problem):
    """Restarts that PHP itself makes: no free memory (oom) or no free key (hash)."""

    def __init__(self) -> None:
        super().__init__()
        self._total: tuple[int, int] | None = None  # because of memory, of keys; None = not read
        self._recent: deque[tuple[float, int, int]] = deque()  # when they were seen; the same

    def take(self, now_s: float, view: OpcacheView) -> str:
        """Take a reading; return what is seen, or empty."""
        oom, full = view.number("restarts_oom"), view.number("restarts_hash")
        if oom is None or full is None:
            return ""
        before, self._total = self._total, (int(oom), int(full))
        if before is None:  # nobody knows when they happened
            if not sum(self._total):
                self.end_run(now_s)
            return ""
        if sum(self._total) < sum(before):  # another OPcache: php-fpm was restarted
            self.end_run(now_s)
            before, self._total = (0, 0), (int(oom), int(full))
        more = self._total[0] - before[0], self._total[1] - before[1]
        if sum(more) > 0:
            self._recent.append((now_s, *more))
            self.see(now_s)
        while self._recent and self._recent[0][0] < now_s - WINDOW_S:
            self._recent.popleft()
        count = sum(memory + keys for _, memory, keys in self._recent)
        if count < RESTARTS:
            return ""
        return (
            f"restarted {count} times in {WINDOW_S / 60:.0f} min; all restarts because of memory: "
            f"{oom:.0f}, because of keys: {full:.0f}; after the last restart:{_numbers(view)}"
        )

    def setting(self, view: OpcacheView) -> str | None:
        """Return the directive of what was full, and a value."""
        memory = _memory(view) if any(memory > 0 for _, memory, _ in self._recent) else None
        keys = _keys(view) if any(keys > 0 for _, _, keys in self._recent) else None
        return " and ".join(filter(None, (memory, keys))) or None

    def end_run(self, now_s: float) -> None:
        """Forget the OPcache."""
        super().end_run(now_s)
        self._recent.clear()
        self._total = (0, 0) if self._total else None

    def clear(self) -> None:
        """Forget the problem."""
        self._recent.clear()


class _Reading(NamedTuple):
    at_s: float
    misses: float


class _Rejections(_Problem):
    """Scripts that a full OPcache does not store. It has no restarts."""

    def __init__(self) -> None:
        super().__init__()
        self._first: _Reading | None = None  # since when misses rise
        self._before: _Reading | None = None  # the last reading of a full OPcache

    def take(self, now_s: float, view: OpcacheView) -> str:
        """Take a reading; return what is seen, or empty."""
        misses = view.number("misses")
        if view.problem or misses is None:
            return ""
        before, self._before = self._before, None
        if not view.is_full:
            self.end_run(now_s)
            return ""
        self._before = _Reading(now_s, misses)
        if before is None or now_s <= before.at_s:
            return ""
        if (misses - before.misses) * 60.0 < MISSES_A_MINUTE * (now_s - before.at_s):
            self._first = None  # it is only full, or it was restarted
            return ""
        self._first = self._first or before
        lasts_s = now_s - self._first.at_s
        if lasts_s < FULL_FOR_S:
            return ""
        self.see(now_s)
        return (
            f"is full and stores no more scripts; misses: {misses - self._first.misses:.0f} in "
            f"{lasts_s / 60:.0f} min;{_numbers(view)}"
        )

    def setting(self, view: OpcacheView) -> str | None:
        """Return the directive of what is full, and a value."""
        keys, most = view.number("keys"), view.number("max_keys")
        is_keys = keys is not None and most is not None and keys >= most
        return _keys(view) if is_keys else _memory(view)

    def end_run(self, now_s: float) -> None:
        """Forget the OPcache."""
        super().end_run(now_s)
        self._first = self._before = None

    def clear(self) -> None:
        """Forget the problem."""
        self._first = None


def _memory(view: OpcacheView) -> str | None:
    """Return the directive with twice the memory."""
    parts = [view.number(f"memory_{part}") for part in ("used", "free", "wasted")]
    size = sum(part or 0.0 for part in parts) / _MIB
    return f"opcache.memory_consumption = {2 * round(size)}" if round(size) else None


def _keys(view: OpcacheView) -> str | None:
    """Return the directive with twice the keys."""
    most = view.number("max_keys")
    if not most or most >= _MOST_FILES:
        return None
    return f"opcache.max_accelerated_files = {min(_MOST_FILES, 2 * int(most))}"


def _numbers(view: OpcacheView) -> str:
    """Return the numbers that show which setting is too low."""
    text = ""
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
