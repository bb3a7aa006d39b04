"""Rules on the keys of php-fpm's [program:x]: its starts, its output and its stops.

Each consequence was measured with supervisor 4.3.0 and php-fpm 8.2.
"""

from __future__ import annotations

import re
import signal
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from fpm_listener.doctor.checked_config import fpms, programs, whole
from fpm_listener.doctor.rule import KeyRule, key_rules, match, rule
from fpm_listener.host.addresses import UnixAddress
from fpm_listener.phpfpm.config import LogKind
from fpm_listener.supervisor.process import ProcessName

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fpm_listener.doctor.checked_config import CheckedConfig, Fpm, Section
    from fpm_listener.doctor.ini_edits import Edit
    from fpm_listener.doctor.rule import Match

_FAILED_START = {70, 75, 78}  # php-fpm in the background; the guard; php-fpm
_QUIT, _TERM, _INT = signal.SIGQUIT, signal.SIGTERM, signal.SIGINT
_DRAINS_S = 10.0
#: A descriptor of another process, for example of PID 1: only its own user may open it.
_DESCRIPTOR = re.compile(r"/proc/[0-9]+/fd/[0-9]+")


def _with_log_on_stderr(config: CheckedConfig) -> list[Section]:
    return [
        fpm.program
        for fpm in config.fpms
        if fpm.conf.log_kind is LogKind.STDERR and not fpm.process.settings["redirect_stderr"]
    ]


def _is_watched(config: CheckedConfig, event: str) -> bool:
    """Return whether another listener gets an event: many of them end the container then."""
    events = {event, "PROCESS_STATE", "EVENT"}
    return any(
        events.intersection(process.settings.get("events") or ())
        for process in config.processes
        if process.kind == "eventlistener" and not process.is_our_listener
    )


def _stay_exited(config: CheckedConfig) -> list[Section]:
    """Return the programs that may stay down after an exit."""
    return [] if _is_watched(config, "PROCESS_STATE_EXITED") else programs(config)


def _stay_down(config: CheckedConfig) -> list[Section]:
    """Return the programs that stay down after FATAL: self-healing does not start them again."""
    found = []
    for fpm in () if _is_watched(config, "PROCESS_STATE_FATAL") else config.fpms:
        name = ProcessName(fpm.process.group, fpm.process.name)
        texts = (str(name), name.shown)
        if not any(fnmatchcase(one, glob) for one in texts for glob in config.healed):
            found.append(fpm.program)
    return found


def _signals_break_workers(config: CheckedConfig) -> list[Section]:
    """Return the programs whose workers a stop signal ends at once. A shell passes none on."""
    own = [fpm.program for fpm in config.fpms if not fpm.in_shell]
    return [one for one in own if one.values["stopsignal"] != signal.SIGQUIT]


def stderr_channel(settings: Mapping[str, Any]) -> str:
    """Return the channel of supervisord that has the stderr of a program."""
    return "stdout" if settings["redirect_stderr"] else "stderr"


def sends_stderr(settings: Mapping[str, Any]) -> bool:
    """Return whether supervisord sends the stderr of a program to listeners."""
    return bool(settings[f"{stderr_channel(settings)}_events_enabled"])


_STDERR_EVENTS = {"stderr_events_enabled": "true"}
_STDOUT_EVENTS = {"stdout_events_enabled": "true"}
TABLE = (
    *key_rules(
        programs,
        KeyRule("FPM005", "startsecs", lambda seconds: seconds < 2, {"startsecs": "3"}),
        KeyRule("FPM008", "exitcodes", _FAILED_START.intersection, {"exitcodes": "0"}),
        KeyRule("FPM014", "killasgroup", lambda is_set: not is_set, {"killasgroup": "true"}),
    ),
    *key_rules(
        _stay_exited,
        KeyRule("FPM009", "autorestart", lambda how: how != "true", {"autorestart": "true"}),
    ),
    *key_rules(
        _stay_down,
        KeyRule("FPM007", "startretries", lambda retries: retries < 5, {"startretries": "10"}),
    ),
    *key_rules(
        _signals_break_workers, KeyRule("FPM015", "stopasgroup", bool, {"stopasgroup": None})
    ),
    *key_rules(
        _with_log_on_stderr,
        KeyRule("FPM021", "stderr_events_enabled", lambda is_set: not is_set, _STDERR_EVENTS),
    ),
)


@rule("FPM016", whole)
def several_masters(config: CheckedConfig) -> Iterator[Match]:
    """Unless each process has another configuration or other variables."""
    for fpm in config.fpms:
        same = [one for one in config.processes if one.section.place == fpm.program.place]
        ways = {(one.command, *sorted(one.settings["environment"].items())) for one in same}
        count = fpm.process.settings["numprocs"]
        if count > 1 and len(ways) == 1:
            yield match(fpm.program, "numprocs", {"numprocs": "1"}, value=count)


@rule("FPM019", programs)
def mixed_output(program: Section) -> Iterator[Match]:
    """With the events of stdout, the listener gets the errors."""
    if program.values["redirect_stderr"] and not sends_stderr(program.values):
        yield match(program, "redirect_stderr", _STDOUT_EVENTS)


@rule("FPM020", fpms)
def stderr_discarded(fpm: Fpm) -> Iterator[Match]:
    """php-fpm reports errors of php-fpm.conf on stderr only."""
    settings = fpm.process.settings
    log = settings["stderr_logfile"]
    is_kept = settings["redirect_stderr"] or (log and log != "/dev/null")
    if not sends_stderr(settings) and not is_kept:
        yield match(fpm.program, "stderr_logfile", {**_STDERR_EVENTS, "stderr_logfile": None})


@rule("FPM025", whole)
def needs_root(config: CheckedConfig) -> Iterator[Match]:
    """Only root can change owners and roots, and open a stderr that belongs to root."""
    for fpm in config.fpms:
        if fpm.uid not in {None, 0}:
            yield from _needs_root(fpm, _as_root(config, fpm))


def _as_root(config: CheckedConfig, fpm: Fpm) -> str:
    """Return how the program becomes root's."""
    if fpm.invocation.user:
        return "start php-fpm as root: the command changes the user"
    for section in (fpm.program, config.section("supervisord")):
        if "user" in section.lines:
            return f"remove user= from [{section.name}]"
    return "start supervisord as root"


def _needs_root(fpm: Fpm, as_root: str) -> Iterator[Match]:
    user = fpm.uid
    texts = {"user": fpm.machine.named_user(user), "as_root": as_root}
    for pool in fpm.pools:
        if pool.section.get("chroot"):
            yield match(pool.section, "chroot", {}, "ignored", **texts)
        for kind in ("owner", "group") if isinstance(pool.listen, UnixAddress) else ():
            name = pool.section.get(f"listen.{kind}")
            if name and not fpm.machine.may_give(user, kind, name):
                yield match(pool.section, f"listen.{kind}", **texts)
    is_own = fpm.process.settings.get("supervisord_uid") == user
    log = fpm.conf.opened_log
    is_stderr = log.kind is LogKind.STDERR or _DESCRIPTOR.fullmatch(log.path or "")
    if is_stderr and not is_own:
        yield match(fpm.main, "error_log", {}, "log", **texts)


# -- stops -----------------------------------------------------------------------------------------


def _stopwaitsecs(drains_s: float) -> dict[str, str | None]:
    """Return a stopwaitsecs that leaves time to finish requests."""
    return {"stopwaitsecs": str(max(20, int(drains_s) + 5))}


def _graceful(fpm: Fpm) -> tuple[Edit, ...]:
    """Return the edits that let QUIT finish requests, and let supervisord wait for that."""
    drains_s = fpm.conf.process_control_timeout_s
    edits: tuple[Edit, ...] = ()
    if not drains_s:
        drains_s = _DRAINS_S
        edits = fpm.main.edits({"process_control_timeout": f"{drains_s:g}s"})
    if fpm.process.settings["stopwaitsecs"] <= drains_s + 2:
        edits += fpm.program.edits(_stopwaitsecs(drains_s))
    return edits


def _wrong_signal(fpm: Fpm) -> Match:
    name = signal.Signals(fpm.process.settings["stopsignal"]).name.removeprefix("SIG")
    found = match(fpm.program, "stopsignal", {"stopsignal": "QUIT"}, signal=name)
    return found._replace(edits=found.edits + _graceful(fpm))


@rule("FPM010", fpms)
def interrupting_signal(fpm: Fpm) -> Iterator[Match]:
    """php-fpm does not finish requests on TERM and INT."""
    if fpm.process.settings["stopsignal"] in {_TERM, _INT}:
        yield _wrong_signal(fpm)


@rule("FPM011", fpms)
def other_signal(fpm: Fpm) -> Iterator[Match]:
    """HUP and USR2 reload, USR1 opens the logs again."""
    if fpm.process.settings["stopsignal"] not in {_QUIT, _TERM, _INT, signal.SIGKILL}:
        yield _wrong_signal(fpm)


@rule("FPM012", fpms)
def control_timeout(fpm: Fpm) -> Iterator[Match]:
    """process_control_timeout is 0 by default."""
    quits = fpm.process.settings["stopsignal"] == _QUIT and fpm.is_read
    if quits and not fpm.conf.process_control_timeout_s:
        yield match(fpm.main, "process_control_timeout")._replace(edits=_graceful(fpm))


@rule("FPM013", fpms)
def stopwaitsecs(fpm: Fpm) -> Iterator[Match]:
    """After a KILL of the master, its workers stay. Only QUIT waits for the end of requests."""
    waits_s = fpm.process.settings["stopwaitsecs"]
    drains_s = fpm.conf.process_control_timeout_s
    if fpm.process.settings["stopsignal"] == _QUIT and fpm.is_read and waits_s <= drains_s + 2:
        change = _stopwaitsecs(drains_s)
        yield match(fpm.program, "stopwaitsecs", change, waits_s=waits_s, drains_s=drains_s)


RULES = (
    *TABLE,
    *(several_masters, mixed_output, stderr_discarded, needs_root),
    *(interrupting_signal, other_signal, control_timeout, stopwaitsecs),
)
