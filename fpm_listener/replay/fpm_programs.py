"""Decides which programs of supervisord are php-fpm, and which of them has written a line.

Laws:
1. The pid proves it: php-fpm's log and supervisord's log name the same one.
2. A start of php-fpm that fails writes no pid. Then the name decides, or that exactly one program
   was starting.
3. With several php-fpm, a line counts only if exactly one of them can have written it.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from fpm_listener.monitor.known_programs import ProgramsKnown
from fpm_listener.monitor.liveness import LIVING
from fpm_listener.phpfpm.config import FpmSite
from fpm_listener.phpfpm.log_facts import START_FAILURES, FactKind
from fpm_listener.replay.reconstruction import Seen
from fpm_listener.supervisor.process import Program
from fpm_listener.vocabulary import State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm_listener.phpfpm.log_facts import LogFact
    from fpm_listener.supervisor.process import ProcessName

#: `php-fpm`, `php8.2-fpm`, `php-fpm82`, `fpm`, `web-php-fpm_00`; not `php-fpm-exporter`.
_NAME = re.compile(
    r"(?:.{0,200}[-_.])?(?:php[-_.]?[0-9.]{0,6}[-_.]?)?fpm[-_.]?[0-9.]{0,6}(?:_[0-9]{1,4})?"
)
#: Seconds from the last line of a failed start to the line about the exit.
_EXITS_S = 2.0
_UNSEEN = Seen()


def log_of(name: ProcessName) -> str:
    """Return what stands for the path of the error log of a php-fpm; it is not a path."""
    return f"the log of {name}"


class FpmPrograms:
    """Its Replayer owns it."""

    def __init__(self, known: ProgramsKnown | None) -> None:
        """`known`: the configuration; None = unknown."""
        self.known: ProgramsKnown | None = None  #: for the engine
        self._sites: dict[ProcessName, FpmSite] = {}
        if known is not None:
            for name, site in known.sites.items():
                logs = (*site.error_logs, log_of(name))
                self._sites[name] = site._replace(error_logs=logs)
            self.known = replace(known, sites=self._sites)

    def __contains__(self, name: object) -> bool:
        return name in self._sites

    @property
    def only(self) -> ProcessName | None:
        """Return the php-fpm, if exactly one is known."""
        return next(iter(self._sites)) if len(self._sites) == 1 else None

    def choose(
        self, at_s: float, fact: LogFact, seen: Mapping[ProcessName, Seen]
    ) -> ProcessName | None:
        """Return the php-fpm that has written a line; None = it is not certain."""
        if len(self._sites) < 2:
            return self.only
        present = {name: seen.get(name, _UNSEEN) for name in self._sites}
        for fitting in (
            [name for name, one in present.items() if fact.pid and one.pid == fact.pid],
            [name for name, site in self._sites.items() if fact.address in site.addresses],
            [name for name, site in self._sites.items() if fact.pool in site.pools],
        ):
            if fitting:
                return fitting[0] if len(fitting) == 1 else None
        if fact.kind in START_FAILURES:
            able = [name for name, one in present.items() if _may_be_failing(one, at_s)]
        else:
            able = [name for name, one in present.items() if one.state in LIVING]
        return able[0] if len(able) == 1 else None

    def meet(self, name: ProcessName) -> ProgramsKnown | None:
        """Decide by the name of a program; return what is new for the engine."""
        if self.known or name in self._sites or not _NAME.fullmatch(name.process.lower()):
            return None
        return self._add(name)

    def learn(
        self, at_s: float, fact: LogFact, seen: Mapping[ProcessName, Seen]
    ) -> ProgramsKnown | None:
        """Decide by a line of php-fpm; return what is new for the engine."""
        if self.known:
            return None
        if fact.kind is FactKind.READY and fact.pid is not None:
            named = [name for name, one in seen.items() if one.pid == fact.pid]
        elif fact.kind is FactKind.INIT_FAILED and not self._sites:
            named = [name for name, one in seen.items() if _may_be_failing(one, at_s)]
        else:
            return None
        return self._add(named[0]) if len(named) == 1 and named[0] not in self._sites else None

    def _add(self, name: ProcessName) -> ProgramsKnown:
        site = self._sites[name] = FpmSite(error_logs=(log_of(name),))
        return ProgramsKnown(programs=(Program(name=name),), sites={name: site})


def _may_be_failing(one: Seen, at_s: float) -> bool:
    if one.state is State.STARTING:
        return True
    return one.state in {State.BACKOFF, State.EXITED} and abs(at_s - one.since_s) <= _EXITS_S
