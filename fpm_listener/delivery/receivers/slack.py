"""Slack's incoming webhooks, and compatible services (Mattermost, Rocket.Chat).

Success: 200 with the body `ok`. Source: docs.slack.dev, "Sending messages using incoming webhooks",
"Formatting text" (escapes), "Rate limits"; a section's text has at most 3000 characters.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fpm_listener.delivery.attempt import Delivered, FailureReason, RetryLater
from fpm_listener.delivery.receivers.http import by_status, http_receiver
from fpm_listener.delivery.receivers.json_http import as_json, one_line, parse
from fpm_listener.delivery.receivers.message_text import Message, Style

if TYPE_CHECKING:
    from fpm_listener.delivery.attempt import Outcome
    from fpm_listener.delivery.receivers.http import HttpRequest, HttpResponse, RequestContext

_MARKUP_START = re.compile(r"(?<!\w)([*_~])(?=\S)")


def escape(text: str) -> str:
    """Return `text` without markup, so that it notifies nobody (`<!channel>`).

    The marks of bold, italic and struck text have no escape, so an invisible joiner follows them.
    """
    return _MARKUP_START.sub("\\1\N{WORD JOINER}", _escape_code(text))


def _escape_code(text: str) -> str:
    """Return `text` for a block of code; a similar character replaces the backtick."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace("`", "\N{MODIFIER LETTER GRAVE ACCENT}")


def _block(lines: str) -> str:
    return f"```{_escape_code(lines)}```"


STYLE = Style(limit=2900, escape=escape, strong=lambda text: f"*{text}*", block=_block)


def compose(context: RequestContext) -> HttpRequest:
    """Return the message: a coloured attachment with one section."""
    message = Message(context.alerts, context.settings.language)
    section = {"type": "mrkdwn", "text": message.write(STYLE)}
    attachment = {
        "color": message.worst.colour,
        "blocks": [{"type": "section", "text": section}],
        # Notifications show `fallback`; a `text` beside attachments is shown twice.
        "fallback": escape(message.title())[:1000],
    }
    return as_json(context.secrets.url(), {"attachments": [attachment]})


def classify_response(response: HttpResponse, now_s: float) -> Outcome:
    """Return the outcome; `success` is Rocket.Chat's."""
    outcome, body = by_status(response, now_s), response.text.strip()
    accepted = body == "ok" or (parse(response) or {}).get("success") is True
    if accepted or not isinstance(outcome, Delivered):
        return outcome
    detail = f"status {response.status}: {one_line(body) or 'no body'}"
    return RetryLater(reason=FailureReason.ANSWER, detail=detail)


make = http_receiver(compose, classify_response)
