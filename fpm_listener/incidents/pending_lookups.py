"""The look-ups whose results an alert waits for, and how long it waits.

Law: an alert waits at most GRACE_S seconds, SLOW_GRACE_S for a search, or START_GRACE_S for the
programs. After that it is sent with the known facts, and a later result changes the incident.
"""

from __future__ import annotations

from enum import Enum

#: Seconds that an alert waits for results.
GRACE_S = 0.2
#: Seconds that it waits for the holder, the machine and the program's last output. An alert without
#: them does not say what to do, and on a busy machine a search takes longer than GRACE_S. A search
#: always has a result.
SLOW_GRACE_S = 2.0
#: Seconds that it waits for the configuration when the listener starts: without it, the listener
#: knows neither php-fpm nor the files with the output. The labels of an alert never change, so they
#: wait longer than a reading of the configuration, which is killed after 10 s.
START_GRACE_S = 30.0


class Lookup(Enum):
    """What can be looked up."""

    HOLDER = "holder"  #: who listens on the address
    EXIT = "exit"  #: the exit status, in supervisord's log
    LOG = "log"  #: the lines of php-fpm's log
    #: supervisord's configuration, when the listener starts; each step says whether it is pending
    PROGRAMS = "programs"
    OUTPUT = "output"  #: the last lines that the program has written
    MACHINE = "machine"  #: what the machine shows after an exit
    STATE = "state"  #: the state, from supervisord


_GRACES_S = {
    **dict.fromkeys((Lookup.HOLDER, Lookup.OUTPUT, Lookup.MACHINE), SLOW_GRACE_S),
    Lookup.PROGRAMS: START_GRACE_S,
}


class PendingLookups:
    """Its IncidentTracker owns it."""

    def __init__(self) -> None:
        self.pending: set[Lookup] = set()  #: its owner adds and removes them
        self.deadline_s: float | None = None  #: monotonic; the alert that waits is sent then
        self._waited_for_programs = False
        self._since_s = 0.0  # monotonic; the alert waits since then, if there is a deadline

    def hold_back(self, now_s: float) -> bool:
        """Return whether an alert must wait now; the first call starts the grace time."""
        waits_for_programs = Lookup.PROGRAMS in self.pending
        if self.deadline_s is None or (self._waited_for_programs and not waits_for_programs):
            self._since_s = now_s  # the programs show what else to look up
        self._waited_for_programs = waits_for_programs
        grace_s = max((_GRACES_S.get(lookup, GRACE_S) for lookup in self.pending), default=GRACE_S)
        self.deadline_s = self._since_s + grace_s
        return bool(self.pending) and now_s < self.deadline_s

    def end_grace(self) -> None:
        """End the grace time: the alert is sent. Lines are not waited for again."""
        self.deadline_s = None
        self.pending -= {Lookup.LOG, Lookup.OUTPUT, Lookup.PROGRAMS}
