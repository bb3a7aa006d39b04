"""What is counted of one process over the life of the listener."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fpm_listener.core.facts import FactKind
from fpm_listener.core.histogram import RESTART_BUCKETS_S, Histogram
from fpm_listener.core.lives import Outcome
from fpm_listener.core.snapshot import ProcessView, State

if TYPE_CHECKING:
    from fpm_listener.core.exits import ExitReason
    from fpm_listener.core.values import Instant, ProcessName


@dataclass(slots=True)
class Record:
    """Owned by the process that it is of."""

    starts: int = 0
    exits: int = 0
    unexpected_exits: int = 0
    failed_starts: int = 0
    fatal: int = 0
    restarts: int = 0
    facts: dict[FactKind, int] = field(default_factory=lambda: dict.fromkeys(FactKind, 0))
    restart_seconds: Histogram = field(default_factory=lambda: Histogram(RESTART_BUCKETS_S))
    start_time_s: float | None = None  #: wall
    last_exit_s: float | None = None  #: wall
    last_exit: ExitReason | None = None

    def began(self, now: Instant, died_at_s: float | None) -> None:
        """Count a start; `died_at_s`: monotonic, of the death that it follows."""
        self.starts += 1
        self.start_time_s = now.wall_s
        if died_at_s is not None:
            self.restarts += 1
            self.restart_seconds.observe(now.monotonic_s - died_at_s)

    def ended(self, now: Instant, outcome: Outcome) -> None:
        """Count an end."""
        self.failed_starts += outcome is Outcome.FAILED_START
        self.exits += outcome in {Outcome.CRASH, Outcome.EXPECTED_EXIT}
        self.unexpected_exits += outcome is Outcome.CRASH
        self.last_exit_s = now.wall_s

    def view(self, name: ProcessName, state: State, *, is_fpm: bool) -> ProcessView:
        """Return what is counted, for other threads; the rest is the process's to add."""
        return ProcessView(
            name=name,
            is_fpm=is_fpm,
            state=state,
            starts=self.starts,
            exits=self.exits,
            unexpected_exits=self.unexpected_exits,
            failed_starts=self.failed_starts,
            fatal=self.fatal,
            restarts=self.restarts,
            start_time_s=self.start_time_s,
            last_exit_s=self.last_exit_s,
            last_exit=self.last_exit,
            restart_seconds=self.restart_seconds.view(),
            facts=dict(self.facts),
        )
