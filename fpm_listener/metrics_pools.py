"""php-fpm's own numbers, under the names of the exporter that people already use.

Names and meaning are those of hipages/php-fpm_exporter (and of php-fpm's own `?openmetrics`), so
that dashboards go on working. What grows has no `_total` there; it is of unknown type here, since
OpenMetrics allows no counter without it. The labels tell pools of the same name apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import Metric
from prometheus_client.samples import Sample

from fpm_listener.core.fpmstatus import NUMBERS, STATES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fpm_listener.core.snapshot import ProcessView

#: Name, type and help.
_TEXTS = {
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


def families(processes: Sequence[ProcessView]) -> Iterator[Metric]:
    """Return the families; none where no pool is asked."""
    named = [
        ({"group": view.name.group, "process": view.name.process, "pool": pool.pool}, pool)
        for view in processes
        for pool in view.pools
    ]
    if not named:
        return
    up = [(labels, float(pool.up)) for labels, pool in named]
    yield _family("phpfpm_up", "gauge", "Whether the pool has answered.", up)
    failures = [(labels, float(pool.failures)) for labels, pool in named]
    yield _family("phpfpm_scrape_failures", "unknown", "Questions without an answer.", failures)
    for name in NUMBERS.values():
        kind, text = _TEXTS[name]
        values = [(labels, pool.numbers[name]) for labels, pool in named if name in pool.numbers]
        if values:
            yield _family(f"phpfpm_{name}", kind, text, values)
    busy = [(labels, float(pool.busy)) for labels, pool in named if pool.busy is not None]
    text = "Workers that serve requests, without the one that answers the listener."
    yield _family("fpm_listener_pool_busy_processes", "gauge", text, busy)
    most = [
        (labels, float(pool.max_children))
        for labels, pool in named
        if pool.busy is not None and pool.max_children is not None
    ]
    text = "pm.max_children: the most workers that the pool may have."
    yield _family("fpm_listener_pool_max_children", "gauge", text, most)
    states = [
        ({**labels, "state": state}, float(pool.states[state]))
        for labels, pool in named
        for state in dict.fromkeys(STATES.values())
        if state in pool.states
    ]
    name = "fpm_listener_pool_processes"
    yield _family(name, "gauge", "Workers of the pool, by what they do.", states)


def _family(name: str, kind: str, text: str, values: list[tuple[dict[str, str], float]]) -> Metric:
    metric = Metric(name, text, kind)
    metric.samples = [Sample(name, labels, value) for labels, value in values]
    return metric
