"""The listening sockets that the listener holds for one program while its php-fpm is away.

Laws:
1. Sockets are held across crashes, kills, restarts and reloads. They are released: some seconds
   after the operator has stopped the program (a restart keeps them); when supervisord gives up or
   does not know the program any more; when an address leaves the configuration; when a run ends in
   which no guard asked; and when supervisord stops.
2. Holding never makes things worse. After a failed start on held sockets, the next start uses none.
   If that start succeeds, the held sockets were at fault, and holding ends.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from fpm_listener.monitor.lifecycle import Outcome

if TYPE_CHECKING:
    from fpm_listener.monitor.lifecycle import RunChange
    from fpm_listener.supervisor.exit_log import ExitReason

#: Exit statuses of a php-fpm that cannot start: in the foreground, and of older versions.
_CANNOT_START = (78, 70)
#: Seconds. A shorter run whose exit status is unknown has failed at its start.
_SHORT_S = 1.5


class Trust(Enum):
    """Whether the next start gets the held sockets."""

    FULL = "full"
    DOUBTED = "doubted"  #: a start on them has failed: the next start uses none
    TRIED_WITHOUT = "tried without"  #: this start uses none
    GIVEN_UP = "given up"  #: a start without them has succeeded after a failed start with them


class SocketHold:
    """The held sockets of one process. Its ProcessMonitor owns it."""

    def __init__(self) -> None:
        self.addresses: tuple[str, ...] = ()  #: whose sockets are held
        self.trust = Trust.FULL
        self.is_used = False  #: a guard has asked, or sockets are held
        self.release_at_s: float | None = None  #: monotonic; None = no release is planned
        self._configured: frozenset[str] = frozenset()  # empty = unknown, or older than a guard's
        self._in_use = False  # this run was started on held sockets
        self._was_asked = False  # by a guard, in this run
        self._guard_pid = 0  # of the last guard that asked; 0 = unknown
        self._blocks = False  # the held sockets keep php-fpm from its addresses

    # -- requests ----------------------------------------------------------------------------------

    def ask(self, guard_pid: int, *, wanted: bool) -> str | None:
        """Return why a start gets no held sockets; None = it gets them. guard_pid: 0 = unknown."""
        self.release_at_s = None
        self._guard_pid = guard_pid
        self.is_used = self._was_asked = True
        self._in_use = wanted and self.trust is Trust.FULL
        if self._in_use:
            return None
        self.addresses = ()
        if not wanted:
            return "not asked for"
        if self.trust is Trust.GIVEN_UP:
            return "php-fpm failed to start on held sockets before, and started without them"
        self.trust = Trust.TRIED_WITHOUT
        return "the last start on held sockets failed"

    def configure(self, addresses: tuple[str, ...]) -> None:
        """Set the addresses of php-fpm's configuration."""
        self._configured = frozenset(addresses)

    def hold(self, addresses: tuple[str, ...]) -> bool:
        """Set the held addresses; return whether the listener does not know one of them.

        The guard reads php-fpm's configuration later than the listener.
        """
        self.addresses = addresses
        if addresses:
            self.is_used = True
        else:
            self.release_at_s = None
        is_news = not set(addresses) <= self._configured
        if is_news:
            self._configured = frozenset()
        return is_news

    def give_up(self) -> None:
        """Hold no sockets any more: php-fpm does not work with them."""
        self.trust, self.is_used = Trust.GIVEN_UP, True

    # -- runs --------------------------------------------------------------------------------------

    def take(self, change: RunChange) -> None:
        """Apply an event.

        If no guard asked in a run that has ended, no guard can reach the listener any more, or the
        program uses none. Then held sockets only keep php-fpm from its addresses.
        """
        if change.began:
            self.begin()
        if change.ended:
            stopped = change.outcome is Outcome.STOPPED
            self._blocks = bool(self.addresses) and not self._was_asked and not stopped
            # A guard has its own connection, so it can ask before the event of the run before.
            asks_early = change.pid is not None and self._guard_pid not in {0, change.pid}
            self._was_asked = self._was_asked and asks_early
            self._guard_pid = 0  # this counts for one run only

    def begin(self) -> None:
        """Keep the sockets: the program is started again."""
        self.release_at_s = None

    def stop(self, until_s: float) -> None:
        """Keep the sockets until then: the operator has stopped the program."""
        if self.addresses:
            self.release_at_s = until_s

    def succeed(self) -> None:
        """Note that php-fpm runs. Without the sockets that proves that they were at fault."""
        if self.trust is Trust.TRIED_WITHOUT:
            self.trust = Trust.GIVEN_UP

    def fail(self, reason: ExitReason | None, run_s: float | None) -> None:
        """Note a run that failed in its start-up; `reason`: None = unknown."""
        if reason is not None:
            is_own_failure = reason.status in _CANNOT_START
        else:
            is_own_failure = run_s is not None and run_s < _SHORT_S
        if is_own_failure and self._in_use and self.addresses:
            self.trust = Trust.DOUBTED
        elif is_own_failure and self.trust is Trust.TRIED_WITHOUT:
            self.trust = Trust.FULL  # it fails without them too

    # -- the result --------------------------------------------------------------------------------

    def release(self, now_s: float, *, everything: bool) -> tuple[str, ...]:
        """Return the addresses that are not held any more."""
        keep = self._configured or frozenset(self.addresses)
        is_over = self.release_at_s is not None and now_s >= self.release_at_s
        if everything or self._blocks or is_over or self.trust is Trust.GIVEN_UP:
            keep = frozenset()
            self._blocks = False
        released = tuple(address for address in self.addresses if address not in keep)
        self.addresses = tuple(address for address in self.addresses if address in keep)
        if not self.addresses:
            self.release_at_s = None
        return released
