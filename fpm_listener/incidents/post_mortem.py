"""What the machine shows after an exit that no log line explains.

`daemon.post_mortem_examiner` examines the machine.

Laws:
1. A cause is named only if it alone makes a start fail, or if it fits the exit: the kernel's
   out-of-memory killer sends SIGKILL and no other signal.
2. The causes that were looked for and not found are reported too. That saves time at night.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.vocabulary import Cause

if TYPE_CHECKING:
    from fpm_listener.host.oom_kills import OomKill
    from fpm_listener.supervisor.exit_log import ExitReason

#: Seconds. A php-fpm that exits earlier has failed to start. supervisord's poll takes a second, the
#: `sleep` of the recipes takes some seconds; php-fpm itself fails within 32 ms (8.2, measured).
SHORT_LIFE_S = 10.0

#: The exit status of a shell whose child was killed: 128 + SIGKILL.
_KILLED_STATUS = 137

_SIGKILL = 9


class Needs(NamedTuple):
    """What a program needs for its start, from its configuration."""

    program: str | None = None  #: the executable, as in the command
    folders: tuple[str, ...] = ()  #: of its sockets, pid file and logs; absolute
    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PostMortem:
    """What was found, and what was looked for."""

    oom: OomKill | None = None
    program_missing: str | None = None  #: the executable does not exist
    program_instead: tuple[str, ...] = ()  #: executables of the same kind that exist
    folders_missing: tuple[str, ...] = ()
    folders_full: tuple[str, ...] = ()  #: their disk has no free byte or no free inode
    unknown: tuple[str, ...] = ()  #: `user NAME`, `group NAME`
    looked_for: tuple[Cause, ...] = ()  #: what could be looked for

    @property
    def ruled_out(self) -> tuple[Cause, ...]:
        """Return the causes that were looked for and not found."""
        found = {
            Cause.OUT_OF_MEMORY: self.oom,
            Cause.MISSING_PATH: self.program_missing or self.folders_missing,
            Cause.DISK_FULL: self.folders_full,
            Cause.UNKNOWN_USER: self.unknown,
        }
        return tuple(cause for cause in self.looked_for if not found.get(cause))


class PostMortemResult(NamedTuple):
    """The cause that the post-mortem proves."""

    cause: Cause
    named: str | None
    evidence: str


def find(examined: PostMortem, ended: ExitReason | None) -> PostMortemResult | None:
    """Return the cause of an exit that the log does not explain; None = unknown.

    ended: None = the exit status is unknown.
    """
    signal, status = (ended.signal, ended.status) if ended else (None, None)
    if examined.oom and (signal == _SIGKILL or status == _KILLED_STATUS):
        return PostMortemResult(Cause.OUT_OF_MEMORY, examined.oom.where, f"seen: {examined.oom}")
    if signal is not None or status == 0:
        return None  # a start that fails ends with another status
    if examined.program_missing:
        there = f"; this host has {', '.join(examined.program_instead)}" * bool(
            examined.program_instead
        )
        evidence = f"seen: {examined.program_missing} does not exist{there}"
        return PostMortemResult(Cause.MISSING_PATH, examined.program_missing, evidence)
    if examined.folders_full:
        folder = examined.folders_full[0]
        return PostMortemResult(
            Cause.DISK_FULL, f"{folder}/", f"seen: the disk of {folder} is full"
        )
    if examined.folders_missing:
        folder = examined.folders_missing[0]
        return PostMortemResult(Cause.MISSING_PATH, f"{folder}/", f"seen: {folder} does not exist")
    if examined.unknown:
        named = examined.unknown[0]
        return PostMortemResult(Cause.UNKNOWN_USER, named, f"seen: {named} does not exist")
    return None
