"""What php-fpm checks after it has read all lines: missing settings, limits, and relations.

Files, directories and users are not checked here. The doctor does that.

Source: php-src sapi/fpm/fpm/fpm_conf.c (fpm_conf_post_process, fpm_conf_process_all_pools) of 7.4
and 8.2; compared with `php-fpm8.2 -t` (tests/check_parity.py).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fpm_listener.phpfpm.access_format import access_format_fault
from fpm_listener.phpfpm.directives import seconds
from fpm_listener.phpfpm.ini_values import number

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_LEAST_LOG_LIMIT = 512  # zlog.h, ZLOG_MIN_LIMIT
_UNSET_PRIORITY = 64
_PRIORITIES = range(-19, 21)
_MECHANISMS = {"epoll", "poll", "select"}  # those of Linux
_PAGE = re.compile(r"[A-Za-z0-9/_.~-]*")

#: A key, and why php-fpm rejects the configuration, as a clause.
Fault = tuple[str, str]


def global_faults(options: Mapping[str, str]) -> Iterator[Fault]:
    """Return what is wrong in [global]."""
    if "log_limit" in options and number(options["log_limit"]) < _LEAST_LOG_LIMIT:
        yield "log_limit", f"it must be at least {_LEAST_LOG_LIMIT}"
    if number(options.get("process.max", "")) < 0:
        yield "process.max", "it must be 0 or more"
    yield from _priority_fault(options)
    mechanism = options.get("events.mechanism")
    if mechanism is not None and mechanism.lower() not in _MECHANISMS:
        yield "events.mechanism", "Linux has epoll, poll and select only"


def pool_faults(options: Mapping[str, str], mechanism: str | None) -> Iterator[Fault]:
    """Return what is wrong in one pool; mechanism: events.mechanism of [global]."""
    if not options.get("listen"):
        yield "listen", "it is not set"
    if options.get("pm.status_listen") == "":
        yield "pm.status_listen", "it is empty"
    yield from _priority_fault(options)
    yield from _worker_faults(options, mechanism)
    yield from _page_faults(options)
    yield from _log_faults(options)
    if "$prefix" in options.get("chroot", "")[1:]:
        yield "chroot", "$prefix must be at the beginning"


def _priority_fault(options: Mapping[str, str]) -> Iterator[Fault]:
    priority = number(options.get("process.priority", str(_UNSET_PRIORITY)))
    if priority != _UNSET_PRIORITY and priority not in _PRIORITIES:
        yield "process.priority", "it must be between -19 and 20"


def _worker_faults(options: Mapping[str, str], mechanism: str | None) -> Iterator[Fault]:
    manager = options.get("pm", "").lower()
    most = number(options.get("pm.max_children", ""))
    if "pm" not in options:
        yield "pm", "it is not set; set it to static, dynamic or ondemand"
    if most < 1:
        is_set = "pm.max_children" in options
        yield "pm.max_children", "it must be at least 1" if is_set else "it is not set"
    elif manager == "dynamic":
        yield from _spare_faults(options, most)
    if manager == "dynamic" and number(options.get("pm.max_spawn_rate", "1")) < 1:
        yield "pm.max_spawn_rate", "it must be at least 1"
    if manager == "ondemand":
        if seconds(options.get("pm.process_idle_timeout", "1")) < 1:
            yield "pm.process_idle_timeout", "it must be at least 1s"
        if mechanism is not None and mechanism.lower() in _MECHANISMS - {"epoll"}:
            yield "pm", "ondemand needs events.mechanism = epoll"


def _spare_faults(options: Mapping[str, str], most: int) -> Iterator[Fault]:
    least_key, most_key, start_key = (
        f"pm.{name}" for name in ("min_spare_servers", "max_spare_servers", "start_servers")
    )
    low, high, start = (number(options.get(key, "")) for key in (least_key, most_key, start_key))
    for key, value in ((least_key, low), (most_key, high)):
        if value < 1:
            why = "it must be at least 1" if key in options else "it is not set"
            yield key, f"{why}; pm = dynamic needs it"
        elif value > most:
            yield key, f"{value} is above pm.max_children = {most}"
    if low < 1 or high < 1:
        return
    if high < low:
        yield most_key, f"{high} is below {least_key} = {low}"
    elif start > 0 and not low <= start <= high:
        yield start_key, f"{start} is not between {least_key} = {low} and {most_key} = {high}"


def _page_faults(options: Mapping[str, str]) -> Iterator[Fault]:
    shortest = {"ping.path": 2, "pm.status_path": 1 if "pm.status_listen" in options else 2}
    for key, length in shortest.items():
        page = options.get(key)
        if not page:
            continue
        if page[0] != "/":
            yield key, "it must begin with /"
        elif len(page) < length:
            yield key, "it needs more than /"
        elif not _PAGE.fullmatch(page):
            yield key, "only letters, digits and /_-.~ are allowed"
    if options.get("ping.path") and options.get("ping.response") == "":
        yield "ping.response", "it is empty"


def _log_faults(options: Mapping[str, str]) -> Iterator[Fault]:
    for key in ("request_slowlog_timeout", "request_slowlog_trace_depth"):
        if number(options.get(key, "")) and not options.get("slowlog"):
            yield key, "it needs slowlog"
    if number(options.get("request_slowlog_trace_depth", "")) < 0:
        yield "request_slowlog_trace_depth", "it must be at least 1"
    if options.get("access.log") == "":
        yield "access.log", "it is empty"
    elif "access.log" in options and (why := access_format_fault(options.get("access.format", ""))):
        yield "access.format", why
