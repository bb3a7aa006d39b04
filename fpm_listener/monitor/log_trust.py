"""Decides which lines of php-fpm's log count as the reason of a failed start.

An application can write any line into php-fpm's log, byte by byte (with `decorate_workers_output =
no`, as in the official Docker image). So the text proves nothing; the run decides.

Laws:
1. A line about a failed start counts only in a run that has not reported "fpm is running", or has
   reported a reload since then. php-fpm starts its first workers between "fpm is running" and
   "ready to handle connections": until then a line can say why it cannot start them.
2. It counts only if that run fails within seconds.
3. It does not count if a signal has ended the run: php-fpm itself exits with 78 or 70.
4. Line and event arrive on different ways, so either may be first.
5. A line with php-fpm's time stamp counts once, however often it is read.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.incidents.post_mortem import SHORT_LIFE_S
from fpm_listener.phpfpm.log_facts import START_FAILURES, FactKind

if TYPE_CHECKING:
    from fpm_listener.phpfpm.log_facts import LogFact

#: Seconds that a line waits for the end of its run. The run fails within milliseconds, but the
#: event can come much later: the listener was away, or supervisord has many events to send.
WAITS_S = 60.0

#: Seconds after the end of a run in which a line can still belong to it: the follower's delay.
LATE_S = 5.0

#: Seconds that a start-up phase may last; they include the recipes' sleeps and the guard's wait.
START_UP_S = 60.0 + SHORT_LIFE_S

#: Why php-fpm cannot start its first workers. It then exits with 0 (php-src, fpm.c, fpm_run).
_OF_WORKERS = frozenset(
    {
        FactKind.PROCESS_LIMIT,
        FactKind.OUT_OF_MEMORY,
        FactKind.FD_LIMIT,
        FactKind.START_ERROR,
    }
)

#: Exits that can wait for their reason at once: several events can come together.
_MOST_EXITS = 16

#: Lines that can wait at once; a flood of forged lines must not fill the memory.
_MOST = 64


class StartUp:
    """The start-up phase of the present run, and the lines that wait for its end."""

    def __init__(self) -> None:
        self._open_since: float | None = None  # monotonic; None = php-fpm runs
        self._waiting: list[tuple[float, LogFact]] = []
        self._failed_at: float | None = None  # end of the last run if its start-up failed
        self._forks = False  # php-fpm runs, and starts its first workers

    @property
    def is_open(self) -> bool:
        """Return whether a line about a failed start can belong to the present run."""
        return self._open_since is not None

    def begin(self, now_s: float) -> None:
        """Begin a run. The lines that wait may belong to it: they can be faster than the event."""
        self._open_since, self._forks = now_s, False

    def take(self, now_s: float, fact: LogFact) -> tuple[LogFact, ...]:
        """Take a line and return the facts that count now."""
        if fact.kind is FactKind.READY:
            self._open_since = None
            self._forks = fact.pid is not None  # the other line comes after the workers
            if not self._forks:
                self._failed_at = None
            self._waiting.clear()
        elif fact.kind is FactKind.RELOAD:
            self._open_since, self._forks = now_s, False
        elif fact.kind in START_FAILURES:
            fits = not self._forks or fact.kind in _OF_WORKERS
            if fits and self._failed_at is not None and now_s - self._failed_at <= LATE_S:
                return (fact,)
            self._waiting = self._waiting[-_MOST + 1 :]
            self._waiting.append((now_s, fact))
            return ()
        return () if fact.kind in START_FAILURES else (fact,)

    def close(self) -> None:
        """Trust no line of the present run, and no late line of the last run."""
        self._open_since = None
        self._failed_at = None
        self._forks = False
        self._waiting.clear()

    def refute(self) -> None:
        """Trust no late line of the last run. The next run may have begun already."""
        self._failed_at = None

    def end(self, now_s: float, *, failed: bool) -> tuple[LogFact, ...]:
        """End the run and return the facts that count now."""
        since, self._open_since = self._open_since, now_s
        waiting, self._waiting = self._waiting, []
        if self._forks:
            since = now_s
            waiting = [(at, fact) for at, fact in waiting if fact.kind in _OF_WORKERS]
        if not failed or since is None or now_s - since > START_UP_S:
            self._failed_at = None
            return ()
        self._failed_at = now_s
        return tuple(fact for at, fact in waiting if now_s - at <= WAITS_S)


class RunLog(NamedTuple):
    """What the log has reported about a run that has ended."""

    never_ran: bool  #: it has not reported that php-fpm runs
    is_explained: bool  #: it has reported a failed start
    facts: tuple[LogFact, ...]  #: that count now


class LogTrust:
    """Decides which lines of one process's log count, and when."""

    def __init__(self) -> None:
        self.start_up = StartUp()
        self._is_explained = False  # the log has reported a failed start in this run
        self._lines = SeenLines()
        self._last: object = None  # the last exit
        # Exits whose reason is not known yet, with the lines of their runs.
        self._undecided: deque[tuple[object, list[LogFact]]] = deque(maxlen=_MOST_EXITS)

    def is_new(self, fact: LogFact, run: int) -> bool:
        """Return whether a line is new; `run`: the number of the present run."""
        counts_once = is_stamped(fact.line) or fact.kind in START_FAILURES
        return not counts_once or self._lines.add(fact.line, run)

    def begin(self, now_s: float) -> None:
        """Begin a run."""
        self.start_up.begin(now_s)
        self._is_explained = False

    def take(self, now_s: float, fact: LogFact) -> tuple[LogFact, ...]:
        """Take a line and return the facts that count now."""
        facts = self.start_up.take(now_s, fact)
        if fact.kind not in START_FAILURES:
            return facts
        self._is_explained = True
        if not self._undecided or self._undecided[-1][0] is not self._last:
            return facts
        self._undecided[-1][1].extend(facts)
        return ()

    def end(self, now_s: float, ended: object, *, failed: bool, killed: bool | None) -> RunLog:
        """End a run with the exit `ended`; `killed`: by a signal, None = not known yet."""
        never_ran, is_explained = self.start_up.is_open, self._is_explained
        self._last = ended
        self._undecided.append((ended, [*self.start_up.end(now_s, failed=failed)]))
        facts = () if killed is None else self.explain(ended, killed=killed)
        return RunLog(never_ran, is_explained, facts)

    def explain(self, ended: object, *, killed: bool) -> tuple[LogFact, ...]:
        """Return the facts that count now that the reason of an exit is known, or stays unknown.

        killed: by a signal. That refutes the lines of the run: php-fpm itself exits with a status.
        """
        found = next((one for one in self._undecided if one[0] is ended), None)
        if found is None:
            return ()
        rest = (one for one in self._undecided if one is not found)
        self._undecided = deque(rest, maxlen=_MOST_EXITS)
        if killed and ended is self._last:
            self.start_up.refute()
        return () if killed else tuple(found[1])


#: Lines that are remembered.
_KEPT = 256


class SeenLines:
    """The last lines of one process."""

    def __init__(self) -> None:
        self._lines: OrderedDict[object, None] = OrderedDict()

    def add(self, line: str, run: int) -> bool:
        """Return whether the line is new; without a stamp it is new again in the next run."""
        key: object = line if is_stamped(line) else (run, line)
        if key in self._lines:
            return False
        self._lines[key] = None
        if len(self._lines) > _KEPT:
            self._lines.popitem(last=False)
        return True


def is_stamped(line: str) -> bool:
    """Return whether the line begins with php-fpm's time."""
    return line.startswith("[") and line[1:2].isdigit()
