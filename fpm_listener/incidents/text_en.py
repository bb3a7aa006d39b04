"""What people read in an alert: what is wrong, and in one sentence what to do."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fpm_listener.host.holder_remedies import free, look
from fpm_listener.host.oom_kills import OomKill, mebibytes
from fpm_listener.incidents.post_mortem import Needs
from fpm_listener.phpfpm.site import FpmSite
from fpm_listener.settings.policy import MOST_A_DAY
from fpm_listener.supervisor.exit_log import how, signal_name
from fpm_listener.values import assert_never
from fpm_listener.vocabulary import Cause

if TYPE_CHECKING:
    from fpm_listener.host.address_holders import HolderReport
    from fpm_listener.incidents.post_mortem import PostMortem
    from fpm_listener.supervisor.exit_log import ExitReason
    from fpm_listener.supervisor.process import ProcessName

#: Ports below it are root's (ip_unprivileged_port_start as it usually is).
PRIVILEGED = 1024

#: Causes that say how it ends, not why.
UNEXPLAINED = frozenset({Cause.CRASH_SIGNAL, Cause.RESTART_LOOP, Cause.GAVE_UP})

#: Seconds from which on it is worth saying how often it dies: supervisord's own delays are shorter.
SLOW_S = 15.0

_RULED_OUT = {
    Cause.OUT_OF_MEMORY: "a kill for want of memory",
    Cause.MISSING_PATH: "a missing program or folder",
    Cause.DISK_FULL: "a full disk",
    Cause.UNKNOWN_USER: "an unknown user or group",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentFacts:
    """What is known of an incident, before it is put into words."""

    name: ProcessName
    cause: Cause
    gave_up: bool
    address: str | None
    holder: HolderReport | None  #: of the address, where that is the cause
    last_exit: ExitReason | None
    failed_lives: int
    named: str | None = None  #: the path, `user NAME` or `group NAME` that the cause is about
    every_s: float = 0.0  #: the usual time from one failure to the next
    site: FpmSite = field(default_factory=FpmSite)
    needs: Needs = field(default_factory=Needs)
    autopsy: PostMortem | None = None  #: what the machine showed after the last death
    worker_crashes: int = 0  #: where workers crash, and the master lives
    worker_signal: int | None = None
    worn_out: bool = False  #: we have started it as often as may be in a day
    recovering: bool = False  #: it is up again, or stopped, and the incident is not resolved yet

    @property
    def missing_program(self) -> str | None:
        """Return the executable, where it is what is missing."""
        missing = self.cause is Cause.MISSING_PATH and self.named == self.needs.program
        return self.named if missing else None

    @property
    def folder(self) -> str | None:
        """Return the folder that the cause is about."""
        path = self.named if self.named and "/" in self.named else self.address
        return path.rpartition("/")[0] or "/" if path and "/" in path else None

    @property
    def oom(self) -> OomKill | None:
        """Return what the out-of-memory killer did."""
        return self.autopsy.oom if self.autopsy else None


def sentences(plight: IncidentFacts, *, over: bool) -> dict[str, str]:
    """Return what is read first of an alert, by the names of its annotations."""
    return {
        "summary": _well_again(plight) if over else summary(plight),
        "description": _description(plight),
        "remedy": "There is nothing to do any more" if over else remedy(plight),
    }


def summary(plight: IncidentFacts) -> str:
    """Return one line: which program, what happens to it, and why."""
    if plight.recovering:
        return f"{plight.name.shown}: recovering; the problem was: {_why(plight, over=True)}"
    what = "supervisord gave up on it" if plight.gave_up else "it keeps failing"
    return f"{plight.name.shown}: {_why(plight)}; {what}"


def _well_again(plight: IncidentFacts) -> str:
    was = _why(plight, over=True)
    return f"{plight.name.shown}: well again, or stopped by its operator; the trouble was: {was}"


def _description(plight: IncidentFacts) -> str:
    last = "" if plight.last_exit is None else f" Its last end: {how(plight.last_exit)}."
    if plight.worker_crashes and not plight.failed_lives:
        return f"{plight.worker_crashes} workers have crashed in this incident; their master lives."
    lives = "1 failed life" if plight.failed_lives == 1 else f"{plight.failed_lives} failed lives"
    return f"{lives} in this incident.{last}{_worn_out(plight)}{_ruled_out(plight)}"


def _worn_out(plight: IncidentFacts) -> str:
    if not plight.worn_out:
        return ""
    return (
        f" It was started again {MOST_A_DAY} times in a day, and is left down for the rest of it."
    )


def _ruled_out(plight: IncidentFacts) -> str:
    if plight.autopsy is None or plight.cause not in UNEXPLAINED:
        return ""
    words = [_RULED_OUT[cause] for cause in plight.autopsy.ruled_out]
    return f" Ruled out by a look at this machine: {', '.join(words)}." if words else ""


def _why(plight: IncidentFacts, *, over: bool = False) -> str:  # noqa: C901, PLR0912 - a case for each cause
    is_ = "was" if over else "is"
    address, last_exit = plight.address, plight.last_exit
    match plight.cause:
        case Cause.BIND_CONFLICT:
            return f"{address or 'its listen address'} {is_} taken{_by(plight.holder, over=over)}"
        case Cause.ADDRESS_ABSENT:
            return f"{address or 'its listen address'} {is_} on no interface of this host"
        case Cause.UNKNOWN_USER:
            return f"there {is_} no {plight.named or 'such user or group as it is configured with'}"
        case Cause.DISK_FULL:
            return f"the disk of {plight.folder or 'its socket, pid file or log'} {is_} full"
        case Cause.FD_LIMIT:
            return f"it {'could' if over else 'may'} not open as many files as it needs"
        case Cause.MISSING_PATH:
            if plight.missing_program:
                return f"its program {plight.missing_program} {is_} not there"
            return f"{plight.folder or 'a folder that it needs'} {is_} missing"
        case Cause.PERMISSION:
            what = plight.named or plight.address or "its address, socket, pid file or log"
            return f"it {is_} not allowed to open {what}"
        case Cause.CONFIG_ERROR:
            return f"php-fpm {'refused' if over else 'refuses'} its configuration"
        case Cause.OUT_OF_MEMORY:
            limit = plight.oom and plight.oom.limit
            return f"the kernel {'killed' if over else 'kills'} it for want of memory" + (
                f" (limit {mebibytes(limit)})" if limit else ""
            )
        case Cause.CRASH_SIGNAL if plight.worker_signal and not plight.failed_lives:
            crash = "crashed" if over else "crash"
            return f"its workers {crash} ({signal_name(plight.worker_signal)})"
        case Cause.CRASH_SIGNAL:
            return f"it {'died' if over else 'dies'}{_how(last_exit)}{_every(plight)}"
        case Cause.NOT_ANSWERING:
            return (
                "it ran, took connections, and answered nobody"
                if over
                else "it runs, takes connections, and answers nobody"
            )
        case Cause.RESTART_LOOP:
            dies = "died" if over else "dies"
            often = f"{_how(last_exit)}{_every(plight)}"
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


def _every(plight: IncidentFacts) -> str:
    return f", about every {plight.every_s:.0f} s" if plight.every_s >= SLOW_S else ""


def _how(last_exit: ExitReason | None) -> str:
    return f" ({how(last_exit)})" if last_exit else ""


def remedy(plight: IncidentFacts) -> str:
    """Return one sentence that says what to do, ready to type."""
    if plight.recovering and plight.cause is Cause.BIND_CONFLICT:
        return "Nothing, unless it fails again"  # the address is free, and pids are reused
    sentence = _cure(plight)
    if plight.recovering:
        return f"Nothing now. To prevent the next failure: {sentence}"
    if plight.gave_up:
        return f"{sentence}, then type: supervisorctl start {plight.name.shown}"
    return sentence


def _cure(plight: IncidentFacts) -> str:  # noqa: C901, PLR0912 - a case for each cause
    match plight.cause:
        case Cause.BIND_CONFLICT:
            if plight.holder and plight.holder.holders:
                return free(plight.holder.holders, plight.site.config)
            return f"Find who has the address: {look(plight.address)}"
        case Cause.ADDRESS_ABSENT:
            return (
                f"Bring {_host(plight.address) or 'the address'} up (ip address shows what is "
                "there), or change `listen` in the php-fpm pool"
            )
        case Cause.UNKNOWN_USER:
            return f"Create it ({create(plight.named)}), or correct the php-fpm pool"
        case Cause.DISK_FULL:
            folder = plight.folder or "/run /var/log"
            return f"Make room: df -h {folder}; df -i {folder}"
        case Cause.FD_LIMIT:
            return (
                "Raise minfds in [supervisord] (it sets its own limit and hands it down) or the "
                "service's LimitNOFILE, or lower rlimit_files in php-fpm's configuration"
            )
        case Cause.MISSING_PATH:
            return install(plight)
        case Cause.PERMISSION:
            return _permit(plight)
        case Cause.CONFIG_ERROR:
            check = plight.site.check_command
            return f"Correct it where the evidence points, until this is content: {check}"
        case Cause.OUT_OF_MEMORY:
            return more_memory(plight)
        case Cause.CRASH_SIGNAL:
            return _whodunit(plight)
        case Cause.NOT_ANSWERING:
            return wake_up(plight)
        case Cause.RESTART_LOOP | Cause.GAVE_UP:
            return f"Read what it said last: {last_words(plight)}"
        case _ as never:  # pragma: no cover
            return assert_never(never)


def create(named: str | None) -> str:
    """Return the command that creates `user NAME` or `group NAME`."""
    kind, _, name = (named or "user NAME").partition(" ")
    return f"groupadd --system {name}" if kind == "group" else f"useradd --system {name}"


def install(plight: IncidentFacts) -> str:
    """Return what to do about a program or folder that is not there."""
    if plight.missing_program:
        instead = plight.autopsy.program_instead if plight.autopsy else ()
        there = f" (there is {', '.join(instead)})" if instead else ""
        return (
            f"Install {plight.missing_program} again, or name another in command={there} "
            f"and type: supervisorctl update {plight.name.group}"
        )
    if plight.folder is None:
        return "Create the folder that the evidence names (after a reboot /run is empty)"
    return f"Create it (after a reboot /run is empty): {create_folder(plight)}"


def create_folder(plight: IncidentFacts) -> str:
    """Return the command that creates the folder that is missing; a socket's is its pool's."""
    is_socket = plight.address is not None and plight.address.rpartition("/")[0] == plight.folder
    owner = f"-o {plight.site.user} " if is_socket and plight.site.user else ""
    return f"install -d {owner}{plight.folder}"


def _permit(plight: IncidentFacts) -> str:
    port = privileged_port(plight)
    if port is not None:
        return (
            f"Only root may listen on port {port}: start php-fpm as root (no user= in "
            "its section; workers still run as the pool's user), or take a port from 1024 on"
        )
    path = forbidden_path(plight)
    if path is None:
        return "Give php-fpm's user access to what the evidence names"
    return f"See which folder shuts it out, and open it: namei -l {path}"


def privileged_port(plight: IncidentFacts) -> int | None:
    """Return the port that is root's alone, where that is what is forbidden."""
    port = "" if plight.folder else (plight.address or "").rpartition(":")[2]
    return int(port) if port.isdecimal() and len(port) <= 5 and int(port) < PRIVILEGED else None


def forbidden_path(plight: IncidentFacts) -> str | None:
    """Return the path that is forbidden."""
    return plight.named or (plight.address if plight.folder else None)


def more_memory(plight: IncidentFacts) -> str:
    """Return what to do where memory is short."""
    oom = plight.oom
    unit = oom.where.rpartition("/")[2] if oom else ""
    where = (
        f"systemctl set-property {unit} MemoryMax=…"
        if unit.endswith(".service")
        else "the container's memory limit, or the host's memory"
    )
    return f"Lower pm.max_children or memory_limit, or raise what there is: {where}"


def _whodunit(plight: IncidentFacts) -> str:
    last = plight.last_exit
    if last and last.signal == signal.SIGKILL and not plight.worker_signal:
        if plight.autopsy and Cause.OUT_OF_MEMORY in plight.autopsy.ruled_out:
            return "Find who sends it SIGKILL: a watchdog, a cron job, stopwaitsecs, a person"
        return "Look whether the kernel has killed it for want of memory: dmesg | grep -i oom"
    return (
        "Suspect an extension of PHP (php -m lists them): switch off the one that came last; "
        "with rlimit_core = unlimited in php-fpm's configuration, gdb tells where it dies"
    )


def wake_up(plight: IncidentFacts) -> str:
    """Return what to do about a php-fpm that answers nobody."""
    return (
        "See what its workers do: ps -o pid,stat,etime,wchan:20,cmd --ppid "
        f"$(supervisorctl pid {plight.name.shown}) (T: kill -CONT them; all busy: raise "
        "pm.max_children, and set request_terminate_timeout), or restart it: "
        f"supervisorctl restart {plight.name.shown}"
    )


def last_words(plight: IncidentFacts) -> str:
    """Return the command that shows what it said last."""
    logs = plight.site.error_logs
    return f"tail {logs[0]}" if logs else f"supervisorctl tail {plight.name.shown} stderr"


def _host(address: str | None) -> str:
    return (address or "").rpartition(":")[0].strip("[]")
