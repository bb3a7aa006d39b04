"""The table of all metrics: name, type, help, and how to read the value from the snapshot.

To add a metric, add a row here, and then to tests/data/metrics-golden.txt and
docs/reference/metrics.md. Names, labels and types are a contract with dashboards.
"""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any

from fpm_listener import __version__
from fpm_listener.delivery.attempt import DropReason, FailureReason
from fpm_listener.phpfpm.log_facts import FactKind
from fpm_listener.phpfpm.status_page import STATES
from fpm_listener.status.metric_row import MetricRow
from fpm_listener.status.opcache_metrics import OPCACHE
from fpm_listener.supervisor.events import EVENT_NAMES
from fpm_listener.vocabulary import Cause, State, Tier, Where

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from fpm_listener.delivery.receiver_counters import ReceiverView
    from fpm_listener.monitor.process_view import ProcessView
    from fpm_listener.phpfpm.opcache import OpcacheView
    from fpm_listener.phpfpm.status_page import PoolView
    from fpm_listener.status.snapshot import Snapshot

    #: Returns the objects that a metric has values for, each with its labels.
    Sources = Callable[[Snapshot], Iterable[tuple["Labels", Any]]]

Labels = dict[str, str]


# -- sources ---------------------------------------------------------------------------------------


def _build(_: Snapshot) -> Iterable[tuple[Labels, int]]:
    return [({"version": __version__, "python_version": platform.python_version()}, 1)]


def _listener(snapshot: Snapshot) -> Iterable[tuple[Labels, Snapshot]]:
    return [({}, snapshot)]


def _processes(snapshot: Snapshot) -> Iterable[tuple[Labels, ProcessView]]:
    for view in snapshot.processes:
        yield {"group": view.name.group, "process": view.name.process}, view


def _fpm(snapshot: Snapshot) -> Iterable[tuple[Labels, ProcessView]]:
    return ((labels, view) for labels, view in _processes(snapshot) if view.is_fpm)


def pools(snapshot: Snapshot) -> Iterable[tuple[Labels, PoolView]]:
    """Return the FPM pools that are polled."""
    for labels, view in _processes(snapshot):
        for pool in view.pools:
            yield {**labels, "pool": pool.pool}, pool


def opcaches(snapshot: Snapshot) -> Iterable[tuple[Labels, OpcacheView]]:
    """Return the OPcaches whose numbers are known."""
    for labels, view in _processes(snapshot):
        if view.opcache is not None and not view.opcache.problem:
            yield labels, view.opcache


def _receivers(snapshot: Snapshot) -> Iterable[tuple[Labels, ReceiverView]]:
    return (({"receiver": view.name}, view) for view in snapshot.receivers)


# -- values ----------------------------------------------------------------------------------------

#: Causes that only a php-fpm can have.
_FPM_CAUSES = frozenset(
    {Cause.NOT_ANSWERING, Cause.WORKER_FAILURE, Cause.OPCACHE_FULL, Cause.SATURATED}
)


def _is_firing(view: ProcessView, cause: Cause) -> bool | None:
    if cause in _FPM_CAUSES and not view.is_fpm:
        return None
    return view.incident is not None and view.incident.facts.cause is cause


def _usable_receivers(snapshot: Snapshot) -> int:
    broken = {problem.receiver for problem in snapshot.receiver_problems}
    return sum(view.name not in broken for view in snapshot.receivers)


def _is_in_state(view: ProcessView, state: State) -> bool:
    return view.state is state


def _is_looping(view: ProcessView, tier: Tier) -> bool:
    return tier in view.loops


def _exit_status(view: ProcessView) -> int | None:
    return view.last_exit.as_metric if view.last_exit else None


def _bind_conflicts(view: ProcessView) -> int:
    return view.facts.get(FactKind.BIND_CONFLICT, 0)


def _failures(pool: PoolView) -> int | None:
    return None if pool.up is None and not pool.failures else pool.failures


def _number(name: str) -> Callable[[PoolView], float | None]:
    return lambda pool: pool.numbers.get(name)


def _workers(pool: PoolView, state: str) -> int | None:
    return pool.states.get(state)


def _max_children(pool: PoolView) -> int | None:
    return None if pool.busy is None else pool.max_children


def _worker_memory(pool: PoolView, quantile: str) -> int | None:
    memory = pool.capacity.memory
    return memory[quantile != "0.5"] if memory is not None else None


def _recommended(pool: PoolView) -> int | None:
    return pool.capacity.fits or None  # 0 is not a valid pm.max_children


# -- the table -------------------------------------------------------------------------------------

# Two lines for each metric; the formatter would write eight.
# fmt: off
_BUILD = (
    MetricRow("build_info", "gauge", lambda _: 1, None,
              "Version of the listener."),
)

_LISTENER = (
    MetricRow("supervisor_up", "gauge", "supervisor_up", None,
              "Whether supervisord XML-RPC answers; without it exit codes can be unknown."),
    MetricRow("fast_restart_enabled", "gauge", "fast_restart", None,
              "Whether the listener wakes supervisord when a process exits (needs pidfds)."),
    MetricRow("findings", "gauge", "findings", ("severity", ("error", "warning", "hint")),
              "Findings of `fpm-listener check` when the listener started."),
    MetricRow("events", "counter", "events", ("event", sorted((*EVENT_NAMES, "other"))),
              "Events received from supervisord."),
    MetricRow("events_missed", "counter", "events_missed", None,
              "Events that supervisord discarded before they were read (gaps in poolserial)."),
    MetricRow("protocol_garbage", "counter", "protocol_garbage", None,
              "Parts of the event stream that were not understood and were skipped."),
    MetricRow("last_event_timestamp_seconds", "gauge", "last_event_s", None,
              "Time of the last event."),
    MetricRow("event_ack_seconds", "histogram", "ack_seconds", None,
              "Time from the last byte of an event to its acknowledgement."),
    MetricRow("log_bytes_read", "counter", "log_bytes_read", None,
              "Bytes read from followed logs."),
    MetricRow("log_bytes_skipped", "counter", "log_bytes_skipped", None,
              "Bytes of followed logs that were skipped because they came too fast."),
    MetricRow("log_read_errors", "counter", "log_read_errors", None,
              "Errors when a followed log was opened or read."),
    MetricRow("internal_errors", "counter", "internal_errors", ("where", Where),
              "Unexpected errors that the listener survived, by place."),
    MetricRow("outbox_persistent", "gauge", "outbox_persistent", None,
              "Whether undelivered alerts are on disk; 0 = they are in memory only."),
    MetricRow("state_dir_temporary", "gauge", "state_dir_temporary", None,
              "Whether a new container or a reboot deletes the directory that replaces state_dir."),
    MetricRow("config_last_reload_successful", "gauge", "config_reload_ok", None,
              "Whether the last read of the settings succeeded."),
    MetricRow("config_last_reload_success_timestamp_seconds", "gauge", "config_reload_s", None,
              "Time of the last successful read of the settings."),
    MetricRow("receivers_usable", "gauge", _usable_receivers, None,
              "Receivers whose files and commands can be used; 0 = no alert is sent."),
)

_PROCESSES = (
    MetricRow("process_state", "gauge", _is_in_state, ("state", State),
              "State of the process in supervisord: 1 for the present state."),
    MetricRow("process_starts", "counter", "starts", None,
              "Starts of the process."),
    MetricRow("process_exits", "counter", "exits", None,
              "Exits of the process from RUNNING, without those that an operator asked for."),
    MetricRow("process_unexpected_exits", "counter", "unexpected_exits", None,
              "Crashes: exits with a status that is not in exitcodes, or by a signal."),
    MetricRow("process_failed_starts", "counter", "failed_starts", None,
              "Failed starts: exits before startsecs (BACKOFF)."),
    MetricRow("process_fatal", "counter", "fatal", None,
              "How often supervisord gave up on the process (FATAL)."),
    MetricRow("process_healed", "counter", "healed", None,
              "Starts of the process by self-healing."),
    MetricRow("process_restarts", "counter", "restarts", None,
              "Starts of the process after it exited by itself."),
    MetricRow("process_start_time_seconds", "gauge", "start_time_s", None,
              "Time of the last start of the process."),
    MetricRow("process_last_exit_timestamp_seconds", "gauge", "last_exit_s", None,
              "Time of the last exit of the process."),
    MetricRow("process_last_exit_status", "gauge", _exit_status, None,
              "Last exit of the process: exit status, or minus the number of the signal."),
    MetricRow("process_restart_seconds", "histogram", "restart_seconds", None,
              "Time from an exit of the process to its next start, as the listener saw it."),
    MetricRow("restart_loop", "gauge", _is_looping, ("tier", Tier),
              "Whether the process is in a restart loop, by window."),
    MetricRow("incident_firing", "gauge", _is_firing, ("cause", Cause),
              "Whether an incident of the process is firing, by its present cause."),
)

_FPM = (
    MetricRow("held_sockets", "gauge", lambda view: len(view.held), None,
              "Listening sockets that are held for php-fpm; clients wait during a restart."),
    MetricRow("bind_conflicts", "counter", _bind_conflicts, None,
              "Starts of php-fpm that failed because a listen address was in use."),
    MetricRow("fpm_log_facts", "counter", "facts", ("fact", FactKind),
              "Facts from the error log of php-fpm; those of failed starts after confirmation."),
)

_RECEIVERS = (
    MetricRow("alerts_pending", "gauge", "pending", None,
              "Undelivered alerts of the receiver."),
    MetricRow("notifications", "counter", "sent", None,
              "Attempts to send to the receiver, successful or not."),
    MetricRow("notifications_failed", "counter", "failed", ("reason", FailureReason),
              "Attempts to send to the receiver that failed."),
    MetricRow("alerts_dropped", "counter", "dropped", ("reason", DropReason),
              "Alerts that the receiver never gets."),
    MetricRow("receiver_failing", "gauge", "failing", None,
              "Whether the receiver fails, so that the other receivers got an alert about it."),
    MetricRow("notification_seconds", "histogram", "seconds", None,
              "Time from the cause of an alert to its delivery."),
)

_POOLS = (
    MetricRow("phpfpm_up", "gauge", "up", None,
              "Whether the pool answered."),
    MetricRow("phpfpm_scrape_failures", "unknown", _failures, None,
              "Requests to the pool without an answer."),
    MetricRow("phpfpm_start_since", "unknown", _number("start_since"), None,
              "Seconds since php-fpm started."),
    MetricRow("phpfpm_accepted_connections", "unknown", _number("accepted_connections"), None,
              "Connections that the pool accepted."),
    MetricRow("phpfpm_listen_queue", "gauge", "queue", None,
              "Connections that wait to be accepted."),
    MetricRow("phpfpm_max_listen_queue", "unknown", _number("max_listen_queue"), None,
              "Highest number of connections that waited at one time."),
    MetricRow("phpfpm_listen_queue_length", "gauge", "queue_limit", None,
              "Most connections that can wait to be accepted (listen.backlog)."),
    MetricRow("phpfpm_idle_processes", "gauge", _number("idle_processes"), None,
              "Workers that wait for a request."),
    MetricRow("phpfpm_active_processes", "gauge", _number("active_processes"), None,
              "Workers with a request, including the one that answers the listener."),
    MetricRow("phpfpm_total_processes", "gauge", _number("total_processes"), None,
              "Workers, idle and active."),
    MetricRow("phpfpm_max_active_processes", "unknown", _number("max_active_processes"), None,
              "Highest number of workers that were active at one time."),
    MetricRow("phpfpm_max_children_reached", "unknown", _number("max_children_reached"), None,
              "How often pm.max_children was reached."),
    MetricRow("phpfpm_slow_requests", "unknown", _number("slow_requests"), None,
              "Requests that took longer than request_slowlog_timeout."),
    MetricRow("phpfpm_memory_peak", "gauge", _number("memory_peak"), None,
              "Highest memory use of a worker; since php-fpm 8.4."),
    MetricRow("phpfpm_max_children", "gauge", "max_children", None,
              "Highest number of workers that the pool may have (pm.max_children)."),
    MetricRow("phpfpm_worker_memory_bytes", "summary", _worker_memory,
              ("quantile", ("0.5", "0.95")),
              "Memory that one worker alone needs at its peak: median and p95 of those measured."),
    MetricRow("phpfpm_recommended_max_children", "gauge", _recommended, None,
              "Most workers that fit into the memory; absent if it is unknown, or if none fits."),
    MetricRow("pool_busy_processes", "gauge", "busy", None,
              "Workers that serve requests, without the one that answers the listener."),
    MetricRow("pool_max_children", "gauge", _max_children, None,
              "Highest number of workers that the pool may have (pm.max_children)."),
    MetricRow("pool_processes", "gauge", _workers, ("state", dict.fromkeys(STATES.values())),
              "Workers of the pool, by activity."),
)

# fmt: on

#: The groups of metrics with their sources, in the order of the exposition.
METRICS: Sequence[tuple[Sources, Sequence[MetricRow]]] = (
    (_build, _BUILD),
    (_listener, _LISTENER),
    (_processes, _PROCESSES),
    (_fpm, _FPM),
    (pools, _POOLS),
    (opcaches, OPCACHE),
    (_receivers, _RECEIVERS),
)
