"""Microsoft Teams, by a workflow ("Send webhook alerts to a channel"): an adaptive card.

Success: any 2xx (202); the old connectors, which are gone, said no in the body of a 200, and so do
gateways that imitate them. Source: adaptivecards.io, schema 1.4; learn.microsoft.com, "Create
incoming webhooks with Workflows": 28 KB a message.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from fpm_listener.delivery.attempt import Delivered, FailureReason, RetryLater
from fpm_listener.delivery.receivers.http import HttpReceiver, by_status
from fpm_listener.delivery.receivers.json_http import as_json, said
from fpm_listener.delivery.receivers.message_text import Style, short_title, stories, worst, write
from fpm_listener.vocabulary import Severity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fpm_listener.delivery.attempt import Outcome
    from fpm_listener.delivery.receivers.http import HttpAnswer, HttpRequest, Site, Trace
    from fpm_listener.incidents.alert import Alert
    from fpm_listener.settings.receivers import ReceiverSettings

_COLOURS = {Severity.CRITICAL: "Attention", Severity.WARNING: "Warning", Severity.INFO: "Accent"}
#: Bytes of the JSON around each line.
_AROUND = 100


def _measure(text: str) -> int:
    """Return the bytes of a text in the message."""
    size = len(json.dumps(text, ensure_ascii=False).encode("utf-8", "replace"))
    return size + _AROUND * (text.count("\n") + 1)


_STYLE = Style(limit=26_000, measure=_measure)


def make(settings: ReceiverSettings, external_url: str, trace: Trace | None = None) -> HttpReceiver:
    """Return the receiver."""
    return HttpReceiver(settings, external_url, trace, compose, judge)


def compose(alerts: Sequence[Alert], site: Site) -> HttpRequest:
    """Return the message. RichTextBlock knows no markup and no mentions, so nothing is escaped."""
    language = site.settings.language
    told = stories(alerts, language)
    story = worst(told)
    colour = "Good" if story.over else _COLOURS[story.severity]
    text = write(told, _STYLE, language, head="")
    head = _rich(short_title(told, language)[:500], weight="Bolder", size="Medium", color=colour)
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [head, *(_rich(line) for line in text.split("\n") if line)],
        "msteams": {"width": "full"},
    }
    kind = "application/vnd.microsoft.card.adaptive"
    attachment = {"contentType": kind, "contentUrl": None, "content": card}
    return as_json(site.secrets.url(), {"type": "message", "attachments": [attachment]})


def _rich(text: str, **looks: str) -> dict[str, Any]:
    run = {"type": "TextRun", "text": text, **looks}
    return {"type": "RichTextBlock", "inlines": [run], "spacing": "Small"}


def judge(answer: HttpAnswer, now_s: float) -> Outcome:
    """Return what the answer means."""
    outcome = by_status(answer, now_s)
    body = answer.body.decode("utf-8", "replace")
    if isinstance(outcome, Delivered) and "failed with error" in body:
        reason = FailureReason.RATE_LIMITED if "429" in body else FailureReason.ANSWER
        return RetryLater(reason=reason, detail=f"status {answer.status}: {said(body)}")
    return outcome
