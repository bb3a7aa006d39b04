"""Says what the logs cannot show, so that silence is not taken for health."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm_listener.status.text import count
from fpm_listener.vocabulary import Cause

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fpm_listener.incidents.incident_facts import IncidentFacts
    from fpm_listener.replay.container_replays import ContainerReplays
    from fpm_listener.replay.replayer import Replayer

_WORKERS = frozenset({Cause.WORKER_FAILURE, Cause.CRASH_SIGNAL})


def limits(replays: ContainerReplays) -> list[str]:
    """Return sentences about what these logs do not show."""
    parts = replays.replayers
    found: dict[str, list[str]] = {}  # the containers of which a sentence is true
    for container, replayer in parts.items():
        for sentence in _limits(replayer):
            found.setdefault(sentence, []).append(container or "lines without a container")
    if replays.left_out:
        found[f"Lines of further containers ({count(replays.left_out, 'line')})"] = [*parts]
    return [
        sentence if len(where) == len(parts) else f"{', '.join(where)}: {sentence}"
        for sentence, where in found.items()
    ]


def _limits(replayer: Replayer) -> list[str]:
    runs, jumps = replayer.runs, replayer.drive.clock.jumps_back
    facts = [one.view.facts for one in replayer.drive.incidents.all]
    causes = {one.cause for one in facts}
    lines, unassigned = replayer.untimed.total(), replayer.unassigned.total()
    found = {
        "The logs have no line of supervisord about a program. So exit statuses, signals and"
        " FATAL are unknown. Name its log: --supervisord-log FILE": not runs.is_used,
        "The log of supervisord has no line about a start: its loglevel is above info. So FATAL,"
        " stops of a program that had failed, and the end of an incident are unknown": (
            runs.is_used and not runs.shows_starts
        ),
        "Whether a program was down before the first line: the logs begin after the start of"
        " supervisord": replayer.begins_late,
        "The logs have no line of php-fpm. So the reason of a failed start, and failures of"
        " workers, are unknown. Name its log: --fpm-log FILE": not replayer.has_fpm_log,
        f"Which process had the address: no log contains that{_orphans(facts)}": (
            Cause.BIND_CONFLICT in causes
        ),
        "Whether the kernel's out-of-memory killer sent SIGKILL: look at that time in the output"
        " of dmesg -T, or of journalctl -k": any(
            one.killed and one.cause is not Cause.STOP_TIMEOUT for one in facts
        ),
        "Whether the failed starts are genuine: an application can write such lines, and the log of"
        " supervisord shows it": not runs.is_used and bool(facts),
        "Whether the lines about workers are genuine: an application can write such lines. A"
        " running listener checks the processes": any(
            one.cause in _WORKERS and one.only_workers_fail for one in facts
        ),
        "Why supervisord did not start a program: its log names the command, and not the program"
        f" ({runs.nameless} lines)": runs.nameless > 0,
        f"What ended supervisord: it started again ({count(replayer.killed_supervisors, 'time')}),"
        " and its log has no line about its end before that": replayer.killed_supervisors > 0,
        f"Exact durations: the clock of the logs was set back ({count(jumps, 'time')})": jumps > 0,
        f"Lines about further programs: {runs.left_out} lines name more programs than this can"
        " follow at once": runs.left_out > 0,
        f"When {lines} lines without a time were written: {_listed(replayer.untimed)}": lines > 0,
        f"Which of several php-fpm has written {unassigned} lines of"
        f" {_listed(replayer.unassigned)}": unassigned > 0,
        "Whether php-fpm answered requests: no log contains that": True,
    }
    return [text for text, is_true in found.items() if is_true]


def _orphans(facts: Iterable[IncidentFacts]) -> str:
    """Return a hint: workers of a master that was killed go on, and keep its address."""
    conflicts = [one for one in facts if one.cause is Cause.BIND_CONFLICT and one.is_fpm]
    lines = [line for one in conflicts for line in one.evidence]
    is_killed = any("exited: " in line and "terminated by SIG" in line for line in lines)
    hint = ". A signal had ended php-fpm's master before: then its workers can have kept it"
    return hint if is_killed else ""


def _listed(paths: Iterable[str]) -> str:
    return ", ".join(sorted(paths))
