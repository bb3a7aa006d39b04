"""Serves the metrics of metric_table.py from the latest snapshot.

Laws:
1. A scrape reads one snapshot: no SQL, no /proc, no RPC, and no wait for the main thread.
2. Every possible series exists with 0 from the first scrape; otherwise `increase()` misses the
   first crash. A timestamp that is not known is left out: 0 means the year 1970.
3. No label grows without bound: group, process, and values of closed sets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.samples import Sample

from fpm_listener.histogram import HistogramView
from fpm_listener.status.metric_table import METRICS, opcaches, pools
from fpm_listener.status.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from fpm_listener.status.metric_row import MetricRow
    from fpm_listener.status.metric_table import Labels

PREFIX = "fpm_listener_"


def make_registry(snapshot: Callable[[], Snapshot]) -> CollectorRegistry:
    """Return a registry with the listener's metrics and those of its own process."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(SnapshotCollector(snapshot))
    # A separate namespace: fpm_listener_process_… is about supervised processes.
    ProcessCollector(namespace="fpm_listener_self", registry=registry)
    return registry


class SnapshotCollector:
    """The object that prometheus_client calls at each scrape."""

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        """Return all metric families of the latest snapshot."""
        snapshot = self._snapshot()
        for sources, rows in METRICS:
            found = list(sources(snapshot))
            for row in rows:
                metric = _metric(row, found)
                if metric.samples or sources not in {pools, opcaches}:  # usually nobody asks
                    yield metric

    def describe(self) -> Iterator[Metric]:
        """Return the families without their samples; `/metrics?name[]=…` selects by name."""
        yield from SnapshotCollector(Snapshot).collect()


def _metric(row: MetricRow, sources: Sequence[tuple[Labels, Any]]) -> Metric:
    """Return the metric of one row of the table."""
    name = row.name if row.name.startswith("phpfpm_") else PREFIX + row.name
    metric = Metric(name, row.help, row.type)
    for labels, value in _values(row, sources):
        if isinstance(value, HistogramView):
            metric.samples += _histogram(name, labels, value)
        else:
            sample = f"{name}_total" if row.type == "counter" else name
            metric.samples.append(Sample(sample, labels, value))
    return metric


def _values(
    row: MetricRow, sources: Sequence[tuple[Labels, Any]]
) -> Iterator[tuple[Labels, float | HistogramView]]:
    """Return the values of a row with their labels; a value of None is left out."""
    label, members = row.by or ("", (None,))
    for labels, source in sources:
        for member in members:
            value = _value(row, source, member)
            if value is not None:
                more = {label: str(getattr(member, "value", member))} if label else {}
                yield {**labels, **more}, value


def _value(row: MetricRow, source: Any, member: Any) -> Any:  # noqa: ANN401 - of any source
    """Return one value; a mapping has the members of an enum as keys, or their values."""
    if not isinstance(row.value, str):
        return row.value(source) if member is None else row.value(source, member)
    value = getattr(source, row.value)
    if member is None:
        return value
    return value.get(member, value.get(getattr(member, "value", None), 0))


def _histogram(name: str, labels: Labels, view: HistogramView) -> Iterator[Sample]:
    below = 0
    for bound, count in zip((*view.bounds, float("inf")), view.counts, strict=True):
        below += count
        le = "+Inf" if bound == float("inf") else str(bound)
        yield Sample(f"{name}_bucket", {**labels, "le": le}, below)
    yield Sample(f"{name}_count", labels, below)
    yield Sample(f"{name}_sum", labels, view.total)
