"""Counts of observations by upper bound, as in Prometheus."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class HistogramView:
    """The counts of a histogram, as a value for other threads."""

    bounds: tuple[float, ...]  #: upper bounds in rising order, +Inf left out
    counts: tuple[int, ...]  #: observations per bucket, not cumulative; one longer than bounds
    total: float  #: sum of all observations


class Histogram:
    """Collects observations; owned by one thread."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0

    def observe(self, value: float) -> None:
        """Count one observation, in the unit of the bounds."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._total += value

    def view(self) -> HistogramView:
        """Return the counts so far."""
        return HistogramView(bounds=self._bounds, counts=tuple(self._counts), total=self._total)


def merge(views: Sequence[HistogramView]) -> HistogramView:
    """Return the sum of histograms with the same bounds; at least one."""
    return HistogramView(
        bounds=views[0].bounds,
        counts=tuple(sum(counts) for counts in zip(*(v.counts for v in views), strict=True)),
        total=sum(view.total for view in views),
    )
