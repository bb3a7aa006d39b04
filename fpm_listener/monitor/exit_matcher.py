"""Joins each exit with the line of supervisord's log that has the exit status.

Laws:
1. Event and line arrive on different ways, so either may be first.
2. The log is read over XML-RPC. A read wakes supervisord, and supervisord may then start a program
   again sooner. So for a program that exits at once, at most SPINNING_READS exits in SPINNING_S
   seconds cause a read at once. One later read serves all exits that wait.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.monitor.messages import ExitsKnown, ReadExits

if TYPE_CHECKING:
    from fpm_listener.incidents.process_news import ProcessExit
    from fpm_listener.monitor.messages import ExitsRead
    from fpm_listener.supervisor.exit_log import ExitNote
    from fpm_listener.supervisor.process import ProcessName

#: Seconds. A program that supervisord starts again without a delay can make supervisord spin if its
#: runs are shorter.
SPINNING_RUN_S = 1.0
#: Reads at once for one program within so many seconds.
SPINNING_READS, SPINNING_S = 3, 30.0
#: Seconds that a line of supervisord's log waits for the event of its exit.
_NOTE_WAITS_S = 5.0


class Match(NamedTuple):
    """What is known about an exit when it happens."""

    is_final: bool  #: no line is going to arrive later
    note: ExitNote | None = None  #: the line
    read: ReadExits | None = None  #: the read that brings the line


class ExitMatcher:
    """The engine owns it. All moments are monotonic seconds."""

    def __init__(self) -> None:
        self.is_readable = False  #: supervisord's log can be read
        self.read_at_s: float | None = None  #: the read for which exits wait
        self._exits: deque[tuple[ProcessName, ProcessExit]] = deque()  # without a line
        self._notes: deque[tuple[float, ExitNote]] = deque()  # without an exit
        self._reads: dict[ProcessName, deque[float]] = {}  # of programs that exit at once

    def take_exit(
        self, now_s: float, name: ProcessName, ended: ProcessExit, *, has_delay: bool
    ) -> Match:
        """Join an exit with its line; `has_delay`: supervisord delays the next start."""
        while self._notes and self._notes[0][0] < now_s - _NOTE_WAITS_S:
            self._notes.popleft()
        for index, (_, note) in enumerate(self._notes):
            if note.process == name.process:
                del self._notes[index]
                return Match(is_final=True, note=note)
        if not self.is_readable:
            return Match(is_final=True)
        self._exits.append((name, ended))
        is_short = ended.run_s is not None and ended.run_s < SPINNING_RUN_S
        if is_short and not has_delay:
            read_at_s = self._may_read_at_s(now_s, name)
            if read_at_s > now_s:
                self.read_at_s = min(self.read_at_s or read_at_s, read_at_s)
                return Match(is_final=False)
        return Match(is_final=False, read=self.read(now_s))

    def _may_read_at_s(self, now_s: float, name: ProcessName) -> float:
        reads = self._reads.setdefault(name, deque(maxlen=SPINNING_READS))
        if len(reads) == SPINNING_READS and now_s < reads[0] + SPINNING_S:
            return reads[0] + SPINNING_S
        reads.append(now_s)
        return now_s

    def read(self, now_s: float) -> ReadExits:
        """Return the read for all exits that wait."""
        self.read_at_s = None
        return ReadExits(now_s, len(self._exits))

    def take_lines(self, now_s: float, given: ExitsRead) -> dict[ProcessName, ExitsKnown]:
        """Join lines with their exits; return the results, by process."""
        known: dict[ProcessName, ExitsKnown] = {}
        for note in given.notes:
            found = next((one for one in self._exits if one[0].process == note.process), None)
            if found is None:
                self._notes.append((now_s, note))
            else:
                self._exits.remove(found)
                known.setdefault(found[0], ExitsKnown([])).exits.append((found[1], note))
        while self._exits and self._exits[0][1].at_s <= given.asked_at_s:
            name, ended = self._exits.popleft()
            known.setdefault(name, ExitsKnown([])).exits.append((ended, None))
        return known

    def forget(self, name: ProcessName) -> None:
        """Forget a process."""
        self._exits = deque(one for one in self._exits if one[0] != name)
        self._reads.pop(name, None)
