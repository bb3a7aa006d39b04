"""What the machine shows after an exit that no log line explains.

`daemon.post_mortem_examiner` examines the machine.

Laws:
1. A cause is named only if it alone makes a start fail, or if it fits the exit: the kernel's
   out-of-memory killer sends SIGKILL and no other signal.
2. What makes a start fail does not explain the end of a run that has worked.
3. The causes that were looked for and not found are reported too. That saves time at night.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.vocabulary import Cause

if TYPE_CHECKING:
    from fpm_listener.host.obstacles import Obstacle
    from fpm_listener.host.oom_kills import OomKill
    from fpm_listener.supervisor.exit_log import ExitReason
    from fpm_listener.vocabulary import Fault

#: Seconds. A php-fpm that exits earlier has failed to start. supervisord's poll takes a second, the
#: `sleep` of the recipes takes some seconds; php-fpm itself fails within 32 ms (8.2, measured).
SHORT_LIFE_S = 10.0

#: The exit status of a shell whose child was killed: 128 + SIGKILL.
_KILLED_STATUS = 137

_SIGKILL = 9

#: Obstacles that the evidence shows.
_MOST_OBSTACLES = 3


class Needs(NamedTuple):
    """What a program needs for its start, from its configuration; paths are absolute."""

    program: str | None = None  #: the executable, as in the command
    command: str | None = None  #: what supervisord executes: a path, or a name for PATH
    files: tuple[str, ...] = ()  #: its sockets, pid file and logs
    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()  #: that it listens on
    pid_file: str | None = None  #: of php-fpm; it is one of its files
    config: str | None = None  #: the file of -y
    directory: str | None = None  #: directory=
    logs: tuple[str, ...] = ()  #: files that supervisord opens for it; a folder ends with `/`
    uid: int | None = None  #: user=; None = that of supervisord
    command_address: str | None = None  #: where its command probably listens
    search_path: str | None = None  #: PATH in environment=; None = that of supervisord
    worker_folders: tuple[str, ...] = ()  #: chroot and chdir of its pools

    @property
    def folders(self) -> tuple[str, ...]:
        """Return the folders of its files."""
        return tuple(dict.fromkeys(path.rpartition("/")[0] or "/" for path in self.files))


@dataclass(frozen=True, slots=True, kw_only=True)
class PostMortem:
    """What was found, and what was looked for."""

    oom: OomKill | None = None
    obstacles: tuple[Obstacle, ...] = ()  #: each alone makes a start fail; the first one first
    program_instead: tuple[str, ...] = ()  #: executables of the same kind as a missing one
    worker_folders_missing: tuple[str, ...] = ()
    looked_for: tuple[Cause, ...] = ()  #: what could be looked for

    @property
    def ruled_out(self) -> tuple[Cause, ...]:
        """Return the causes that were looked for and not found."""
        found = {obstacle.cause for obstacle in self.obstacles}
        if self.oom:
            found.add(Cause.OUT_OF_MEMORY)
        return tuple(cause for cause in self.looked_for if cause not in found)


class PostMortemResult(NamedTuple):
    """The cause that the post-mortem proves."""

    cause: Cause
    named: str | None
    evidence: tuple[str, ...]  #: lines
    fault: Fault | None = None


def find(
    examined: PostMortem, ended: ExitReason | None, *, has_worked: bool = False
) -> PostMortemResult | None:
    """Return the cause of an exit that the log does not explain; None = unknown.

    ended: None = the exit status is unknown; has_worked: the start had succeeded.
    """
    signal, status = (ended.signal, ended.status) if ended else (None, None)
    if examined.oom and (signal == _SIGKILL or status == _KILLED_STATUS):
        where = examined.oom.where
        return PostMortemResult(Cause.OUT_OF_MEMORY, where, (f"seen: {examined.oom}",))
    if signal is not None or status == 0 or has_worked:
        return None  # a start that fails ends with another status
    fitting = [
        one
        for one in examined.obstacles
        if status is None or not one.statuses or status in one.statuses
    ]
    if not fitting:
        return None
    first = fitting[0]
    evidence = tuple(one.evidence for one in fitting[:_MOST_OBSTACLES])
    return PostMortemResult(first.cause, first.named, evidence, first.fault)
