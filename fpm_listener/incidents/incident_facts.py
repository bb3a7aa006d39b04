"""What is known about one incident: the input of the texts in every language."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fpm_listener.host.operator_commands import OperatorCommands
from fpm_listener.host.output_lines import importance, is_of_program
from fpm_listener.incidents.live_view import NOTHING, LiveView
from fpm_listener.incidents.post_mortem import Needs
from fpm_listener.incidents.program_output import UNKNOWN, ProgramOutput
from fpm_listener.phpfpm.config import FpmSite
from fpm_listener.vocabulary import Cause, Fault

if TYPE_CHECKING:
    from fpm_listener.host.address_holders import HolderReport
    from fpm_listener.host.oom_kills import OomKill
    from fpm_listener.incidents.post_mortem import PostMortem
    from fpm_listener.phpfpm.pool_capacity import PoolSize
    from fpm_listener.supervisor.exit_log import ExitReason
    from fpm_listener.supervisor.process import ProcessName

#: Ports below this one are reserved for root (ip_unprivileged_port_start has this default).
FIRST_UNPRIVILEGED_PORT = 1024

#: Causes that say how the process ends, not why.
UNEXPLAINED = frozenset({Cause.CRASH_SIGNAL, Cause.RESTART_LOOP, Cause.GAVE_UP})

#: Signals that a program gets from other processes, not from a fault of its own (signal(7)).
_SENT = frozenset(
    (
        *(signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGQUIT),
        *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM),
    )
)
#: EROFS, with its text and as number at the end of php-fpm's message.
_READ_ONLY = re.compile(r"Read-only file system|EROFS|\(30\)$")

#: Causes that are about a listen address, and causes that are about a path, a user or a group.
_ABOUT_ADDRESS = frozenset({Cause.BIND_CONFLICT, Cause.ADDRESS_ABSENT, Cause.PERMISSION})
_ABOUT_NAME = frozenset(
    {Cause.MISSING_PATH, Cause.DISK_FULL, Cause.UNKNOWN_USER, Cause.PERMISSION},
)


#: Causes that workers can have while their master runs.
_OF_WORKERS = frozenset({Cause.CRASH_SIGNAL, Cause.WORKER_FAILURE, Cause.OUT_OF_MEMORY})


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentFacts:
    """What is known about an incident at one moment."""

    name: ProcessName
    cause: Cause
    gave_up: bool = False  #: supervisord does not start the process again
    address: str | None = None
    holder: HolderReport | None = None  #: of the address, for a bind conflict
    last_exit: ExitReason | None = None
    failures: int = 0  #: failed starts and crashes in this incident
    named: str | None = None  #: the path, `user NAME` or `group NAME` that the cause is about
    fault: Fault | None = None  #: what exactly is wrong with `named`
    every_s: float = 0.0  #: the usual time between two failures
    line: str | None = None  #: the line of the log, or of the post-mortem, that shows the cause
    is_fpm: bool = True  #: the program is php-fpm
    commands: OperatorCommands = field(default_factory=OperatorCommands)
    site: FpmSite = field(default_factory=FpmSite)
    needs: Needs = field(default_factory=Needs)
    output: ProgramOutput = UNKNOWN
    post_mortem: PostMortem | None = None  #: of the last exit that was examined
    live: LiveView = NOTHING  #: about problems that are not failures of the program
    exhausted: bool = False  #: self-healing has used all its starts of the day
    recovering: bool = False  #: it runs again, or is stopped, and the incident is not resolved yet
    evidence: tuple[str, ...] = ()  #: the last log lines, oldest first
    requests: tuple[str, ...] = ()  #: lines about the longest requests; only an alert has them
    sizes: tuple[PoolSize, ...] = ()  #: of the pools that the cause is about
    now_s: float = 0.0  #: wall seconds of the alert; 0 = it is not sent now

    @property
    def hidden_output(self) -> str | None:
        """Return where the stderr of the program goes, if the lines that it may have are missing.

        They are missing if nothing of the program is shown, or if nothing explains the failure and
        no line of an error is shown.
        """
        least = 2 if self.cause in UNEXPLAINED else 0
        is_shown = any(is_of_program(one) and importance(one) >= least for one in self.evidence)
        return None if is_shown or self.recovering else self.output.hidden_target

    @property
    def pools(self) -> tuple[str, ...]:
        """Return the pools of this php-fpm that want the same address."""
        if self.fault is Fault.SHARED_ADDRESS:
            return tuple((self.named or "").split(", "))
        rivals = (names for address, *names in self.site.rivals if address == self.address)
        return tuple(next(rivals, ()))

    @property
    def missing_program(self) -> str | None:
        """Return the executable, if the cause is that it does not exist."""
        known = {self.needs.program, self.needs.command}
        missing = self.cause is Cause.MISSING_PATH and self.named in known
        is_other = self.fault not in {None, Fault.NO_PROGRAM}
        return self.named if missing and not is_other else None

    @property
    def folder(self) -> str | None:
        """Return the folder that the cause is about."""
        path = self.named if self.named and "/" in self.named else self.address
        return path.rpartition("/")[0] or "/" if path and "/" in path else None

    @property
    def oom(self) -> OomKill | None:
        """Return what the kernel's out-of-memory killer did."""
        return self.post_mortem.oom if self.post_mortem else None

    @property
    def subject(self) -> str | None:
        """Return the address, path, user, group or `workers` that the cause is about."""
        if self.only_workers_fail:
            return "workers"
        named = self.named if self.cause in _ABOUT_NAME else None
        return named or (self.address if self.cause in _ABOUT_ADDRESS else None)

    @property
    def only_workers_fail(self) -> bool:
        """Return whether workers fail while the master keeps running."""
        is_possible = self.cause in _OF_WORKERS and bool(self.live.workers.failures)
        return is_possible and not self.failures

    @property
    def killed(self) -> bool:
        """Return whether SIGKILL ended the last run, and no worker crashed."""
        last_exit = self.last_exit
        killed = last_exit is not None and last_exit.signal == signal.SIGKILL
        return killed and not self.live.workers.signal

    @property
    def oom_ruled_out(self) -> bool:
        """Return whether the kernel's out-of-memory killer did not kill the process."""
        ruled_out = self.post_mortem.ruled_out if self.post_mortem else ()
        return Cause.OUT_OF_MEMORY in ruled_out

    @property
    def lacks_memory(self) -> bool:
        """Return whether the kernel ended processes because memory was short, or perhaps did."""
        if self.cause is Cause.OUT_OF_MEMORY:
            return self.fault is None  # a fault: one request for memory was refused
        is_killed = self.killed or self.live.workers.is_killed
        return self.cause in _OF_WORKERS and is_killed and not self.oom_ruled_out

    @property
    def signal_sent(self) -> bool:
        """Return whether the last run was ended by a signal that only other processes send."""
        last_exit = self.last_exit
        return last_exit is not None and last_exit.signal in _SENT and not self.live.workers.signal

    @property
    def is_read_only(self) -> bool:
        """Return whether the line that shows the cause is about a read-only file system."""
        return self.line is not None and _READ_ONLY.search(self.line) is not None

    @property
    def forbidden_descriptor(self) -> bool:
        """Return whether the path is a descriptor or a device, such as /proc/self/fd/2."""
        path = self.forbidden_path or ""
        return path.startswith(("/proc/", "/dev/std", "/dev/fd/", "/dev/tty", "/dev/pts/"))

    @property
    def privileged_port(self) -> int | None:
        """Return the port of the address, if only root may listen on it."""
        port = "" if self.folder else (self.address or "").rpartition(":")[2]
        is_number = port.isdecimal() and len(port) <= 5
        return int(port) if is_number and int(port) < FIRST_UNPRIVILEGED_PORT else None

    @property
    def forbidden_path(self) -> str | None:
        """Return the path that php-fpm may not open."""
        return self.named or (self.address if self.folder else None)
