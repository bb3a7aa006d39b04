"""Detects a program whose output arrives in so many events that supervisord can lose others.

Measured with supervisor 4.3.0 and the access log of php-fpm on stderr: supervisord used 4 % of a
core for 200 lines a second and 11 % for 1,000. At 6,000 it discarded events, also those of states.

Laws:
1. A program is reported once. All processes of one section (numprocs) are one program.
2. It costs a counter for most events, and the memory is bounded.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from fpm_listener.incidents.program_output import section_of
from fpm_listener.monitor.messages import MuchOutput

if TYPE_CHECKING:
    from fpm_listener.supervisor.events import ProcessLog
    from fpm_listener.supervisor.process import ProcessName

#: So many events within so many seconds are too many: 300 a second.
MOST, WITHIN_S = 3000, 10.0
#: Programs that are remembered.
_PROGRAMS = 1000


class OutputRate:
    """Counts the events with output of all programs. Owned by the engine."""

    def __init__(self) -> None:
        self._since_s = 0.0  # monotonic; of the first event that is counted
        self._count = 0
        self._counts: dict[tuple[ProcessName, str], int] = {}  # by process and channel
        self._reported: set[str] = set()

    def take(self, now_s: float, piece: ProcessLog) -> list[MuchOutput]:
        """Count an event; return the program that sends most of them, if they are too many."""
        if not self._count:
            self._since_s = now_s
        self._count += 1
        source = piece.process, piece.channel
        self._counts[source] = self._counts.get(source, 0) + 1
        if self._count < MOST:
            return []
        seconds, counts = now_s - self._since_s, Counter[tuple[str, str]]()
        for (name, channel), count in self._counts.items():
            counts[section_of(name), channel] += count
        self._count = 0
        self._counts.clear()
        ((section, channel), count), *_ = counts.most_common(1)
        is_known = section in self._reported or len(self._reported) >= _PROGRAMS
        if seconds > WITHIN_S or is_known:
            return []
        self._reported.add(section)
        return [MuchOutput(section, channel, count / max(seconds, 0.001))]
