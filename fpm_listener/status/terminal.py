"""The status for a terminal.

Laws:
1. Untrusted text cannot move the cursor, and cannot colour, turn or hide anything.
2. No line is wider than a terminal of 80 columns or more, except a remedy: it contains a command
   that people copy as one line.
"""

from __future__ import annotations

import time
import unicodedata
from typing import TYPE_CHECKING

from fpm_listener import durations
from fpm_listener.durations import age
from fpm_listener.status.text import (
    acknowledged,
    count,
    headline,
    healing_plan,
    last_exit,
    notes,
    opcache,
    pool_capacity,
    pool_load,
    recovery,
    timeline_text,
    worst_first,
)
from fpm_listener.untrusted_text import plain, short_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fpm_listener.status.document import Document

#: Entries of the timeline that are shown, and characters of one text.
_ENTRIES, _CHARACTERS = 10, 1000
#: The width without a terminal: nothing is cut.
_ENDLESS = 1 << 20
_COLUMNS = ("PROGRAM", "STATE", "PID", "UP", "RESTARTS", "FAILED", "LAST EXIT")
_COLOURS = {"good": "32", "warn": "33", "bad": "31", "strong": "1", "soft": "2"}
_TONES = {"RUNNING": "good", "STARTING": "warn", "BACKOFF": "warn", "FATAL": "bad"}
_NARROWEST = 11


def to_table(document: Document, width: int | None = None, *, colour: bool = False) -> str:
    """Return the status as lines.

    width: of the terminal, in columns; None = nothing is cut or folded.
    colour: with the escapes of ECMA-48, which are the only ones in it.
    """
    return "\n".join(_Screen(width or _ENDLESS, colour=colour).lines(document))


class _Screen:
    def __init__(self, width: int, *, colour: bool) -> None:
        self._width = width
        self._colour = colour

    def lines(self, document: Document) -> Iterator[str]:
        words, tone = headline(document)
        where = " on ".join(filter(None, (document["supervisor"], document["instance"])))
        tone = "good" if tone == "ok" else tone
        yield from self._folded(f"{where}: {words}" if where else words, tone=tone)
        programs = worst_first(document["programs"])
        yield from self._programs(programs)
        for program in programs:
            if program["incident"]:
                yield from self._incident(program["incident"], recovery(program))
            if plan := healing_plan(program):
                yield from self._folded(f"{short_name(program['name'])}: {plan}", "  healing:  ")
        yield from self._addresses(programs)
        now_s = document["now_s"]
        pools = [line for program in programs for line in _pools(program, now_s)]
        if pools:
            yield from self._part("POOLS", pools)
        yield from self._timeline(document["timeline"], document["now_s"])
        for receiver in document["receivers"]:
            yield from self._receiver(receiver)
        yield from self._findings(document["findings"])
        yield from self._listener(document)

    # -- parts -------------------------------------------------------------------------------------

    def _programs(self, programs: list[Document]) -> Iterator[str]:
        if not programs:
            return
        rows = [_COLUMNS, *(_row(program) for program in programs)]
        widths = [max(_width(row[at]) for row in rows) for at in range(len(_COLUMNS))]
        rest = sum(widths[1:]) + 2 * (len(widths) - 1)
        widths[0] = max(_NARROWEST, min(widths[0], self._width - rest))
        yield ""
        for number, row in enumerate(rows):
            cells = [_padded(_cut(c, w), w) for c, w in zip(row, widths, strict=True)]
            if number == 0:
                yield self._in("strong", "  ".join(cells).rstrip())
                continue
            program = programs[number - 1]
            cells[1] = self._in(_TONES.get(program["state"], "soft"), cells[1])
            if program["incident"]:
                cells[0] = self._in("bad", cells[0])
            yield "  ".join(cells).rstrip()

    def _incident(self, incident: Document, recovering: str | None) -> Iterator[str]:
        yield ""
        tone = "bad" if incident["severity"] == "critical" and not recovering else "warn"
        head = f"{incident['severity'].upper()}: {incident['summary']}"
        yield from self._folded(head, tone=tone)
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(incident["started_at_s"]))
        # A php-fpm that does not answer, or is saturated, has not failed.
        failures = f", {count(incident['failures'], 'failure')}" if incident["failures"] else ""
        yield from self._folded(f"{incident['cause']} since {since}{failures}", "  cause:    ")
        if incident["holder"]:
            yield from self._folded(incident["holder"], "  holder:   ")
        for line in incident["evidence"]:
            yield from self._folded(line, "  evidence: ")
        if recovering:
            yield from self._folded(recovering, "  now:      ")
            return
        yield "  remedy:   " + self._in("strong", _bounded(incident["remedy"]))

    def _addresses(self, programs: list[Document]) -> Iterator[str]:
        found = []
        for program in programs:
            for address in dict.fromkeys((*program["addresses"], *program["held"])):
                held = "held" if address in program["held"] else "not held"
                found.append(f"{short_name(program['name'])}: {address}, {held}")
        if found:
            yield from self._part("LISTEN ADDRESSES", found)

    def _timeline(self, entries: list[Document], now_s: float) -> Iterator[str]:
        if not entries:
            return
        yield ""
        shown = entries[-_ENTRIES:]
        more = f", the latest {len(shown)} of {len(entries)}" if len(entries) > len(shown) else ""
        yield self._in("strong", f"LAST 24 HOURS{more}")
        today = time.localtime(now_s)[:3]
        for entry in shown:
            at = time.localtime(entry["last_at_s"])
            when = time.strftime("%H:%M:%S" if at[:3] == today else "%a %H:%M:%S", at)
            name = "" if entry["what"] == "listener" else f"{short_name(entry['program'])} "
            yield from self._folded(name + timeline_text(entry), f"  {when}  ")

    def _receiver(self, receiver: Document) -> Iterator[str]:
        yield ""
        numbers = ", ".join(
            f"{receiver[key]} {key}" for key in ("pending", "attempts", "failed", "dropped")
        )
        tone = "bad" if receiver["failing"] else None
        yield from self._folded(f"receiver {receiver['name']}: {numbers}", tone=tone)
        if receiver["last_failure"]:
            yield from self._folded(receiver["last_failure"], "  last failure: ")

    def _findings(self, findings: Document) -> Iterator[str]:
        counts = findings["counts"]
        if not any(counts.values()):
            return
        said = ", ".join(f"{count} of severity {name}" for name, count in counts.items() if count)
        worst = [
            f"{one['id']} {one['where']}: {one['what']}"
            for one in findings["worst"]
            if one["severity"] == "error"
        ]
        yield from self._part("FINDINGS", [*worst, f"{said}; more: fpm-listener check"])

    def _listener(self, document: Document) -> Iterator[str]:
        listener = document["listener"]
        last_s = listener["last_event_age_s"]
        facts = [
            f"version {listener['version']}",
            "up -" if listener["uptime_s"] is None else f"up {age(listener['uptime_s'])}",
            f"{listener['events']} events, {listener['events_missed']} missed",
            "no event yet" if last_s is None else f"last event {age(last_s)} ago",
            f"99 % acknowledged: {acknowledged(listener)}",
            f"fast restart {'on' if listener['fast_restart'] else 'off'}",
        ]
        yield ""
        yield from self._folded(", ".join(facts), "listener: ")
        for note in notes(document):
            yield from self._folded(note, "note: ", tone="warn")

    # -- details -----------------------------------------------------------------------------------

    def _part(self, name: str, texts: list[str]) -> Iterator[str]:
        yield ""
        yield self._in("strong", name)
        for text in texts:
            yield from self._folded(text, "  ")

    def _in(self, tone: str | None, text: str) -> str:
        return f"\x1b[{_COLOURS[tone]}m{text}\x1b[0m" if self._colour and tone in _COLOURS else text

    def _folded(self, text: str, before: str = "", *, tone: str | None = None) -> Iterator[str]:
        """Return lines that fit; the text of each line starts in the same column."""
        left = before
        for line in fold(_bounded(text), max(_NARROWEST, self._width - len(before))):
            yield left + self._in(tone, line)
            left = " " * len(before)


def _pools(program: Document, now_s: float) -> Iterator[str]:
    """Return the lines about the pools of a program, and about their OPcache."""
    name = short_name(program["name"])
    for pool in program["pools"]:
        for line in (pool_load(pool), *pool_capacity(pool, now_s)):
            yield f"{name}, pool {pool['name']}: {line}"
    seen = opcache(program)
    if seen:
        yield f"{name}: {seen}"


def _row(program: Document) -> tuple[str, ...]:
    starts = program["healing"]["starts"]
    failed = str(program["failed_starts"] + program["unexpected_exits"])
    fast = next((one for one in program["windows"] if one["looping"]), None)
    if fast:
        failed += f" (loop, {durations.show(fast['window_s'])})"
    return (
        _bounded(short_name(program["name"])),
        _bounded(program["state"]),
        str(program["pid"] or "-"),
        "-" if program["uptime_s"] is None else age(program["uptime_s"]),
        str(program["restarts"]) + (f" ({starts} healed)" if starts else ""),
        failed,
        _last_exit(program),
    )


def _last_exit(program: Document) -> str:
    text = _bounded(last_exit(program) or "-")
    return text.removeprefix("killed by ").replace("exit status", "exit")


def _bounded(text: str) -> str:
    more = f"... ({len(text) - _CHARACTERS} more characters)" if len(text) > _CHARACTERS else ""
    return plain(text[:_CHARACTERS] + more)


def _width(text: str) -> int:
    """Return the columns of a text: none for a combining character, two for a wide one."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.category(c) in {"Mn", "Me"} else 2 if _is_wide(c) else 1 for c in text
    )


def _is_wide(character: str) -> bool:
    return unicodedata.east_asian_width(character) in {"W", "F"}


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _width(text))


def _cut(text: str, width: int) -> str:
    """Return text of at most that width; a cut text keeps its start and its end."""
    if _width(text) <= width:
        return text
    head, tail = text[: width // 2], text[-width // 2 :]
    while _width(head) + _width(tail) + 3 > width:
        head, tail = (head[:-1], tail) if len(head) > len(tail) else (head, tail[1:])
    return f"{head}...{tail}"


def fold(text: str, width: int) -> Iterator[str]:
    """Return lines of at most that width, broken at spaces if possible."""
    line = ""
    for word in text.split(" "):
        rest = word
        if line and _width(line) + 1 + _width(word) > width:
            yield line
            line = ""
        elif line:
            rest = f"{line} {word}"
        while _width(rest) > width:
            count = width
            while _width(rest[:count]) > width:
                count -= 1
            yield rest[:count]
            rest = rest[count:]
        line = rest
    yield line
