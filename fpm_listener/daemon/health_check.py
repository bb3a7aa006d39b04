"""Answers whether programs are healthy: the snapshot, and a look at their pools.

Laws:
1. A question never runs on the main thread: it can last as long as its timeout.
2. Questions at the same time share a look, so that many probes add no load to php-fpm.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from fpm_listener.status import health, health_report
from fpm_listener.status.health import Patience
from fpm_listener.status.health_report import Report

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fpm_listener.monitor.known_programs import ProgramsKnown
    from fpm_listener.phpfpm.pool_probe import PoolProbe, ProbeTarget
    from fpm_listener.status.snapshot import Snapshot
    from fpm_listener.supervisor.process import ProcessName

#: The longest timeout, in seconds, and the most names in a question.
_LONGEST_S, _MOST_NAMES = 600.0, 1000


class Question(NamedTuple):
    """What `fpm-listener healthy` asks."""

    programs: tuple[str, ...] = ()  #: empty = each php-fpm
    patience: Patience = Patience()
    nagios: bool = False

    def text(self, report: Report) -> str:
        """Return the exit status and the line, with a space between them."""
        if self.nagios:
            status, line = report.nagios
            return f"{status} {line}"
        return f"{int(not report.ok)} {report.line}"


def read_question(words: Mapping[str, Any]) -> Question:
    """Return the question of `fpm-listener healthy`. Raises ValueError.

    shape: `programs` (names), `timeout_s`, `start_period_s`, `nagios`.
    """
    names, nagios = words.get("programs"), words.get("nagios")
    patience = Patience(_seconds(words.get("timeout_s")), _seconds(words.get("start_period_s")))
    if not isinstance(names, list) or len(names) > _MOST_NAMES or not isinstance(nagios, bool):
        raise ValueError("no list of programs")
    if not all(isinstance(name, str) for name in names):
        raise ValueError("a name of a program is not text")
    return Question(tuple(names), patience, nagios)


def _seconds(value: object) -> float:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not 0 <= value <= _LONGEST_S
    ):
        raise ValueError(f"{value!r} is not a number of seconds from 0 to {_LONGEST_S:g}")
    return float(value)


class HealthCheck:
    """Used by the threads of the control socket and of the web server."""

    def __init__(self) -> None:
        self._targets: Mapping[ProcessName, tuple[ProbeTarget, ...]] = {}
        self._one_at_a_time = threading.Lock()
        self._seen: dict[ProbeTarget, tuple[float, PoolProbe]] = {}

    def follow(self, known: ProgramsKnown) -> None:
        """Use these programs from now on."""
        self._targets = {name: site.probes for name, site in known.sites.items()}

    def report(self, snapshot: Snapshot, names: Sequence[str], patience: Patience) -> Report:
        """Return the health of the programs with these names.

        Raises OSError and RuntimeError if no descriptor, memory or thread is left.
        """
        views = health_report.select(snapshot, names)
        if isinstance(views, Report):
            return views
        wanted = {
            view.name: self._targets.get(view.name, ())
            for view in views
            if health.needs_probe(view)
        }
        looks = self._look([one for targets in wanted.values() for one in targets], patience)
        probes = {name: [looks[one] for one in targets] for name, targets in wanted.items()}
        return health_report.report(snapshot, views, probes, patience, time.time())

    def report_now(self, snapshot: Snapshot) -> Report:
        """Return the health of each php-fpm, with the usual timeout. Raises as `report`."""
        return self.report(snapshot, (), Patience())

    def _look(
        self, targets: Sequence[ProbeTarget], patience: Patience
    ) -> dict[ProbeTarget, PoolProbe]:
        from fpm_listener.phpfpm import probe  # noqa: PLC0415 - late, see ADR 044

        arrived_s = time.monotonic()
        # A question with a longer timeout does not delay this one.
        is_first = self._one_at_a_time.acquire(timeout=patience.timeout_s)
        try:
            # A look that ended before this question arrived says nothing about now.
            shared = {
                target: seen
                for target, (at_s, seen) in self._seen.copy().items()
                if at_s >= arrived_s
                and (health.is_alive(seen) or seen.looked_s >= patience.timeout_s)
            }
            missing = [one for one in dict.fromkeys(targets) if one not in shared]
            if not missing:
                return shared
            found = probe.probe_all(missing, patience.timeout_s)
            ended_s = time.monotonic()
            looks = dict(zip(missing, found, strict=True))
            self._seen = {one: (ended_s, look) for one, look in looks.items()}
            return {**shared, **looks}
        finally:
            if is_first:
                self._one_at_a_time.release()
