"""What the listener knows now, as JSON; the table (terminal.py) and the page (page.py) show it.

Law: everything that comes from a log, a command line or a configuration is untrusted text.
"""

from __future__ import annotations

import time
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from fpm_listener import __version__
from fpm_listener.core.timeline import KEPT_S
from fpm_listener.core.wording import how

if TYPE_CHECKING:
    from fpm_listener.core.fpmstatus import PoolView
    from fpm_listener.core.histogram import HistogramView
    from fpm_listener.core.snapshot import IncidentView, ProcessView, ReceiverView, Snapshot
    from fpm_listener.core.timeline import Entry

Document = dict[str, Any]


def to_json(snapshot: Snapshot, now_s: float) -> Document:
    """Return the status as plain words; `now_s` in wall seconds.

    shape: `now_s`, `instance`, `supervisor`, `listener`, `programs`, `receivers`,
    `receiver_problems` (why alerts will not be delivered), `findings`, `timeline` (the latest
    last). Keys stay as they are; new ones may come. What ends in `_s` is in seconds, `…_at_s`,
    `now_s` and `last_exit_s` since 1970. What is not known, or never was, is null.
    """
    timeline = sorted(snapshot.timeline, key=lambda entry: entry.last_s)
    return {
        "now_s": round(now_s, 3),
        "instance": snapshot.instance,
        "supervisor": snapshot.supervisor,
        "listener": {
            "version": __version__,
            "ready": snapshot.ready,
            "uptime_s": _since(snapshot.started_s, now_s),
            "supervisor_up": snapshot.supervisor_up,
            "fast_restart": snapshot.fast_restart,
            "events": sum(snapshot.events.values()),
            "events_missed": snapshot.events_missed,
            "protocol_garbage": snapshot.protocol_garbage,
            "last_event_age_s": _since(snapshot.last_event_s, now_s),
            "answered_within_s": _quantile(snapshot.ack_seconds, 0.99),
            "log_bytes_skipped": snapshot.log_bytes_skipped,
            "log_read_errors": snapshot.log_read_errors,
            "outbox_persistent": snapshot.outbox_persistent,
            "settings_good": snapshot.config_reload_ok,
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
        "timeline": [_entry(one) for one in timeline if one.last_s > now_s - KEPT_S],
    }


def _quantile(view: HistogramView | None, share: float) -> float | None:
    """Return below which bound of its buckets that share of the observations is."""
    total = sum(view.counts) if view else 0
    if view is None or total == 0:
        return None
    below = zip(view.bounds, accumulate(view.counts), strict=False)
    return next((bound for bound, count in below if count >= share * total), None)


def _since(moment_s: float | None, now_s: float) -> float | None:
    """Return the seconds gone by; never fewer than 0, though the wall clock may be set back."""
    return None if moment_s is None else round(max(0.0, now_s - moment_s), 1)


def _by_name(view: ProcessView) -> tuple[str, str]:
    return view.name.group, view.name.process


def _windows(view: ProcessView, snapshot: Snapshot, now_s: float) -> list[Document]:
    """Return how full the windows are in which a restart loop is told."""
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
        "pid": view.pid,
        "uptime_s": _since(view.start_time_s, now_s) if up else None,
        "starts": view.starts,
        "restarts": view.restarts,
        "failed_starts": view.failed_starts,
        "unexpected_exits": view.unexpected_exits,
        "loops": sorted(tier.value for tier in view.loops),
        "windows": _windows(view, snapshot, now_s),
        "last_exit": how(view.last_exit) if view.last_exit else None,
        "last_exit_s": view.last_exit_s,
        "error_logs": list(view.error_logs),
        "addresses": list(view.addresses),
        "held": list(view.held),
        "healing": {
            "starts": view.healed,
            "stopped_by_us": view.paused,
            "next_start_in_s": None
            if view.next_start_s is None
            else round(max(0.0, view.next_start_s - now_s), 1),
            "worn_out": view.worn_out,
        },
        "pools": [_pool(pool) for pool in view.pools],
        "incident": _incident(view.incident) if view.incident else None,
    }


def _pool(view: PoolView) -> Document:
    return {
        "name": view.pool,
        "up": view.up,
        "saturated": view.saturated,
        "detail": view.detail,
        "busy": view.busy,
        "max_children": view.max_children,
        "numbers": dict(view.numbers),
    }


def _incident(view: IncidentView) -> Document:
    return {
        "id": view.incident_id,
        "cause": view.cause.value,
        "severity": view.severity,
        "started_at_s": view.started_at_s,
        "failed_lives": view.failed_lives,
        "gave_up": view.gave_up,
        "summary": view.summary,
        "address": view.address,
        "holder": str(view.holder) if view.holder else None,
        "evidence": list(view.evidence),
        "remedy": view.remedy,
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


def _entry(entry: Entry) -> Document:
    return {
        "what": entry.what.value,
        "program": entry.process,
        "detail": entry.detail,
        "first_at_s": entry.first_s,
        "last_at_s": entry.last_s,
        "count": entry.count,
        "away_s": None if entry.away_s is None else round(entry.away_s, 3),
    }


# -- what is said of it in words -------------------------------------------------------------------


def headline(document: Document) -> tuple[str, str]:
    """Return how things are, in a few words, and their tone: ok, warn, bad, idle."""
    known = document["programs"]
    if not known:
        ready = document["listener"]["ready"]
        return ("No program is watched" if ready else "The programs are not known yet"), "idle"
    of = "1 program" if len(known) == 1 else f"{len(known)} programs"
    # What was given up before the listener came makes no incident, and is down all the same.
    ill = [one for one in known if one["incident"] or one["state"] == "FATAL"]
    bad = [
        one for one in ill if not one["incident"] or one["incident"].get("recovering_at_s") is None
    ]
    if ill and not bad:
        return f"{len(ill)} of {of} {'is' if len(ill) == 1 else 'are'} recovering", "warn"
    if bad:
        worst = any(not one["incident"] or one["incident"]["severity"] == "critical" for one in bad)
        verb = "is" if len(bad) == 1 else "are"
        return f"{len(bad)} of {of} {verb} in trouble", "bad" if worst else "warn"
    if all(one["state"] == "RUNNING" for one in known):
        words = "The one program runs" if len(known) == 1 else f"All {of} run"
    else:
        words = (
            f"None of the {of} is in trouble" if len(known) > 1 else "The program is not in trouble"
        )
    if notes(document) or any(receiver["failing"] for receiver in document["receivers"]):
        return f"{words}, but see below", "warn"
    return words, "ok"


def recovery(program: Document) -> str | None:
    """Return since when a program is well again, and when its incident ends; None = it is not."""
    incident = program["incident"]
    if not incident or incident.get("recovering_at_s") is None:
        return None
    lasts = {"RUNNING": "stays up", "STOPPED": "stays stopped"}.get(program["state"], "lasts")
    since, until = (
        time.strftime("%H:%M:%S", time.localtime(incident[key]))
        for key in ("recovering_at_s", "resolves_at_s")
    )
    return f"recovering since {since}, will be resolved at {until} if it {lasts}"


def worst_first(programs: list[Document]) -> list[Document]:
    """Return the programs, those with problems first: there may be hundreds."""

    def place(program: Document) -> tuple[int, bool, bool]:
        incident = program["incident"]
        order = 2 if not incident else 0 if incident["severity"] == "critical" else 1
        is_full = any(pool["saturated"] or not pool["up"] for pool in program["pools"])
        return order, program["state"] not in {"FATAL", "BACKOFF"}, not is_full

    return sorted(programs, key=place)


def age(seconds: float) -> str:
    """Return a time by its two largest units, such as `3d4h`."""
    left = int(seconds)
    for size, unit, smaller, rest in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "m"),
        (60, "m", 1, "s"),
    ):
        if left >= size:
            return f"{left // size}{unit}{left % size // smaller}{rest}"
    return f"{left}s"


def story(entry: Document) -> str:
    """Return in words what an entry of the timeline tells, without its program and time."""
    detail, count = entry["detail"], entry["count"]
    because = f": {detail}" if detail else ""
    away = "" if entry["away_s"] is None else f" after {short(entry['away_s'])}"
    longest = ", at the longest" if count > 1 and away else ""
    words = {
        "died": f"died{because}",
        "ended": f"ended{because}",
        "stopped": "stopped by its operator",
        "started": f"started again{away}{longest}",
        "healed": "started again by the listener",
        "paused": "stopped by the listener for a while, as it loops",
        "ending": "given up: supervisord is ended by the listener",
        "incident": f"incident{because}",
        "changed": f"the cause is another{because}",
        "worse": f"got worse{because}",
        "resolved": detail or "well again",
        "listener": "the listener was started",
    }
    times = f" ({count} times)" if count > 1 else ""
    return words.get(entry["what"], f"{entry['what']}{because}") + times


def short(seconds: float) -> str:
    """Return a short time: `38 ms`, `4.1 s`, `5m3s`."""
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    return f"{seconds:.1f} s" if seconds < 60 else age(seconds)


def load(pool: Document) -> str:
    """Return how full a pool is, in words."""
    if not pool["up"]:
        return f"no answer ({pool['detail']})" if pool["detail"] else "no answer"
    said = {
        "idle_processes": "{:.0f} idle",
        "listen_queue": "{:.0f} waiting",
        "max_children_reached": "max_children reached {:.0f} times",
    }
    numbers = pool["numbers"]
    busy, most = pool["busy"], pool["max_children"]
    parts = [] if busy is None else [f"{busy} busy" if most is None else f"{busy} of {most} busy"]
    parts += [form.format(numbers[key]) for key, form in said.items() if key in numbers]
    return ", ".join([*parts, *(["saturated"] if pool["saturated"] else [])]) or "it answers"


def last_end(program: Document) -> str:
    """Return how a program ended last; empty where it never did."""
    return program["last_exit"] or ("" if program["last_exit_s"] is None else "unknown")


def plan(program: Document) -> str | None:
    """Return what healing is about to do with a program; None = nothing."""
    healing = program["healing"]
    if healing["next_start_in_s"] is None:
        return None
    why = "stopped for a while, as it loops" if healing["stopped_by_us"] else "given up"
    used_up = ", the starts of a day being used up" if healing["worn_out"] else ""
    return f"{why}; the listener starts it in {age(healing['next_start_in_s'])}{used_up}"


def answered(listener: Document) -> str:
    """Return how soon nearly all events are answered: the listener's lag."""
    within_s = listener["answered_within_s"]
    if within_s is not None:
        return f"within {short(within_s)}"
    return "later than it measures" if listener["events"] else "none so far"


def notes(document: Document) -> list[str]:
    """Return what is not as it should be with the listener itself."""
    listener = document["listener"]
    found = []
    if not listener["supervisor_up"]:
        found.append("supervisord's XML-RPC does not answer: exit codes are unknown")
    elif any(one["id"] == "FPM120" for one in document["findings"]["worst"]):
        found.append("exit codes are unknown: supervisord keeps no log (logfile in [supervisord])")
    if listener["events_missed"]:
        found.append(f"{listener['events_missed']} events were lost: raise buffer_size")
    if not listener["outbox_persistent"]:
        found.append("alerts owed are kept in memory only: state_dir cannot be written")
    for problem in document["receiver_problems"]:
        name = problem["receiver"]
        found.append(f"receiver {name} cannot work: {problem['why']}" if name else problem["why"])
    if not listener["settings_good"]:
        found.append("the settings file has a mistake: the old settings are in force")
    return found
