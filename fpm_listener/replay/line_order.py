"""Puts lines of php-fpm, which have whole seconds, in order with lines of supervisord.

A line of `08:39:51` was written up to a second later. So it waits until supervisord's log shows
where it belongs: before the end of its run, and after its start.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.phpfpm.log_facts import FactKind

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from fpm_listener.phpfpm.log_facts import LogFact

#: Seconds that a line waits.
_WHOLE_S = 1.0
#: Lines of one file that wait at once.
_MOST = 10_000


class WrittenLine(NamedTuple):
    """One line that php-fpm, or another program, has written."""

    at_s: float  #: wall seconds
    path: str
    program: str  #: whole name of its program; empty = the file does not show it
    text: str
    fact: LogFact | None  #: that it states
    is_output: bool  #: of the output of a program


class LineOrder:
    """The lines that wait."""

    def __init__(self) -> None:
        self._files: dict[str, deque[WrittenLine]] = {}

    @property
    def is_waiting(self) -> bool:
        """Return whether a line waits."""
        return any(self._files.values())

    def add(self, line: WrittenLine) -> Iterator[WrittenLine]:
        """Let a line wait; return lines of its file that wait no more."""
        waiting = self._files.setdefault(line.path, deque())
        waiting.append(line)
        while len(waiting) > _MOST:
            yield waiting.popleft()

    def due(self, now_s: float) -> Iterator[WrittenLine]:
        """Return the lines that have waited for long enough, in order."""
        while True:
            first = min(
                (waiting[0] for waiting in self._files.values() if waiting),
                key=lambda line: line.at_s,
                default=None,
            )
            if first is None or first.at_s > now_s - _WHOLE_S:
                return
            yield self._files[first.path].popleft()

    def end_run(self, pid: int | None, is_own: Callable[[str], bool]) -> Iterator[WrittenLine]:
        """Return the lines of a run that ends now, and none of the next run.

        pid: of the run. is_own: whether a file can have lines of the run.
        """
        for path in [path for path in self._files if is_own(path)]:
            waiting = self._files[path]
            while waiting and not _begins_another(waiting[0], pid):
                yield waiting.popleft()

    def begin_runs(self, pids: Collection[int]) -> Iterator[WrittenLine]:
        """Return the lines up to that of a php-fpm whose start is known now."""
        for waiting in self._files.values():
            ready = [number for number, line in enumerate(waiting, 1) if _ready_pid(line) in pids]
            for _ in range(ready[-1] if ready else 0):
                yield waiting.popleft()

    def rest(self) -> Iterator[WrittenLine]:
        """Return all lines that still wait, in order."""
        return self.due(float("inf"))


def _ready_pid(line: WrittenLine) -> int | None:
    fact = line.fact
    return fact.pid if fact is not None and fact.kind is FactKind.READY else None


def _begins_another(line: WrittenLine, pid: int | None) -> bool:
    return _ready_pid(line) not in {None, pid}
