"""Rules on php-fpm's own configuration: its limits, paths, syntax and log.

Each consequence was measured with php-fpm 8.2 or is in its source.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm_listener.doctor.checked_config import (
    folder_of,
    fpms,
    pool_sections,
    pools,
    read_fpms,
    whole,
)
from fpm_listener.doctor.rule import KeyRule, Match, key_rules, match, rule
from fpm_listener.host import addresses
from fpm_listener.phpfpm.config import LogKind
from fpm_listener.phpfpm.directives import seconds
from fpm_listener.phpfpm.ini_values import number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fpm_listener.doctor.checked_config import CheckedConfig, CheckedPool, Fpm, Section

_YES = {"1", "yes", "on", "true"}
_QUIET = {"warning", "error", "alert"}
_OFF = {None, "", "0", "0s"}
_NOTICE = {"log_level": "notice"}


def _global_sections(config: CheckedConfig) -> list[Section]:
    return [fpm.main for fpm in read_fpms(config)]


def _in_container(config: CheckedConfig) -> list[Section]:
    return pool_sections(config) if config.machine.in_container() else []


TABLE = (
    *key_rules(
        _global_sections,
        KeyRule("FPM054", "log_level", _QUIET.__contains__, _NOTICE),
        KeyRule("FPM072", "log_level", "debug".__eq__, _NOTICE),
    ),
    *key_rules(
        _in_container,
        KeyRule("FPM070", "request_slowlog_timeout", lambda time: time not in _OFF),
    ),
    *key_rules(
        pool_sections,
        KeyRule(
            "FPM059", "pm.max_requests", {None, "", "0"}.__contains__, {"pm.max_requests": "1000"}
        ),
    ),
)


@rule("FPM051", read_fpms)
def emergency_restart(fpm: Fpm) -> Iterator[Match]:
    """With a broken opcache every worker crashes until the master restarts."""
    if not fpm.conf.emergency_restart_threshold or not fpm.conf.emergency_restart_interval_s:
        change = {"emergency_restart_threshold": "10", "emergency_restart_interval": "1m"}
        yield match(fpm.main, "emergency_restart_threshold", change)


@rule("FPM052", pools)
def terminate_timeout(pool: CheckedPool) -> Iterator[Match]:
    """max_execution_time does not count the time in which a request waits.

    There is an edit only if the pool sets max_execution_time: php.ini may have any value.
    """
    if seconds(pool.section.get("request_terminate_timeout")):
        return
    names = (f"php_{kind}value[max_execution_time]" for kind in ("", "admin_"))
    longest = [number(pool.section.get(name)) for name in names if name in pool.section.values]
    slow_s = seconds(pool.section.get("request_slowlog_timeout"))
    above_s = max(60, 2 * slow_s, *(limit_s + 30 for limit_s in longest), 0)
    known = longest and 0 not in longest
    change = {"request_terminate_timeout": f"{above_s}s"} if known else {}
    yield match(pool.section, "request_terminate_timeout", change, above_s=above_s)


@rule("FPM053", pools)
def slowlog_timeout(pool: CheckedPool) -> Iterator[Match]:
    """php-fpm refuses it."""
    slow_s = seconds(pool.section.get("request_slowlog_timeout"))
    ends_s = seconds(pool.section.get("request_terminate_timeout"))
    if slow_s and ends_s and slow_s > ends_s:
        change = {"request_slowlog_timeout": f"{max(1, ends_s // 2)}s"} if ends_s > 0 else {}
        yield match(pool.section, "request_slowlog_timeout", change, slow_s=slow_s, ends_s=ends_s)


@rule("FPM060", pools)
def probes(pool: CheckedPool) -> Iterator[Match]:
    """A master can run while its pool does not answer."""
    if not pool.section.get("ping.path") and not pool.section.get("pm.status_path"):
        change = {"ping.path": "/ping", "pm.status_path": "/status"}
        yield match(pool.section, "ping.path", change)


@rule("FPM063", read_fpms)
def pid_folder(fpm: Fpm) -> Iterator[Match]:
    """php-fpm does not start without its pid file."""
    yield from _missing_folder(fpm, "pid", fpm.conf.pid_file)


@rule("FPM064", whole)
def one_pid_file(config: CheckedConfig) -> Iterator[Match]:
    """php-fpm does not read the file before it writes."""
    first: dict[str, Fpm] = {}
    for fpm in config.fpms:
        path = fpm.conf.pid_file
        other = first.setdefault(path, fpm) if path else fpm
        if other.program.name != fpm.program.name:
            yield match(fpm.main, "pid", path=path, other=other.process.group)


@rule("FPM065", fpms)
def relative_path(fpm: Fpm) -> Iterator[Match]:
    """It begins at the directory that php was built for: /usr on Debian."""
    for section in fpm.all_sections:
        for key in ("listen", "error_log", "pid", "include", "slowlog"):
            line = section.lines.get(key)
            value = line.value.strip("\"' ") if line else ""
            is_path = "/" in value if key != "listen" else addresses.is_path(value)
            if is_path and value[:1] not in {"/", "$"} and fpm.invocation.prefix is None:
                yield match(section, key, value=value)


@rule("FPM066", fpms)
def hash_comment(fpm: Fpm) -> Iterator[Match]:
    """Since PHP 7 the # is a part of the key."""
    for section in fpm.all_sections:
        yield from (match(section, key) for key in section.lines if key.startswith("#"))


@rule("FPM071", pools)
def overridden(pool: CheckedPool) -> Iterator[Match]:
    """A file that is included later changes pools of the same name."""
    line = pool.section.lines.get("listen")
    if line is not None and line.overrides:
        values = {"pool": pool.name, "other": line.overrides, "value": line.value}
        yield match(pool.section, "listen", **values)


# -- the log ---------------------------------------------------------------------------------------


@rule("FPM055", pool_sections)
def forged_lines(pool: Section) -> Iterator[Match]:
    """Lines without decoration look like php-fpm's own lines."""
    decorates = pool.get("decorate_workers_output", "yes").lower() in _YES
    if catches_output(pool) and not decorates:
        found = match(pool, "decorate_workers_output", {"decorate_workers_output": "yes"})
        # Docker's image has it: the application's own lines, such as JSON, are in docker logs.
        yield found._replace(edits=()) if found.package else found


def catches_output(pool: Section) -> bool:
    """Return whether the master reads the output of the workers."""
    return pool.get("catch_workers_output").lower() in _YES


def _with_known_output(config: CheckedConfig) -> list[Section]:
    """Return the pools; the official image sets the key in a file that a repository lacks."""
    is_here = config.partial is None
    known = pool_sections(config)
    return known if is_here else [one for one in known if "catch_workers_output" in one.lines]


@rule("FPM056", _with_known_output)
def lost_output(pool: Section) -> Iterator[Match]:
    """Fatal errors of an application's start go to /dev/null."""
    if not catches_output(pool):
        decorated = {"decorate_workers_output"} & set(pool.values)  # otherwise FPM055 is next
        change = dict.fromkeys(["catch_workers_output", *decorated], "yes")
        yield match(pool, "catch_workers_output", change)


@rule("FPM061", read_fpms)
def log_folder(fpm: Fpm) -> Iterator[Match]:
    """php-fpm does not start without its log."""
    yield from _missing_folder(fpm, "error_log", fpm.conf.opened_file)


@rule("FPM062", fpms)
def one_file(fpm: Fpm) -> Iterator[Match]:
    """supervisord renames the file while php-fpm writes to it."""
    log = fpm.conf.error_log
    if log and log in {fpm.process.settings[f"{name}_logfile"] for name in ("stdout", "stderr")}:
        yield match(fpm.main, "error_log", path=log)


@rule("FPM069", read_fpms)
def unreadable_log(fpm: Fpm) -> Iterator[Match]:
    """Nothing reads syslog here."""
    if fpm.conf.log_kind in {LogKind.SYSLOG, LogKind.DEVICE}:
        target = fpm.conf.log.path or fpm.conf.log_kind.value
        yield match(fpm.main, "error_log", target=target)


RULES = (
    *TABLE,
    *(emergency_restart, terminate_timeout, slowlog_timeout, probes),
    *(pid_folder, one_pid_file, relative_path, hash_comment),
    *(overridden, forged_lines, lost_output, log_folder, one_file, unreadable_log),
)


def _missing_folder(fpm: Fpm, key: str, path: str | None) -> Iterator[Match]:
    """Match a file in [global] whose folder does not exist; php-fpm does not create folders."""
    if path and path.startswith("/") and not fpm.machine.is_folder(folder_of(path)):
        yield match(fpm.main, key, folder=folder_of(path))
