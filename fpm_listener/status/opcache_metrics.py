"""The rows of the metrics of OPcache."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm_listener.status.metric_row import MetricRow

if TYPE_CHECKING:
    from collections.abc import Callable

    from fpm_listener.phpfpm.opcache import OpcacheView


def _in_opcache(part: str) -> Callable[..., float | None]:
    def value(view: OpcacheView, name: str = "") -> float | None:
        return view.number(f"{part}_{name}" if name else part)

    return value


def _jit(view: OpcacheView, state: str) -> float | None:
    if not view.number("jit_size"):
        return None
    return view.jit_used if state == "used" else view.number("jit_free")


# fmt: off
OPCACHE = (
    MetricRow("phpfpm_opcache_full", "gauge", "is_full", None,
              "Whether OPcache is full: it stores no more scripts."),
    MetricRow("phpfpm_opcache_memory_bytes", "gauge", _in_opcache("memory"),
              ("state", ("used", "free", "wasted")),
              "Memory of OPcache (opcache.memory_consumption), by use."),
    MetricRow("phpfpm_opcache_restarts", "counter", _in_opcache("restarts"),
              ("reason", ("oom", "hash", "manual")),
              "Restarts of OPcache: memory is full, no free key, or opcache_reset."),
    MetricRow("phpfpm_opcache_hits", "counter", _in_opcache("hits"), None,
              "Scripts that OPcache had."),
    MetricRow("phpfpm_opcache_misses", "counter", _in_opcache("misses"), None,
              "Scripts that OPcache did not have."),
    MetricRow("phpfpm_opcache_scripts", "gauge", _in_opcache("scripts"), None,
              "Scripts in OPcache."),
    MetricRow("phpfpm_opcache_keys", "gauge", _in_opcache("keys"), None,
              "Used keys of OPcache."),
    MetricRow("phpfpm_opcache_max_keys", "gauge", _in_opcache("max_keys"), None,
              "Most keys of OPcache (opcache.max_accelerated_files)."),
    MetricRow("phpfpm_opcache_interned_strings", "gauge", _in_opcache("strings"), None,
              "Strings in the buffer of interned strings."),
    MetricRow("phpfpm_opcache_interned_strings_bytes", "gauge", _in_opcache("strings"),
              ("state", ("used", "free")),
              "Buffer of interned strings (opcache.interned_strings_buffer), by use."),
    MetricRow("phpfpm_opcache_jit_buffer_bytes", "gauge", _jit, ("state", ("used", "free")),
              "Buffer of the JIT (opcache.jit_buffer_size), by use."),
)
# fmt: on
