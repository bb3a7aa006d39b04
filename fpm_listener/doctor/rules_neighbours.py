"""Rules on the keys of the programs beside php-fpm: their starts, their ends and their stops.

Measured with supervisor 4.3.0, nginx 1.22 and Apache 2.4.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.doctor.checked_config import whole
from fpm_listener.doctor.neighbours import base_name, neighbours
from fpm_listener.doctor.rule import rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fpm_listener.doctor.checked_config import CheckedConfig, Fpm, Section
    from fpm_listener.doctor.neighbours import Neighbour
    from fpm_listener.doctor.rule import Match

_APACHE = {"apache2", "httpd", "apachectl", "apache2ctl", "apache2-foreground"}
#: A shell that waits for Apache: it gets the signal, and Apache does not.
_SCRIPTS = {"apachectl", "apache2ctl"}
_WEB = {"nginx", "caddy", "openresty", *_APACHE}
#: Programs that always serve until they are stopped.
_SERVICES = {
    *_WEB,
    *("cron", "crond", "supercronic", "redis-server", "valkey-server", "memcached", "sshd"),
    *("mysqld", "mariadbd", "postgres", "rsyslogd", "haproxy", "varnishd", "mailpit"),
}
#: Words by which a command waits for something.
_WAITS = ("after", "wait-for", "wait-for-it", "wait-for-it.sh", "dockerize", "sleep", "until")


@rule("FPM149", neighbours)
def never_fatal(program: Neighbour) -> Iterator[Match]:
    """Each start counts as a success at once; FPM005 reports php-fpm's."""
    settings, started = program.settings, program.started
    is_service = settings["autorestart"] == "true" or program.name in _SERVICES
    is_on = settings["autorestart"] != "false" and program.starts
    if (
        not settings["startsecs"]
        and is_on
        and is_service
        and not (started.waits or started.repeats)
    ):
        yield program.match("startsecs", {"startsecs": "1"}, value=0)


@rule("FPM150", whole)
def web_server_first(config: CheckedConfig) -> Iterator[Match]:
    """`priority` shows that somebody wants an order; supervisord does not wait for php-fpm."""
    fpm = next((one for one in config.fpms if one.process.settings.get("autostart", True)), None)
    for program in neighbours(config) if fpm else ():
        own, other = program.settings["priority"], fpm.process.settings["priority"] if fpm else 0
        is_given = any(
            "priority" in section.lines for section in (program.section, *_sections(fpm))
        )
        words = {base_name(word) for word in program.process.command.split()}
        waits = words.intersection(_WAITS) or program.started.waits or program.started.repeats
        is_before = is_given and own < other
        is_useful = is_before or (is_given and own > other and _has_listener(config))
        if program.name in _WEB and program.starts and is_useful and not waits:
            variant = "before" if is_before else ""
            names = {"priority": own, "other": other, "fpm": fpm.process.group if fpm else ""}
            yield program.match("priority", {}, variant, **names)


def _has_listener(config: CheckedConfig) -> bool:
    """Return whether fpm-listener is there; without it, the usual order needs no change."""
    return any(process.is_our_listener for process in config.processes)


def _sections(fpm: Fpm | None) -> list[Section]:
    return [fpm.program] if fpm else []


@rule("FPM151", whole)
def container_stays(config: CheckedConfig) -> Iterator[Match]:
    """supervisord is the main process of the container, and continues; FPM009 reports php-fpm's."""
    watched = any(
        process.kind == "eventlistener" and not process.is_our_listener
        for process in config.processes
    )
    if config.supervisord.get("nodaemon") is not True or watched or config.healed:
        return
    for program in neighbours(config):
        stays_down = program.settings["autorestart"] == "false" and program.starts
        if program.name in _SERVICES and stays_down:
            yield program.match("autorestart", {"autorestart": "true"})


class _Signals(NamedTuple):
    """What the signals of a program do."""

    best: str
    interrupts: str  #: ends it, and what it does
    ignored: str  #: does not end it
    orphans: str  #: ends the first process, and not its children


_NGINX = _Signals("QUIT", "TERM INT", "WINCH HUP USR1 USR2", "KILL")
_APACHES = _Signals("WINCH", "TERM INT", "HUP USR1", "QUIT USR2 KILL")
_QUEUE = _Signals("TERM", "HUP USR1 KILL", "USR2", "")


def _signals(program: Neighbour) -> _Signals | None:
    if program.started.shell and not program.started.execs:
        return None  # FPM147: the shell gets the signal
    names = {base_name(word) for word in program.words}
    if program.name in {"nginx", "openresty"}:
        return _NGINX
    if program.name in _APACHE - _SCRIPTS:
        return _APACHES
    return _QUEUE if {"artisan", "queue:work"} <= names else None


@rule("FPM152", whole)
def wrong_signal(config: CheckedConfig) -> Iterator[Match]:
    """A stop that is not a stop, that leaves processes behind, or that drops answers of php-fpm."""
    for program in neighbours(config):
        known = _signals(program)
        number = program.settings["stopsignal"]
        name = signal.Signals(number).name.removeprefix("SIG") if known else ""
        if known is None:
            continue
        change: dict[str, str | None] = {"stopsignal": known.best}
        values = {"signal": name, "best": known.best}
        if name in known.ignored.split():
            yield program.match("stopsignal", change, **values)
        elif name in known.orphans.split():
            yield program.match("stopsignal", change, "orphans", **values)
        elif name in known.interrupts.split() and (known is _QUEUE or config.fpms):
            variant = "job" if known is _QUEUE else "requests"
            yield program.match("stopsignal", change, variant, **values)


RULES = (never_fatal, web_server_first, container_stays, wrong_signal)
