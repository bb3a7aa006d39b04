"""The part of the page about the last 24 hours: a chart and a list."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from fpm_listener.monitor.timeline import KEPT_S
from fpm_listener.status.html import Markup, clock, joined, section, symbol, tag
from fpm_listener.status.text import count, timeline_text
from fpm_listener.untrusted_text import short_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fpm_listener.status.document import Document

#: Entries that are seen before one unfolds the rest, and parts of the day in the picture.
_ENTRIES, _BUCKETS = 10, 96

_MARKS = {
    "failed": ("dead", "bad"),
    "exited": ("idle", "idle"),
    "stopped": ("idle", "idle"),
    "started": ("turn", "ok"),
    "healed": ("turn", "warn"),
    "paused": ("idle", "warn"),
    "shutdown": ("bad", "bad"),
    "incident": ("bad", "bad"),
    "changed": ("warn", "warn"),
    "worse": ("bad", "bad"),
    "resolved": ("ok", "ok"),
    "listener": ("run", "idle"),
}


def timeline(document: Document) -> Markup:
    """Return the entries, the latest first."""
    now_s, entries = document["now_s"], document["timeline"]
    if not entries:
        words = tag("p", "Nothing has happened.", class_="card empty")
        return section("timeline", "Last 24 hours", words)
    items = [_entry(entry, now_s) for entry in reversed(entries)]
    parts = [_strip(entries, now_s), tag("ol", *items[:_ENTRIES], class_="events")]
    if len(items) > _ENTRIES:
        rest = tag("ol", *items[_ENTRIES:], class_="events")
        parts.append(tag("details", tag("summary", f"{len(items) - _ENTRIES} earlier"), rest))
    return section("timeline", "Last 24 hours", tag("div", *parts, class_="card"))


def _entry(entry: Document, now_s: float) -> Markup:
    mark, tone = _MARKS.get(entry["what"], ("idle", "idle"))
    name = tag("b", short_name(entry["program"]))
    program = Markup("") if entry["what"] == "listener" else joined((name, " "))
    words = tag("span", program, timeline_text(entry))
    key = f"{entry['what']} {entry['program']} {entry['detail'][:200]} {entry['first_at_s']}"
    return tag("li", clock(entry["last_at_s"], now_s), symbol(mark, tone), words, data_key=key)


def _strip(entries: list[Document], now_s: float) -> Markup:
    """Return the day as a chart: failures as bars, incidents behind them."""
    start_s, size_s = now_s - KEPT_S, KEPT_S / _BUCKETS
    shapes = []
    for opened_at_s, ended_at_s in _incidents(entries, now_s):
        left = max(0.0, (opened_at_s - start_s) / size_s)
        width = max(0.4, (ended_at_s - start_s) / size_s - left)
        shapes.append(_rect("span bad", left, 0, width, 30))
    failures: Counter[int] = Counter()
    for entry in entries:
        if entry["what"] == "failed":
            failures[int((entry["last_at_s"] - start_s) // size_s)] += entry["count"]
    if not shapes and not failures:
        return Markup("")  # an empty red chart looks like a problem
    most = max(failures.values(), default=1)
    for bucket, number in sorted(failures.items()):
        left, height = min(bucket, _BUCKETS - 1) + 0.12, 4 + 24 * (number / most) ** 0.5
        shapes.append(_rect("failures", left, 30 - height, 0.76, height))
    total = sum(failures.values())
    text = f"{count(total, 'failure')} in the last 24 hours" if total else "no failure in 24 hours"
    chart = tag(
        "svg",
        *(*shapes, _rect("base", 0, 30, _BUCKETS, 0.6)),
        class_="chart",
        viewBox=f"0 0 {_BUCKETS} 31",
        preserveAspectRatio="none",
        role="img",
        aria_label=text,
    )
    words = (tag("span", one) for one in ("24 h ago", "12 h ago", "now"))
    scale = tag("p", *words, class_="scale", aria_hidden="true")
    legend = tag(
        "p",
        tag("span", tag("i"), text),
        tag("span", tag("i", class_="span"), "incident"),
        class_="legend",
    )
    return tag("div", chart, scale, legend, class_="strip")


def _incidents(entries: list[Document], now_s: float) -> Iterator[tuple[float, float]]:
    """Yield the start and the end of each incident, in wall seconds."""
    open_: dict[str, float] = {}
    for entry in entries:
        program = entry["program"]
        if entry["what"] == "incident":
            open_.setdefault(program, entry["first_at_s"])
        elif entry["what"] in {"changed", "worse"}:
            open_.setdefault(program, now_s - KEPT_S)  # it started before the oldest entry
        elif entry["what"] == "resolved":
            yield open_.pop(program, now_s - KEPT_S), entry["last_at_s"]
    for opened_at_s in open_.values():
        yield opened_at_s, now_s


def _rect(kind: str, x: float, y: float, width: float, height: float) -> Markup:
    shape = {"x": x, "y": y, "width": width, "height": height}
    return tag("rect", class_=kind, **{key: f"{value:.2f}" for key, value in shape.items()})
