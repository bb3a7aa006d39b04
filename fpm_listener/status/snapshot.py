"""The state that the main thread publishes to other threads: frozen and complete.

The main thread replaces the whole Snapshot; a reader gets it once and then needs no lock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm_listener.delivery.receiver_counters import ReceiverView
    from fpm_listener.histogram import HistogramView
    from fpm_listener.monitor.process_view import ProcessView
    from fpm_listener.monitor.timeline import Entry
    from fpm_listener.settings.policy import LoopPolicy
    from fpm_listener.settings.receiver_types import ReceiverProblem
    from fpm_listener.vocabulary import Tier


class FindingView(NamedTuple):
    """One finding of `check`, as `check --json` prints it."""

    id: str
    severity: str
    where: str
    what: str
    why: str
    fix: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything that metrics, status and page show."""

    processes: tuple[ProcessView, ...] = ()
    receivers: tuple[ReceiverView, ...] = ()
    events: Mapping[str, int] = field(default_factory=dict)  #: by event name
    events_missed: int = 0
    protocol_garbage: int = 0  #: parts of the event stream that were not understood
    findings: Mapping[str, int] = field(default_factory=dict)  #: of `check`, by severity
    found: tuple[FindingView, ...] = ()  #: the most severe of them
    timeline: tuple[Entry, ...] = ()  #: the latest last
    failures: Mapping[str, tuple[float, ...]] = field(default_factory=dict)  #: wall, by group:name
    windows: Mapping[Tier, LoopPolicy] = field(default_factory=dict)
    instance: str = ""
    last_event_s: float | None = None  #: wall seconds
    ack_seconds: HistogramView | None = None
    ready: bool = False  #: the programs are known, so every series exists
    supervisor_up: bool = False
    fast_restart: bool = False  #: supervisord is woken when a process exits
    supervisor: str = ""  #: supervisord's identifier
    log_bytes_read: int = 0
    log_bytes_skipped: int = 0
    log_read_errors: int = 0
    internal_errors: Mapping[str, int] = field(
        default_factory=dict
    )  #: that were survived, by place
    receiver_problems: tuple[ReceiverProblem, ...] = ()
    outbox_persistent: bool = True
    state_dir: str = ""  #: the directory in use
    state_dir_temporary: bool = False  #: it is a fallback that the end of the container deletes
    config_reload_ok: bool = True
    config_reload_s: float = 0.0  #: wall seconds of the last successful read
    started_s: float = 0.0  #: wall seconds
    installed_version: str = ""  #: of our files; empty = that of this process, or unknown
