"""Telegram, by a bot's sendMessage.

Success: 200 with `ok` true. Source: core.telegram.org/bots/api, "sendMessage": 4096 characters, its
markup not counted; "HTML style"; 429 says `parameters.retry_after`.
"""

from __future__ import annotations

import re
from dataclasses import replace
from html import escape as escape_html
from typing import TYPE_CHECKING

from fpm_listener.delivery.attempt import (
    LONGEST_RETRY_AFTER_S,
    Delivered,
    FailureReason,
    Rejected,
    RetryLater,
)
from fpm_listener.delivery.receivers.http import HttpReceiver, by_status
from fpm_listener.delivery.receivers.json_http import as_json, not_understood, parse, said
from fpm_listener.delivery.receivers.message_text import Style, stories, write
from fpm_listener.delivery.receivers.secrets import BadFileError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fpm_listener.delivery.attempt import Outcome
    from fpm_listener.delivery.receivers.http import HttpAnswer, HttpRequest, Site, Trace
    from fpm_listener.incidents.alert import Alert
    from fpm_listener.settings.receivers import ReceiverSettings

_API = "https://api.telegram.org"


def make(settings: ReceiverSettings, external_url: str, trace: Trace | None = None) -> HttpReceiver:
    """Return the receiver."""
    return HttpReceiver(settings, external_url, trace, compose, judge)


def escape(text: str) -> str:
    """Return `text` as HTML in which `@name` calls nobody."""
    text = escape_html(text, quote=False)
    return re.sub(r"(?<!\w)@(?=\w)", "@\N{WORD JOINER}", text)


_STYLE = Style(
    limit=4000,
    escape=escape,
    strong=lambda text: f"<b>{text}</b>",
    block=lambda lines: f"<pre>{escape_html(lines, quote=False)}</pre>",
)


def compose(alerts: Sequence[Alert], site: Site) -> HttpRequest:
    """Return the message."""
    settings = site.settings
    token = site.secrets.one("token_file", settings.token_file)
    if not re.fullmatch(r"[0-9]+:[A-Za-z0-9_-]+", token):
        raise BadFileError("token_file: is no bot's token, such as 123456:ABC-DEF")
    told = stories(alerts, settings.language)
    document: dict[str, object] = {
        "chat_id": settings.chat_id,
        "text": write(told, _STYLE, settings.language),
        "parse_mode": "HTML",
        "link_preview_options": {"is_disabled": True},
    }
    if settings.thread_id:
        document["message_thread_id"] = int(settings.thread_id)
    base = (site.secrets.url() if settings.url else _API).rstrip("/")
    return as_json(f"{base}/bot{token}/sendMessage", document)


def judge(answer: HttpAnswer, now_s: float) -> Outcome:
    """Return what the answer means."""
    outcome = by_status(answer, now_s)
    document = parse(answer)
    if isinstance(outcome, Delivered):
        if document is None or "ok" not in document:
            return not_understood()
        if document["ok"] is True:
            return outcome
        return Rejected(
            reason=FailureReason.ANSWER,
            detail=f"error_code {document.get('error_code')}: {said(document.get('description'))}",
        )
    if document is None:
        return outcome
    parameters = document.get("parameters")
    wait_s = parameters.get("retry_after") if isinstance(parameters, dict) else None
    if answer.status == 429 and isinstance(outcome, RetryLater) and isinstance(wait_s, int):
        return replace(outcome, after_s=float(min(max(0, wait_s), LONGEST_RETRY_AFTER_S)))
    return replace(outcome, detail=f"{outcome.detail}: {said(document.get('description', ''))}")
