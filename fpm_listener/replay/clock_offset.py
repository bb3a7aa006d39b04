"""Finds by how much the clock of php-fpm's log differs from that of supervisord's log.

supervisord writes `spawned: 'php-fpm' with pid 7`, and the same php-fpm writes `fpm is running, pid
7` within seconds. Different zones, or one log of another machine, show there.

Law: a difference is only reported. A pid can be used again, so one clear answer is required.
"""

from __future__ import annotations

import re
from collections import Counter, deque

_SPAWNED = re.compile(rb"spawned: '[^']{1,255}' with pid ([0-9]{1,9})$")
_RUNNING = re.compile(rb"NOTICE: .{0,80}?fpm is running, pid ([0-9]{1,9})$")
#: Seconds from the start of a process to its line: the guard can wait, and scripts can sleep.
_LONGEST_START_S = 90.0
#: Seconds by which php-fpm's line can seem earlier: it has whole seconds.
_WHOLE_S = 1.5
#: Starts that are remembered.
_KEPT = 200


class ClockOffset:
    """The starts in all logs."""

    def __init__(self) -> None:
        self._spawned: deque[tuple[int, float]] = deque(maxlen=_KEPT)
        self._running: deque[tuple[int, float]] = deque(maxlen=_KEPT)

    def spawned(self, at_s: float, text: bytes) -> None:
        """Take a line of supervisord."""
        if b"spawned: " in text and (found := _SPAWNED.search(text)):
            self._spawned.append((int(found[1]), at_s))

    def running(self, at_s: float, text: bytes) -> None:
        """Take a line of php-fpm."""
        if b"fpm is running" in text and (found := _RUNNING.search(text)):
            self._running.append((int(found[1]), at_s))

    def find(self) -> float | None:
        """Return the seconds by which php-fpm's log is ahead; None = it fits, or is not known."""
        spawned: dict[int, list[float]] = {}
        for pid, at_s in self._spawned:
            spawned.setdefault(pid, []).append(at_s)
        offsets: Counter[int] = Counter()
        for pid, at_s in self._running:
            found = {round(at_s - start_s) for start_s in spawned.get(pid, ())}
            if any(-_WHOLE_S <= offset <= _LONGEST_START_S for offset in found):
                return None
            offsets.update(found)
        if not offsets:
            return None
        (offset, count), *others = offsets.most_common(2)
        near = sum(number for other, number in offsets.items() if abs(other - offset) <= 2)
        is_clear = near > 1 or (count == 1 and not others)
        return float(offset) if is_clear else None
