"""Processname, program, processseen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from fpm_listener.untrusted_text import short_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm_listener.vocabulary import State


class ProcessName(NamedTuple):
    """A supervised process as supervisor names it: `group:process`.

    A named tuple, not a dataclass: it is hashed several times for each event.
    """

    group: str
    process: str

    def __str__(self) -> str:
        return f"{self.group}:{self.process}"

    @property
    def shown(self) -> str:
        """Return `php-fpm` for `php-fpm:php-fpm`: supervisorctl takes both."""
        return short_name(str(self))


class Program(NamedTuple):
    """One process of supervisord's configuration, as far as we use it.

    A named tuple here and in all that the guard imports: dataclasses cost it ten milliseconds.
    """

    name: ProcessName
    command: str = ""  #: as supervisor reads it, expansions done
    directory: str | None = None  #: where it is started; None = supervisord's own
    environment: Mapping[str, str] = {}  #: what the section adds
    startsecs: float = 1.0  #: seconds; supervisor's default
    stderr_log: str | None = None  #: the file that supervisord writes its stderr to, where known


class Loaded(NamedTuple):
    """What a supervisord that runs tells of itself."""

    configs: tuple[Mapping[str, Any], ...]  #: getAllConfigInfo
    processes: tuple[Mapping[str, Any], ...]  #: getAllProcessInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSeen:
    """Input: what supervisord says of a process when asked, instead of by an event."""

    name: ProcessName
    state: State
    pid: int | None
    started_at_s: float | None  #: wall seconds
