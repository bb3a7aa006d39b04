"""What the engine shows to other threads: frozen, complete, cheap to read.

The owner rebinds one attribute with a new Snapshot; a reader takes it once and reads it at leisure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm_listener.core.exits import ExitReason
    from fpm_listener.core.facts import FactKind
    from fpm_listener.core.fpmstatus import PoolView
    from fpm_listener.core.histogram import HistogramView
    from fpm_listener.core.holders import HolderReport
    from fpm_listener.core.loops import LoopPolicy
    from fpm_listener.core.timeline import Entry
    from fpm_listener.core.values import ProcessName


class State(Enum):
    """The states of supervisor's processes, by its own names (supervisor/states.py)."""

    STOPPED = "STOPPED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    BACKOFF = "BACKOFF"
    STOPPING = "STOPPING"
    EXITED = "EXITED"
    FATAL = "FATAL"
    UNKNOWN = "UNKNOWN"


class Tier(Enum):
    """The two windows of a restart loop."""

    FAST = "fast"
    SLOW = "slow"


class Cause(Enum):
    """Why a program fails, root causes first: an earlier one beats a later one."""

    BIND_CONFLICT = "bind_conflict"
    ADDRESS_ABSENT = "address_absent"
    UNKNOWN_USER = "unknown_user"
    DISK_FULL = "disk_full"
    FD_LIMIT = "fd_limit"
    MISSING_PATH = "missing_path"
    PERMISSION = "permission"
    CONFIG_ERROR = "config_error"
    OUT_OF_MEMORY = "out_of_memory"
    CRASH_SIGNAL = "crash_signal"
    NOT_ANSWERING = "not_answering"
    RESTART_LOOP = "restart_loop"
    GAVE_UP = "gave_up"


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentView:
    """An incident that is firing."""

    incident_id: str
    cause: Cause
    severity: str
    gave_up: bool
    started_at_s: float  #: wall seconds
    failed_lives: int
    address: str | None
    holder: HolderReport | None
    evidence: tuple[str, ...]  #: the last log lines, oldest first
    summary: str
    remedy: str
    recovering_s: float | None = None  #: wall seconds since when it is well; None = it is not
    resolves_s: float | None = None  #: wall seconds of the resolution, if it stays well


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverView:
    """One receiver, and what it is owed."""

    name: str
    kind: str
    pending: int = 0
    sent: int = 0  #: alerts that the receiver took, plus those it did not: all attempts ended
    failed: Mapping[str, int] = field(default_factory=dict)  #: attempts that failed, by reason
    dropped: Mapping[str, int] = field(default_factory=dict)  #: alerts given up, by reason
    seconds: HistogramView | None = None  #: fact known to receiver's yes
    failing: bool = False  #: the others were told that it cannot be told
    last_failure: str = ""  #: for people: why the last attempt failed; empty = it did not


class FindingView(NamedTuple):
    """One result of the doctor, as `check --json` prints it."""

    id: str
    severity: str
    where: str
    what: str
    why: str
    mend: str


class ReceiverProblem(NamedTuple):
    """Why alerts will not be delivered."""

    receiver: str  #: its name; empty = there is none
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All that metrics, status and page show."""

    processes: tuple[ProcessView, ...] = ()
    receivers: tuple[ReceiverView, ...] = ()
    events: Mapping[str, int] = field(default_factory=dict)  #: by event name
    events_missed: int = 0
    protocol_garbage: int = 0  #: headers that made no sense
    findings: Mapping[str, int] = field(default_factory=dict)  #: of the doctor, by severity
    found: tuple[FindingView, ...] = ()  #: the worst of them
    timeline: tuple[Entry, ...] = ()  #: what has happened, the latest last
    failures: Mapping[str, tuple[float, ...]] = field(default_factory=dict)  #: wall, by group:name
    windows: Mapping[Tier, LoopPolicy] = field(default_factory=dict)
    instance: str = ""
    last_event_s: float | None = None  #: wall seconds
    ack_seconds: HistogramView | None = None
    ready: bool = False  #: the programs are known, so that every series is there
    supervisor_up: bool = False
    fast_restart: bool = False  #: deaths are seen, and supervisord is woken
    supervisor: str = ""  #: supervisord's identifier
    log_bytes_read: int = 0
    log_bytes_skipped: int = 0
    log_read_errors: int = 0
    internal_errors: Mapping[str, int] = field(default_factory=dict)  #: survived, by place
    receiver_problems: tuple[ReceiverProblem, ...] = ()
    outbox_persistent: bool = True
    config_reload_ok: bool = True
    config_reload_s: float = 0.0  #: wall seconds of the last good reading
    started_s: float = 0.0  #: wall seconds
