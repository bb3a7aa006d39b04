"""Google Chat, by a space's webhook: a card.

Success: 200. Source: developers.google.com/workspace/chat, "Build a Google Chat app as a webhook",
"cardsV2", "Format messages" (a card's text knows some HTML tags), "Usage limits"; 32,000 bytes.
"""

from __future__ import annotations

from html import escape as escape_html
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from fpm_listener.delivery.receivers.http import HttpReceiver
from fpm_listener.delivery.receivers.json_http import as_json
from fpm_listener.delivery.receivers.message_text import (
    Style,
    count_bytes,
    short_title,
    stories,
    worst,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fpm_listener.delivery.receivers.http import HttpRequest, Site, Trace
    from fpm_listener.incidents.alert import Alert
    from fpm_listener.settings.receivers import ReceiverSettings


def make(settings: ReceiverSettings, external_url: str, trace: Trace | None = None) -> HttpReceiver:
    """Return the receiver."""
    return HttpReceiver(settings, external_url, trace, compose)


_STYLE = Style(
    limit=14_000,  # line breaks become tags, and JSON may escape what we count
    measure=count_bytes,
    escape=lambda text: escape_html(text, quote=False),
    strong=lambda text: f"<b>{text}</b>",
    block=lambda lines: f"<i>{escape_html(lines, quote=False)}</i>",
)


def compose(alerts: Sequence[Alert], site: Site) -> HttpRequest:
    """Return the message; the news of one incident share a thread."""
    language = site.settings.language
    told = stories(alerts, language)
    story = worst(told)
    head = escape_html(short_title(told, language)[:500], quote=False)
    text = write(told, _STYLE, language, head="").replace("\n", "<br>")
    paragraph = {
        "textParagraph": {"text": f'<font color="{story.colour}"><b>{head}</b></font><br>{text}'}
    }
    document = {
        "cardsV2": [{"cardId": "fpm-listener", "card": {"sections": [{"widgets": [paragraph]}]}}],
        "thread": {"threadKey": story.incident_id if len(told) == 1 else "fpm-listener"},
    }
    url = site.secrets.url()
    reply = {"messageReplyOption": "REPLY_MESSAGE_FALLBACK_TO_NEW_THREAD"}
    return as_json(f"{url}{'&' if '?' in url else '?'}{urlencode(reply)}", document)
