"""Discord's webhooks.

Success: any 2xx (204). Source: discord.com/developers/docs, "Execute Webhook", "Embed Limits":
description 4096, title 256, 6000 in all; "Allowed Mentions"; 429 says `retry_after` in its body.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from fpm_listener.delivery.attempt import LONGEST_RETRY_AFTER_S, RetryLater
from fpm_listener.delivery.receivers.http import HttpReceiver, by_status
from fpm_listener.delivery.receivers.json_http import as_json, parse
from fpm_listener.delivery.receivers.message_text import (
    Style,
    cut,
    short_title,
    stories,
    worst,
    write,
)
from fpm_listener.delivery.receivers.phrases import PHRASES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fpm_listener.delivery.attempt import Outcome
    from fpm_listener.delivery.receivers.http import HttpAnswer, HttpRequest, Site, Trace
    from fpm_listener.incidents.alert import Alert
    from fpm_listener.settings.receivers import ReceiverSettings

_MARKUP = re.compile(r"([\\*_~`|<>\[\]()#@])")


def make(settings: ReceiverSettings, external_url: str, trace: Trace | None = None) -> HttpReceiver:
    """Return the receiver."""
    return HttpReceiver(settings, external_url, trace, compose, judge)


def escape(text: str) -> str:
    """Return `text` with a backslash before all that Discord could take for markup."""
    return _MARKUP.sub(r"\\\1", text)


def _block(lines: str) -> str:
    return f"```\n{lines.replace('`', chr(0x2CB))}\n```"


_STYLE = Style(limit=4000, escape=escape, strong=lambda text: f"**{text}**", block=_block)
_TITLE = Style(limit=250, escape=escape)


def compose(alerts: Sequence[Alert], site: Site) -> HttpRequest:
    """Return the message: one coloured embed, which may call nobody."""
    language = site.settings.language
    told = stories(alerts, language)
    story = worst(told)
    embed = {
        "title": cut(short_title(told, language), _TITLE.limit, _TITLE, PHRASES[language].cut),
        "description": write(told, _STYLE, language, head=""),
        "color": int(story.colour[1:], 16),
    }
    # No mention is parsed, whatever is in the texts.
    document = {"embeds": [embed], "allowed_mentions": {"parse": []}}
    return as_json(site.secrets.url(), document)


def judge(answer: HttpAnswer, now_s: float) -> Outcome:
    """Return what the answer means."""
    outcome = by_status(answer, now_s)
    if answer.status == 429 and isinstance(outcome, RetryLater):
        wait_s = (parse(answer) or {}).get("retry_after")
        if isinstance(wait_s, int | float) and wait_s >= 0:
            return replace(outcome, after_s=float(min(wait_s, LONGEST_RETRY_AFTER_S)))
    return outcome
