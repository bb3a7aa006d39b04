"""What is counted of one process over the life of the listener."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fpm_listener.histogram import Histogram, HistogramView
from fpm_listener.monitor.lifecycle import Outcome
from fpm_listener.phpfpm.log_facts import FactKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm_listener.histogram import HistogramView
    from fpm_listener.incidents.incident import IncidentView
    from fpm_listener.phpfpm.status_page import PoolView
    from fpm_listener.supervisor.exit_log import ExitReason
    from fpm_listener.supervisor.process import ProcessName
    from fpm_listener.values import Instant
    from fpm_listener.vocabulary import State, Tier

#: Seconds from a death to the next start: prodded, polled, behind the recipe's sleep, behind
#: BACKOFF's delays.
RESTART_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0)


@dataclass(slots=True)
class ProcessCounters:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessView:
    """One supervised process."""

    name: ProcessName
    is_fpm: bool
    state: State
    pid: int | None = None
    starts: int = 0
    exits: int = 0
    unexpected_exits: int = 0
    failed_starts: int = 0
    fatal: int = 0
    restarts: int = 0
    start_time_s: float | None = None  #: wall seconds; None = never seen to start
    last_exit_s: float | None = None  #: wall seconds; None = never seen to end
    last_exit: ExitReason | None = None
    restart_seconds: HistogramView | None = None  #: death seen to next start seen
    loops: frozenset[Tier] = frozenset()
    facts: Mapping[FactKind, int] = field(default_factory=dict)  #: believed; only for php-fpm
    incident: IncidentView | None = None
    error_logs: tuple[str, ...] = ()  #: files that are followed for it
    addresses: tuple[str, ...] = ()  #: what php-fpm is configured to listen on
    held: tuple[str, ...] = ()  #: those whose sockets are held for it
    healed: int = 0  #: how often we have had it started again
    worn_out: bool = False  #: it was started as often as may be in a day
    paused: bool = False  #: it loops, and we have had it stopped for a while
    pools: tuple[PoolView, ...] = ()  #: what php-fpm's pools have said; empty = not asked
    next_start_s: float | None = None  #: wall seconds; when we shall have it started
