"""The parts of the page about open incidents and programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm_listener.durations import age, show
from fpm_listener.status.html import (
    NONE,
    Markup,
    badge,
    cell,
    clock,
    escaped,
    joined,
    section,
    sub,
    symbol,
    table,
    tag,
)
from fpm_listener.status.remedy_commands import pieces
from fpm_listener.status.text import (
    count,
    has_bad_pool,
    healing_plan,
    last_exit,
    opcache,
    pool_capacity,
    pool_load,
    recovery,
    worst_first,
)
from fpm_listener.untrusted_text import short_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fpm_listener.status.document import Document


# -- incidents -------------------------------------------------------------------------------------


def incidents(document: Document) -> Markup:
    """Return the open incidents, each with its remedy."""
    cards = [
        _incident(
            short_name(program["name"]), program["incident"], recovery(program), document["now_s"]
        )
        for program in document["programs"]
        if program["incident"]
    ]
    return section("incidents", "Open incidents", *cards) if cards else Markup("")


def _incident(program: str, incident: Document, recovering: str | None, now_s: float) -> Markup:
    tone = "bad" if incident["severity"] == "critical" and not recovering else "warn"
    since_s = incident["started_at_s"]
    meta = [
        badge(tone, tone, "recovering" if recovering else incident["severity"]),
        tag("span", incident["cause"], class_="mono"),
        tag("span", "since ", clock(since_s, now_s), f" ({age(max(0, now_s - since_s))})"),
        tag("span", count(incident["failures"], "failure")) if incident["failures"] else Markup(""),
        tag("span", "supervisord gave up") if incident["gave_up"] else Markup(""),
    ]
    parts = [
        tag("h3", symbol(tone, tone), tag("span", incident["summary"])),
        tag("p", *meta, class_="meta"),
        tag("p", recovering[0].upper() + recovering[1:] + ".")
        if recovering
        else tag(
            "div", tag("h4", "What to do"), tag("p", *_remedy(incident["remedy"])), class_="remedy"
        ),
    ]
    if incident["holder"]:
        title = f"Holder of {incident['address'] or 'the address'}"
        parts += [tag("h4", title), tag("p", incident["holder"], class_="mono")]
    if incident["evidence"]:
        lines = joined(_lines(incident["evidence"]))
        label = f"Evidence for {program}"
        parts += [
            tag("h4", "Evidence"),
            tag("pre", lines, tabindex="0", role="region", aria_label=label, dir="auto"),
        ]
    edge = " bad-edge" if tone == "bad" else ""
    return tag("article", *parts, class_=f"card incident{edge}", data_key=incident["id"])


def _remedy(text: str) -> Iterable[str]:
    """Return a remedy with a button for each command."""
    for piece in pieces(text):
        if piece.is_command:
            yield tag("code", piece.text)
            yield Markup(" ")
            yield tag(
                "button", "Copy", type="button", class_="copy", aria_label=f"Copy {piece.text}"
            )
        else:
            yield piece.text


def _lines(texts: Iterable[str]) -> Iterable[Markup]:
    for number, text in enumerate(texts):
        yield Markup("\n" * (number > 0) + escaped(text))


#: Programs without a problem that are shown; if there are more, all of them are folded up.
_SHOWN = 8
_TONES = {
    "RUNNING": ("run", "ok"),
    "STARTING": ("turn", "warn"),
    "BACKOFF": ("turn", "warn"),
    "STOPPING": ("turn", "idle"),
    "STOPPED": ("idle", "idle"),
    "EXITED": ("idle", "idle"),
    "FATAL": ("dead", "bad"),
}


def programs(document: Document) -> Markup:
    """Return the programs, those with problems first; many without problems are folded up."""
    known = document["programs"]
    if not known:
        words = (
            "supervisord has not reported its programs yet."
            if not document["listener"]["ready"]
            else (
                "supervisord has no programs, or the settings exclude all of them (programs = …)."
            )
        )
        return section("programs", "Programs", tag("p", words, class_="card empty"))
    columns = (
        *(("Program", ""), ("State", ""), ("Up", "n"), ("Restarts", "n")),
        *(("Failures", "n"), ("Last exit", "")),
    )
    healthy = [program for program in known if _is_healthy(program)]
    folded = healthy if len(healthy) > _SHOWN else []
    shown = [program for program in worst_first(known) if program not in folded]
    now_s = document["now_s"]
    parts = []
    if shown:
        parts.append(table("programs", columns, [_program(one, now_s) for one in shown]))
    if folded:
        rows = [_program(one, now_s) for one in folded]
        words = tag("summary", f"{len(folded)} running")
        inner = table("programs", columns, rows)
        parts.append(tag("details", words, inner, class_="well", data_key="well"))
    return section("programs", "Programs", tag("div", *parts, class_="card"))


def _is_healthy(program: Document) -> bool:
    """Return whether a program runs without any problem."""
    return (
        program["state"] == "RUNNING"
        and not program["incident"]
        and not any(window["failed"] or window["looping"] for window in program["windows"])
        and not has_bad_pool(program)
    )


def _program(program: Document, now_s: float) -> Markup:
    icon, tone = _TONES.get(program["state"], ("idle", "idle"))
    if program["incident"] and tone in {"ok", "idle"}:
        tone = "warn"
    failed = program["failed_starts"] + program["unexpected_exits"]
    windows = [
        sub(f"{count(w['failed'], 'failure')} in {show(w['window_s'])} (limit {w['threshold']})")
        for w in program["windows"]
        if w["failed"] or w["looping"]
    ]
    last_s = program["last_exit_s"]
    ago = None if last_s is None else f"{age(max(0.0, now_s - last_s))} ago"
    uptime_s = program["uptime_s"]
    starts = program["healing"]["starts"]
    healed = f"{starts} by self-healing" if starts else None
    looping = [one["tier"] for one in program["windows"] if one["looping"]]
    return tag(
        "tr",
        tag(
            "th",
            short_name(program["name"]),
            _addresses(program, now_s),
            scope="row",
            role="rowheader",
            class_="name",
        ),
        cell(
            "State",
            badge(icon, tone, program["state"]),
            sub(f"pid {program['pid']}" if program["pid"] else None),
            sub(healing_plan(program)),
        ),
        cell("Up", NONE if uptime_s is None else age(uptime_s), kind="n"),
        cell("Restarts", str(program["restarts"]), sub(healed), kind="n"),
        cell(
            "Failures",
            str(failed),
            *windows,
            sub(f"in a {' and '.join(looping)} restart loop" if looping else None),
            kind="n",
        ),
        cell("Last exit", last_exit(program) or NONE, sub(ago)),
        role="row",
        class_="hit" if program["incident"] else None,
        data_key=program["name"],
    )


def _addresses(program: Document, now_s: float) -> Markup:
    incident = program["incident"] or {}
    kind = sub("php-fpm" if program["kind"] == "php-fpm" and not program["addresses"] else None)
    found = [kind]
    for address in dict.fromkeys((*program["addresses"], *program["held"])):
        words = "sockets held" if address in program["held"] else ""
        if incident.get("address") == address and incident["holder"]:
            words = "in use by another process"
        mono = tag("span", address, class_="mono")
        found.append(tag("span", mono, f" · {words}" if words else "", class_="sub"))
    for pool in program["pools"]:
        tone = "warn" if pool["saturated"] or pool["up"] is False else "idle"
        words = f" pool {pool['name']}: {pool_load(pool)}"
        found.append(
            tag("span", symbol("warn" if tone == "warn" else "run", tone), words, class_="sub")
        )
        found += [tag("span", line, class_="sub") for line in pool_capacity(pool, now_s)]
    found.append(sub(opcache(program)))
    return joined(found)
