"""Telegram, by a bot's sendMessage.

Success: 200 with `ok` true. Source: core.telegram.org/bots/api, "sendMessage": 4096 characters,
without the markup; "HTML style"; 429 says `parameters.retry_after`.
"""

from __future__ import annotations

import re
from html import escape as escape_html
from typing import TYPE_CHECKING

from fpm_listener.delivery.attempt import Delivered, FailureReason, Rejected, RetryLater
from fpm_listener.delivery.receivers.http import by_status, http_receiver
from fpm_listener.delivery.receivers.json_http import (
    NOT_UNDERSTOOD,
    as_json,
    parse,
    with_delay,
    with_message,
)
from fpm_listener.delivery.receivers.message_text import Message, Style
from fpm_listener.delivery.receivers.secrets import BadFileError

if TYPE_CHECKING:
    from fpm_listener.delivery.attempt import Outcome
    from fpm_listener.delivery.receivers.http import HttpRequest, HttpResponse, RequestContext

_API = "https://api.telegram.org"


def escape(text: str) -> str:
    """Return `text` as HTML in which `@name` notifies nobody."""
    text = escape_html(text, quote=False)
    return re.sub(r"(?<!\w)@(?=\w)", "@\N{WORD JOINER}", text)


_STYLE = Style(
    limit=4000,
    escape=escape,
    strong=lambda text: f"<b>{text}</b>",
    block=lambda lines: f"<pre>{escape_html(lines, quote=False)}</pre>",
)


def compose(context: RequestContext) -> HttpRequest:
    """Return the message."""
    settings = context.settings
    token = context.secrets.read_line("token_file", settings.token_file)
    if not re.fullmatch(r"[0-9]+:[A-Za-z0-9_-]+", token):
        raise BadFileError("token_file: must contain the token of a bot, such as 123456:ABC-DEF")
    document: dict[str, object] = {
        "chat_id": settings.chat_id,
        "text": Message(context.alerts, settings.language).write(_STYLE),
        "parse_mode": "HTML",
        "link_preview_options": {"is_disabled": True},
    }
    if settings.thread_id:
        document["message_thread_id"] = int(settings.thread_id)
    base = (context.secrets.url() if settings.url else _API).rstrip("/")
    return as_json(f"{base}/bot{token}/sendMessage", document)


def classify_response(response: HttpResponse, now_s: float) -> Outcome:
    """Return the outcome."""
    outcome, document = by_status(response, now_s), parse(response)
    delivered = isinstance(outcome, Delivered)
    if document is None or (delivered and "ok" not in document):
        return NOT_UNDERSTOOD if delivered else outcome
    if delivered and document["ok"] is True:
        return outcome
    if delivered:
        detail = f"error_code {document.get('error_code')}"
        outcome = Rejected(reason=FailureReason.ANSWER, detail=detail)
    parameters = document.get("parameters")
    if response.status == 429 and isinstance(outcome, RetryLater) and isinstance(parameters, dict):
        outcome = with_delay(outcome, parameters.get("retry_after"))
    return with_message(outcome, document.get("description", ""))


make = http_receiver(compose, classify_response)
