"""What texts about problems contain that are not failures of the program itself, as values."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

_HIGHEST = 255  # status; a signal has a smaller number


class WorkersView(NamedTuple):
    """Failures of workers."""

    failures: int = 0  #: in this incident
    signal: int | None = None  #: that killed the last one
    status: int | None = None  #: with which the last one exited
    pool: str | None = None  #: of the last one
    at_once: bool = False  #: the last one exited at its start
    folder: str | None = None  #: that workers need and that does not exist

    @classmethod
    def restored(cls, saved: Mapping[str, Any]) -> WorkersView:
        """Return what `_asdict` returned. Raises KeyError, ValueError or TypeError."""
        pool, folder = saved["pool"], saved["folder"]
        if not isinstance(pool, str | None) or not isinstance(folder, str | None):
            raise TypeError
        return cls(
            failures=int(saved["failures"]),
            signal=_number(saved["signal"]),
            status=_number(saved["status"]),
            pool=pool,
            at_once=bool(saved["at_once"]),
            folder=folder,
        )

    @property
    def is_killed(self) -> bool:
        """Return whether SIGKILL ended the last one."""
        return self.signal == signal.SIGKILL


def _number(value: object) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or not 0 <= value <= _HIGHEST:
        raise ValueError
    return value


class RestartsView(NamedTuple):
    """Restarts in an exit loop."""

    restarts: int = 0  #: in this incident
    span_s: float = 0.0  #: from the first to the last of them


class LiveView(NamedTuple):
    """All of them, as far as an incident is about them."""

    workers: WorkersView = WorkersView()
    exit_loop: RestartsView = RestartsView()
    stopwaitsecs: float | None = None  #: of the program; None = unknown
    opcache_setting: str | None = None  #: that makes OPcache larger; None = unknown


NOTHING = LiveView()
