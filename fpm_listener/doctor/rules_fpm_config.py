"""Rules on how php-fpm's own configuration has it work and log.

Each consequence was measured with php-fpm 8.2 or is in its source; see docs/checks.md.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fpm_listener.doctor.rule import FindingSeverity, Said, for_each_fpm, rule
from fpm_listener.host import addresses

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fpm_listener.doctor.checked_config import CheckedConfig, Fpm
    from fpm_listener.phpfpm.config import Pool

_E, _W, _H = FindingSeverity.ERROR, FindingSeverity.WARNING, FindingSeverity.HINT
_YES = {"1", "yes", "on", "true"}
#: Bytes that a worker takes at least; a small application's share.
_WORKER_BYTES = 32 << 20


def _seconds(text: str) -> float:
    found = re.fullmatch(r"\s*(\d{1,10})\s*([smhd]?)\s*", text, re.ASCII)
    return int(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]] if found else 0


def _children(pool: Pool) -> int:
    return _whole(pool.options.get("pm.max_children", "")) or 0


def _whole(text: str) -> int | None:
    """Return the number; None if it is none, or one that php-fpm cannot use."""
    return int(text) if re.fullmatch(r"[0-9]{1,10}", text) else None


def _folder(path: str) -> str:
    return path.rpartition("/")[0] or "/"


@rule("FPM051", _W, "crashing workers are never cured")
@for_each_fpm
def emergency(fpm: Fpm) -> Iterator[Said]:
    """A broken opcache makes every worker crash until the master restarts."""
    conf = fpm.conf
    if not conf.emergency_restart_threshold or not conf.emergency_restart_interval_s:
        yield Said(
            fpm.in_fpm("global", "emergency_restart_threshold"),
            "emergency_restart_threshold and emergency_restart_interval are not set",
            "where shared memory is broken every worker crashes, and the master lets them",
            "emergency_restart_threshold = 10 and emergency_restart_interval = 1m",
            fpm.edits_in_fpm(
                "global",
                {"emergency_restart_threshold": "10", "emergency_restart_interval": "1m"},
            ),
        )


@rule("FPM052", _W, "a hung worker hangs for ever")
@for_each_fpm
def terminate(fpm: Fpm) -> Iterator[Said]:
    """max_execution_time does not count waiting."""
    for pool in fpm.conf.pools:
        slow = _seconds(fpm.option(pool, "request_slowlog_timeout", "0"))
        if not _seconds(fpm.option(pool, "request_terminate_timeout", "0")):
            yield Said(
                fpm.in_fpm(pool.name, "request_terminate_timeout"),
                "request_terminate_timeout is 0",
                "a request that waits for something is never ended (max_execution_time counts no"
                " waiting): the pool runs out of workers, one by one",
                "request_terminate_timeout = 60s, above max_execution_time",
                fpm.edits_in_fpm(
                    pool.name,
                    {"request_terminate_timeout": f"{max(60, 2 * int(slow))}s"},
                ),
            )


@rule("FPM053", _E, "the slow log is later than the end")
@for_each_fpm
def slowlog(fpm: Fpm) -> Iterator[Said]:
    """php-fpm refuses it."""
    for pool in fpm.conf.pools:
        slow = _seconds(fpm.option(pool, "request_slowlog_timeout", "0"))
        ends = _seconds(fpm.option(pool, "request_terminate_timeout", "0"))
        if slow and ends and slow > ends:
            yield Said(
                fpm.in_fpm(pool.name, "request_slowlog_timeout"),
                f"request_slowlog_timeout ({slow:g} s) is above request_terminate_timeout"
                f" ({ends:g} s)",
                "php-fpm does not start (78)",
                f"request_slowlog_timeout = {max(1, int(ends) // 2)}s",
                fpm.edits_in_fpm(
                    pool.name,
                    {"request_slowlog_timeout": f"{max(1, int(ends) // 2)}s"},
                ),
            )


@rule("FPM054", _W, "php-fpm keeps silent")
@for_each_fpm
def log_level(fpm: Fpm) -> Iterator[Said]:
    """Above notice it says neither that it runs nor that a worker has died."""
    if fpm.conf.log_level in {"warning", "error", "alert"}:
        yield Said(
            fpm.in_fpm("global", "log_level"),
            f"log_level = {fpm.conf.log_level}",
            "php-fpm does not say that it runs, reloads or ends: the listener tells a start from a"
            " failure by supervisord's word only",
            "log_level = notice",
            fpm.edits_in_fpm("global", {"log_level": "notice"}),
        )


@rule("FPM055", _W, "an application can write php-fpm's log")
@for_each_fpm
def forged(fpm: Fpm) -> Iterator[Said]:
    """Lines without decoration look like php-fpm's own."""
    for pool in fpm.conf.pools:
        catches = fpm.option(pool, "catch_workers_output").lower() in _YES
        plain = "decorate_workers_output" in pool.options and (
            fpm.option(pool, "decorate_workers_output").lower() not in _YES
        )
        if catches and plain:
            yield Said(
                fpm.in_fpm(pool.name, "decorate_workers_output"),
                "catch_workers_output = yes with decorate_workers_output = no",
                "what the application prints stands in the log as if php-fpm had said it",
                "decorate_workers_output = yes",
                fpm.edits_in_fpm(pool.name, {"decorate_workers_output": "yes"}),
            )


@rule("FPM056", _H, "what workers say is lost")
@for_each_fpm
def lost_output(fpm: Fpm) -> Iterator[Said]:
    """Fatal errors of a start-up go to /dev/null."""
    for pool in fpm.conf.pools:
        decorated = {"decorate_workers_output"} & set(pool.options)  # or it is FPM055
        if fpm.option(pool, "catch_workers_output").lower() not in _YES:
            yield Said(
                fpm.in_fpm(pool.name, "catch_workers_output"),
                "catch_workers_output is off",
                "what workers say on stderr goes to /dev/null, fatal errors among it",
                "catch_workers_output = yes",
                fpm.edits_in_fpm(
                    pool.name,
                    dict.fromkeys(["catch_workers_output", *decorated], "yes"),
                ),
            )


@rule("FPM057", _W, "more workers than memory")
def memory(checkup: CheckedConfig) -> Iterator[Said]:
    """The kernel's out-of-memory killer ends the master, too."""
    limit = checkup.machine.memory_limit()
    children = sum(_children(pool) for fpm in checkup.fpms for pool in fpm.conf.pools)
    if limit is None or children * _WORKER_BYTES <= limit or not checkup.fpms:
        return
    fpm = checkup.fpms[0]
    most = max(fpm.conf.pools, key=_children)
    yield Said(
        fpm.in_fpm(most.name, "pm.max_children"),
        f"{children} workers at 32 MiB each are {children * 32} MiB; there are {limit >> 20} MiB",
        "under load the kernel kills a process: where it is php-fpm's master, its workers keep the"
        " address and the next start fails",
        f"pm.max_children = {max(1, limit // _WORKER_BYTES * 3 // 4)} or less in all",
    )


@rule("FPM058", _W, "more workers than descriptors")
def descriptors(checkup: CheckedConfig) -> Iterator[Said]:
    """The master has up to three for each worker."""
    for fpm in checkup.fpms:
        children = sum(_children(pool) for pool in fpm.conf.pools)
        own = _whole(fpm.conf.options.get("rlimit_files", ""))
        limit = int(checkup.supervisord.get("minfds") or 1024) if own is None else own
        if children * 3 + 64 > limit:
            yield Said(
                fpm.in_fpm("global", "rlimit_files"),
                f"up to {children} workers, and {limit} open files",
                "the master needs three for each worker whose output it catches: it cannot start"
                " the last ones",
                f"rlimit_files = {children * 4 + 64} in [global], or minfds in [supervisord]",
            )


@rule("FPM059", _H, "workers live for ever")
@for_each_fpm
def max_requests(fpm: Fpm) -> Iterator[Said]:
    """Leaks grow, and orphans never wear out."""
    for pool in fpm.conf.pools:
        if fpm.option(pool, "pm.max_requests", "0") in {"", "0"}:
            yield Said(
                fpm.in_fpm(pool.name, "pm.max_requests"),
                "pm.max_requests is 0",
                "what leaks grows until something breaks, and workers that have lost their master"
                " never wear out",
                "pm.max_requests = 1000",
                fpm.edits_in_fpm(pool.name, {"pm.max_requests": "1000"}),
            )


@rule("FPM070", _H, "a slow log that cannot look")
def slow_log(checkup: CheckedConfig) -> Iterator[Said]:
    """php-fpm stops the worker with ptrace to read where it is."""
    if not checkup.machine.in_container():
        return
    for fpm in checkup.fpms:
        for pool in fpm.conf.pools:
            if fpm.option(pool, "request_slowlog_timeout", "0") not in {"", "0", "0s"}:
                yield Said(
                    fpm.in_fpm(pool.name, "request_slowlog_timeout"),
                    "a slow log in a container",
                    "without the capability SYS_PTRACE each slow request is one line more,"
                    " `failed to ptrace(ATTACH)`, and no trace",
                    "run the container with --cap-add SYS_PTRACE, or leave the slow log out",
                )


@rule("FPM071", _H, "an address that a later line overrides")
@for_each_fpm
def overridden(fpm: Fpm) -> Iterator[Said]:
    """Files that are included later change pools of the same name."""
    for pool in fpm.conf.pools:
        section = fpm.sections.get(pool.name.lower())
        line = section.lines.get("listen") if section else None
        if line is not None and line.overrides:
            yield Said(
                fpm.in_fpm(pool.name, "listen"),
                f"listen of pool {pool.name} stands at {line.overrides} as well",
                f"php-fpm takes the last one, {line.value}: who reads or changes the other one,"
                " nginx among them, is at the wrong address",
                "one listen for each pool",
            )


@rule("FPM072", _H, "php-fpm says everything")
@for_each_fpm
def debug(fpm: Fpm) -> Iterator[Said]:
    """The log grows by lines for each request."""
    if fpm.conf.log_level == "debug":
        yield Said(
            fpm.in_fpm("global", "log_level"),
            "log_level is debug",
            "several lines a second for each pool fill the disk; with a full disk php-fpm's words"
            " are lost, and a start fails",
            "log_level = notice",
            fpm.edits_in_fpm("global", {"log_level": "notice"}),
        )


@rule("FPM060", _H, "no probe")
@for_each_fpm
def probes(fpm: Fpm) -> Iterator[Said]:
    """A master can be up and answer nobody."""
    for pool in fpm.conf.pools:
        if not fpm.option(pool, "ping.path") and not fpm.option(pool, "pm.status_path"):
            yield Said(
                fpm.in_fpm(pool.name, "ping.path"),
                "neither ping.path nor pm.status_path is set",
                "nobody can ask whether the pool answers, or how many wait",
                "ping.path = /ping and pm.status_path = /status",
                fpm.edits_in_fpm(pool.name, {"ping.path": "/ping", "pm.status_path": "/status"}),
            )


@rule("FPM061", _E, "the folder of the error log is missing")
def log_folder(checkup: CheckedConfig) -> Iterator[Said]:
    """php-fpm does not start without its log."""
    for fpm in checkup.fpms:
        path = fpm.conf.error_log
        if path and path.startswith("/") and not checkup.machine.is_folder(_folder(path)):
            yield Said(
                fpm.in_fpm("global", "error_log"),
                f"{_folder(path)} does not exist",
                "php-fpm cannot open its error log, and does not start (78)",
                f"install -d {_folder(path)}",
            )


@rule("FPM062", _W, "two write and rotate one file")
def one_file(checkup: CheckedConfig) -> Iterator[Said]:
    """supervisord renames it under php-fpm's hands."""
    for fpm in checkup.fpms:
        logs = {fpm.process.settings[f"{name}_logfile"] for name in ("stdout", "stderr")}
        if fpm.conf.error_log and fpm.conf.error_log in logs:
            yield Said(
                fpm.in_fpm("global", "error_log"),
                f"{fpm.conf.error_log} is php-fpm's log and supervisord's",
                "supervisord rotates it away, and php-fpm writes on into the old file; lines are"
                " doubled",
                "a file for each",
            )


@rule("FPM063", _E, "the folder of the pid file is missing")
def pid_folder(checkup: CheckedConfig) -> Iterator[Said]:
    """php-fpm does not start without it."""
    for fpm in checkup.fpms:
        path = fpm.conf.pid_file
        if path and path.startswith("/") and not checkup.machine.is_folder(_folder(path)):
            yield Said(
                fpm.in_fpm("global", "pid"),
                f"{_folder(path)} does not exist",
                "php-fpm cannot write its pid, and does not start (78)",
                f"install -d {_folder(path)}",
            )


@rule("FPM064", _W, "two masters write one pid file")
def one_pid(checkup: CheckedConfig) -> Iterator[Said]:
    """It is overwritten without a look."""
    for index, fpm in enumerate(checkup.fpms):
        for other in checkup.fpms[:index]:
            same_program = other.process.section.name == fpm.process.section.name
            if fpm.conf.pid_file and fpm.conf.pid_file == other.conf.pid_file and not same_program:
                yield Said(
                    fpm.in_fpm("global", "pid"),
                    f"{fpm.conf.pid_file} is also the pid file of {other.process.group}",
                    "php-fpm overwrites it without a look: scripts signal the wrong master",
                    "a pid file of its own, or none",
                )


@rule("FPM065", _W, "a relative path")
@for_each_fpm
def relative(fpm: Fpm) -> Iterator[Said]:
    """It is below the folder that php was built for: /usr on Debian."""
    for name, section in fpm.sections.items():
        for key in ("listen", "error_log", "pid", "include", "slowlog"):
            line = section.lines.get(key)
            value = line.value.strip("\"' ") if line else ""
            is_path = "/" in value if key != "listen" else addresses.is_path(value)
            if is_path and value[:1] not in {"/", "$"} and fpm.invocation.prefix is None:
                yield Said(
                    section.where(key),
                    f"{key} = {value} is a relative path",
                    "php-fpm takes it to be below the folder that it was built for (/usr or /var on"
                    " Debian)",
                    f"the whole path in [{name}]",
                )


@rule("FPM066", _E, "a # is no comment to php-fpm")
@for_each_fpm
def hash_comment(fpm: Fpm) -> Iterator[Said]:
    """Since PHP 7 it is a part of the key."""
    for section in fpm.sections.values():
        for key, line in section.lines.items():
            if key.startswith("#"):
                yield Said(
                    f"{line.file}:{line.number} [{section.name}]",
                    "a line begins with #",
                    "php-fpm takes it for a setting that it does not know, and does not start (78)",
                    "a semicolon",
                )


@rule("FPM067", _E, "an environment variable that is not there")
@for_each_fpm
def unset_variable(fpm: Fpm) -> Iterator[Said]:
    """It becomes nothing."""
    environment = fpm.process.settings["inherited"]
    for section in fpm.sections.values():
        for line in section.lines.values():
            for name in re.findall(r"\$\{(\w+)\}", line.value):
                if name not in environment:
                    yield Said(
                        f"{line.file}:{line.number} [{section.name}]",
                        f"${{{name}}} is set neither for supervisord nor in the program's section",
                        "it becomes nothing: an address without its port, a path without its end",
                        f'environment={name}="..." in the program\'s section',
                    )


@rule("FPM068", _E, "php-fpm's configuration cannot be read")
@for_each_fpm
def problems(fpm: Fpm) -> Iterator[Said]:
    """What our own reader could not make sense of."""
    for problem in fpm.conf.problems:
        where, colon, what = problem.partition(": ")
        yield Said(
            where if colon else fpm.conf.path,
            what if colon else problem,
            "php-fpm does not start with it, or takes it in another way than it looks",
            "php-fpm -t says more",
        )


@rule("FPM069", _W, "nobody can follow the log")
@for_each_fpm
def syslog(fpm: Fpm) -> Iterator[Said]:
    """syslog is read by nobody here."""
    if fpm.conf.log.kind.value in {"syslog", "device"}:
        yield Said(
            fpm.in_fpm("global", "error_log"),
            f"error_log goes to {fpm.conf.log.path or fpm.conf.log.kind.value}",
            "the listener cannot read there why php-fpm fails",
            "a file, or /proc/self/fd/2 with stderr_events_enabled=true",
        )
