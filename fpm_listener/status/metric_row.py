"""One row of the tables of metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class MetricRow(NamedTuple):
    """One metric of a group."""

    name: str  #: without `fpm_listener_` and `_total`
    type: str
    #: An attribute of the source, or a function of the source and of a member of `by`, if that is
    #: set. A value of None is left out.
    value: str | Callable[..., Any]
    by: tuple[str, Iterable[Any]] | None  #: one more label, and all its values
    help: str
