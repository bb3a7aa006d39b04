"""Moments that outlive the listener: written on both clocks, so that a wrong clock does no harm.

The monotonic clock of Linux goes on over restarts of the listener, but begins again at each boot.
A boot id shows which of both clocks can be trusted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from fpm_listener.core.values import Instant

#: Wall seconds before which this program did not exist, and the longest credible age.
_FIRST_S, _LONGEST_S = 1_735_689_600.0, 366 * 86400.0


class Written(NamedTuple):
    """A moment as it is on disk."""

    wall_s: float
    monotonic_s: float
    boot_id: str  #: empty = not known


class Clocks(NamedTuple):
    """Both clocks now, and the boot that the monotonic one belongs to."""

    now: Instant
    boot_id: str

    def write(self, moment_s: float) -> Written:
        """Return a monotonic moment for the disk."""
        return Written(self.now.wall_s - self.now.monotonic_s + moment_s, moment_s, self.boot_id)

    def read(self, written: Written) -> float:
        """Return the monotonic moment; it is never later than now.

        An age that the wall clock makes implausible counts as 0. After a reboot it can be wrong.
        """
        now_s = self.now.monotonic_s
        if self.knows(written):
            return written.monotonic_s
        age_s = self.now.wall_s - written.wall_s
        credible = written.wall_s >= _FIRST_S and 0.0 <= age_s <= _LONGEST_S
        return now_s - age_s if credible else now_s

    def knows(self, written: Written) -> bool:
        """Return whether the monotonic clock can be trusted: it is of this boot."""
        same = bool(self.boot_id) and written.boot_id == self.boot_id
        return same and written.monotonic_s <= self.now.monotonic_s

    def shift_s(self, written: Written) -> float:
        """Return by how many seconds the wall clock was set since; 0.0 where that is not known."""
        if not self.knows(written):
            return 0.0
        then_s = written.wall_s - written.monotonic_s
        return self.now.wall_s - self.now.monotonic_s - then_s
