"""Assigns the lines of a log file to processes: several of them can share one file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm_listener.monitor.lifecycle import Phase
from fpm_listener.monitor.messages import LogFacts, StopTimedOut
from fpm_listener.phpfpm.log_facts import FactKind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from fpm_listener.monitor.messages import LogLines
    from fpm_listener.monitor.process_monitor import ProcessMonitor
    from fpm_listener.phpfpm.log_facts import LogFact
    from fpm_listener.supervisor.exit_log import KillNote
    from fpm_listener.supervisor.process import ProcessName


def assign(
    lines: LogLines, processes: Iterable[ProcessMonitor], extra_logs: Sequence[str]
) -> dict[ProcessName, LogFacts]:
    """Return the facts for each process; `extra_logs`: files of every php-fpm."""
    is_extra = lines.path in extra_logs
    candidates = [
        process
        for process in processes
        if lines.path in process.site.error_logs or (is_extra and process.is_fpm)
    ]
    # A line changes whose line the next one is: after "fpm is running" it is that of another.
    starting_up = {process.name for process in candidates if process.is_starting_up}
    facts: dict[ProcessName, list[LogFact]] = {}
    for fact in lines.facts:
        process = _choose(fact, candidates, starting_up)
        if process is None:
            continue
        facts.setdefault(process.name, []).append(fact)
        if fact.kind is FactKind.READY:
            starting_up.discard(process.name)
        elif fact.kind is FactKind.RELOAD and process.liveness.run.phase is not Phase.NONE:
            starting_up.add(process.name)
    return {name: LogFacts(tuple(own)) for name, own in facts.items()}


def find_killed(
    kills: Iterable[KillNote], processes: Collection[ProcessMonitor]
) -> dict[ProcessName, StopTimedOut]:
    """Return the processes of kills: by name, and by pid, since groups can have equal names."""
    return {
        process.name: StopTimedOut(kill.pid, kill.line)
        for kill in kills
        for process in processes
        if process.name.process == kill.process and process.liveness.run.had_pid(kill.pid)
    }


def _choose(
    fact: LogFact, candidates: Sequence[ProcessMonitor], starting_up: Collection[ProcessName]
) -> ProcessMonitor | None:
    """Return the process of a line: by address, by pid, by pool, in its start-up, or the first."""
    left = candidates
    if len(left) > 1:
        for matches in (
            lambda one: fact.address is not None and fact.address in one.site.addresses,
            lambda one: fact.pid is not None and fact.pid == one.liveness.run.pid,
            lambda one: fact.pool is not None and fact.pool in one.site.pools,
            lambda one: one.name in starting_up,
        ):
            left = [process for process in left if matches(process)] or left
    return left[0] if left else None
