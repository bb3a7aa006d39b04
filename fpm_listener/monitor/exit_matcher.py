"""Joins each death with the line of supervisord's log that tells how the process ended.

Laws:
1. Event and line come over different ways, so either may be first.
2. The log is read over XML-RPC, which wakes supervisord, and each wake-up lets it start a program
   that exits at once a little sooner. So of such a program at most SPINNING_READS deaths in
   SPINNING_S seconds are read at once; one later read serves all that wait.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from fpm_listener.monitor.messages import Effect, ExitsRead, ReadExits
from fpm_listener.vocabulary import State

if TYPE_CHECKING:
    from fpm_listener.incidents.tracker import ProcessExit
    from fpm_listener.monitor.process_monitor import ProcessMonitor
    from fpm_listener.monitor.timeline import Timeline
    from fpm_listener.supervisor.exit_log import ExitNote
    from fpm_listener.supervisor.process import ProcessName
    from fpm_listener.values import Instant

#: Seconds. A program whose run was shorter, and which supervisord starts again without a delay, can
#: make supervisord spin.
SPINNING_RUN_S = 1.0
#: As many reads at once of one program, within so many seconds.
SPINNING_READS, SPINNING_S = 3, 30.0
#: Seconds for which a line of supervisord's log waits for the event of the death that it tells of.
_NOTE_WAITS_S = 5.0


class Exits:
    """Owned by the engine."""

    def __init__(self, timeline: Timeline) -> None:
        self.readable = False  #: whether supervisord's log can be read
        self._timeline = timeline
        self._deaths: deque[tuple[ProcessMonitor, ProcessExit]] = (
            deque()
        )  # whose exit is not known yet
        self._notes: deque[tuple[float, ExitNote]] = deque()  # whose death is not known yet
        self._reads: dict[ProcessName, deque[float]] = {}  # of programs that exit at once
        self._read_at_s: float | None = None  # monotonic; the read that deaths wait for

    def died(self, now: Instant, watched: ProcessMonitor, death: ProcessExit) -> list[Effect]:
        """Join the death with its line, or ask for it."""
        while self._notes and self._notes[0][0] < now.monotonic_s - _NOTE_WAITS_S:
            self._notes.popleft()
        for index, (_, note) in enumerate(self._notes):
            if note.process == watched.name.process:
                del self._notes[index]
                self._known(now, watched, death, note)
                return []
        if not self.readable:
            self._known(now, watched, death, None)
            return []
        self._deaths.append((watched, death))
        wait_until_s = self._may_read_at_s(now, watched)
        if wait_until_s > now.monotonic_s:
            self._read_at_s = min(self._read_at_s or wait_until_s, wait_until_s)
            return []
        watched.exit_expected()
        return self._read(now)

    def _may_read_at_s(self, now: Instant, watched: ProcessMonitor) -> float:
        """Return when the log may be read for a death that has just happened."""
        length_s = watched.life.length_s
        if watched.liveness.state is not State.EXITED or length_s is None:
            return now.monotonic_s
        if length_s >= SPINNING_RUN_S:
            return now.monotonic_s
        reads = self._reads.setdefault(watched.name, deque(maxlen=SPINNING_READS))
        if len(reads) == SPINNING_READS and now.monotonic_s < reads[0] + SPINNING_S:
            return reads[0] + SPINNING_S
        reads.append(now.monotonic_s)
        return now.monotonic_s

    def _read(self, now: Instant) -> list[Effect]:
        self._read_at_s = None
        return [ReadExits(now.monotonic_s, len(self._deaths))]

    def due(self, now: Instant) -> list[Effect]:
        """Return the read that deaths have waited for, where its moment has come."""
        is_due = self._read_at_s is not None and now.monotonic_s >= self._read_at_s
        return self._read(now) if is_due else []

    def deadline_s(self) -> float | None:
        """Return the monotonic moment at which `due` has something to return."""
        return self._read_at_s

    def read(self, now: Instant, given: ExitsRead) -> list[ProcessMonitor]:
        """Take in lines of the log; return the processes of which something became known."""
        touched: list[ProcessMonitor] = []
        for note in given.notes:
            for index, (watched, death) in enumerate(self._deaths):
                if watched.name.process == note.process:
                    del self._deaths[index]
                    self._known(now, watched, death, note)
                    touched.append(watched)
                    break
            else:
                self._notes.append((now.monotonic_s, note))
        while self._deaths and self._deaths[0][1].at_s <= given.asked_at_s:
            watched, death = self._deaths.popleft()
            self._known(now, watched, death, None)
            touched.append(watched)
        return touched

    def forget(self, watched: ProcessMonitor) -> None:
        """Let go of a process."""
        self._deaths = deque(pair for pair in self._deaths if pair[0] is not watched)
        self._reads.pop(watched.name, None)

    def _known(
        self, now: Instant, watched: ProcessMonitor, death: ProcessExit, note: ExitNote | None
    ) -> None:
        watched.exit_known(death, note)
        self._timeline.ended(now, watched.name, death, note)
