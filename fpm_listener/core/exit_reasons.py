"""Joins each death with the line of supervisord's log that tells how the process ended.

Laws:
1. Event and line come over different ways, so either may be first.
2. The log is read over XML-RPC, which wakes supervisord. A program that exits again and again must
   not make it spin: after _AT_ONCE reads the next ones wait, and one read serves all that wait.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from fpm_listener.core.effects import Effect, ExitsRead, ReadExits

if TYPE_CHECKING:
    from fpm_listener.core.exits import ExitNote
    from fpm_listener.core.timeline import Timeline
    from fpm_listener.core.trouble import Death
    from fpm_listener.core.values import Instant
    from fpm_listener.core.watched import Watched

#: Seconds for which a line of supervisord's log waits for the event of the death that it tells of.
_NOTE_WAITS_S = 5.0


class Exits:
    """Owned by the engine."""

    def __init__(self, timeline: Timeline) -> None:
        self.readable = False  #: whether supervisord's log can be read
        self._timeline = timeline
        self._deaths: deque[tuple[Watched, Death]] = deque()  # whose exit is not known yet
        self._notes: deque[tuple[float, ExitNote]] = deque()  # whose death is not known yet

    def died(self, now: Instant, watched: Watched, death: Death) -> list[Effect]:
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
        watched.exit_expected()
        return [ReadExits(now.monotonic_s)]

    def read(self, now: Instant, given: ExitsRead) -> list[Watched]:
        """Take in lines of the log; return the processes of which something became known."""
        touched: list[Watched] = []
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

    def forget(self, watched: Watched) -> None:
        """Let go of a process."""
        self._deaths = deque(pair for pair in self._deaths if pair[0] is not watched)

    def _known(self, now: Instant, watched: Watched, death: Death, note: ExitNote | None) -> None:
        watched.exit_known(death, note)
        self._timeline.ended(now, watched.name, death, note)
