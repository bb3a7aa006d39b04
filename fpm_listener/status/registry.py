"""The metrics for prometheus_client, which is loaded when somebody asks for them.

A listener without scrapes and without `textfile` does not need it.
"""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

from fpm_listener.values import FpmListenerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry

    from fpm_listener.status.snapshot import Snapshot


def on_demand(
    snapshot: Callable[[], Snapshot], library: str = "prometheus_client"
) -> Callable[[], CollectorRegistry]:
    """Return a function that makes the metrics. Raises FpmListenerError if `library` is missing.

    Without this check the listener starts, and only the first scrape reports the fault.
    """
    if find_spec(library) is None:
        raise FpmListenerError(
            f"the Python package {library} is not installed, so there are no metrics:"
            " install fpm-listener with its dependencies, for example: pip install fpm-listener"
        )
    return partial(_make, snapshot)


def _make(snapshot: Callable[[], Snapshot]) -> CollectorRegistry:
    from fpm_listener.status.metrics_library import load  # noqa: PLC0415 - late, see ADR 044

    load()
    from fpm_listener.status.metrics import make_registry  # noqa: PLC0415 - late, see ADR 044

    return make_registry(snapshot)
