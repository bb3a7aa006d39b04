"""The setting `fpm_status`: how much of php-fpm's status page the listener reads."""

from __future__ import annotations

from enum import Enum

from fpm_listener.settings import ini_section


class FpmStatus(Enum):
    """What the listener reads."""

    OFF = "off"  #: nothing
    ON = "on"  #: the numbers of each pool
    FULL = "full"  #: and the requests that its workers serve, for alerts


def read(word: str) -> FpmStatus:
    """Return the value of the setting; it was a boolean at first, so all booleans are valid."""
    if word.lower() == FpmStatus.FULL.value:
        return FpmStatus.FULL
    try:
        return FpmStatus.ON if ini_section.boolean(word) else FpmStatus.OFF
    except ValueError:
        raise ValueError("off, on or full") from None
