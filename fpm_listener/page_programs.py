"""Of the page: open incidents, and the programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm_listener.core import durations
from fpm_listener.core.display import short_name
from fpm_listener.markup import (
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
from fpm_listener.status import age, load, plan, worst_first

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fpm_listener.status import Document


# -- incidents -------------------------------------------------------------------------------------


def incidents(document: Document) -> Markup:
    """Return what is open, each with what to do about it."""
    cards = [
        _incident(short_name(program["name"]), program["incident"], document["now_s"])
        for program in document["programs"]
        if program["incident"]
    ]
    return section("incidents", "Open incidents", *cards) if cards else Markup("")


def _incident(program: str, incident: Document, now_s: float) -> Markup:
    tone = "bad" if incident["severity"] == "critical" else "warn"
    since_s = incident["started_at_s"]
    meta = [
        badge(tone, tone, incident["severity"]),
        tag("span", incident["cause"], class_="mono"),
        tag("span", "since ", clock(since_s, now_s), f" ({age(max(0, now_s - since_s))})"),
        tag("span", f"{incident['failed_lives']} failed lives"),
        tag("span", "supervisord gave up") if incident["gave_up"] else Markup(""),
    ]
    parts = [
        tag("h3", symbol(tone, tone), tag("span", incident["summary"])),
        tag("p", *meta, class_="meta"),
        tag("div", tag("h4", "What to do"), tag("p", incident["remedy"]), class_="remedy"),
    ]
    if incident["holder"]:
        what = f"Who has {incident['address'] or 'the address'}"
        parts += [tag("h4", what), tag("p", incident["holder"], class_="mono")]
    if incident["evidence"]:
        lines = joined(_lines(incident["evidence"]))
        label = f"Evidence for {program}"
        parts += [
            tag("h4", "Evidence"),
            tag("pre", lines, tabindex="0", role="region", aria_label=label, dir="auto"),
        ]
    edge = " bad-edge" if tone == "bad" else ""
    return tag("article", *parts, class_=f"card incident{edge}", data_key=incident["id"])


def _lines(texts: Iterable[str]) -> Iterable[Markup]:
    for number, text in enumerate(texts):
        yield Markup("\n" * (number > 0) + escaped(text))


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
    """Return the table of programs, those in trouble first: there may be hundreds."""
    known = document["programs"]
    if not known:
        words = (
            "supervisord has named none so far."
            if not document["listener"]["ready"]
            else ("supervisord has none, or the settings leave all of them out (programs = …).")
        )
        return section("programs", "Programs", tag("p", words, class_="card empty"))
    columns = (
        *(("Program", ""), ("State", ""), ("Up", "n"), ("Restarts", "n")),
        *(("Failed lives", "n"), ("Last end", "")),
    )
    rows = [_program(program, document["now_s"]) for program in worst_first(known)]
    return table("programs", "Programs", columns, rows)


def _program(program: Document, now_s: float) -> Markup:
    icon, tone = _TONES.get(program["state"], ("idle", "idle"))
    if program["incident"] and tone in {"ok", "idle"}:
        tone = "warn"
    failed = program["failed_starts"] + program["unexpected_exits"]
    windows = [
        sub(f"{w['failed']} in {durations.show(w['window_s'])}, a loop at {w['threshold']}")
        for w in program["windows"]
        if w["failed"] or w["looping"]
    ]
    last_s = program["last_exit_s"]
    ago = None if last_s is None else f"{age(max(0.0, now_s - last_s))} ago"
    uptime_s = program["uptime_s"]
    starts = program["healing"]["starts"]
    healed = f"{starts} by the listener" if starts else None
    looping = [one["tier"] for one in program["windows"] if one["looping"]]
    return tag(
        "tr",
        tag(
            "th",
            short_name(program["name"]),
            _addresses(program),
            scope="row",
            role="rowheader",
            class_="name",
        ),
        cell(
            "State",
            badge(icon, tone, program["state"]),
            sub(f"pid {program['pid']}" if program["pid"] else None),
            sub(plan(program)),
        ),
        cell("Up", NONE if uptime_s is None else age(uptime_s), kind="n"),
        cell("Restarts", str(program["restarts"]), sub(healed), kind="n"),
        cell(
            "Failed lives",
            str(failed),
            *windows,
            sub(f"in a {' and '.join(looping)} loop" if looping else None),
            kind="n",
        ),
        cell("Last end", program["last_exit"] or (NONE if ago is None else "not known"), sub(ago)),
        role="row",
        class_="hit" if program["incident"] else None,
        data_key=program["name"],
    )


def _addresses(program: Document) -> Markup:
    incident = program["incident"] or {}
    kind = sub("php-fpm" if program["kind"] == "php-fpm" and not program["addresses"] else None)
    found = [kind]
    for address in dict.fromkeys((*program["addresses"], *program["held"])):
        words = "sockets held" if address in program["held"] else ""
        if incident.get("address") == address and incident["holder"]:
            words = "taken by another"
        mono = tag("span", address, class_="mono")
        found.append(tag("span", mono, f" · {words}" if words else "", class_="sub"))
    for pool in program["pools"]:
        tone = "warn" if pool["saturated"] or not pool["up"] else "idle"
        words = f" pool {pool['name']}: {load(pool)}"
        found.append(
            tag("span", symbol("warn" if tone == "warn" else "run", tone), words, class_="sub")
        )
    return joined(found)
