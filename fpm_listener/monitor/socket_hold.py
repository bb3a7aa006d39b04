"""What is held for one program while its php-fpm is away, and for how long.

Laws:
1. Held across crashes, kills, restarts and reloads; let go when its operator has stopped it (after
   a while, so that a restart keeps it), when supervisord gave up or forgot it, when an address left
   the configuration, when a run ended in which no guard asked, and when supervisord stops.
2. Never worse than without: after a start on held sockets that failed, the next start does without.
   If that one succeeds, the hold was at fault, and is given up.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fpm_listener.supervisor.exit_log import ExitReason

#: How php-fpm says that it cannot start: of the foreground, and of older versions.
_CANNOT_START = (78, 70)
#: Seconds. Where nobody knows how a life ended, one that was shorter has failed at its start.
_SHORT_S = 1.5


class Trust(Enum):
    """Whether held sockets are given to the next start."""

    FULL = "full"
    DOUBTED = "doubted"  #: a start on them has failed: the next one does without
    TRIED_WITHOUT = "tried without"  #: this start does without
    GIVEN_UP = "given up"  #: a start without them succeeded where one with them had failed


class SocketHold:
    """Owned by the process that it is for."""

    def __init__(self) -> None:
        self.addresses: tuple[str, ...] = ()  #: as configured
        self.trust = Trust.FULL
        self._configured: frozenset[str] = frozenset()  # empty = not known, or older than a guard
        self._in_use = False  # this life was started on held sockets
        self._was_asked = False  # by a guard, in this life
        self._blocks = False  # php-fpm cannot start because of what is held
        self._until_s: float | None = None  # monotonic; None = as long as it takes

    def ask(self, *, wanted: bool) -> str | None:
        """Return why a start must do without what is held; None where it may have it."""
        self._until_s = None
        self._was_asked = True
        self._in_use = wanted and self.trust is Trust.FULL
        if self._in_use:
            return None
        self.addresses = ()
        if not wanted:
            return "not asked for"
        if self.trust is Trust.GIVEN_UP:
            return "php-fpm did not start on held sockets before, and did without them"
        self.trust = Trust.TRIED_WITHOUT
        return "the last start on held sockets failed"

    def configured(self, addresses: tuple[str, ...]) -> None:
        """Know what php-fpm's configuration says."""
        self._configured = frozenset(addresses)

    def keep(self, addresses: tuple[str, ...]) -> bool:
        """Know what is held; return whether that is news.

        The guard has read php-fpm's configuration later than we have.
        """
        self.addresses = addresses
        is_news = not set(addresses) <= self._configured
        if is_news:
            self._configured = frozenset()
        return is_news

    def began(self) -> None:
        """A life begins: what its operator's stop would have let go is kept."""
        self._until_s = None

    def ended(self, *, stopped: bool) -> None:
        """A life has ended; `stopped` = by its operator.

        Where no guard asked in it, none can reach us, or none is used any more: what is held then
        only keeps php-fpm from its address.
        """
        self._blocks = not self._was_asked and not stopped
        self._was_asked = False

    def serves(self) -> bool:
        """A life has come to run; return whether that proves the hold at fault."""
        at_fault = self.trust is Trust.TRIED_WITHOUT
        if at_fault:
            self.trust = Trust.GIVEN_UP
        return at_fault

    def failed_to_start(self, reason: ExitReason | None, length_s: float | None) -> None:
        """A life has ended that never came to run; `reason` None = nobody knows how."""
        if reason is not None:
            own_failure = reason.status in _CANNOT_START
        else:
            own_failure = length_s is not None and length_s < _SHORT_S
        if own_failure and self._in_use and self.addresses:
            self.trust = Trust.DOUBTED
        elif own_failure and self.trust is Trust.TRIED_WITHOUT:
            self.trust = Trust.FULL  # it fails without them as well

    def break_off(self) -> None:
        """Know that php-fpm does not serve on held sockets."""
        self.trust = Trust.GIVEN_UP

    def rests(self, until_s: float) -> None:
        """Its operator has stopped it: hold on until then."""
        if self.addresses:
            self._until_s = until_s

    def let_go(self, now_s: float, *, everything: bool) -> tuple[str, ...]:
        """Return the addresses that are held no longer."""
        keep = self._configured or frozenset(self.addresses)
        if everything or self._blocks or self._is_over(now_s):
            keep = frozenset()
            self._blocks = False
        gone = tuple(address for address in self.addresses if address not in keep)
        self.addresses = tuple(address for address in self.addresses if address in keep)
        if not self.addresses:
            self._until_s = None
        return gone

    def _is_over(self, now_s: float) -> bool:
        if self.trust is Trust.GIVEN_UP:
            return True
        return self._until_s is not None and now_s >= self._until_s

    def deadline_s(self) -> float | None:
        """Return the moment at which it is time to let go of everything."""
        return self._until_s
