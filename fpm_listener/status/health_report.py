"""The health of all programs that were asked for, as one line, for Nagios and as JSON.

Law: a text is for a terminal and for probes: one line, without control characters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fpm_listener.status.health import RANK, Health, Verdict, judge
from fpm_listener.untrusted_text import plain
from fpm_listener.vocabulary import State

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fpm_listener.monitor.process_view import ProcessView
    from fpm_listener.phpfpm.pool_probe import PoolProbe
    from fpm_listener.status.health import Patience
    from fpm_listener.status.snapshot import Snapshot
    from fpm_listener.supervisor.process import ProcessName

#: Characters of the line.
_LONGEST = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The health of all programs that were asked for; at least one verdict."""

    verdicts: tuple[Verdict, ...]

    @property
    def ok(self) -> bool:
        """Return whether each program is healthy."""
        return all(verdict.ok for verdict in self.verdicts)

    @property
    def line(self) -> str:
        """Return one line: the worst programs first."""
        worst_first = sorted(self.verdicts, key=lambda one: (one.ok, -RANK[one.health]))
        words = []
        for one in worst_first:
            name = f"{one.name}: " if one.name else ""
            words.append(f"{name}{one.health.value}: {one.why}")
        text = plain("; ".join(words))
        return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"

    @property
    def nagios(self) -> tuple[int, str]:
        """Return the exit status and the line of a Nagios plugin, with performance data."""
        bad = [one for one in self.verdicts if not one.ok]
        status, word = 0, "OK"
        if bad:
            is_unknown = all(one.health is Health.UNKNOWN for one in bad)
            status, word = (3, "UNKNOWN") if is_unknown else (2, "CRITICAL")
        values = [_performance(probe) for one in self.verdicts for probe in one.probes]
        data = " ".join(filter(None, values))
        text = self.line.replace("|", "/")
        return status, f"FPM {word} - {text}" + (f" | {plain(data)}" if data else "")

    def to_json(self) -> dict[str, Any]:
        """Return the report as values of JSON."""
        return {
            "healthy": self.ok,
            "programs": [
                {
                    "name": one.name,
                    "health": one.health.value,
                    "healthy": one.ok,
                    "why": plain(one.why),
                    "pools": [
                        {
                            "name": probe.target.pool,
                            "address": probe.target.address,
                            "waiting": probe.waiting,
                            "backlog": probe.limit,
                        }
                        for probe in one.probes
                    ],
                }
                for one in self.verdicts
            ],
        }


def unknown(why: str, name: str = "") -> Report:
    """Return a report without a result."""
    return Report(verdicts=(Verdict(name=name, health=Health.UNKNOWN, why=why, ok=False),))


def select(snapshot: Snapshot, names: Sequence[str]) -> tuple[ProcessView, ...] | Report:
    """Return the programs to judge, or a report if there are none.

    names: as supervisorctl accepts them; empty = each php-fpm. Those that an operator has stopped
    are left out then, unless all are stopped.
    """
    not_yet = "the listener does not know the programs yet; ask again in a moment"
    if names:
        chosen: list[ProcessView] = []
        for name in names:
            found = [view for view in snapshot.processes if is_named(view.name, name)]
            if not found and not snapshot.ready:
                return unknown(not_yet, name)
            if not found:
                known = ", ".join(sorted(view.name.shown for view in snapshot.processes))
                why = f"supervisord has no program {name!r}; its programs: {known or 'none known'}"
                return unknown(why, name)
            chosen += [view for view in found if view not in chosen]
        return tuple(chosen)
    fpms = tuple(view for view in snapshot.processes if view.is_fpm)
    if not fpms and not snapshot.ready:
        return unknown(not_yet)
    if not fpms:
        return unknown(
            "no program is known as php-fpm; name a program, or set php_fpm in [fpm-listener]"
        )
    wanted = tuple(view for view in fpms if view.paused or view.state not in _STOPPED)
    return wanted or fpms


_STOPPED = frozenset({State.STOPPED, State.STOPPING})


def is_named(name: ProcessName, word: str) -> bool:
    """Return whether a word names a process, as supervisorctl accepts it."""
    return word in {str(name), name.shown, name.group, f"{name.group}:*"}


def _performance(probe: PoolProbe) -> str:
    """Return `'label'=value;warn;crit;min;max` of the queue, as the plugin guidelines say."""
    if probe.waiting is None or probe.limit is None:
        return ""
    label = probe.target.pool.replace("'", "").replace("=", "").replace("|", "")
    return f"'{label}_queue'={probe.waiting};;;0;{probe.limit}"


def report(
    snapshot: Snapshot,
    views: Sequence[ProcessView],
    probes: Mapping[ProcessName, Sequence[PoolProbe]],
    patience: Patience,
    now_s: float,
) -> Report:
    """Return the report about some programs of a snapshot."""
    verdicts = [
        judge(
            view,
            probes.get(view.name, ()),
            patience,
            now_s,
            snapshot.failures.get(str(view.name), ()),
        )
        for view in views
    ]
    return Report(verdicts=tuple(verdicts))
