"""What texts about problems contain that are no failures of the program itself, as values."""

from __future__ import annotations

import signal
from typing import NamedTuple


class WorkersView(NamedTuple):
    """Failures of workers."""

    failures: int = 0  #: in this incident
    signal: int | None = None  #: that killed the last one
    status: int | None = None  #: with which the last one exited
    pool: str | None = None  #: of the last one
    at_once: bool = False  #: the last one exited at its start
    folder: str | None = None  #: that workers need and that does not exist

    @property
    def is_killed(self) -> bool:
        """Return whether SIGKILL ended the last one."""
        return self.signal == signal.SIGKILL


class RestartsView(NamedTuple):
    """Restarts in an exit loop."""

    restarts: int = 0  #: in this incident
    span_s: float = 0.0  #: from the first to the last of them


class LiveView(NamedTuple):
    """All of them, as far as an incident is about them."""

    workers: WorkersView = WorkersView()
    exit_loop: RestartsView = RestartsView()
    stopwaitsecs: float | None = None  #: of the program; None = unknown


NOTHING = LiveView()
