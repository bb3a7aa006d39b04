"""The look-ups whose results an alert waits for, and how long it waits.

Law: an alert waits at most GRACE_S seconds, or HOLDER_GRACE_S for the holder of an address. After
that it is sent with the known facts, and a later result changes the incident.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Seconds that an alert waits for results.
GRACE_S = 0.2
#: Seconds that it waits for the holder: an alert without it does not say what to do, and on a busy
#: machine the search takes longer than GRACE_S. The search always has a result.
HOLDER_GRACE_S = 2.0


class Lookup(Enum):
    """What can be looked up."""

    HOLDER = "holder"  #: who listens on the address
    EXIT = "exit"  #: the exit status, in supervisord's log
    LOG = "log"  #: the lines of php-fpm's log
    MACHINE = "machine"  #: what the machine shows after an exit
    STATE = "state"  #: the state, from supervisord


class PendingLookups:
    """Its IncidentTracker owns it."""

    def __init__(self) -> None:
        self.pending: set[Lookup] = set()
        self.deadline_s: float | None = None  #: monotonic; the alert that waits is sent then
        self._since_s = 0.0  # monotonic; the alert waits since then, if there is a deadline

    def update(self, *, started: Iterable[Lookup] = (), finished: Iterable[Lookup] = ()) -> None:
        """Add the look-ups that have started, then remove those with a result."""
        self.pending |= set(started)
        self.pending -= set(finished)
        if self.deadline_s is not None:
            self._set_deadline()

    def hold_back(self, now_s: float) -> bool:
        """Return whether an alert must wait now; the first call starts the grace time."""
        if self.deadline_s is None:
            self._since_s = now_s
            self._set_deadline()
        return bool(self.pending) and now_s < (self.deadline_s or 0.0)

    def end_grace(self) -> None:
        """End the grace time: the alert is sent. Log lines are not waited for again."""
        self.deadline_s = None
        self.pending.discard(Lookup.LOG)

    def _set_deadline(self) -> None:
        waits_for_holder = Lookup.HOLDER in self.pending
        self.deadline_s = self._since_s + (HOLDER_GRACE_S if waits_for_holder else GRACE_S)
