"""Google Chat, by the webhook of a space: a card.

Success: 200. Source: developers.google.com/workspace/chat, "Build a Google Chat app as a webhook",
"cardsV2", "Format messages" (a card's text knows some HTML tags), "Usage limits"; 32,000 bytes.
"""

from __future__ import annotations

from html import escape as escape_html
from typing import TYPE_CHECKING

from fpm_listener.delivery.receivers.http import http_receiver
from fpm_listener.delivery.receivers.json_http import as_json, with_query
from fpm_listener.delivery.receivers.message_text import Message, Style, count_bytes

if TYPE_CHECKING:
    from fpm_listener.delivery.receivers.http import HttpRequest, RequestContext

_STYLE = Style(
    limit=14_000,  # line breaks become tags, and JSON may escape the text
    measure=count_bytes,
    escape=lambda text: escape_html(text, quote=False),
    strong=lambda text: f"<b>{text}</b>",
    block=lambda lines: f"<i>{escape_html(lines, quote=False)}</i>",
)


def compose(context: RequestContext) -> HttpRequest:
    """Return the message; all messages about one incident are in one thread."""
    message = Message(context.alerts, context.settings.language)
    title = escape_html(message.short_title()[:500], quote=False)
    text = message.write(_STYLE, title="").replace("\n", "<br>")
    colour = message.worst.colour
    paragraph = {
        "textParagraph": {"text": f'<font color="{colour}"><b>{title}</b></font><br>{text}'}
    }
    single = len(message.incidents) == 1
    document = {
        "cardsV2": [{"cardId": "fpm-listener", "card": {"sections": [{"widgets": [paragraph]}]}}],
        "thread": {"threadKey": message.worst.incident_id if single else "fpm-listener"},
    }
    reply = "REPLY_MESSAGE_FALLBACK_TO_NEW_THREAD"
    return as_json(with_query(context.secrets.url(), messageReplyOption=reply), document)


make = http_receiver(compose)
