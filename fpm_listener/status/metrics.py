"""The metrics: a collector over the engine's latest snapshot.

Laws:
1. A scrape reads one snapshot: no SQL, no /proc, no RPC, no wait for the owner.
2. Every series that can be is there with 0 from the first scrape; else `increase()` misses the
   first crash. A moment that never was is left out: 0 would be the year 1970.
3. No label grows without bound: group, process, and words of closed sets.
"""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.samples import Sample

from fpm_listener import __version__
from fpm_listener.delivery.attempt import DropReason, FailureReason
from fpm_listener.incidents.incident import CAUSES
from fpm_listener.phpfpm.log_facts import FactKind
from fpm_listener.phpfpm.status_page import NUMBERS, STATES
from fpm_listener.status.snapshot import Snapshot
from fpm_listener.vocabulary import Cause, State, Tier, Where

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from fpm_listener.delivery.receiver_counters import ReceiverView
    from fpm_listener.histogram import HistogramView
    from fpm_listener.monitor.process_view import ProcessView

PREFIX = "fpm_listener_"

#: Causes that only a php-fpm can have.
_SEVERITIES = ("error", "warning", "hint")  # of findings

_FPM_CAUSES = frozenset({*CAUSES.values(), Cause.NOT_ANSWERING} - {Cause.MISSING_PATH})

Labels = dict[str, str]


def make_registry(snapshot: Callable[[], Snapshot]) -> CollectorRegistry:
    """Return a registry of our own with the listener's metrics, and those of its own process."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(SnapshotCollector(snapshot))
    # A namespace of its own: fpm_listener_process_… is about supervised processes.
    ProcessCollector(namespace="fpm_listener_self", registry=registry)
    return registry


class SnapshotCollector:
    """What prometheus_client calls at each scrape."""

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        """Return all families of the latest snapshot."""
        snapshot = self._snapshot()
        yield from _listener(snapshot)
        yield from _processes(snapshot.processes)
        yield from pool_families(snapshot.processes)
        yield from _receivers(snapshot.receivers)
        broken = {problem.receiver for problem in snapshot.receiver_problems}
        usable = sum(view.name not in broken for view in snapshot.receivers)
        yield _gauge(
            "receivers_usable",
            "Receivers whose files and commands can be used; 0 = alerts are sent nowhere.",
            [({}, usable)],
        )

    def describe(self) -> Iterator[Metric]:
        """Return the families without what is in them: `/metrics?name[]=…` asks for some."""
        yield from SnapshotCollector(Snapshot).collect()


def _family(name: str, kind: str, text: str, samples: Iterable[Sample]) -> Metric:
    metric = Metric(PREFIX + name, text, kind)
    metric.samples = list(samples)
    return metric


def _gauge(name: str, text: str, values: Iterable[tuple[Labels, float]]) -> Metric:
    full = PREFIX + name
    return _family(name, "gauge", text, [Sample(full, labels, value) for labels, value in values])


def _counter(name: str, text: str, values: Iterable[tuple[Labels, float]]) -> Metric:
    full = f"{PREFIX}{name}_total"
    return _family(name, "counter", text, [Sample(full, labels, value) for labels, value in values])


def _histogram(name: str, text: str, views: Iterable[tuple[Labels, HistogramView]]) -> Metric:
    full = PREFIX + name
    samples = []
    for labels, view in views:
        below = 0
        for bound, count in zip((*view.bounds, float("inf")), view.counts, strict=True):
            below += count
            le = "+Inf" if bound == float("inf") else str(bound)
            samples.append(Sample(f"{full}_bucket", {**labels, "le": le}, below))
        samples.append(Sample(f"{full}_count", labels, below))
        samples.append(Sample(f"{full}_sum", labels, view.total))
    return _family(name, "histogram", text, samples)


def _one(value: float | None) -> list[tuple[Labels, float]]:
    return [] if value is None else [({}, value)]


def _listener(snapshot: Snapshot) -> Iterator[Metric]:
    version = {"version": __version__, "python_version": platform.python_version()}
    yield _gauge("build_info", "The listener's version.", [(version, 1)])
    yield _gauge(
        "supervisor_up",
        "Whether supervisord's XML-RPC answers; without it exit codes are unknown.",
        _one(snapshot.supervisor_up),
    )
    yield _gauge(
        "fast_restart_enabled",
        "Whether supervisord is woken when a process dies: asked for, and the kernel has pidfds.",
        _one(snapshot.fast_restart),
    )
    yield _gauge(
        "findings",
        "What `fpm-listener check` found in supervisord's configuration when the listener started.",
        [({"severity": name}, snapshot.findings.get(name, 0)) for name in _SEVERITIES],
    )
    events = (({"event": name}, count) for name, count in sorted(snapshot.events.items()))
    yield _counter("events", "Events of supervisord that were taken in.", events)
    yield _counter(
        "events_missed",
        "Events that supervisord threw away before they were read: holes in poolserial.",
        _one(snapshot.events_missed),
    )
    yield _counter(
        "protocol_garbage",
        "Pieces of supervisord's stream that made no sense and were skipped.",
        _one(snapshot.protocol_garbage),
    )
    yield _gauge(
        "last_event_timestamp_seconds",
        "When the last event came.",
        _one(snapshot.last_event_s),
    )
    yield _histogram(
        "event_ack_seconds",
        "From an event's last byte to its acknowledgement.",
        [] if snapshot.ack_seconds is None else [({}, snapshot.ack_seconds)],
    )
    yield _counter("log_bytes_read", "Bytes read of followed logs.", _one(snapshot.log_bytes_read))
    yield _counter(
        "log_bytes_skipped",
        "Bytes of followed logs that could not be read in time.",
        _one(snapshot.log_bytes_skipped),
    )
    yield _counter(
        "log_read_errors",
        "Failures to open or read a followed log.",
        _one(snapshot.log_read_errors),
    )
    yield _counter(
        "internal_errors",
        "Unexpected errors of one client, pool, log or receiver that the listener survived.",
        [({"where": where.value}, snapshot.internal_errors.get(where.value, 0)) for where in Where],
    )
    yield _gauge(
        "outbox_persistent",
        "Whether alerts owed are on disk; 0 = they are kept in memory only.",
        _one(snapshot.outbox_persistent),
    )
    yield _gauge(
        "config_last_reload_successful",
        "Whether the settings were good when they were read last.",
        _one(snapshot.config_reload_ok),
    )
    yield _gauge(
        "config_last_reload_success_timestamp_seconds",
        "When the settings were read last and were good.",
        _one(snapshot.config_reload_s),
    )


_COUNTS = (
    ("starts", "Starts of the process."),
    ("exits", "Ends of the process after supervisord had called it RUNNING, not by its operator."),
    ("unexpected_exits", "Crashes: exits with a code that is not one of exitcodes."),
    ("failed_starts", "Failed starts: ends before startsecs (BACKOFF)."),
    ("fatal", "How often supervisord gave up on the process."),
    ("healed", "How often supervisord was asked to start again what it had given up on."),
    ("restarts", "Starts after the process had died on its own."),
)


def _processes(views: Sequence[ProcessView]) -> Iterator[Metric]:
    named = [({"group": view.name.group, "process": view.name.process}, view) for view in views]
    fpm = [(labels, view) for labels, view in named if view.is_fpm]
    yield _gauge(
        "process_state",
        "Supervisord's state of the process: 1 for the one that it is in.",
        (
            ({**labels, "state": state.value}, view.state is state)
            for labels, view in named
            for state in State
        ),
    )
    for name, text in _COUNTS:
        yield _counter(
            f"process_{name}",
            text,
            [(labels, getattr(view, name)) for labels, view in named],
        )
    yield from _moments(named)
    yield _histogram(
        "process_restart_seconds",
        "From the death of the process to its next start, as seen by the listener.",
        [(labels, v.restart_seconds) for labels, v in named if v.restart_seconds is not None],
    )
    yield _gauge(
        "restart_loop",
        "Whether the process is in a restart loop, by window.",
        (
            ({**labels, "tier": tier.value}, tier in view.loops)
            for labels, view in named
            for tier in Tier
        ),
    )
    yield _counter(
        "bind_conflicts",
        "Lives of php-fpm that could not take a listen address, by its own believed log line.",
        [(labels, view.facts.get(FactKind.BIND_CONFLICT, 0)) for labels, view in fpm],
    )
    yield _counter(
        "fpm_log_facts",
        "Facts read from php-fpm's error log; those of failed starts once they are believed.",
        (
            ({**labels, "fact": kind.value}, view.facts.get(kind, 0))
            for labels, view in fpm
            for kind in FactKind
        ),
    )
    yield _gauge(
        "incident_firing",
        "Whether an incident of the process is open, by its present cause.",
        (
            (
                {**labels, "cause": cause.value},
                view.incident is not None and view.incident.facts.cause is cause,
            )
            for labels, view in named
            for cause in Cause
            if view.is_fpm or cause not in _FPM_CAUSES
        ),
    )


def _moments(named: Sequence[tuple[Labels, ProcessView]]) -> Iterator[Metric]:
    yield _gauge(
        "process_start_time_seconds",
        "When the process was started last.",
        [(labels, v.start_time_s) for labels, v in named if v.start_time_s is not None],
    )
    yield _gauge(
        "held_sockets",
        "Listening sockets that are held for a php-fpm, so that clients can wait while it is away.",
        [(labels, len(v.held)) for labels, v in named if v.is_fpm],
    )
    yield _gauge(
        "process_last_exit_timestamp_seconds",
        "When the process ended last.",
        [(labels, v.last_exit_s) for labels, v in named if v.last_exit_s is not None],
    )
    yield _gauge(
        "process_last_exit_status",
        "How the process ended last: exit code, or minus the signal's number.",
        [(labels, v.last_exit.as_metric) for labels, v in named if v.last_exit is not None],
    )


def _receivers(views: Sequence[ReceiverView]) -> Iterator[Metric]:
    named = [({"receiver": view.name}, view) for view in views]
    yield _gauge(
        "alerts_pending",
        "Alerts that the receiver is owed.",
        [(labels, view.pending) for labels, view in named],
    )
    yield _counter(
        "notifications",
        "Attempts to tell the receiver, whatever came of them.",
        [(labels, view.sent) for labels, view in named],
    )
    yield _counter(
        "notifications_failed",
        "Attempts to tell the receiver that failed.",
        (
            ({**labels, "reason": reason.value}, view.failed.get(reason.value, 0))
            for labels, view in named
            for reason in FailureReason
        ),
    )
    yield _counter(
        "alerts_dropped",
        "Alerts that the receiver will never get.",
        (
            ({**labels, "reason": reason.value}, view.dropped.get(reason.value, 0))
            for labels, view in named
            for reason in DropReason
        ),
    )
    yield _gauge(
        "receiver_failing",
        "Whether the others were told that the receiver cannot be told.",
        [(labels, view.failing) for labels, view in named],
    )
    yield _histogram(
        "notification_seconds",
        "From the moment that the fact was known to the receiver's yes.",
        [(labels, view.seconds) for labels, view in named if view.seconds is not None],
    )


#: Name, type and help.
_POOL_TEXTS = {
    "start_since": ("unknown", "Seconds since php-fpm has started."),
    "accepted_connections": ("unknown", "Connections that the pool has accepted."),
    "listen_queue": ("gauge", "Connections that wait to be accepted; 0 for unix sockets."),
    "max_listen_queue": ("unknown", "The most connections that ever waited."),
    "listen_queue_length": ("gauge", "The size of the queue of connections."),
    "idle_processes": ("gauge", "Workers that wait for a request."),
    "active_processes": ("gauge", "Workers that have one; who answered this is among them."),
    "total_processes": ("gauge", "Workers, idle and active."),
    "max_active_processes": ("unknown", "The most workers that ever were active."),
    "max_children_reached": ("unknown", "How often pm.max_children was reached."),
    "slow_requests": ("unknown", "Requests that exceeded request_slowlog_timeout."),
    "memory_peak": ("gauge", "The most memory that a worker ever used; from php-fpm 8.4 on."),
}


def pool_families(processes: Sequence[ProcessView]) -> Iterator[Metric]:
    """Return the pool_families; none where no pool is asked."""
    named = [
        ({"group": view.name.group, "process": view.name.process, "pool": pool.pool}, pool)
        for view in processes
        for pool in view.pools
    ]
    if not named:
        return
    up = [(labels, float(pool.up)) for labels, pool in named]
    yield _pool_family("phpfpm_up", "gauge", "Whether the pool has answered.", up)
    failures = [(labels, float(pool.failures)) for labels, pool in named]
    yield _pool_family(
        "phpfpm_scrape_failures", "unknown", "Questions without an answer.", failures
    )
    for name in NUMBERS.values():
        kind, text = _POOL_TEXTS[name]
        values = [(labels, pool.numbers[name]) for labels, pool in named if name in pool.numbers]
        if values:
            yield _pool_family(f"phpfpm_{name}", kind, text, values)
    busy = [(labels, float(pool.busy)) for labels, pool in named if pool.busy is not None]
    text = "Workers that serve requests, without the one that answers the listener."
    yield _pool_family("fpm_listener_pool_busy_processes", "gauge", text, busy)
    most = [
        (labels, float(pool.max_children))
        for labels, pool in named
        if pool.busy is not None and pool.max_children is not None
    ]
    text = "pm.max_children: the most workers that the pool may have."
    yield _pool_family("fpm_listener_pool_max_children", "gauge", text, most)
    states = [
        ({**labels, "state": state}, float(pool.states[state]))
        for labels, pool in named
        for state in dict.fromkeys(STATES.values())
        if state in pool.states
    ]
    name = "fpm_listener_pool_processes"
    yield _pool_family(name, "gauge", "Workers of the pool, by what they do.", states)


def _pool_family(
    name: str, kind: str, text: str, values: list[tuple[dict[str, str], float]]
) -> Metric:
    metric = Metric(name, text, kind)
    metric.samples = [Sample(name, labels, value) for labels, value in values]
    return metric
