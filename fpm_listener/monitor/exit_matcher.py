"""Joins each exit with its status: from the kernel, or from the line of supervisord's log.

Laws:
1. Event, kernel's answer and line arrive on different ways, so each may be first.
2. The kernel wins: its answer is about one pid. A line has no group and no pid, and can be about
   another process of the same name. An exit with a known status takes only a line with this status.
3. The log is read over XML-RPC, and only for an exit that the kernel does not explain. A read wakes
   supervisord, and supervisord may then start a program again sooner. So for a program that exits
   at once, at most SPINNING_READS exits in SPINNING_S seconds cause a read at once. One later read
   serves all exits that wait.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.monitor.messages import ExitsKnown, ReadExits
from fpm_listener.supervisor.exit_log import ExitNote, how

if TYPE_CHECKING:
    from fpm_listener.incidents.process_news import ProcessExit
    from fpm_listener.monitor.messages import ExitsRead
    from fpm_listener.supervisor.exit_log import ExitReason
    from fpm_listener.supervisor.process import ProcessName

#: Seconds. A program that supervisord starts again without a delay can make supervisord spin if its
#: runs are shorter.
SPINNING_RUN_S = 1.0
#: Reads at once for one program within so many seconds.
SPINNING_READS, SPINNING_S = 3, 30.0
#: Seconds that a line of supervisord's log waits for the event of its exit.
_NOTE_WAITS_S = 5.0


#: Exits with a known status that wait for their lines, and answers that wait for their events.
_MOST = 2000


class Run(NamedTuple):
    """One run of a process."""

    process: ProcessName
    pid: int | None  #: None = unknown


class Match(NamedTuple):
    """What is known about an exit when it happens."""

    is_final: bool  #: no line is going to arrive later
    note: ExitNote | None = None  #: the line, or what the kernel says
    read: ReadExits | None = None  #: the read that brings the line


class _Exit(NamedTuple):
    """An exit without a line."""

    run: Run
    ended: ProcessExit
    reason: ExitReason | None  #: from the kernel

    def fits(self, note: ExitNote) -> bool:
        """Return whether a line can be about this exit."""
        is_same_name = note.process == self.run.process.process
        return is_same_name and self.reason in {None, note.reason}


class ExitMatcher:
    """The engine owns it. All moments are monotonic seconds."""

    def __init__(self) -> None:
        self.is_readable = False  #: supervisord's log can be read
        self.read_at_s: float | None = None  #: the read for which exits wait
        self._exits: deque[_Exit] = deque()
        self._reasons: dict[Run, ExitReason] = {}  # from the kernel, without an event
        self._notes: deque[tuple[float, ExitNote]] = deque()  # without an exit
        self._reads: dict[ProcessName, deque[float]] = {}  # of programs that exit at once

    def take_kernel(self, run: Run, reason: ExitReason) -> ExitsKnown:
        """Take the kernel's answer about a run; return the exit that it explains, if any waits."""
        for index, one in enumerate(self._exits):
            if one.run == run and one.reason is None:
                self._exits[index] = one._replace(reason=reason)
                return ExitsKnown([(one.ended, _seen(run, reason))])
        self._reasons[run] = reason
        if len(self._reasons) > _MOST:
            del self._reasons[next(iter(self._reasons))]
        return ExitsKnown([])

    def disown(self, run: Run) -> None:
        """Forget the pid of an exit: a run that continues has it, so its status is unknown."""
        for index, one in enumerate(self._exits):
            if one.run == run and one.reason is None:
                self._exits[index] = one._replace(run=run._replace(pid=None))

    def take_exit(self, now_s: float, run: Run, ended: ProcessExit, *, has_delay: bool) -> Match:
        """Join an exit with its status; `has_delay`: supervisord delays the next start."""
        exited = _Exit(run, ended, self._reasons.pop(run, None))
        while self._notes and self._notes[0][0] < now_s - _NOTE_WAITS_S:
            self._notes.popleft()
        for index, (_, note) in enumerate(self._notes):
            if exited.fits(note):
                del self._notes[index]
                return Match(is_final=True, note=note)
        if self.is_readable:
            self._exits.append(exited)
        if exited.reason is not None:
            if len(self._exits) > _MOST and self._exits[0].reason is not None:
                self._exits.popleft()
            return Match(is_final=True, note=_seen(run, exited.reason))
        if not self.is_readable:
            return Match(is_final=True)
        is_short = ended.run_s is not None and ended.run_s < SPINNING_RUN_S
        if is_short and not has_delay:
            read_at_s = self._may_read_at_s(now_s, run.process)
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
        results: list[tuple[_Exit, ExitNote | None]] = []
        for note in given.notes:
            found = next((one for one in self._exits if one.fits(note)), None)
            if found is None:
                self._notes.append((now_s, note))
            else:
                self._exits.remove(found)
                results.append((found, note))
        while self._exits and self._exits[0].ended.at_s <= given.asked_at_s:
            results.append((self._exits.popleft(), None))
        for exited, note_or_none in results:
            if exited.reason is None:
                own = known.setdefault(exited.run.process, ExitsKnown([]))
                own.exits.append((exited.ended, note_or_none))
        return known

    def forget(self, name: ProcessName) -> None:
        """Forget a process."""
        self._exits = deque(one for one in self._exits if one.run.process != name)
        self._reasons = {run: one for run, one in self._reasons.items() if run.process != name}
        self._reads.pop(name, None)


def _seen(run: Run, reason: ExitReason) -> ExitNote:
    """Return the kernel's answer as a line."""
    return ExitNote(process=run.process.process, reason=reason, line=f"seen: {how(reason)}")
