"""Discord's webhooks.

Success: any 2xx (204). Source: discord.com/developers/docs, "Execute Webhook", "Embed Limits":
description 4096, title 256, 6000 in all; "Allowed Mentions"; 429 says `retry_after` in its body.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fpm_listener.delivery.receivers.http import by_status, http_receiver
from fpm_listener.delivery.receivers.json_http import as_json, parse, with_delay
from fpm_listener.delivery.receivers.message_text import Message, Style

if TYPE_CHECKING:
    from fpm_listener.delivery.attempt import Outcome
    from fpm_listener.delivery.receivers.http import HttpRequest, HttpResponse, RequestContext

_MARKUP = re.compile(r"([\\*_~`|<>\[\]()#@])")


def escape(text: str) -> str:
    """Return `text` with a backslash before each character that could be markup."""
    return _MARKUP.sub(r"\\\1", text)


def _block(lines: str) -> str:
    return f"```\n{lines.replace('`', chr(0x2CB))}\n```"


_STYLE = Style(limit=4000, escape=escape, strong=lambda text: f"**{text}**", block=_block)
_TITLE_LIMIT = 250


def compose(context: RequestContext) -> HttpRequest:
    """Return the message: one coloured embed, which notifies nobody by name."""
    message = Message(context.alerts, context.settings.language)
    embed = {
        "title": message.cut(message.short_title(), _TITLE_LIMIT, _STYLE),
        "description": message.write(_STYLE, title=""),
        "color": int(message.worst.colour[1:], 16),
    }
    # Discord parses no mention in the texts.
    document = {"embeds": [embed], "allowed_mentions": {"parse": []}}
    return as_json(context.secrets.url(), document)


def classify_response(response: HttpResponse, now_s: float) -> Outcome:
    """Return the outcome."""
    outcome = by_status(response, now_s)
    if response.status == 429:
        return with_delay(outcome, (parse(response) or {}).get("retry_after"))
    return outcome


make = http_receiver(compose, classify_response)
