"""Causes about which more is known: they have their own texts.

To add a variant: add its member and its condition here, and its texts in text_en.py and text_zh.py.
A remedy may name a command only under a condition that proves that the command can work.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from fpm_listener.phpfpm import config_test
from fpm_listener.vocabulary import Cause

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fpm_listener.incidents.incident_facts import IncidentFacts
    from fpm_listener.vocabulary import Fault


class Variant(Enum):
    """A cause about which more is known, so it has its own texts."""

    HOLDER_KNOWN = "bind conflict, the holder is known"
    OWN_POOLS = "bind conflict, two pools of this php-fpm want the address"
    HOLDER_INVISIBLE = "bind conflict, root cannot see the holder in this container"
    HOLDER_HIDDEN = "bind conflict, the holder cannot be seen"
    HOLDER_GONE = "bind conflict, the address is free now"
    MISSING_PROGRAM = "missing path, it is the program"
    MISSING_FOLDER = "missing path, the folder is known"
    READ_ONLY = "permission, the file system is read-only"
    STANDARD_ERROR = "permission, the path is a descriptor or a device"
    PRIVILEGED_PORT = "permission, the port is reserved for root"
    FORBIDDEN_PATH = "permission, the path is known"
    TESTED_CONFIG = "invalid configuration, php-fpm -t reports it"
    WORKERS_CRASH = "crash, only workers crash"
    WORKERS_OOM = "out of memory, only workers are killed"
    WORKERS_FOLDER = "worker failure, a directory that they need is missing"
    WORKERS_START = "worker failure, they fail at their start"
    WORKERS_KILLED = "worker failure, the signal is SIGKILL"
    WORKERS_KILLED_NOT_BY_OOM = "worker failure, SIGKILL, and the kernel did not send it"
    STOP_TIMEOUT_FPM = "stop timeout, the program is php-fpm"
    KILLED = "crash, the signal is SIGKILL"
    KILLED_NOT_BY_OOM = "crash, the signal is SIGKILL, and the kernel did not send it"
    SIGNAL_SENT = "crash, another process sent the signal"


#: The variants of each cause, with their conditions; the first condition that is true counts.
_VARIANTS: Mapping[Cause, Mapping[Variant, Callable[[IncidentFacts], object]]] = {
    Cause.BIND_CONFLICT: {
        Variant.HOLDER_KNOWN: lambda facts: facts.holder and facts.holder.holders,
        Variant.OWN_POOLS: lambda facts: facts.pools,
        Variant.HOLDER_INVISIBLE: lambda facts: (
            facts.holder
            and facts.holder.blind
            and "sys_ptrace" not in facts.commands.capabilities
            and facts.address
        ),
        Variant.HOLDER_HIDDEN: lambda facts: facts.holder and facts.holder.blind,
        Variant.HOLDER_GONE: lambda facts: facts.holder,
    },
    Cause.MISSING_PATH: {
        Variant.MISSING_PROGRAM: lambda facts: facts.missing_program,
        Variant.MISSING_FOLDER: lambda facts: facts.folder,
    },
    Cause.PERMISSION: {
        Variant.READ_ONLY: lambda facts: facts.is_read_only,
        Variant.STANDARD_ERROR: lambda facts: facts.forbidden_descriptor,
        Variant.PRIVILEGED_PORT: lambda facts: facts.privileged_port is not None,
        Variant.FORBIDDEN_PATH: lambda facts: facts.forbidden_path,
    },
    Cause.CONFIG_ERROR: {
        Variant.TESTED_CONFIG: lambda facts: (
            facts.is_fpm and facts.line and config_test.reports(facts.line)
        ),
    },
    Cause.OUT_OF_MEMORY: {Variant.WORKERS_OOM: lambda facts: facts.only_workers_fail},
    Cause.WORKER_FAILURE: {
        Variant.WORKERS_FOLDER: lambda facts: facts.live.workers.folder,
        Variant.WORKERS_KILLED_NOT_BY_OOM: lambda facts: (
            facts.live.workers.is_killed and facts.oom_ruled_out
        ),
        Variant.WORKERS_KILLED: lambda facts: facts.live.workers.is_killed,
        Variant.WORKERS_START: lambda facts: facts.live.workers.at_once,
    },
    Cause.STOP_TIMEOUT: {Variant.STOP_TIMEOUT_FPM: lambda facts: facts.is_fpm},
    Cause.CRASH_SIGNAL: {
        Variant.WORKERS_CRASH: lambda facts: facts.only_workers_fail,
        Variant.KILLED_NOT_BY_OOM: lambda facts: facts.killed and facts.oom_ruled_out,
        Variant.KILLED: lambda facts: facts.killed,
        Variant.SIGNAL_SENT: lambda facts: facts.signal_sent,
    },
}
#: Variants about the present: they say nothing about a problem that is over.
_PRESENT = frozenset({Variant.HOLDER_HIDDEN, Variant.HOLDER_INVISIBLE, Variant.HOLDER_GONE})


def key(facts: IncidentFacts, *, over: bool = False) -> Cause | Variant | Fault:
    """Return the key of the texts for these facts; over: the problem does not exist any more."""
    if facts.fault is not None and facts.fault.cause is facts.cause:
        return facts.fault
    variants = _VARIANTS.get(facts.cause, {})
    found = next((variant for variant, is_true in variants.items() if is_true(facts)), None)
    return facts.cause if found is None or (over and found in _PRESENT) else found
