"""The status as JSON; terminal.py and page.py render it for people.

Law: every text from a log, a command line or a configuration is untrusted.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any

from fpm_listener import __version__
from fpm_listener.incidents.text_en import ENGLISH
from fpm_listener.monitor.timeline import KEPT_S
from fpm_listener.supervisor.exit_log import how

if TYPE_CHECKING:
    from fpm_listener.delivery.receiver_counters import ReceiverView
    from fpm_listener.histogram import HistogramView
    from fpm_listener.incidents.incident import IncidentView
    from fpm_listener.monitor.process_view import ProcessView
    from fpm_listener.monitor.timeline import Entry
    from fpm_listener.phpfpm.opcache import OpcacheView
    from fpm_listener.phpfpm.status_page import PoolView
    from fpm_listener.status.snapshot import Snapshot

Document = dict[str, Any]

#: Values of the snapshot that keep their names in the JSON.
_LISTENER = (
    *("ready", "supervisor_up", "fast_restart", "events_missed", "protocol_garbage"),
    *("log_bytes_skipped", "log_read_errors", "outbox_persistent"),
    *("state_dir", "state_dir_temporary", "installed_version"),
)
_PROGRAM = ("pid", "starts", "restarts", "failed_starts", "unexpected_exits", "last_exit_s")
_POOL = ("up", "saturated", "detail", "busy", "max_children", "queue", "queue_limit")


def to_json(snapshot: Snapshot, now_s: float) -> Document:
    """Return the status as values of JSON; now_s: wall seconds.

    shape: `now_s`, `instance`, `supervisor`, `listener`, `programs`, `receivers`,
    `receiver_problems` (why alerts are not delivered), `findings`, `timeline` (the latest last).
    Keys do not change; new keys may be added. Names that end in `_s` are seconds; `…_at_s`, `now_s`
    and `last_exit_s` are seconds since 1970. A value that is not known is null.
    """
    timeline = sorted(snapshot.timeline, key=lambda entry: entry.last_s)
    return {
        "now_s": round(now_s, 3),
        "instance": snapshot.instance,
        "supervisor": snapshot.supervisor,
        "listener": {
            "version": __version__,
            "uptime_s": _since(snapshot.started_s, now_s),
            "events": sum(snapshot.events.values()),
            "last_event_age_s": _since(snapshot.last_event_s, now_s),
            "answered_within_s": _quantile(snapshot.ack_seconds, 0.99),
            "settings_good": snapshot.config_reload_ok,
            **{name: getattr(snapshot, name) for name in _LISTENER},
        },
        "programs": [
            _program(view, snapshot, now_s) for view in sorted(snapshot.processes, key=_by_name)
        ],
        "receivers": [_receiver(view) for view in snapshot.receivers],
        "receiver_problems": [
            {"receiver": receiver or None, "why": why}
            for receiver, why in snapshot.receiver_problems
        ],
        "findings": {
            "counts": dict(snapshot.findings),
            "worst": [finding._asdict() for finding in snapshot.found],
        },
        "timeline": [entry_to_json(one) for one in timeline if one.last_s > now_s - KEPT_S],
    }


def _quantile(view: HistogramView | None, share: float) -> float | None:
    """Return the bound of the buckets that contain this share of the observations."""
    total = sum(view.counts) if view else 0
    if view is None or total == 0:
        return None
    below = zip(view.bounds, accumulate(view.counts), strict=False)
    return next((bound for bound, count in below if count >= share * total), None)


def _since(moment_s: float | None, now_s: float) -> float | None:
    """Return the seconds since a moment; at least 0, because the wall clock can be set back."""
    return None if moment_s is None else round(max(0.0, now_s - moment_s), 1)


def _by_name(view: ProcessView) -> tuple[str, str]:
    return view.name.group, view.name.process


def _windows(view: ProcessView, snapshot: Snapshot, now_s: float) -> list[Document]:
    """Return the failures in each restart-loop window."""
    failures = snapshot.failures.get(str(view.name), ())
    return [
        {
            "tier": tier.value,
            "failed": sum(now_s - window.window_s < at_s <= now_s for at_s in failures),
            "threshold": window.threshold,
            "window_s": window.window_s,
            "looping": tier in view.loops,
        }
        for tier, window in snapshot.windows.items()
    ]


def _program(view: ProcessView, snapshot: Snapshot, now_s: float) -> Document:
    up = view.state.value in {"RUNNING", "STARTING"}
    return {
        "name": str(view.name),
        "kind": "php-fpm" if view.is_fpm else "program",
        "state": view.state.value,
        "uptime_s": _since(view.start_time_s, now_s) if up else None,
        **{name: getattr(view, name) for name in _PROGRAM},
        "loops": sorted(tier.value for tier in view.loops),
        "windows": _windows(view, snapshot, now_s),
        "last_exit": how(view.last_exit) if view.last_exit else None,
        "error_logs": list(view.error_logs),
        "addresses": list(view.addresses),
        "held": list(view.held),
        "healing": {
            "starts": view.healed,
            "stopped_by_us": view.paused,
            "next_start_in_s": None
            if view.next_start_s is None
            else round(max(0.0, view.next_start_s - now_s), 1),
            "worn_out": view.exhausted,
        },
        "pools": [_pool(pool) for pool in view.pools],
        "opcache": _opcache(view.opcache) if view.opcache else None,
        "incident": incident_to_json(view.incident) if view.incident else None,
    }


def _pool(view: PoolView) -> Document:
    size = view.capacity
    return {
        "name": view.pool,
        "numbers": dict(view.numbers),
        "numbers_old": view.is_old,
        "capacity": {**size._asdict(), "why": size.why.value if size.why else ""},
        **{name: getattr(view, name) for name in _POOL},
    }


def _opcache(view: OpcacheView) -> Document:
    return {"full": view.is_full, "problem": view.problem, "numbers": dict(view.numbers)}


def incident_to_json(view: IncidentView, *, over: bool = False) -> Document:
    """Return an incident as values of JSON; over: it is resolved."""
    facts = view.facts
    return {
        "id": view.incident_id,
        "cause": facts.cause.value,
        "severity": view.severity,
        "started_at_s": view.started_at_s,
        "failures": facts.failures,
        "gave_up": facts.gave_up,
        "summary": ENGLISH.past_summary(facts) if over else ENGLISH.summary(facts),
        "address": facts.address,
        "holder": str(facts.holder) if facts.holder and not facts.recovering else None,
        "evidence": list(facts.evidence),
        "remedy": ENGLISH.remedy(facts),
        "recovering_at_s": view.recovering_s,
        "resolves_at_s": view.resolves_s,
    }


def _receiver(view: ReceiverView) -> Document:
    return {
        "name": view.name,
        "type": view.kind,
        "pending": view.pending,
        "attempts": view.sent,
        "failed": sum(view.failed.values()),
        "dropped": sum(view.dropped.values()),
        "failing": view.failing,
        "last_failure": view.last_failure,
    }


def entry_to_json(entry: Entry) -> Document:
    """Return an entry of the timeline as values of JSON."""
    details = (
        entry.cause.value if entry.cause else None,
        entry.subject,
        how(entry.exit_reason) if entry.exit_reason else None,
    )
    return {
        "what": entry.what.value,
        "program": entry.process,
        "detail": ", ".join(filter(None, details)),
        "first_at_s": entry.first_s,
        "last_at_s": entry.last_s,
        "count": entry.count,
        "away_s": None if entry.away_s is None else round(entry.away_s, 3),
    }
