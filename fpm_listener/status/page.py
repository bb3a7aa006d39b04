"""The status as an HTML page, from the template page.html.

Laws:
1. `tag` escapes every text, and only `tag` makes markup.
2. The page loads nothing and runs only its own script: the policy allows script and style by their
   digests.
3. The page is complete without its script, which only fetches the page at intervals.
"""

from __future__ import annotations

import binascii
import pkgutil
import time
from collections import Counter
from typing import TYPE_CHECKING
from urllib.parse import quote

from fpm_listener.durations import age
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
from fpm_listener.status.page_programs import incidents, programs
from fpm_listener.status.page_timeline import timeline
from fpm_listener.status.text import acknowledged, headline, notes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fpm_listener.status.document import Document

# Not importlib.resources: it loads zipfile, which costs the listener half a mebibyte.
_TEMPLATE = (pkgutil.get_data(__package__, "page.html") or b"").decode()


#: Digests of the script and the style in page.html; a test compares them. Here, hashlib would load
#: OpenSSL, which needs 4 MiB.
_SCRIPT = "sha256-zVCRloyB+//tV8ANuMJaLHkaOMJO8kY9d+uJpMgbTjI="
_STYLE = "sha256-iWQkGnwipNXeVf95oOdOWAz9QP8NxLhkBhfztZfPqgU="
#: What a browser may do with the page (Content-Security-Policy).
POLICY = (
    f"default-src 'none'; script-src '{_SCRIPT}'; style-src '{_STYLE}'; "
    "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
#: The version of the page: an open page of another version reloads itself.
_PAGE = f"{binascii.crc32(_TEMPLATE.encode()):08x}"


def to_html(document: Document) -> str:
    """Return the status as a page."""
    words, tone = headline(document)
    where = document["instance"] or document["supervisor"] or "fpm-listener"
    live = joined((tag("main", *_main(document, words, tone)), _foot(document)))
    page = _TEMPLATE.replace("@PAGE@", _PAGE).replace("@ICON@", _favicon(tone))
    before, after = page.split("@LIVE@")
    return f"{before.replace('@TITLE@', escaped(f'{words} · {where}'))}{live}{after}"


def _favicon(tone: str) -> str:
    colour = {"ok": "#2da44e", "warn": "#d4930d", "bad": "#d1242f"}.get(tone, "#8b949e")
    mark = {
        "ok": "M9 17l5 5 10-11",
        "idle": "M10 16h12",
    }.get(tone, "M16 8v10M16 23v1")
    picture = (
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'>"
        f"<circle cx='16' cy='16' r='15' fill='{colour}'/>"
        f"<path d='{mark}' fill='none' stroke='white' stroke-width='4' stroke-linecap='round'/>"
        "</svg>"
    )
    return "data:image/svg+xml," + quote(picture, safe="=:/' ,").replace(" ", "%20")


def _head(document: Document, words: str, tone: str) -> Markup:
    states = Counter(program["state"] for program in document["programs"])
    counts = ", ".join(f"{count} {state.lower()}" for state, count in states.most_common())
    where = " on ".join(filter(None, (document["supervisor"], document["instance"])))
    mark = tag("span", symbol(tone, tone), class_=f"mark {tone}")
    lines = [
        tag("h1", words),
        tag("p", " · ".join(filter(None, (where, counts))), class_="soft"),
    ]
    # For screen readers: it changes only when an incident changes.
    problems = "; ".join(p["incident"]["summary"] for p in document["programs"] if p["incident"])
    lines.append(
        tag("p", f"Problems: {problems}" if problems else "", role="status", class_="hide")
    )
    return tag("div", mark, tag("div", *lines), class_="head")


def _notes(document: Document) -> Markup:
    found = [
        tag("li", symbol("warn", "warn"), " ", note, class_="card") for note in notes(document)
    ]
    return (
        tag("ul", *found, class_="notes", aria_label="The listener itself") if found else Markup("")
    )


# -- the rest --------------------------------------------------------------------------------------


def _main(document: Document, words: str, tone: str) -> Iterable[Markup]:
    yield _head(document, words, tone)
    yield incidents(document)
    yield _notes(document)
    yield programs(document)
    yield timeline(document)
    if document["receivers"]:
        yield _receivers(document)
    if document["findings"]["worst"]:
        yield _findings(document["findings"])
    yield _listener(document["listener"])


def _receivers(document: Document) -> Markup:
    columns = (
        ("Receiver", ""),
        ("Pending", "n"),
        ("Attempts", "n"),
        ("Failed", "n"),
        ("Dropped", "n"),
        ("Last failure", ""),
    )
    rows = []
    for one in document["receivers"]:
        tone = "bad" if one["failing"] else "warn" if one["last_failure"] else "ok"
        name = tag(
            "th",
            symbol(tone, tone),
            " ",
            one["name"],
            sub(one["type"]),
            scope="row",
            role="rowheader",
            class_="name",
        )
        cells = [
            cell(label, str(one[key]), kind="n")
            for label, key in (
                ("Pending", "pending"),
                ("Attempts", "attempts"),
                ("Failed", "failed"),
                ("Dropped", "dropped"),
            )
        ]
        last = cell("Last failure", one["last_failure"] or NONE, kind="wide")
        rows.append(tag("tr", name, *cells, last, role="row", data_key=one["name"]))
    card = tag("div", table("receivers", columns, rows), class_="card")
    return section("receivers", "Receivers", card)


def _findings(findings: Document) -> Markup:
    worst = findings["worst"]
    errors = [_finding(one) for one in worst if one["severity"] == "error"]
    others = [_finding(one) for one in worst if one["severity"] != "error"]
    parts = [*errors]
    if others:
        words = f"{len(others)} {'more, ' if errors else ''}less severe"
        parts.append(tag("details", tag("summary", words), *others, data_key="others"))
    unseen = sum(findings["counts"].values()) - len(worst)
    if unseen > 0:
        parts.append(tag("p", f"{unseen} more: fpm-listener check", class_="empty"))
    return section("findings", "Findings of check", tag("div", *parts, class_="card"))


def _finding(one: Document) -> Markup:
    tone = {"error": "bad", "warning": "warn"}.get(one["severity"], "idle")
    where = one["where"].rpartition(" ")[2]  # the section; the full text is below
    head = tag(
        "summary",
        badge(tone, tone, one["severity"]),
        " ",
        one["what"],
        " ",
        tag("span", f"{where} {one['id']}", class_="mono soft"),
    )
    body = tag(
        "div",
        tag("p", one["where"], class_="mono soft"),
        tag("h3", "Why"),
        tag("p", one["why"]),
        tag("h3", "Fix"),
        tag("p", one["fix"]),
    )
    key = f"{one['id']} {one['where']}"
    return tag("details", head, body, class_="finding", data_key=key)


def _listener(listener: Document) -> Markup:
    def fact(name: str, words: str, *, good: bool | None = True) -> Markup:
        tone = "ok" if good else "warn"
        mark = Markup("") if good is None else symbol(tone, tone)
        return tag("div", tag("dt", name), tag("dd", mark, " ", words))

    last_s = listener["last_event_age_s"]
    up, missed = listener["supervisor_up"], listener["events_missed"]
    facts = (
        fact("Up", NONE if listener["uptime_s"] is None else age(listener["uptime_s"]), good=None),
        fact("supervisord XML-RPC", "available" if up else "unavailable", good=up),
        fact("Events", f"{listener['events']}; {missed or 'none'} missed", good=not missed),
        fact("Last event", "none yet" if last_s is None else f"{age(last_s)} ago", good=None),
        fact("99 % of events acknowledged", acknowledged(listener), good=None),
        fact(
            "Fast restart",
            "on" if listener["fast_restart"] else "off",
            good=listener["fast_restart"] or None,
        ),
        fact(
            "Undelivered alerts are",
            f"in {listener['state_dir']}" if listener["outbox_persistent"] else "in memory only",
            good=listener["outbox_persistent"],
        ),
        fact(
            "Settings",
            "in use" if listener["settings_good"] else "old settings in use: the file has an error",
            good=listener["settings_good"],
        ),
    )
    return section("listener", "The listener itself", tag("dl", *facts, class_="card facts"))


def _foot(document: Document) -> Markup:
    now_s = document["now_s"]
    zone = time.strftime("%Z", time.localtime(now_s))
    return tag(
        "footer",
        tag("span", "As of ", clock(now_s, now_s), f" {zone}, this host's time"),
        tag("a", "metrics", href="metrics"),
        tag("a", "status.json", href="status.json"),
        tag("span", f"version {document['listener']['version']}"),
    )
