"""Microsoft Teams, by a workflow ("Send webhook alerts to a channel"): an adaptive card.

Success: any 2xx (202). The old connectors, which no longer exist, reported errors in the body of a
200, and gateways that imitate them still do. Source: adaptivecards.io, schema 1.4;
learn.microsoft.com, "Create incoming webhooks with Workflows": 28 KB a message.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from fpm_listener.delivery.attempt import Delivered, FailureReason, RetryLater
from fpm_listener.delivery.receivers.http import by_status, http_receiver
from fpm_listener.delivery.receivers.json_http import as_json, one_line
from fpm_listener.delivery.receivers.message_text import Message, Style
from fpm_listener.vocabulary import Severity

if TYPE_CHECKING:
    from fpm_listener.delivery.attempt import Outcome
    from fpm_listener.delivery.receivers.http import HttpRequest, HttpResponse, RequestContext

_COLOURS = {Severity.CRITICAL: "Attention", Severity.WARNING: "Warning", Severity.INFO: "Accent"}
#: Bytes of the JSON around each line.
_AROUND = 100


def _measure(text: str) -> int:
    """Return the bytes of a text in the message."""
    size = len(json.dumps(text, ensure_ascii=False).encode("utf-8", "replace"))
    return size + _AROUND * (text.count("\n") + 1)


_STYLE = Style(limit=26_000, measure=_measure)


def compose(context: RequestContext) -> HttpRequest:
    """Return the message. RichTextBlock has no markup and no mentions, so nothing is escaped."""
    message = Message(context.alerts, context.settings.language)
    colour = "Good" if message.worst.resolved else _COLOURS[message.worst.severity]
    title = message.short_title()[:500]
    lines = message.write(_STYLE, title="").split("\n")
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [
            _rich_text(title, weight="Bolder", size="Medium", color=colour),
            *(_rich_text(line) for line in lines if line),
        ],
        "msteams": {"width": "full"},
    }
    kind = "application/vnd.microsoft.card.adaptive"
    attachment = {"contentType": kind, "contentUrl": None, "content": card}
    return as_json(context.secrets.url(), {"type": "message", "attachments": [attachment]})


def _rich_text(text: str, **looks: str) -> dict[str, Any]:
    run = {"type": "TextRun", "text": text, **looks}
    return {"type": "RichTextBlock", "inlines": [run], "spacing": "Small"}


def classify_response(response: HttpResponse, now_s: float) -> Outcome:
    """Return the outcome."""
    outcome, body = by_status(response, now_s), response.text
    if isinstance(outcome, Delivered) and "failed with error" in body:
        reason = FailureReason.RATE_LIMITED if "429" in body else FailureReason.ANSWER
        return RetryLater(reason=reason, detail=f"status {response.status}: {one_line(body)}")
    return outcome


make = http_receiver(compose, classify_response)
