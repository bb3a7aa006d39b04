"""The result of a replay as JSON; `status.replay_text` renders it for people.

Law: it says what the logs cannot show.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm_listener.replay.limits import limits
from fpm_listener.status.document import entry_to_json, incident_to_json

if TYPE_CHECKING:
    from fpm_listener.replay.container_replays import ContainerReplays
    from fpm_listener.replay.incident_log import PastIncident
    from fpm_listener.replay.log_lines import Report
    from fpm_listener.replay.replayer import Replayer
    from fpm_listener.status.document import Document


def to_json(replays: ContainerReplays, report: Report) -> Document:
    """Return the result as values of JSON.

    shape: `files`, `lines`, `first_at_s`, `last_at_s`, `programs` (with their last state),
    `timeline` (the latest last), `incidents` (the first one first), `incidents_left_out`,
    `not_shown` (sentences: what the logs cannot show), `notes` (sentences about the files).
    A program, an entry and an incident have a `container`; null = the logs name none.
    Keys do not change; new keys may be added. Names that end in `_at_s` are seconds since 1970. A
    value that is not known is null.
    """
    parts = [(name or None, replayer) for name, replayer in replays.replayers.items()]
    clocks = [one.drive.clock for _, one in parts]
    timeline = [
        {"container": container, **entry_to_json(entry)}
        for container, one in parts
        for entry in one.drive.engine.timeline.view()
    ]
    incidents = [
        {"container": container, **_incident(past, one)}
        for container, one in parts
        for past in one.drive.incidents.all
    ]
    return {
        "files": list(report.files),
        "lines": report.lines,
        "first_at_s": min((one.first_s for one in clocks if one.first_s is not None), default=None),
        "last_at_s": max((one.last_s for one in clocks if one.is_set), default=None),
        "programs": [
            {
                "container": container,
                "name": str(view.name),
                "kind": "php-fpm" if view.is_fpm else "program",
                "state": view.state.value,
            }
            for container, one in parts
            for view in sorted(one.drive.engine.views(), key=lambda view: view.name)
        ],
        "timeline": sorted(timeline, key=lambda entry: entry["first_at_s"]),
        "incidents": sorted(incidents, key=lambda one: one["started_at_s"]),
        "incidents_left_out": sum(one.drive.incidents.dropped for _, one in parts),
        "not_shown": limits(replays),
        "notes": list(report.notes),
    }


def _incident(past: PastIncident, replayer: Replayer) -> Document:
    """Return one incident.

    `end`: `resolved`, `open` at the end of the logs, or `unknown`. `last_state`: of its program, at
    the end of the logs, if the incident is open then.
    """
    name = past.view.facts.name
    seen = replayer.runs.seen.get(name)
    is_over, is_assumed = past.ended_at_s is not None, seen is not None and seen.is_assumed
    words = incident_to_json(past.view, over=is_over)
    del words["recovering_at_s"], words["resolves_at_s"]
    failures = replayer.drive.engine.timeline.failures().get(str(name), ())
    latest_s = max((at_s for at_s in failures if at_s <= (past.ended_at_s or at_s)), default=None)
    return {
        "program": str(name),
        **words,
        "end": "unknown" if is_assumed else "resolved" if is_over else "open",
        "last_state": seen.state.value if seen is not None and not is_over else None,
        "last_failure_at_s": latest_s,
        "recovered_at_s": None if is_assumed else past.recovered_at_s,
        "resolved_at_s": None if is_assumed else past.ended_at_s,
    }
