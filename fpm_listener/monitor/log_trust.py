"""Which lines of a failed start are believed: text is no proof, the life decides.

An application can write any line into php-fpm's log, to the byte (with `decorate_workers_output =
no`, as in the official Docker image). So a line that tells of a failed start counts

- only in a life that has not yet said "fpm is running", or has said since then that it reloads, and
- only when that life then fails within seconds, and
- not when a signal has ended it: php-fpm itself would have exited with 78 or 70.

Line and event come over different ways, so either may be first.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from fpm_listener.incidents.post_mortem import SHORT_LIFE_S
from fpm_listener.phpfpm.log_facts import START_FAILURES, FactKind

if TYPE_CHECKING:
    from fpm_listener.phpfpm.log_facts import LogFact

#: Seconds for which a line waits for the end of its life: the life fails within milliseconds, but
#: supervisord tells it up to two seconds later, and the listener itself may have been away.
WAITS_S = 10.0

#: Seconds after the end of a life in which a line can still be its own: the follower's delay.
LATE_S = 5.0

#: Seconds that a start-up phase may last: the recipes' sleeps and the guard's wait are in it.
START_UP_S = 60.0 + SHORT_LIFE_S

#: Lines that can wait at once; a flood of forged ones must not fill the memory.
_MOST = 64


class StartUp:
    """The start-up phase of one process's present life, and the lines that belong to it."""

    def __init__(self) -> None:
        self._open_since: float | None = None  # monotonic; None = said "fpm is running"
        self._waiting: list[tuple[float, LogFact]] = []
        self._failed_at: float | None = None  # end of the last life, where it failed in start-up

    @property
    def is_open(self) -> bool:
        """Return whether a line of a failed start could be the present life's own."""
        return self._open_since is not None

    def began(self, now_s: float) -> None:
        """A life begins. Lines that wait may be its own: they can outrun the event."""
        self._open_since = now_s

    def hear(self, now_s: float, fact: LogFact) -> tuple[LogFact, ...]:
        """Return the facts that are believed now that `fact` was read."""
        if fact.kind is FactKind.READY:
            self._open_since = None
            self._failed_at = None
            self._waiting.clear()
        elif fact.kind is FactKind.RELOAD:
            self._open_since = now_s
        elif fact.kind in START_FAILURES:
            if self._failed_at is not None and now_s - self._failed_at <= LATE_S:
                return (fact,)
            self._waiting = self._waiting[-_MOST + 1 :]
            self._waiting.append((now_s, fact))
            return ()
        return () if fact.kind in START_FAILURES else (fact,)

    def close(self) -> None:
        """Believe nothing of the present life, nor late lines of the last one."""
        self._open_since = None
        self._failed_at = None
        self._waiting.clear()

    def refute(self) -> None:
        """Believe no late line of the last life. The next one may have begun already."""
        self._failed_at = None

    def ended(self, now_s: float, *, failed: bool) -> tuple[LogFact, ...]:
        """Return the facts that are believed now that the life has ended."""
        since, self._open_since = self._open_since, now_s
        waiting, self._waiting = self._waiting, []
        if not failed or since is None or now_s - since > START_UP_S:
            self._failed_at = None
            return ()
        self._failed_at = now_s
        return tuple(fact for at, fact in waiting if now_s - at <= WAITS_S)


class LogTrust:
    """What of one process's log counts, each line once, and when."""

    def __init__(self) -> None:
        self.start_up = StartUp()
        self.spoke = False  #: the log has told of a failed start in this life
        self._lines = SeenLines()
        self._undecided: list[LogFact] = []  # lines of the last death, until its exit is known
        self._death: object = None  # that one

    def is_news(self, fact: LogFact, life: int) -> bool:
        """Return whether a line was not seen before; `life`: the number of the present one."""
        counts_once = is_stamped(fact.line) or fact.kind in START_FAILURES
        return not counts_once or self._lines.add(fact.line, life)

    def began(self, now_s: float) -> None:
        """A life begins."""
        self.start_up.began(now_s)
        self.spoke = False

    def hear(self, now_s: float, fact: LogFact) -> tuple[LogFact, ...]:
        """Return the facts that count now that `fact` was read."""
        heard = self.start_up.hear(now_s, fact)
        self.spoke = self.spoke or fact.kind in START_FAILURES
        if self._death is None or fact.kind not in START_FAILURES:
            return heard
        self._undecided += heard
        return ()

    def ended(self, now_s: float, death: object, *, failed: bool) -> None:
        """A life has ended with `death`; what it said counts once it is known how."""
        self._undecided = [*self.start_up.ended(now_s, failed=failed)]
        self._death = death

    def exit_known(self, death: object, *, killed: bool) -> tuple[LogFact, ...]:
        """Return the facts that count now that it is known how a life ended.

        killed: by a signal, which refutes what its lines said: php-fpm itself would have exited.
        """
        if death is not self._death:
            return ()
        self._death = None
        facts, self._undecided = self._undecided, []
        if killed:
            self.start_up.refute()
            return ()
        return tuple(facts)


_KEPT = 256


class SeenLines:
    """The last lines of one process."""

    def __init__(self) -> None:
        self._lines: OrderedDict[object, None] = OrderedDict()

    def add(self, line: str, life: int) -> bool:
        """Return whether the line is new; without a stamp it may come again in the next life."""
        key: object = line if is_stamped(line) else (life, line)
        if key in self._lines:
            return False
        self._lines[key] = None
        if len(self._lines) > _KEPT:
            self._lines.popitem(last=False)
        return True


def is_stamped(line: str) -> bool:
    """Return whether php-fpm has put its time before it."""
    return line.startswith("[") and line[1:2].isdigit()
