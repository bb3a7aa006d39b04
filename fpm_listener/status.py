"""What the listener knows now, as JSON, as a table for a terminal, and as a plain page.

Law: everything that comes from a log, a command line or a configuration is untrusted text.
"""

from __future__ import annotations

import html
import json
from typing import TYPE_CHECKING, Any

from fpm_listener.core.values import FpmListenerError
from fpm_listener.core.wording import how

if TYPE_CHECKING:
    from fpm_listener.core.snapshot import IncidentView, ProcessView, ReceiverView, Snapshot

Document = dict[str, Any]


def to_json(snapshot: Snapshot, now_s: float) -> Document:
    """Return the status as plain words; `now_s` in wall seconds.

    shape: `supervisor`, `listener`, `programs`, `receivers`. Keys stay as they are; new ones may
    come. What ends in `_s` is in seconds, `…_at_s` and `last_exit_s` since 1970. What is not known,
    or never was, is null.
    """
    return {
        "supervisor": snapshot.supervisor,
        "listener": {
            "uptime_s": _since(snapshot.started_s, now_s),
            "supervisor_up": snapshot.supervisor_up,
            "events_missed": snapshot.events_missed,
            "outbox_persistent": snapshot.outbox_persistent,
            "settings_good": snapshot.config_reload_ok,
        },
        "programs": [_program(view, now_s) for view in sorted(snapshot.processes, key=_by_name)],
        "receivers": [_receiver(view) for view in snapshot.receivers],
    }


def _since(moment_s: float | None, now_s: float) -> float | None:
    """Return the seconds gone by; never fewer than 0, though the wall clock may be set back."""
    return None if moment_s is None else round(max(0.0, now_s - moment_s), 1)


def _by_name(view: ProcessView) -> tuple[str, str]:
    return view.name.group, view.name.process


def _program(view: ProcessView, now_s: float) -> Document:
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
        "incident": _incident(view.incident) if view.incident else None,
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


_COLUMNS = ("PROGRAM", "STATE", "PID", "UP", "RESTARTS", "FAILED", "LAST END", "TROUBLE")


def _rows(document: Document) -> list[tuple[str, ...]]:
    return [
        (
            program["name"],
            program["state"],
            str(program["pid"] or "-"),
            "-" if program["uptime_s"] is None else _age(int(program["uptime_s"])),
            str(program["restarts"]),
            str(program["failed_starts"] + program["unexpected_exits"]),
            program["last_exit"] or "-",
            program["incident"]["cause"] if program["incident"] else "-",
        )
        for program in document["programs"]
    ]


def _age(seconds: int) -> str:
    """Return a time by its two largest units, such as `3d4h`."""
    for size, unit, smaller, rest in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "m"),
        (60, "m", 1, "s"),
    ):
        if seconds >= size:
            return f"{seconds // size}{unit}{seconds % size // smaller}{rest}"
    return f"{seconds}s"


def _plan(program: Document) -> str | None:
    """Return what healing does with a program; None = nothing."""
    healing = program["healing"]
    if healing["next_start_in_s"] is None:
        return None
    why = "loops and is stopped for a while" if healing["stopped_by_us"] else "was given up"
    used_up = ", the starts of a day being used up" if healing["worn_out"] else ""
    return f"{program['name']} {why}; started in {_age(int(healing['next_start_in_s']))}{used_up}"


def _notes(document: Document) -> list[str]:
    """Return what healing plans, and what is not as it should be with the listener itself."""
    listener = document["listener"]
    notes = [plan for program in document["programs"] if (plan := _plan(program))]
    if not listener["supervisor_up"]:
        notes.append("supervisord's XML-RPC does not answer: exit codes are unknown")
    if listener["events_missed"]:
        notes.append(f"{listener['events_missed']} events were lost: raise buffer_size")
    if not listener["outbox_persistent"]:
        notes.append("alerts owed are kept in memory only: state_dir cannot be written")
    if not listener["settings_good"]:
        notes.append("the settings file has a mistake: the old settings are in force")
    return notes


def to_table(document: Document) -> str:
    """Return the status for a terminal."""
    rows = [_COLUMNS, *_rows(document)]
    widths = [max(len(plain(row[at])) for row in rows) for at in range(len(_COLUMNS))]
    lines = [
        "  ".join(
            plain(cell).ljust(width) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]
    for program in document["programs"]:
        if incident := program["incident"]:
            lines += ["", plain(f"{incident['severity'].upper()}: {incident['summary']}")]
            if incident["holder"]:
                lines.append(plain(f"  holder:   {incident['holder']}"))
            lines += [plain(f"  evidence: {line}") for line in incident["evidence"]]
            lines.append(plain(f"  remedy:   {incident['remedy']}"))
    for receiver in document["receivers"]:
        owed = f"{receiver['pending']} owed, {receiver['attempts']} attempts"
        failed = f"{receiver['failed']} failed, {receiver['dropped']} dropped"
        lines += ["", plain(f"receiver {receiver['name']}: {owed}, {failed}")]
        if receiver["last_failure"]:
            lines.append(plain(f"  last failure: {receiver['last_failure']}"))
    lines += [f"\nnote: {note}" for note in _notes(document)]
    return "\n".join(lines)


def plain(text: str) -> str:
    """Return text that cannot move the cursor or colour the terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)


_STYLE = """
:root{color-scheme:light dark;font:15px/1.5 system-ui,sans-serif}
body{max-width:70rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #8884}
section{border-left:4px solid #c33;padding:.2rem 1rem;margin:1rem 0}
pre{white-space:pre-wrap;overflow-wrap:anywhere}
"""


def to_html(document: Document) -> str:
    """Return the status as a page of its own; nothing is loaded from anywhere."""
    head = "".join(f'<th scope="col">{cell.capitalize()}</th>' for cell in _COLUMNS)
    body = "".join(
        f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>"
        for row in _rows(document)
    )
    sections = "".join(
        f"<section><h2>{html.escape(incident['summary'])}</h2>"
        f"<p>{html.escape(incident['remedy'])}</p>"
        f"<p>{html.escape('holder: ' + incident['holder'] if incident['holder'] else '')}</p>"
        f"<pre>{html.escape(chr(10).join(incident['evidence']))}</pre></section>"
        for program in document["programs"]
        if (incident := program["incident"])
    )
    notes = "".join(f"<p>{html.escape(note)}</p>" for note in _notes(document))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>fpm-listener</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta http-equiv="refresh" content="5"><style>{_STYLE}</style></head><body>'
        f"<h1>fpm-listener</h1>{sections}{notes}<table><thead><tr>{head}</tr></thead>"
        f'<tbody>{body}</tbody></table><p><a href="/metrics">metrics</a> · '
        '<a href="/status.json">status.json</a></p></body></html>\n'
    )


def fetch(url: str) -> Document:
    """Return the status of the listener that serves at `url`.

    Raises FpmListenerError where there is none.
    """
    # Imported here: the web server uses this module, and has no need of a client.
    import urllib.error  # noqa: PLC0415
    import urllib.request  # noqa: PLC0415

    if not url.startswith(("http://", "https://")):
        raise FpmListenerError(f"--url {url!r} is no URL; write http://host:port")
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/status.json", timeout=10) as answer:  # noqa: S310 - checked above
            document: Document = json.loads(answer.read())
    except urllib.error.HTTPError as error:
        raise FpmListenerError(f"{url}: the listener answers {error.code} {error.reason}") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "reason", error)
        raise FpmListenerError(
            f"{url}: no listener answers there ({why}); is it running, and does `listen` say so?",
        ) from None
    return document
