"""The text of alerts in a chat or a mail: content, order, and how it is cut to a limit.

Laws:
1. Text from outside (log lines, command lines, names) loses its control characters and is escaped
   for the service: it can neither notify people nor break the markup.
2. After escaping, a text is within the limit of its service, and says how much was cut: evidence
   first, its oldest lines before the newest.
3. A message names each of its incidents.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from fpm_listener import durations
from fpm_listener.delivery.receivers.phrases import PHRASES, Phrases
from fpm_listener.incidents.alert import Reason, Status
from fpm_listener.untrusted_text import clean, short_name
from fpm_listener.vocabulary import Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fpm_listener.incidents.alert import Alert

# -- content ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentText:
    """One incident in a message. All texts are clean, and not escaped."""

    incident_id: str
    name: str  #: www:php-fpm
    host: str
    resolved: bool
    severity: Severity
    heading: str  #: Firing, critical
    summary: str
    facts: tuple[tuple[str, str], ...]  #: label and value
    remedy: str
    evidence: tuple[str, ...]  #: log lines, oldest first

    @property
    def mark(self) -> str:
        """Return a symbol for the state."""
        if self.resolved:
            return "\N{WHITE HEAVY CHECK MARK}"
        if self.severity is Severity.CRITICAL:
            return "\N{LARGE RED CIRCLE}"
        return "\N{LARGE ORANGE CIRCLE}"

    @property
    def colour(self) -> str:
        """Return the colour of its message, as #rrggbb."""
        return "#12b76a" if self.resolved else _COLOURS[self.severity]


_COLOURS = {Severity.CRITICAL: "#d92d20", Severity.WARNING: "#f79009", Severity.INFO: "#2e90fa"}


def _incident_text(alerts: Sequence[Alert], phrases: Phrases, language: str) -> IncidentText:
    """Return the latest state of one incident."""
    alert, labels = alerts[-1], alerts[-1].labels
    texts = {**alert.annotations, **alert.translations.get(language, {})}
    texts = {name: clean(text) for name, text in texts.items()}
    resolved = alert.status is Status.RESOLVED
    severity = Severity.of(labels.get("severity", ""))
    process, receiver = labels.get("process"), labels.get("receiver", "")
    name = short_name(f"{labels.get('group', '')}:{process}") if process else receiver
    host = _one_line(labels.get("instance", ""))
    cause = texts.get("cause", "")
    facts = [
        (phrases.host, host),
        (phrases.cause, phrases.causes.get(cause, cause)),
        (phrases.since, moment(alert.starts_at_s)),
    ]
    if resolved and alert.ends_at_s is not None:
        lasted = durations.age(max(0.0, alert.ends_at_s - alert.starts_at_s))
        facts.append((phrases.resolved_at, f"{moment(alert.ends_at_s)} ({lasted})"))
    if resolved and len(alerts) > 1:
        facts.append((phrases.note, phrases.not_sent_before))
    elif alert.reason in phrases.reasons:
        facts.append((phrases.news, phrases.reasons[alert.reason]))
    heading = phrases.resolved if resolved else f"{phrases.firing}, {phrases.severities[severity]}"
    evidence = "" if resolved and len(alerts) == 1 else texts.get("evidence", "")
    return IncidentText(
        incident_id=alert.incident_id,
        name=_one_line(name),
        host=host,
        resolved=resolved,
        severity=severity,
        heading=phrases.test if alert.reason is Reason.TEST else heading,
        summary=texts.get("summary", "").replace("\n", " "),
        facts=tuple((label, value.replace("\n", " ")) for label, value in facts if value),
        remedy="" if resolved else texts.get("remedy", ""),
        evidence=tuple(line for line in evidence.split("\n") if line.strip()),
    )


def _one_line(text: str) -> str:
    return clean(text).replace("\n", " ")


def moment(wall_s: float) -> str:
    """Return a moment as `2026-11-23 10:20:03 UTC`."""
    return f"{datetime.fromtimestamp(wall_s, tz=timezone.utc):%Y-%m-%d %H:%M:%S} UTC"


class Message:
    """The content of one message."""

    def __init__(self, alerts: Sequence[Alert], language: str) -> None:
        self.phrases = PHRASES[language]
        by_incident: dict[str, list[Alert]] = {}
        for alert in alerts:
            by_incident.setdefault(alert.incident_id, []).append(alert)
        self.incidents = [
            _incident_text(one, self.phrases, language) for one in by_incident.values()
        ]
        #: The incident that gives the message its colour.
        self.worst = min(self.incidents, key=lambda one: (one.resolved, -one.severity))

    def title(self) -> str:
        """Return one line with the summary, not escaped."""
        return self._title(self.incidents[0].summary)

    def short_title(self) -> str:
        """Return one line with the name of the program, not escaped."""
        return self._title(self.incidents[0].name)

    def _title(self, subject: str) -> str:
        first = self.incidents[0]
        if len(self.incidents) == 1:
            return f"{first.mark} {first.heading}: {subject}"
        firing = sum(not one.resolved for one in self.incidents)
        resolved = len(self.incidents) - firing
        host = first.host[:100]  # all alerts are from one listener, so from one host
        several = self.phrases.several.format(host=host, firing=firing, resolved=resolved)
        return f"{self.worst.mark} {several}"

    def write(self, style: Style, title: str | None = None) -> str:
        """Return the text of the message.

        title: the first line; None = `title()`; empty = the service has another place for it.
        """
        title = self.title() if title is None else title
        first = ""
        if title:
            room = style.limit // 3
            first = self.cut(title, room, style, lambda t: style.strong(style.escape(t))) + "\n"
        room = style.limit - style.measure(first)
        if len(self.incidents) > 1:
            return first + self._write_several(style, room)
        return first + self._write_one("" if title else self.incidents[0].summary, style, room)

    def cut(
        self, text: str, room: int, style: Style, wrap: Callable[[str], str] | None = None
    ) -> str:
        """Return `text`, escaped and cut; see `cut`."""
        return cut(text, room, style, self.phrases.cut, wrap)

    def _write_one(self, summary: str, style: Style, room: int) -> str:
        incident = self.incidents[0]
        lines = [self.cut(summary, room // 3, style)]
        lines += [
            f"{style.escape(label)}: {self.cut(value, room // 8, style)}"
            for label, value in incident.facts
        ]
        if incident.remedy:
            label = style.strong(style.escape(self.phrases.remedy))
            lines.append(f"{label}: {self.cut(incident.remedy, room // 3, style)}")
        text = "\n".join(line for line in lines if line)
        evidence = self._evidence(incident.evidence, style, room - style.measure(text) - 1)
        return f"{text}\n{evidence}" if evidence else text

    def _evidence(self, lines: Sequence[str], style: Style, room: int) -> str:
        """Return the newest lines, as many as fit."""

        def without(left_out: int) -> str:
            note = [self.phrases.left_out.format(n=left_out)] if left_out else []
            return style.block("\n".join([*note, *lines[left_out:]]))

        def fits(left_out: int) -> bool:
            return style.measure(without(left_out)) <= room

        if not lines:
            return ""
        if fits(0):
            return without(0)
        # The more lines are left out, the shorter is the text.
        left_out = bisect_left(range(len(lines)), x=True, lo=1, key=fits)
        if left_out < len(lines):
            return without(left_out)
        return self.cut(lines[-1], room, style, style.block)

    def _write_several(self, style: Style, room: int) -> str:
        """Return one line for each incident, with as much text as fits."""
        summaries = [style.escape(f"{one.mark} {one.summary}") for one in self.incidents]
        remedies = [
            "\n" + style.escape(f"{self.phrases.remedy}: {one.remedy}") if one.remedy else ""
            for one in self.incidents
        ]
        full = [one + remedy for one, remedy in zip(summaries, remedies, strict=True)]
        for lines in (full, summaries):
            text = "\n".join(lines)
            if style.measure(text) <= room:
                return text
        each = room // len(self.incidents) - 1
        return "\n".join(self._short_line(one, each, style) for one in self.incidents)

    def _short_line(self, incident: IncidentText, room: int, style: Style) -> str:
        """Return the name of the program, with the cause if it fits.

        A name that is too long loses its middle: the end often distinguishes many programs.
        """
        name, mark = incident.name, incident.mark
        cause = dict(incident.facts).get(self.phrases.cause, "")
        cuts = (
            f"{name[: kept // 3]}{_ELLIPSIS}{name[len(name) - (kept - kept // 3) :]}"
            for kept in range(len(name) - 1, 0, -1)
        )
        for shown in (f"{name} {cause}", name, *cuts):
            text = style.escape(f"{mark} {shown}")
            if style.measure(text) <= room:
                return text
        return ""


# -- layout ----------------------------------------------------------------------------------------


def count_bytes(text: str) -> int:
    """Return the length in bytes of UTF-8."""
    return len(text.encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """The markup and the limit of a service."""

    limit: int  #: of a whole text, in the unit of `measure`, after escaping
    measure: Callable[[str], int] = len
    escape: Callable[[str], str] = str  #: for text from outside
    strong: Callable[[str], str] = str  #: for escaped text
    block: Callable[[str], str] = str  #: for lines of evidence, which it escapes itself


_ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


def cut(
    text: str, room: int, style: Style, note: str, wrap: Callable[[str], str] | None = None
) -> str:
    """Return `text`, escaped and wrapped, in at most `room`; empty if not even `note` fits.

    note: replaces the rest of a text that is cut, with {n} characters.
    """
    wrap = wrap or style.escape
    if style.measure(wrap(text)) <= room:
        return wrap(text)
    low, high = 0, len(text)  # `low` characters fit; `high` characters do not
    while high - low > 1:
        middle = (low + high) // 2
        needed = style.measure(wrap(text[:middle] + note.format(n=len(text) - middle)))
        low, high = (middle, high) if needed <= room else (low, middle)
    shortened = wrap(text[:low] + note.format(n=len(text) - low))
    return shortened if style.measure(shortened) <= room else ""
