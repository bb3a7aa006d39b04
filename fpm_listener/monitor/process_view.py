"""The counters of one process, and the view of it that other threads read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fpm_listener.histogram import Histogram, HistogramView
from fpm_listener.monitor.lifecycle import Outcome
from fpm_listener.phpfpm.log_facts import FactKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm_listener.histogram import HistogramView
    from fpm_listener.incidents.incident import IncidentView
    from fpm_listener.monitor.final_end import FinalEnd
    from fpm_listener.phpfpm.opcache import OpcacheView
    from fpm_listener.phpfpm.status_page import PoolView
    from fpm_listener.supervisor.exit_log import ExitReason
    from fpm_listener.supervisor.process import ProcessName
    from fpm_listener.values import Instant
    from fpm_listener.vocabulary import State, Tier

#: Seconds from an exit to the next start: after a wake-up, after a poll, after the recipe's sleep,
#: after the delays of BACKOFF.
RESTART_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0)


@dataclass(slots=True)
class ProcessCounters:
    """Its ProcessMonitor owns it, and counts."""

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    starts: int = 0
    restarts: int = 0
    facts: dict[FactKind, int] = field(default_factory=lambda: dict.fromkeys(FactKind, 0))
    restart_seconds: Histogram = field(default_factory=lambda: Histogram(RESTART_BUCKETS_S))
    start_time_s: float | None = None  #: wall
    last_exit_s: float | None = None  #: wall
    last_exit: ExitReason | None = None

    def start(self, now: Instant, exited_at_s: float | None) -> None:
        """Count a start; `exited_at_s`: monotonic, of the exit before it."""
        self.starts += 1
        self.start_time_s = now.wall_s
        if exited_at_s is not None:
            self.restarts += 1
            self.restart_seconds.observe(now.monotonic_s - exited_at_s)

    def view(self, name: ProcessName, state: State, *, is_fpm: bool) -> ProcessView:
        """Return the counters for other threads; the process adds the rest."""
        crashes = self.outcomes[Outcome.CRASH]
        return ProcessView(
            name=name,
            is_fpm=is_fpm,
            state=state,
            starts=self.starts,
            exits=crashes + self.outcomes[Outcome.EXPECTED_EXIT],
            unexpected_exits=crashes,
            failed_starts=self.outcomes[Outcome.FAILED_START],
            fatal=self.outcomes[Outcome.GAVE_UP],
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
    start_time_s: float | None = None  #: wall seconds; None = no start seen
    last_exit_s: float | None = None  #: wall seconds; None = no exit seen
    last_exit: ExitReason | None = None
    restart_seconds: HistogramView | None = None  #: from an exit to the next start
    loops: frozenset[Tier] = frozenset()
    facts: Mapping[FactKind, int] = field(
        default_factory=dict
    )  #: log lines that count; only for php-fpm
    incident: IncidentView | None = None
    error_logs: tuple[str, ...] = ()  #: files that the listener follows for it
    addresses: tuple[str, ...] = ()  #: listen addresses of php-fpm's configuration
    held: tuple[str, ...] = ()  #: listen addresses whose sockets are held
    healed: int = 0  #: starts by self-healing
    exhausted: bool = False  #: self-healing has used up its starts of a day
    paused: bool = False  #: self-healing has stopped it for a while
    pools: tuple[PoolView, ...] = ()  #: state of php-fpm's pools; empty = not asked
    opcache: OpcacheView | None = None  #: None = not read
    next_start_s: float | None = None  #: wall seconds; the next start by self-healing
    final_end: FinalEnd | None = None  #: supervisord is shut down because of it
