"""The result of a replay as JSON; `status.replay_text` renders it for people.

Law: it says what the logs cannot show.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm_listener.replay.limits import limits
from fpm_listener.status.document import entry_to_json, incident_to_json

if TYPE_CHECKING:
    from fpm_listener.replay.incident_log import PastIncident
    from fpm_listener.replay.log_lines import Report
    from fpm_listener.replay.replayer import Replayer
    from fpm_listener.status.document import Document


def to_json(replayer: Replayer, report: Report) -> Document:
    """Return the result as values of JSON.

    shape: `files`, `lines`, `first_at_s`, `last_at_s`, `programs` (with their last state),
    `timeline` (the latest last), `incidents` (the first one first), `incidents_left_out`,
    `not_shown` (sentences: what the logs cannot show), `notes` (sentences about the files).
    Keys do not change; new keys may be added. Names that end in `_at_s` are seconds since 1970. A
    value that is not known is null.
    """
    clock = replayer.drive.clock
    views = replayer.drive.engine.views()
    timeline = sorted(replayer.drive.engine.timeline.view(), key=lambda entry: entry.first_s)
    return {
        "files": list(report.files),
        "lines": report.lines,
        "first_at_s": clock.first_s,
        "last_at_s": clock.last_s if clock.first_s is not None else None,
        "programs": [
            {
                "name": str(view.name),
                "kind": "php-fpm" if view.is_fpm else "program",
                "state": view.state.value,
            }
            for view in sorted(views, key=lambda view: view.name)
        ],
        "timeline": [entry_to_json(entry) for entry in timeline],
        "incidents": [_incident(one, replayer) for one in replayer.drive.incidents.all],
        "incidents_left_out": replayer.drive.incidents.dropped,
        "not_shown": limits(replayer),
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
