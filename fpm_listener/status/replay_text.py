"""The result of a replay for a terminal.

Laws: those of `terminal`.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

from fpm_listener.durations import age
from fpm_listener.status.terminal import fold
from fpm_listener.status.text import count, timeline_text
from fpm_listener.untrusted_text import plain, short_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import tzinfo

    from fpm_listener.status.document import Document

#: The width without a terminal: nothing is folded.
_ENDLESS = 1 << 20
#: Characters of one text.
_CHARACTERS = 1000
_NARROWEST = 20


def to_lines(document: Document, zone: tzinfo | None, width: int | None = None) -> Iterator[str]:
    """Return the result as lines.

    zone: of the times; None = that of this machine. width: of the terminal; None = endless.
    """
    return _Text(zone, width or _ENDLESS).lines(document)


class _Text:
    def __init__(self, zone: tzinfo | None, width: int) -> None:
        self._zone = zone
        self._width = width

    def lines(self, document: Document) -> Iterator[str]:
        incidents, first_s = document["incidents"], document["first_at_s"]
        found = count(len(incidents), "incident") if incidents else "no incident"
        if first_s is None:
            yield from self._folded(f"{count(document['lines'], 'line')}, and none has a time")
        else:
            last_s = document["last_at_s"]
            span = f"{self._time(first_s)} to {self._time(last_s)} {self._zone_name(last_s)}"
            yield from self._folded(f"{found} in {count(document['lines'], 'line')}, {span}")
        yield from self._listed("read", document["files"])
        yield from self._listed("note", document["notes"])
        if document["timeline"]:
            yield ""
            yield "TIMELINE"
            for entry in document["timeline"]:
                yield from self._entry(entry)
        for number, incident in enumerate(incidents, start=1):
            yield from self._incident(incident, f"INCIDENT {number} of {len(incidents)}")
        if document["incidents_left_out"]:
            yield ""
            yield f"{document['incidents_left_out']} earlier incidents are not shown"
        if document["not_shown"]:
            yield ""
            yield "WHAT THESE LOGS DO NOT SHOW"
            for sentence in document["not_shown"]:
                yield from self._folded(sentence, "  - ")

    def _entry(self, entry: Document) -> Iterator[str]:
        when = self._time(entry["first_at_s"])
        if entry["count"] > 1 and entry["last_at_s"] - entry["first_at_s"] >= 1:
            is_same_day = self._time(entry["last_at_s"])[:10] == when[:10]
            when += f" to {self._time(entry['last_at_s'])[11 if is_same_day else 0 :]}"
        is_own = entry["what"].startswith("supervisord")
        names = (entry["container"] or "", "" if is_own else short_name(entry["program"]))
        words = " ".join(filter(None, (*names, timeline_text(entry))))
        yield from self._folded(words, f"  {when}  ")

    def _incident(self, incident: Document, title: str) -> Iterator[str]:
        yield ""
        container = f"{incident['container']}: " if incident["container"] else ""
        severity = incident["severity"].upper()
        yield from self._folded(f"{title}, {severity}: {container}{incident['summary']}")
        failures = count(incident["failures"], "failure") if incident["failures"] else ""
        cause = ", ".join(filter(None, (incident["cause"], failures)))
        yield from self._folded(cause, "  cause:    ")
        yield f"  start:    {self._time(incident['started_at_s'])}"
        yield from self._folded(self._end(incident), "  end:      ")
        for line in incident["evidence"]:
            yield from self._folded(line, "  evidence: ")
        yield f"  remedy:   {_bounded(incident['remedy'])}"

    def _end(self, incident: Document) -> str:
        recovered_s, resolved_s = incident["recovered_at_s"], incident["resolved_at_s"]
        latest_s = incident["last_failure_at_s"]
        latest = f"the last failure: {self._time(latest_s)}" if latest_s is not None else ""
        if incident["end"] == "unknown":
            return "; ".join(filter(None, ("unknown, because the log shows no starts", latest)))
        if incident["end"] == "open":
            if recovered_s is not None:
                return f"open at the end of the logs, and well since {self._time(recovered_s)}"
            state = f", in the state {incident['last_state']}" if incident["last_state"] else ""
            return "; ".join(filter(None, (f"still open at the end of the logs{state}", latest)))
        lasted = age(resolved_s - incident["started_at_s"])
        since = "" if recovered_s is None else f", and well since {self._time(recovered_s)}"
        return f"{self._time(resolved_s)} resolved after {lasted}{since}"

    # -- details -----------------------------------------------------------------------------------

    def _time(self, at_s: float) -> str:
        return self._local(at_s).strftime("%Y-%m-%d %H:%M:%S")

    def _zone_name(self, at_s: float) -> str:
        local = self._local(at_s)
        name, offset = local.tzname() or "", local.strftime("%z")
        return f"({name})" if name == "UTC" else f"({name} {offset[:3]}:{offset[3:]})"

    def _local(self, at_s: float) -> datetime:
        try:
            return datetime.fromtimestamp(at_s, timezone.utc).astimezone(self._zone)
        except (ValueError, OverflowError, OSError):  # a log with an impossible time
            return datetime.fromtimestamp(0.0, timezone.utc)

    def _listed(self, what: str, texts: list[str]) -> Iterator[str]:
        for text in texts:
            yield from self._folded(text, f"{what}: ")

    def _folded(self, text: str, before: str = "") -> Iterator[str]:
        left = before
        for line in fold(_bounded(text), max(_NARROWEST, self._width - len(before))):
            yield left + line
            left = " " * len(before)


def _bounded(text: str) -> str:
    more = f"... ({len(text) - _CHARACTERS} more characters)" if len(text) > _CHARACTERS else ""
    return plain(text[:_CHARACTERS] + more)
