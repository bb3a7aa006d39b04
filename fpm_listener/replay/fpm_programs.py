"""Decides which program of supervisord is php-fpm, if its configuration is not known.

Laws:
1. The pid proves it: php-fpm's log and supervisord's log name the same one.
2. A start of php-fpm that fails writes no pid. Then the name decides, or that exactly one program
   was starting.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fpm_listener.monitor.known_programs import ProgramsKnown
from fpm_listener.phpfpm.config import FpmSite
from fpm_listener.phpfpm.log_facts import FactKind
from fpm_listener.supervisor.process import Program
from fpm_listener.vocabulary import State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm_listener.phpfpm.log_facts import LogFact
    from fpm_listener.replay.reconstruction import Seen
    from fpm_listener.supervisor.process import ProcessName

#: `php-fpm`, `php8.2-fpm`, `php-fpm82`, `fpm`, `web-php-fpm_00`; not `php-fpm-exporter`.
_NAME = re.compile(
    r"(?:.{0,200}[-_.])?(?:php[-_.]?[0-9.]{0,6}[-_.]?)?fpm[-_.]?[0-9.]{0,6}(?:_[0-9]{1,4})?"
)
#: Seconds from the last line of a failed start to the line about the exit.
_EXITS_S = 2.0


class FpmPrograms:
    """Its Replayer owns it."""

    def __init__(self, known: ProgramsKnown | None) -> None:
        """`known`: the configuration; None = unknown."""
        self._known = known
        self._found: dict[ProcessName, FpmSite] = {}

    def __contains__(self, name: object) -> bool:
        sites: Mapping[ProcessName, FpmSite] = self._known.sites if self._known else self._found
        return name in sites

    def meet(self, name: ProcessName) -> ProgramsKnown | None:
        """Decide by the name of a program; return what is new for the engine."""
        if self._known or name in self._found or not _NAME.fullmatch(name.process.lower()):
            return None
        return self._add(name)

    def learn(
        self, at_s: float, fact: LogFact, seen: Mapping[ProcessName, Seen]
    ) -> ProgramsKnown | None:
        """Decide by a line of php-fpm; return what is new for the engine."""
        if self._known:
            return None
        if fact.kind is FactKind.READY and fact.pid is not None:
            named = [name for name, one in seen.items() if one.pid == fact.pid]
        elif fact.kind is FactKind.INIT_FAILED and not self._found:
            named = [name for name, one in seen.items() if _may_be_failing(one, at_s)]
        else:
            return None
        return self._add(named[0]) if len(named) == 1 and named[0] not in self._found else None

    def _add(self, name: ProcessName) -> ProgramsKnown:
        self._found[name] = FpmSite()
        return ProgramsKnown(
            programs=(Program(name=name),),
            sites={name: FpmSite()},
        )


def _may_be_failing(one: Seen, at_s: float) -> bool:
    if one.state is State.STARTING:
        return True
    return one.state in {State.BACKOFF, State.EXITED} and abs(at_s - one.since_s) <= _EXITS_S
