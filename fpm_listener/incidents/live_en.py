"""The texts in English about problems that are not failures of the program itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm_listener.incidents.language import Text
from fpm_listener.incidents.variants import Variant
from fpm_listener.vocabulary import Cause

if TYPE_CHECKING:
    from fpm_listener.vocabulary import Fault

_FIND_REASON = "{read}. If they show no reason, set catch_workers_output = yes in the pool{reload}"

LIVE: dict[Cause | Variant | Fault, Text] = {
    Variant.WORKERS_OOM: Text(
        "the kernel kills|killed its workers because memory is|was short{limit}",
        "{lower}, or raise the memory limit{raise_memory}",
    ),
    Cause.WORKER_FAILURE: Text("its workers fail|failed{worker_exit}", _FIND_REASON, "{read}"),
    Variant.WORKERS_FOLDER: Text(
        "its workers do|did not start, because {worker_folder} does|did not exist",
        "Create {worker_folder} again, or set chdir and chroot{pool} to a directory that a "
        "deployment does not remove. A restart does not help",
    ),
    Variant.WORKERS_START: Text(
        "its workers{pool} fail|failed at their start{worker_exit}",
        "Check what workers need to start: chdir, chroot, user, group and rlimit_files of the "
        "pool. " + _FIND_REASON,
    ),
    Variant.WORKERS_KILLED: Text(
        "its workers are|were killed again and again (SIGKILL)",
        "Check whether the kernel killed them because memory was short{on_host}: "
        "dmesg | grep -i oom",
    ),
    Variant.WORKERS_KILLED_NOT_BY_OOM: Text(
        "its workers are|were killed again and again (SIGKILL)",
        "Find the sender of SIGKILL: a watchdog, a cron job, or a person",
    ),
    Cause.EXIT_LOOP: Text(
        "it exits|exited{exit_words} again and again{restarts}",
        "Let it run longer: a queue worker needs a loop (no --once, no --stop-when-empty; "
        "--max-time limits it), another job a sleep. If it must end, set "
        "autorestart=unexpected, or startsecs=0 if it must start again at once",
    ),
    Cause.NOT_ANSWERING: Text(
        "it runs|ran and accepts|accepted connections, but does|did not answer requests",
        "See what its workers do: {workers}. State T means stopped: kill -CONT PID. If all are "
        "busy, set request_terminate_timeout. If requests need more workers, {grow}{restart}",
    ),
    Cause.SATURATED: Text(
        "all workers of a pool are|were busy, and too many clients wait|waited",
        "See what its workers do: {workers}. If requests are slow, find out why, for example "
        "with request_slowlog_timeout. If they are not, {grow}",
    ),
    Cause.STOP_TIMEOUT: Text(
        "supervisord killed it, because it did not stop in time{stop_s}",
        "Set stopwaitsecs in its section to more seconds than it needs to stop, then type: "
        "{update}",
    ),
    Variant.STOP_TIMEOUT_FPM: Text(
        "supervisord killed it, because it did not stop in time{stop_s}; running requests were cut",
        "Set stopwaitsecs in its section to more seconds than the longest request. Set "
        "process_control_timeout in the php-fpm configuration to 5 seconds less. Then type: "
        "{update}",
    ),
    Cause.OPCACHE_FULL: Text(
        "its OPcache is|was full, so PHP compiles|compiled scripts again and again",
        "In {php_ini}, set {opcache_setting}. Files that PHP reads later can set another value; "
        "this lists them: {ini_files}{reload}",
    ),
}
