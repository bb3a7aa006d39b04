"""Values that all packages use: errors and moments.

Laws: a value never changes; its name contains the unit.
"""

from __future__ import annotations

from typing import NamedTuple, NoReturn


class FpmListenerError(Exception):
    """A message for people: what, where, why, what to do. `__main__` prints it and exits 2."""


def assert_never(value: NoReturn) -> NoReturn:
    """Prove to the type checker that a match is exhaustive (in typing since 3.11)."""
    raise AssertionError(f"not expected here: {value!r}")


class Instant(NamedTuple):
    """One moment on both clocks.

    Decisions use `monotonic_s`; `wall_s` (seconds since 1970, UTC) is only shown to people.
    """

    monotonic_s: float
    wall_s: float


#: The first possible wall seconds of this program, and the longest credible age.
_FIRST_S, _LONGEST_S = 1_735_689_600.0, 366 * 86400.0


class Written(NamedTuple):
    """A moment on disk."""

    wall_s: float
    monotonic_s: float
    boot_id: str  #: empty = unknown


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
        if self.is_of_this_boot(written):
            return written.monotonic_s
        age_s = self.now.wall_s - written.wall_s
        credible = written.wall_s >= _FIRST_S and 0.0 <= age_s <= _LONGEST_S
        return now_s - age_s if credible else now_s

    def is_of_this_boot(self, written: Written) -> bool:
        """Return whether the monotonic moment is of this boot."""
        same = bool(self.boot_id) and written.boot_id == self.boot_id
        return same and written.monotonic_s <= self.now.monotonic_s

    def shift_s(self, written: Written) -> float:
        """Return the seconds by which the wall clock was set since; 0.0 if unknown."""
        if not self.is_of_this_boot(written):
            return 0.0
        then_s = written.wall_s - written.monotonic_s
        return self.now.wall_s - self.now.monotonic_s - then_s
