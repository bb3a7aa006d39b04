"""Slack's incoming webhooks, and what understands them (Mattermost, Rocket.Chat).

Success: 200 with the body `ok`. Source: docs.slack.dev, "Sending messages using incoming webhooks",
"Formatting text" (escapes), "Rate limits"; a section's text has at most 3000 characters.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fpm_listener.delivery.attempt import Delivered, FailureReason, RetryLater
from fpm_listener.delivery.receivers.http import HttpReceiver, by_status
from fpm_listener.delivery.receivers.json_http import as_json, parse, said
from fpm_listener.delivery.receivers.message_text import Style, stories, title, worst, write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fpm_listener.delivery.attempt import Outcome
    from fpm_listener.delivery.receivers.http import HttpAnswer, HttpRequest, Site, Trace
    from fpm_listener.incidents.alert import Alert
    from fpm_listener.settings.receivers import ReceiverSettings

_BEGINNING = re.compile(r"(?<!\w)([*_~])(?=\S)")


def make(settings: ReceiverSettings, external_url: str, trace: Trace | None = None) -> HttpReceiver:
    """Return the receiver."""
    return HttpReceiver(settings, external_url, trace, compose, judge)


def escape(text: str) -> str:
    """Return `text` so that it calls nobody (`<!channel>`) and marks nothing up.

    What begins bold, italic and struck text has no escape: an invisible joiner follows it.
    """
    return _BEGINNING.sub("\\1\N{WORD JOINER}", _escape_code(text))


def _escape_code(text: str) -> str:
    """Return `text` for a block of code; a backtick has no escape: a look-alike stands for it."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace("`", "\N{MODIFIER LETTER GRAVE ACCENT}")


def _block(lines: str) -> str:
    return f"```{_escape_code(lines)}```"


STYLE = Style(limit=2900, escape=escape, strong=lambda text: f"*{text}*", block=_block)


def compose(alerts: Sequence[Alert], site: Site) -> HttpRequest:
    """Return the message: a coloured attachment with one section."""
    language = site.settings.language
    told = stories(alerts, language)
    section = {"type": "mrkdwn", "text": write(told, STYLE, language)}
    attachment = {
        "color": worst(told).colour,
        "blocks": [{"type": "section", "text": section}],
    }
    # `fallback` is what notifications show; a `text` beside attachments would be shown twice.
    attachment["fallback"] = escape(title(told, language))[:1000]
    return as_json(site.secrets.url(), {"attachments": [attachment]})


def judge(answer: HttpAnswer, now_s: float) -> Outcome:
    """Return what the answer means."""
    outcome = by_status(answer, now_s)
    body = answer.body.decode("utf-8", "replace").strip()
    if isinstance(outcome, Delivered):
        document = parse(answer)
        if body == "ok" or (document is not None and document.get("success") is True):
            return outcome  # the latter is Rocket.Chat's
        detail = f"status {answer.status}: {said(body) or 'no body'}"
        return RetryLater(reason=FailureReason.ANSWER, detail=detail)
    return outcome
