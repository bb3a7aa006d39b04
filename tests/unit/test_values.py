"""Moments on disk: the monotonic clock where it is of this boot, else the wall clock."""

from __future__ import annotations

import pytest

from fpm_listener.values import Clocks, Instant, Written

#: Wall seconds of a day in 2026.
NOON_S = 1_795_000_000.0
DAY_S = 86400.0
NOW = Clocks(Instant(1000.0, NOON_S), "boot")


def test_what_is_written() -> None:
    """Both clocks, and the boot."""
    assert NOW.write(400.0) == Written(NOON_S - 600.0, 400.0, "boot")
    assert NOW.read(NOW.write(400.0)) == 400.0


@pytest.mark.parametrize(
    ("written", "monotonic_s"),
    [
        (Written(NOON_S - 5 * DAY_S, 400.0, "boot"), 400.0),  # the wall clock was set
        (Written(NOON_S - 5.0, 1000.0, "boot"), 1000.0),
        (Written(NOON_S - 5.0, 1000.5, "boot"), 995.0),  # the future of this boot is another boot
        (Written(NOON_S - 5.0, 400.0, "other"), 995.0),
        (Written(NOON_S - 5.0, 400.0, ""), 995.0),
        (Written(NOON_S, 400.0, "other"), 1000.0),
        (Written(NOON_S + 1.0, 400.0, "other"), 1000.0),  # in the future: no age
        (Written(NOON_S - 366 * DAY_S, 400.0, "other"), 1000.0 - 366 * DAY_S),
        (Written(NOON_S - 366 * DAY_S - 1.0, 400.0, "other"), 1000.0),  # too old to be true
    ],
)
def test_what_is_read(written: Written, monotonic_s: float) -> None:
    """An age that cannot be true counts as none."""
    assert NOW.read(written) == monotonic_s


def test_without_a_boot_the_wall_clock_counts() -> None:
    """Two unknown boots are not the same one."""
    unknown = Clocks(Instant(1000.0, NOON_S), "")

    assert unknown.read(Written(NOON_S - 5.0, 400.0, "")) == 995.0
    assert not unknown.is_of_this_boot(Written(NOON_S - 5.0, 400.0, ""))


@pytest.mark.parametrize("wall_s", [1_735_689_600.0, 1_735_689_599.0])
def test_a_moment_before_this_program_existed(wall_s: float) -> None:
    """It is of a clock that was not set yet."""
    now = Clocks(Instant(1000.0, 1_735_689_700.0), "boot")
    age_s = 100.0 if wall_s == 1_735_689_600.0 else 0.0

    assert now.read(Written(wall_s, 1.0, "other")) == 1000.0 - age_s


def test_how_far_the_wall_clock_was_set() -> None:
    """It is known within one boot only."""
    assert NOW.shift_s(Written(NOON_S - 600.0, 400.0, "boot")) == 0.0
    assert NOW.shift_s(Written(NOON_S - 4200.0, 400.0, "boot")) == 3600.0
    assert NOW.shift_s(Written(NOON_S - 4200.0, 400.0, "other")) == 0.0
