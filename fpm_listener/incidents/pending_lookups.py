"""The look-ups whose results an alert waits for, and how long it waits.

Law: an alert waits at most GRACE_S seconds, or SLOW_GRACE_S for a search. After that it is sent
with the known facts, and a later result changes the incident.
"""

from __future__ import annotations

from enum import Enum

#: Seconds that an alert waits for results.
GRACE_S = 0.2
#: Seconds that it waits for the holder, the machine and the program's last output. An alert without
#: them does not say what to do, and on a busy machine a search takes longer than GRACE_S. A search
#: always has a result.
SLOW_GRACE_S = 2.0


class Lookup(Enum):
    """What can be looked up."""

    HOLDER = "holder"  #: who listens on the address
    EXIT = "exit"  #: the exit status, in supervisord's log
    LOG = "log"  #: the lines of php-fpm's log
    OUTPUT = "output"  #: the last lines that the program has written
    MACHINE = "machine"  #: what the machine shows after an exit
    STATE = "state"  #: the state, from supervisord


_SLOW = frozenset({Lookup.HOLDER, Lookup.OUTPUT, Lookup.MACHINE})


class PendingLookups:
    """Its IncidentTracker owns it."""

    def __init__(self) -> None:
        self.pending: set[Lookup] = set()  #: its owner adds and removes them
        self.deadline_s: float | None = None  #: monotonic; the alert that waits is sent then
        self._since_s = 0.0  # monotonic; the alert waits since then, if there is a deadline

    def hold_back(self, now_s: float) -> bool:
        """Return whether an alert must wait now; the first call starts the grace time."""
        if self.deadline_s is None:
            self._since_s = now_s
        is_slow = not self.pending.isdisjoint(_SLOW)
        self.deadline_s = self._since_s + (SLOW_GRACE_S if is_slow else GRACE_S)
        return bool(self.pending) and now_s < self.deadline_s

    def end_grace(self) -> None:
        """End the grace time: the alert is sent. Log lines are not waited for again."""
        self.deadline_s = None
        self.pending.discard(Lookup.LOG)
