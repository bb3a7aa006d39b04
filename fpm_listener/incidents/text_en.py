"""The texts about incidents in English.

To add a cause, add its row to `causes` here and in text_zh.py. language.py has the values that a
text can contain.
"""

from __future__ import annotations

from fpm_listener.host.holder_remedies import free
from fpm_listener.incidents.faults_en import FAULTS
from fpm_listener.incidents.language import Language, Text
from fpm_listener.incidents.live_en import LIVE
from fpm_listener.incidents.size_en import SIZES
from fpm_listener.incidents.variants import Variant
from fpm_listener.supervisor.exit_log import how
from fpm_listener.vocabulary import Cause, Fault

_FIND_HOLDER = "As root, find the process that uses the address: {look}"
_FAULTY_EXTENSION = (
    "Look for a faulty PHP extension ({modules} lists all): disable the extension that was added "
    "last. To get a core dump for gdb, set rlimit_core = unlimited in the php-fpm configuration"
)
_FAULTY_PROGRAM = (
    "Check what changed last: the program, its libraries or its input. To get a core dump for gdb, "
    "start supervisord with the limit `ulimit -c unlimited`"
)
_NOT_ALLOWED = "it is|was not allowed to open {what}"

ENGLISH = Language(
    causes={
        **FAULTS,
        **LIVE,
        Cause.BIND_CONFLICT: Text("{address} is|was in use", _FIND_HOLDER),
        Variant.HOLDER_KNOWN: Text("{address} is|was in use by {holders}", "{free}"),
        Variant.OWN_POOLS: Text(
            "{address} is|was in use by another pool of this php-fpm: {pools}",
            "Give each pool another port in `listen`, or delete one of the pools",
        ),
        Variant.HOLDER_INVISIBLE: Text(
            "{address} is|was in use; the process that uses it is unknown: {blind}",
            "{left}Start the container with --cap-add SYS_PTRACE to see the process. Without it, "
            "this shows only its uid: {look_user}",
        ),
        Variant.HOLDER_HIDDEN: Text(
            "{address} is|was in use; the process that uses it is unknown: {blind}", _FIND_HOLDER
        ),
        Variant.HOLDER_GONE: Text("{address} was in use, and is free now", _FIND_HOLDER),
        Cause.ADDRESS_ABSENT: Text(
            "{address} is|was not an address of this host",
            "Add {host} to a network interface ({addresses} shows what each interface has), or "
            "change `listen` in the php-fpm pool",
            "Add {host} to a network interface ({addresses} shows what each interface has), or "
            "change the address in the configuration of the program",
        ),
        Cause.UNKNOWN_USER: Text(
            "{named} does|did not exist on this host",
            "Create it ({create_user}), or correct the php-fpm pool",
            "Create it ({create_user}), or correct the configuration of the program",
        ),
        Cause.DISK_FULL: Text(
            "the disk of {folder} is|was full",
            "Free some disk space. To see what is used: df -h {disk}; df -i {disk}",
        ),
        Cause.FD_LIMIT: Text(
            "its limit of open files is|was too low",
            "Raise minfds in [supervisord] (programs get their limit from it) or LimitNOFILE of "
            "the service, or lower rlimit_files in the php-fpm configuration",
            "Raise minfds in [supervisord] (programs get their limit from it) or LimitNOFILE of "
            "the service",
        ),
        Cause.PROCESS_LIMIT: Text(
            "its limit of processes is|was reached",
            "Raise the limit (TasksMax of the service, --pids-limit of the container, or nproc of "
            "the user), or lower pm.max_children in the php-fpm pools",
            "Raise the limit (TasksMax of the service, --pids-limit of the container, or nproc of "
            "the user)",
        ),
        Cause.MISSING_PATH: Text(
            "a folder that it needs is|was missing",
            "Create the folder that the evidence shows (/run is empty after a reboot)",
        ),
        Variant.MISSING_FOLDER: Text(
            "the folder {folder} is|was missing",
            "Create it (/run is empty after a reboot): {create_folder}",
        ),
        Variant.MISSING_PROGRAM: FAULTS[Fault.NO_PROGRAM],
        Cause.PERMISSION: Text(
            _NOT_ALLOWED,
            "Give the user of php-fpm access to the path that the evidence shows",
            "Give the user of the program access to the path that the evidence shows",
        ),
        Variant.READ_ONLY: Text(
            "{what} is|was on a read-only file system",
            "Make {folder} writable: mount a volume or a tmpfs there (docker run --tmpfs "
            "{mount_folder}){remount}",
        ),
        Variant.STANDARD_ERROR: Text(
            _NOT_ALLOWED,
            "Set error_log to a file that the user of php-fpm may write, or start php-fpm as root "
            "(no user= in its section; workers still run as the user of the pool)",
            "Let the program log to a file that its user may write, or start it as root (no user= "
            "in its section)",
        ),
        Variant.PRIVILEGED_PORT: Text(
            _NOT_ALLOWED,
            "Only root may listen on port {port}: start php-fpm as root (no user= in its section; "
            "workers still run as the user of the pool), or use port 1024 or higher",
            "Only root may listen on port {port}: start the program as root (no user= in its "
            "section), or use port 1024 or higher",
        ),
        Variant.FORBIDDEN_PATH: Text(
            _NOT_ALLOWED, "Find the folder or file that denies access, and allow access: {denied}"
        ),
        Cause.CONFIG_ERROR: Text(
            "its configuration is|was invalid",
            "Fix the problem that the evidence shows",
        ),
        Variant.TESTED_CONFIG: Text(
            "its php-fpm configuration is|was invalid",
            "Fix the line that the evidence shows. Then this command must report no error: {check}",
        ),
        Cause.OUT_OF_MEMORY: Text(
            "the kernel kills|killed it because memory is|was short{limit}",
            "{lower}, or raise the memory limit{raise_memory}",
            "Let the program use less memory, or raise the memory limit{raise_memory}",
        ),
        Cause.CRASH_SIGNAL: Text(
            "it crashes|crashed{exit}{interval}", _FAULTY_EXTENSION, _FAULTY_PROGRAM
        ),
        Variant.SIGNAL_SENT: Text(
            "a signal ends|ended it{exit}{interval}",
            "Find what sends {signal} to it: a script, a cron job, logrotate, or a person",
        ),
        Variant.WORKERS_CRASH: Text("its workers crash|crashed ({signal})", _FAULTY_EXTENSION),
        Variant.KILLED: Text(
            "it crashes|crashed{exit}{interval}",
            "Check whether the kernel killed it because memory was short{on_host}: "
            "dmesg | grep -i oom",
        ),
        Variant.KILLED_NOT_BY_OOM: Text(
            "it crashes|crashed{exit}{interval}",
            "Find the sender of SIGKILL: a watchdog, a cron job, stopwaitsecs, or a person",
        ),
        Cause.RESTART_LOOP: Text("it is|was in a restart loop{exit}{interval}", "{read}"),
        Cause.GAVE_UP: Text("it is|was down{exit}", "{read}"),
    },
    ruled_out={
        Cause.OUT_OF_MEMORY: "a kill because of short memory",
        Cause.MISSING_PATH: "a missing program or folder ({names})",
        Cause.DISK_FULL: "a full disk ({names})",
        Cause.UNKNOWN_USER: "an unknown user or group ({names})",
    },
    defaults={
        "address": "its listen address",
        "host": "the address",
        "named": "the configured user or group",
        "folder": "its socket, pid file or log",
        "what": "its address, socket, pid file or log",
        "create_folder": "install -d FOLDER",
        "php_ini": "php.ini",
        "raise_memory": " of the container or of the host",
        "mount_folder": "FOLDER",
        "signal": "the signal",
        "opcache_setting": "a higher opcache.memory_consumption (memory) or "
        "opcache.max_accelerated_files (keys), as the evidence shows",
    },
    frames={
        **SIZES,
        "comma": ", ",
        "semicolon": "; ",
        "exit": " ({value})",
        "options": ": {value}",
        "interval": ", about every {value} s",
        "limit": " (limit {value})",
        "instead": " (this host has {value})",
        "remount": ", or make its file system writable: {value}",
        "on_host": " (as root on the host of this container)",
        "reload": ". Then reload php-fpm",
        "reload_by": ". Then reload php-fpm: {value}",
        "exit_words": " with status {value}",
        "worker_exit": " ({value})",
        "pool": " of pool {value}",
        "left": "End the workers of the earlier run (kill -QUIT {value}). If the address is "
        "still in use: ",
        "restarts": ": {value} restarts in {span} s; supervisord treats this as expected",
        "stop_s": " (stopwaitsecs={value})",
        "firing": "{name}: {problem}; it keeps failing",
        "runs": "{name}: {problem}",
        "gave_up": "{name}: {problem}; supervisord gave up on it",
        "recovering": "{name}: recovering; the problem was: {problem}",
        "resolved": "{name}: resolved (it runs again, or an operator stopped it); the problem was: "
        "{problem}",
        "workers_crashed": "{count} workers crashed in this incident; the master keeps running.",
        "workers_failed": "php-fpm logged {count} failures of workers in this incident; the master "
        "keeps running.",
        "exit_loop": "These exits are not failures for supervisord. It starts the program again "
        "each time, without a delay.",
        "stop_timeout": "A stop is not a failure. This alert is resolved when the program runs "
        "again.",
        "not_answering": "supervisord sees no failure, so it does not restart php-fpm.",
        "saturated": "php-fpm still answers. If the queue becomes full, it refuses clients.",
        "opcache_full": "php-fpm answers requests, but slowly. This alert is resolved after an "
        "hour in which OPcache has neither restarted nor rejected scripts.",
        "one_failure": "1 failure in this incident.",
        "failures": "{count} failures in this incident.",
        "last_exit": " Last exit: {exit}.",
        "no_exit": " Its exit status is unknown: supervisord's log has no exits with "
        "{setting}. Set {fix} in [supervisord].",
        "hidden": " supervisord passes its output to {target} (in a container: docker logs), so "
        "this alert cannot show it. To change this, add {changes}, then {apply}.",
        "no_log": " supervisord keeps no log of its output, so this alert cannot show it. To "
        "change this, add {changes}, then {apply}.",
        "add_lines": "{lines} to [{section}]",
        "add_events": "PROCESS_LOG to events= in the section of the listener",
        "and": " and ",
        "and_also": " and ",
        "update": "type: {command}",
        "restart": "restart supervisord and all its programs: {command}",
        "worn_out": " Self-healing started it {count} times in one day, and does not start it "
        "again today.",
        "ruled_out": " Checked on this host and ruled out: {names}.",
        "nothing": "No action is needed",
        "nothing_unless": "No action is needed unless it fails again",
        "nothing_now": "No action is needed now. To prevent the next failure: {remedy}",
        "read_file": "Read its last log lines: {value}",
        "read_device": "Read its last lines in the output of supervisord, which has {value}: the "
        "log of the container, or the journal of its service",
        "read_syslog": "Read its last lines in the system log",
        "read_none": "supervisord keeps no output of it. Set {value}, and read that file after the "
        "next failure",
        "read_unknown": "Read its last log lines",
        "restart_it": ". Or restart it: {value}",
        "restart_all": ". Or restart supervisord and all its programs: {value}",
        "update_it": "{value}",
        "update_all": "{value} (this restarts supervisord and all its programs)",
        "then_start": "{remedy}, then type: {{start}}",
        "then_restart_all": "{remedy}, then restart supervisord and all its programs, because "
        "supervisorctl cannot reach it: {{start}}",
        "receiver_failing": "alerts do not reach receiver {name}: {why}",
        "receiver_works": "receiver {name} works again after {lasted}",
        "pending": "{count} alerts are waiting for it.",
        "receiver_test": "Test it on this host: fpm-listener alerts test {name}",
    },
    describe_exit=how,
    describe_holder=str,
    free_address=free,
)
