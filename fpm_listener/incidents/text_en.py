"""What people read in an alert: what is wrong, and in one sentence what to do."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from fpm_listener.host.holder_remedies import free, look
from fpm_listener.host.oom_kills import mebibytes
from fpm_listener.incidents.incident_facts import UNEXPLAINED
from fpm_listener.settings.policy import MOST_A_DAY
from fpm_listener.supervisor.exit_log import how, signal_name
from fpm_listener.values import assert_never
from fpm_listener.vocabulary import Cause

if TYPE_CHECKING:
    from fpm_listener.host.address_holders import HolderReport
    from fpm_listener.incidents.incident_facts import IncidentFacts
    from fpm_listener.supervisor.exit_log import ExitReason

#: Seconds from which on it is worth saying how often it dies: supervisord's own delays are shorter.
SLOW_S = 15.0

_RULED_OUT = {
    Cause.OUT_OF_MEMORY: "a kill for want of memory",
    Cause.MISSING_PATH: "a missing program or folder",
    Cause.DISK_FULL: "a full disk",
    Cause.UNKNOWN_USER: "an unknown user or group",
}


def sentences(facts: IncidentFacts, *, over: bool) -> dict[str, str]:
    """Return what is read first of an alert, by the names of its annotations."""
    return {
        "summary": _well_again(facts) if over else summary(facts),
        "description": _description(facts),
        "remedy": "There is nothing to do any more" if over else remedy(facts),
    }


def summary(facts: IncidentFacts) -> str:
    """Return one line: which program, what happens to it, and why."""
    if facts.recovering:
        return f"{facts.name.shown}: recovering; the problem was: {_why(facts, over=True)}"
    what = "supervisord gave up on it" if facts.gave_up else "it keeps failing"
    return f"{facts.name.shown}: {_why(facts)}; {what}"


def _well_again(facts: IncidentFacts) -> str:
    was = _why(facts, over=True)
    return f"{facts.name.shown}: well again, or stopped by its operator; the trouble was: {was}"


def _description(facts: IncidentFacts) -> str:
    last = "" if facts.last_exit is None else f" Its last end: {how(facts.last_exit)}."
    if facts.only_workers_crash:
        return f"{facts.worker_crashes} workers have crashed in this incident; their master lives."
    lives = "1 failed life" if facts.failures == 1 else f"{facts.failures} failed lives"
    return f"{lives} in this incident.{last}{_worn_out(facts)}{_ruled_out(facts)}"


def _worn_out(facts: IncidentFacts) -> str:
    if not facts.worn_out:
        return ""
    return (
        f" It was started again {MOST_A_DAY} times in a day, and is left down for the rest of it."
    )


def _ruled_out(facts: IncidentFacts) -> str:
    if facts.post_mortem is None or facts.cause not in UNEXPLAINED:
        return ""
    words = [_RULED_OUT[cause] for cause in facts.post_mortem.ruled_out]
    return f" Ruled out by a look at this machine: {', '.join(words)}." if words else ""


def _why(facts: IncidentFacts, *, over: bool = False) -> str:  # noqa: C901, PLR0912 - a case for each cause
    is_ = "was" if over else "is"
    address, last_exit = facts.address, facts.last_exit
    match facts.cause:
        case Cause.BIND_CONFLICT:
            return f"{address or 'its listen address'} {is_} taken{_by(facts.holder, over=over)}"
        case Cause.ADDRESS_ABSENT:
            return f"{address or 'its listen address'} {is_} on no interface of this host"
        case Cause.UNKNOWN_USER:
            return f"there {is_} no {facts.named or 'such user or group as it is configured with'}"
        case Cause.DISK_FULL:
            return f"the disk of {facts.folder or 'its socket, pid file or log'} {is_} full"
        case Cause.FD_LIMIT:
            return f"it {'could' if over else 'may'} not open as many files as it needs"
        case Cause.MISSING_PATH:
            if facts.missing_program:
                return f"its program {facts.missing_program} {is_} not there"
            return f"{facts.folder or 'a folder that it needs'} {is_} missing"
        case Cause.PERMISSION:
            what = facts.named or facts.address or "its address, socket, pid file or log"
            return f"it {is_} not allowed to open {what}"
        case Cause.CONFIG_ERROR:
            return f"php-fpm {'refused' if over else 'refuses'} its configuration"
        case Cause.OUT_OF_MEMORY:
            limit = facts.oom and facts.oom.limit
            return f"the kernel {'killed' if over else 'kills'} it for want of memory" + (
                f" (limit {mebibytes(limit)})" if limit else ""
            )
        case Cause.CRASH_SIGNAL if facts.only_workers_crash:
            crash = "crashed" if over else "crash"
            return f"its workers {crash} ({signal_name(facts.worker_signal or 0)})"
        case Cause.CRASH_SIGNAL:
            return f"it {'died' if over else 'dies'}{_how(last_exit)}{_every(facts)}"
        case Cause.NOT_ANSWERING:
            return (
                "it ran, took connections, and answered nobody"
                if over
                else "it runs, takes connections, and answers nobody"
            )
        case Cause.RESTART_LOOP:
            dies = "died" if over else "dies"
            often = f"{_how(last_exit)}{_every(facts)}"
            return f"it {dies} and {is_} restarted again and again{often}"
        case Cause.GAVE_UP:
            if over:
                return f"it did not run and was not started again{_how(last_exit)}"
            return f"it does not run and will not be started again{_how(last_exit)}"
        case _ as never:  # pragma: no cover
            return assert_never(never)


def _by(holder: HolderReport | None, *, over: bool) -> str:
    if holder is None or (over and not holder.holders):
        return ""
    if holder.holders:
        return f" by {holder}"
    return f"; by whom is not known: {holder.blind}" if holder.blind else ", though not any more"


def _every(facts: IncidentFacts) -> str:
    return f", about every {facts.every_s:.0f} s" if facts.every_s >= SLOW_S else ""


def _how(last_exit: ExitReason | None) -> str:
    return f" ({how(last_exit)})" if last_exit else ""


def remedy(facts: IncidentFacts) -> str:
    """Return one sentence that says what to do, ready to type."""
    if facts.recovering and facts.cause is Cause.BIND_CONFLICT:
        return "Nothing, unless it fails again"  # the address is free, and pids are reused
    sentence = _cure(facts)
    if facts.recovering:
        return f"Nothing now. To prevent the next failure: {sentence}"
    if facts.gave_up:
        return f"{sentence}, then type: supervisorctl start {facts.name.shown}"
    return sentence


def _cure(facts: IncidentFacts) -> str:  # noqa: C901, PLR0912 - a case for each cause
    match facts.cause:
        case Cause.BIND_CONFLICT:
            if facts.holder and facts.holder.holders:
                return free(facts.holder.holders, facts.site.config)
            return f"Find who has the address: {look(facts.address)}"
        case Cause.ADDRESS_ABSENT:
            return (
                f"Bring {_host(facts.address) or 'the address'} up (ip address shows what is "
                "there), or change `listen` in the php-fpm pool"
            )
        case Cause.UNKNOWN_USER:
            return f"Create it ({create(facts.named)}), or correct the php-fpm pool"
        case Cause.DISK_FULL:
            folder = facts.folder or "/run /var/log"
            return f"Make room: df -h {folder}; df -i {folder}"
        case Cause.FD_LIMIT:
            return (
                "Raise minfds in [supervisord] (it sets its own limit and hands it down) or the "
                "service's LimitNOFILE, or lower rlimit_files in php-fpm's configuration"
            )
        case Cause.MISSING_PATH:
            return install(facts)
        case Cause.PERMISSION:
            return _permit(facts)
        case Cause.CONFIG_ERROR:
            check = facts.site.check_command
            return f"Correct it where the evidence points, until this is content: {check}"
        case Cause.OUT_OF_MEMORY:
            return more_memory(facts)
        case Cause.CRASH_SIGNAL:
            return _whodunit(facts)
        case Cause.NOT_ANSWERING:
            return wake_up(facts)
        case Cause.RESTART_LOOP | Cause.GAVE_UP:
            return f"Read what it said last: {last_words(facts)}"
        case _ as never:  # pragma: no cover
            return assert_never(never)


def create(named: str | None) -> str:
    """Return the command that creates `user NAME` or `group NAME`."""
    kind, _, name = (named or "user NAME").partition(" ")
    return f"groupadd --system {name}" if kind == "group" else f"useradd --system {name}"


def install(facts: IncidentFacts) -> str:
    """Return what to do about a program or folder that is not there."""
    if facts.missing_program:
        instead = facts.post_mortem.program_instead if facts.post_mortem else ()
        there = f" (there is {', '.join(instead)})" if instead else ""
        return (
            f"Install {facts.missing_program} again, or name another in command={there} "
            f"and type: supervisorctl update {facts.name.group}"
        )
    if facts.folder is None:
        return "Create the folder that the evidence names (after a reboot /run is empty)"
    return f"Create it (after a reboot /run is empty): {create_folder(facts)}"


def create_folder(facts: IncidentFacts) -> str:
    """Return the command that creates the folder that is missing; a socket's is its pool's."""
    is_socket = facts.address is not None and facts.address.rpartition("/")[0] == facts.folder
    owner = f"-o {facts.site.user} " if is_socket and facts.site.user else ""
    return f"install -d {owner}{facts.folder}"


def _permit(facts: IncidentFacts) -> str:
    port = facts.privileged_port
    if port is not None:
        return (
            f"Only root may listen on port {port}: start php-fpm as root (no user= in "
            "its section; workers still run as the pool's user), or take a port from 1024 on"
        )
    path = facts.forbidden_path
    if path is None:
        return "Give php-fpm's user access to what the evidence names"
    return f"See which folder shuts it out, and open it: namei -l {path}"


def more_memory(facts: IncidentFacts) -> str:
    """Return what to do where memory is short."""
    oom = facts.oom
    unit = oom.where.rpartition("/")[2] if oom else ""
    where = (
        f"systemctl set-property {unit} MemoryMax=…"
        if unit.endswith(".service")
        else "the container's memory limit, or the host's memory"
    )
    return f"Lower pm.max_children or memory_limit, or raise what there is: {where}"


def _whodunit(facts: IncidentFacts) -> str:
    last = facts.last_exit
    if last and last.signal == signal.SIGKILL and not facts.worker_signal:
        if facts.post_mortem and Cause.OUT_OF_MEMORY in facts.post_mortem.ruled_out:
            return "Find who sends it SIGKILL: a watchdog, a cron job, stopwaitsecs, a person"
        return "Look whether the kernel has killed it for want of memory: dmesg | grep -i oom"
    return (
        "Suspect an extension of PHP (php -m lists them): switch off the one that came last; "
        "with rlimit_core = unlimited in php-fpm's configuration, gdb tells where it dies"
    )


def wake_up(facts: IncidentFacts) -> str:
    """Return what to do about a php-fpm that answers nobody."""
    return (
        "See what its workers do: ps -o pid,stat,etime,wchan:20,cmd --ppid "
        f"$(supervisorctl pid {facts.name.shown}) (T: kill -CONT them; all busy: raise "
        "pm.max_children, and set request_terminate_timeout), or restart it: "
        f"supervisorctl restart {facts.name.shown}"
    )


def last_words(facts: IncidentFacts) -> str:
    """Return the command that shows what it said last."""
    logs = facts.site.error_logs
    return f"tail {logs[0]}" if logs else f"supervisorctl tail {facts.name.shown} stderr"


def _host(address: str | None) -> str:
    return (address or "").rpartition(":")[0].strip("[]")


def receiver_failure(
    name: str, why: str, lasted: str, pending: int, *, over: bool
) -> dict[str, str]:
    """Return the texts of an alert about a receiver, by annotation."""
    return {
        "summary": f"receiver {name} works again, after {lasted}"
        if over
        else f"alerts do not reach receiver {name}: {why}",
        "description": f"{pending} alerts wait for it.",
        "remedy": "Nothing to do"
        if over
        else f"Test it on this host: fpm-listener alerts test {name}",
    }
