"""Alerts as people read them in a chat or a mail: what is said, in which order, and what is cut.

Laws:
1. What comes from outside (log lines, command lines, names) is cleaned of control characters and
   goes through the escape of the service: it can neither call people nor break the markup.
2. A text fits its service's limit after escaping, and says how much was cut: evidence first, its
   oldest lines before the newest.
3. Every incident of a message is named in it, however many there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from fpm_listener import durations
from fpm_listener.delivery.receivers.phrases import PHRASES, Phrases
from fpm_listener.incidents.alert import Reason, Status
from fpm_listener.untrusted_text import clean, short_name
from fpm_listener.vocabulary import Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from fpm_listener.incidents.alert import Alert

# -- what is said ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """One incident, as people are told of it. All texts are clean, none is escaped."""

    incident_id: str
    name: str  #: www:php-fpm
    host: str
    over: bool
    severity: Severity
    heading: str  #: Firing, critical
    summary: str
    facts: tuple[tuple[str, str], ...]  #: label and value
    remedy: str
    evidence: tuple[str, ...]  #: log lines, oldest first

    @property
    def mark(self) -> str:
        """Return a sign that is seen from afar."""
        if self.over:
            return "\N{WHITE HEAVY CHECK MARK}"
        if self.severity is Severity.CRITICAL:
            return "\N{LARGE RED CIRCLE}"
        return "\N{LARGE ORANGE CIRCLE}"

    @property
    def colour(self) -> str:
        """Return the colour of its message, as #rrggbb."""
        return "#12b76a" if self.over else _COLOURS[self.severity]


_COLOURS = {Severity.CRITICAL: "#d92d20", Severity.WARNING: "#f79009", Severity.INFO: "#2e90fa"}


def stories(alerts: Sequence[Alert], language: str) -> list[Story]:
    """Return what is told of `alerts`: one story for each incident, its latest state."""
    by_incident: dict[str, list[Alert]] = {}
    for alert in alerts:
        by_incident.setdefault(alert.incident_id, []).append(alert)
    return [_story(told, PHRASES[language], language) for told in by_incident.values()]


def _story(told: Sequence[Alert], say: Phrases, language: str) -> Story:
    alert, labels = told[-1], told[-1].labels
    texts = {**alert.annotations, **alert.translations.get(language, {})}
    texts = {name: clean(text) for name, text in texts.items()}
    over = alert.status is Status.RESOLVED
    severity = Severity.of(labels.get("severity", ""))
    process, receiver = labels.get("process"), labels.get("receiver", "")
    name = short_name(f"{labels.get('group', '')}:{process}") if process else receiver
    host = clean(labels.get("instance", "")).replace("\n", " ")
    facts = [(say.host, host)]
    facts.append((say.cause, say.causes.get(texts.get("cause", ""), texts.get("cause", ""))))
    facts.append((say.since, moment(alert.starts_at_s)))
    if over and alert.ends_at_s is not None:
        lasted = durations.age(max(0.0, alert.ends_at_s - alert.starts_at_s))
        facts.append((say.over_at, f"{moment(alert.ends_at_s)} ({lasted})"))
    if over and len(told) > 1:
        facts.append((say.note, say.not_told_before))
    elif alert.reason in say.reasons:
        facts.append((say.news, say.reasons[alert.reason]))
    return Story(
        incident_id=alert.incident_id,
        name=clean(name).replace("\n", " "),
        host=host,
        over=over,
        severity=severity,
        heading=_heading(alert, severity, say),
        summary=texts.get("summary", "").replace("\n", " "),
        facts=tuple((label, value.replace("\n", " ")) for label, value in facts if value),
        remedy="" if over else texts.get("remedy", ""),
        evidence=() if over and len(told) == 1 else _lines(texts.get("evidence", "")),
    )


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line for line in text.split("\n") if line.strip())


def _heading(alert: Alert, severity: Severity, say: Phrases) -> str:
    if alert.reason is Reason.TEST:
        return say.test
    if alert.status is Status.RESOLVED:
        return say.resolved
    return f"{say.firing}, {say.severities[severity]}"


def moment(wall_s: float) -> str:
    """Return a moment as `2026-11-23 10:20:03 UTC`."""
    return f"{datetime.fromtimestamp(wall_s, tz=timezone.utc):%Y-%m-%d %H:%M:%S} UTC"


def title(told: Sequence[Story], language: str) -> str:
    """Return one line that says it all, not escaped."""
    if len(told) == 1:
        return f"{told[0].mark} {told[0].heading}: {told[0].summary}"
    return short_title(told, language)


def short_title(told: Sequence[Story], language: str) -> str:
    """Return one line that says which programs it is about, not escaped."""
    if len(told) == 1:
        return f"{told[0].mark} {told[0].heading}: {told[0].name}"
    firing = sum(not story.over for story in told)
    host = told[0].host[:100]  # all are of one listener, so of one host
    several = PHRASES[language].several.format(host=host, firing=firing, over=len(told) - firing)
    return f"{worst(told).mark} {several}"


def worst(told: Iterable[Story]) -> Story:
    """Return the story that gives a message its colour."""
    return min(told, key=lambda story: (story.over, -story.severity))


# -- how it is laid out ----------------------------------------------------------------------------


def count_bytes(text: str) -> int:
    """Return the length in bytes of UTF-8."""
    return len(text.encode())


def same(text: str) -> str:
    """Return `text`: plain text needs no markup."""
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """A service's markup and limit."""

    limit: int  #: of a whole text, in the unit of `measure`, after escaping
    measure: Callable[[str], int] = len
    escape: Callable[[str], str] = same  #: what comes from outside
    strong: Callable[[str], str] = same  #: takes what is escaped
    block: Callable[[str], str] = same  #: takes lines of evidence as they are, escapes them itself


_ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


def cut(
    text: str,
    room: int,
    style: Style,
    note: str,
    wrap: Callable[[str], str] | None = None,
) -> str:
    """Return `text`, escaped and wrapped, in at most `room`; nothing where not even `note` fits.

    note: what stands for the rest where something is cut, with {n} characters.
    """
    wrap = wrap or style.escape
    if style.measure(wrap(text)) <= room:
        return wrap(text)
    low, high = 0, len(text)  # so many characters fit; so many do not
    while high - low > 1:
        middle = (low + high) // 2
        needed = style.measure(wrap(text[:middle] + note.format(n=len(text) - middle)))
        low, high = (middle, high) if needed <= room else (low, middle)
    shortened = wrap(text[:low] + note.format(n=len(text) - low))
    return shortened if style.measure(shortened) <= room else ""


def write(told: Sequence[Story], style: Style, language: str, *, head: str | None = None) -> str:
    """Return the text of a message.

    head: the first line; None = as `title` gives it, empty = the service has another place for it.
    """
    say = PHRASES[language]
    head = title(told, language) if head is None else head
    first = ""
    if head:
        first = cut(head, style.limit // 3, style, say.cut, lambda t: style.strong(style.escape(t)))
        first += "\n"
    if len(told) > 1:
        return first + _several(told, style, say, style.limit - style.measure(first))
    summary = "" if head else told[0].summary
    return first + _one(told[0], summary, style, say, style.limit - style.measure(first))


def _one(story: Story, summary: str, style: Style, say: Phrases, room: int) -> str:
    lines = [cut(summary, room // 3, style, say.cut)]
    lines += [
        f"{style.escape(label)}: {cut(value, room // 8, style, say.cut)}"
        for label, value in story.facts
    ]
    if story.remedy:
        label = style.strong(style.escape(say.remedy))
        lines.append(f"{label}: {cut(story.remedy, room // 3, style, say.cut)}")
    text = "\n".join(line for line in lines if line)
    evidence = _evidence(story.evidence, style, say, room - style.measure(text) - 1)
    return f"{text}\n{evidence}" if evidence else text


def _evidence(lines: Sequence[str], style: Style, say: Phrases, room: int) -> str:
    """Return as many of the newest lines as there is room for."""
    for left_out in range(len(lines)):
        note = [say.left_out.format(n=left_out)] if left_out else []
        text = style.block("\n".join([*note, *lines[left_out:]]))
        if style.measure(text) <= room:
            return text
    return cut(lines[-1], room, style, say.cut, style.block) if lines else ""


def _several(told: Sequence[Story], style: Style, say: Phrases, room: int) -> str:
    """Return a line for each incident, as full as there is room for."""
    full = [
        (f"{s.mark} {s.summary}", f"{say.remedy}: {s.remedy}" if s.remedy else "") for s in told
    ]
    versions = (
        ["\n".join(style.escape(part) for part in parts if part) for parts in full],
        [style.escape(first) for first, _ in full],
    )
    for lines in versions:
        text = "\n".join(lines)
        if style.measure(text) <= room:
            return text
    each = room // len(told) - 1
    return "\n".join(_short_line(story, each, style, say) for story in told)


def _short_line(story: Story, room: int, style: Style, say: Phrases) -> str:
    """Return which program it is, with the cause if there is room.

    A name that is too long loses its middle: what tells a hundred programs apart stands at its end.
    """
    cause, name = dict(story.facts).get(say.cause, ""), story.name
    for text in (f"{story.mark} {name} {cause}", f"{story.mark} {name}"):
        if style.measure(style.escape(text)) <= room:
            return style.escape(text)
    for kept in range(len(name) - 1, 0, -1):
        head, tail = name[: kept // 3], name[len(name) - (kept - kept // 3) :]
        text = style.escape(f"{story.mark} {head}{_ELLIPSIS}{tail}")
        if style.measure(text) <= room:
            return text
    return ""
