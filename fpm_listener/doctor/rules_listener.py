"""Rules on event listeners, on ours above all, and on the events that they get.

Each consequence was measured with supervisor 4.3.0 and 4.2.5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm_listener.doctor.checked_config import listeners, our_listeners, whole
from fpm_listener.doctor.rule import KeyRule, Match, key_rules, match, rule
from fpm_listener.phpfpm.config import STDERR

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fpm_listener.doctor.checked_config import CheckedConfig, Section, Supervised

_EVENTS = "PROCESS_STATE,PROCESS_LOG_STDERR,PROCESS_GROUP,SUPERVISOR_STATE_CHANGE"
#: Subscriptions that include every line of standard error.
_EVERY_LINE = {"EVENT", "PROCESS_LOG", "PROCESS_LOG_STDERR"}


def _listeners(config: CheckedConfig) -> list[Section]:
    return [process.section for process in listeners(config)]


def _ours(config: CheckedConfig) -> list[Section]:
    return [process.section for process in our_listeners(config)]


TABLE = (
    *key_rules(
        _listeners,
        KeyRule(
            "FPM105", "buffer_size", lambda n: n is not None and n < 256, {"buffer_size": "1024"}
        ),
        KeyRule("FPM107", "autorestart", lambda how: how != "true", {"autorestart": "true"}),
        KeyRule("FPM107", "startretries", lambda n: n < 100, {"startretries": "1000000"}),
    ),
    *key_rules(
        _ours,
        KeyRule("FPM110", "stderr_events_enabled", bool, {"stderr_events_enabled": "false"}),
    ),
)


@rule("FPM104", whole)
def no_listener(config: CheckedConfig) -> Iterator[Match]:
    """supervisord itself sends no alerts."""
    if config.fpms and not our_listeners(config):
        yield match(config.fpms[0].program, "command")


@rule("FPM106", whole)
def priority(config: CheckedConfig) -> Iterator[Match]:
    """supervisord sends a rejected event to all listeners of the same priority."""
    seen: dict[int, str] = {}
    for section in _listeners(config):
        number = section.values["priority"]
        other = seen.setdefault(number, section.name)
        if other != section.name:
            yield match(section, "priority", number=number, other=other)


@rule("FPM108", whole)
def several_listeners(config: CheckedConfig) -> Iterator[Match]:
    """Each of them sends every alert."""
    ours = _ours(config)
    if len(ours) > 1:
        yield match(ours[1], "numprocs", count=len(ours))


@rule("FPM109", our_listeners)
def events(process: Supervised) -> Iterator[Match]:
    """The listener needs PROCESS_STATE."""
    subscribed = set(process.settings.get("events") or ())
    if subscribed and not {"PROCESS_STATE", "EVENT"} & subscribed:
        names = ", ".join(sorted(subscribed))
        yield match(process.section, "events", {"events": _EVENTS}, events=names)


@rule("FPM116", whole)
def own_settings(config: CheckedConfig) -> Iterator[Match]:
    """The listener exits at once."""
    for path, why in config.refused:
        reason = why.removeprefix(f"{path} ").removeprefix(f"{path}: ")
        yield Match(path, {"reason": reason})


@rule("FPM119", whole)
def access_log_events(config: CheckedConfig) -> Iterator[Match]:
    """supervisord sends each line of stderr to listeners, and discards old events under load."""
    if not any(_EVERY_LINE & set(p.settings.get("events") or ()) for p in config.processes):
        return
    for fpm in config.fpms:
        settings = fpm.process.settings
        if settings["stderr_events_enabled"] and not settings["redirect_stderr"]:
            for pool in fpm.pools:
                if pool.section.get("access.log") in STDERR:
                    yield match(pool.section, "access.log", pool=pool.name)


@rule("FPM121", whole)
def undeliverable(config: CheckedConfig) -> Iterator[Match]:
    """No receiver is configured, as in the file that we ship, or a receiver cannot work."""
    for path, (receiver, reason) in config.undeliverable:
        if receiver:
            where = f"{path} [fpm-listener:receiver:{receiver}]"
            yield Match(where, {"reason": reason, "receiver": receiver})
        else:
            yield Match(path, {"reason": reason}, variant="none")


RULES = (
    *TABLE,
    *(no_listener, priority, several_listeners, events, own_settings, access_log_events),
    undeliverable,
)
