"""Decides which program has written a log file, if several php-fpm run.

Laws:
1. A file is of one program only if that is certain: by the pid that its lines and supervisord's log
   name, or by the name of the file.
2. A file with lines of supervisord is of several programs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from fpm_listener.phpfpm.log_facts import FactKind

if TYPE_CHECKING:
    from collections.abc import Collection

    from fpm_listener.phpfpm.log_facts import LogFact
    from fpm_listener.supervisor.process import ProcessName

Known = TypeVar("Known")

#: Seconds between the start of a process in supervisord's log and in php-fpm's: a guard waits.
_APART_S = 60.0
#: Starts that are remembered.
_MOST = 10_000


class LogOwners:
    """Learns from lines in order of time. A second reading can begin with what the first found."""

    def __init__(self) -> None:
        self._started: dict[int, tuple[ProcessName, float]] = {}  # by pid
        self._ready: dict[int, tuple[str, float]] = {}  # by pid: php-fpm was first
        self._by_pid: dict[str, set[ProcessName]] = {}  # by path
        self._mixed: set[str] = set()

    def take_supervisord(self, path: str) -> None:
        """Note that a file has lines of supervisord."""
        self._mixed.add(path)

    def take_start(self, at_s: float, name: ProcessName, pid: int) -> None:
        """Learn from a start in supervisord's log."""
        _put(self._started, pid, (name, at_s))
        path, ready_s = self._ready.pop(pid, ("", 0.0))
        if path and abs(at_s - ready_s) <= _APART_S:
            self._by_pid.setdefault(path, set()).add(name)

    def take_fact(self, at_s: float, path: str, fact: LogFact) -> None:
        """Learn from a line of php-fpm."""
        if fact.kind is not FactKind.READY or fact.pid is None or path in self._mixed:
            return
        started = self._started.get(fact.pid)
        if started is not None and abs(at_s - started[1]) <= _APART_S:
            self._by_pid.setdefault(path, set()).add(started[0])
        else:
            _put(self._ready, fact.pid, (path, at_s))

    def find(self, path: str, names: Collection[ProcessName]) -> ProcessName | None:
        """Return the program of a file; None = several, or unknown. `names`: of all programs."""
        if path in self._mixed:
            return None
        proved = self._by_pid.get(path, set())
        if proved:
            return next(iter(proved)) if len(proved) == 1 else None
        file = path.rpartition("/")[2]
        fitting = [name for name in names if _is_named(file, name.process)]
        longest = max((len(name.process) for name in fitting), default=0)
        best = [name for name in fitting if len(name.process) == longest]
        return best[0] if len(best) == 1 else None


def _is_named(file: str, process: str) -> bool:
    """Return whether a file has the name of a process: `NAME.log`, `NAME-stderr---…`."""
    return file.startswith(process) and not file[len(process) : len(process) + 1].isalnum()


def _put(known: dict[int, Known], pid: int, value: Known) -> None:
    known.pop(pid, None)
    known[pid] = value
    if len(known) > _MOST:
        del known[next(iter(known))]
