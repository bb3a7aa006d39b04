"""What the machine shows after a death that no log line explains. Looking is done in `examiner.py`.

Laws:
1. A cause is named only where it alone makes a start fail, or where it and the exit fit together:
   the kernel's out-of-memory killer kills with SIGKILL and with nothing else.
2. What was looked at and found in order is told as well: at night it saves looking there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.vocabulary import Cause

if TYPE_CHECKING:
    from fpm_listener.host.oom_kills import OomKill
    from fpm_listener.supervisor.exit_log import ExitReason

#: Seconds. A php-fpm that ends sooner has failed to start. supervisord's poll takes a second, the
#: `sleep` of the recipes some more; php-fpm itself fails within 32 ms (8.2, measured).
SHORT_LIFE_S = 10.0

#: The exit status by which a shell tells that its child was killed: 128 + SIGKILL.
_KILLED_STATUS = 137

_SIGKILL = 9


class Needs(NamedTuple):
    """What one program cannot start without, by its configuration."""

    program: str | None = None  #: the executable, as the command has it
    folders: tuple[str, ...] = ()  #: of its sockets, pid file and logs; absolute
    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PostMortem:
    """What was found, and what was looked at."""

    oom: OomKill | None = None
    program_missing: str | None = None  #: the executable is not there
    program_instead: tuple[str, ...] = ()  #: of the same kind, which are there
    folders_missing: tuple[str, ...] = ()
    folders_full: tuple[str, ...] = ()  #: no byte or no inode is left on their disk
    unknown: tuple[str, ...] = ()  #: `user NAME`, `group NAME`
    looked_for: tuple[Cause, ...] = ()  #: what could be looked for at all

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
    """The cause that an autopsy proves."""

    cause: Cause
    named: str | None
    evidence: str


def find(autopsy: PostMortem, ended: ExitReason | None) -> PostMortemResult | None:
    """Return what the machine proves of a death whose log told nothing; None = nothing.

    ended: None = how it ended is not known.
    """
    signal, status = (ended.signal, ended.status) if ended else (None, None)
    if autopsy.oom and (signal == _SIGKILL or status == _KILLED_STATUS):
        return PostMortemResult(Cause.OUT_OF_MEMORY, autopsy.oom.where, f"seen: {autopsy.oom}")
    if signal is not None or status == 0:
        return None  # a start that fails ends with another status
    if autopsy.program_missing:
        there = f"; this host has {', '.join(autopsy.program_instead)}" * bool(
            autopsy.program_instead
        )
        evidence = f"seen: {autopsy.program_missing} does not exist{there}"
        return PostMortemResult(Cause.MISSING_PATH, autopsy.program_missing, evidence)
    if autopsy.folders_full:
        folder = autopsy.folders_full[0]
        return PostMortemResult(
            Cause.DISK_FULL, f"{folder}/", f"seen: the disk of {folder} is full"
        )
    if autopsy.folders_missing:
        folder = autopsy.folders_missing[0]
        return PostMortemResult(Cause.MISSING_PATH, f"{folder}/", f"seen: {folder} does not exist")
    if autopsy.unknown:
        named = autopsy.unknown[0]
        return PostMortemResult(Cause.UNKNOWN_USER, named, f"seen: {named} does not exist")
    return None
