"""Feishu, and Lark, its name outside China: a group's bot.

Success: the body's `code` (older: `StatusCode`) is 0, whatever the status. Source:
open.feishu.cn, "Custom bot guide": 100 messages a minute and 5 a second, 20 KB, signature,
keywords; 19021 wrong signature or time, 19022 address not allowed, 19024 keyword missing, 9499 bad
request, 11232 too often. Signing vectors in tests/unit/test_signatures.py.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import TYPE_CHECKING, Any

from fpm_listener.delivery.receivers.http import HttpReceiver
from fpm_listener.delivery.receivers.json_http import as_json, by_code
from fpm_listener.delivery.receivers.message_text import (
    Style,
    count_bytes,
    short_title,
    stories,
    worst,
    write,
)
from fpm_listener.vocabulary import Severity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fpm_listener.delivery.attempt import Outcome
    from fpm_listener.delivery.receivers.http import HttpAnswer, HttpRequest, Site, Trace
    from fpm_listener.incidents.alert import Alert
    from fpm_listener.settings.receivers import ReceiverSettings

_COLOURS = {Severity.CRITICAL: "red", Severity.WARNING: "orange", Severity.INFO: "blue"}
_STYLE = Style(limit=9_000, measure=count_bytes)  # JSON escapes what we count: 20 KB in all


def make(settings: ReceiverSettings, external_url: str, trace: Trace | None = None) -> HttpReceiver:
    """Return the receiver."""
    return HttpReceiver(settings, external_url, trace, compose, judge)


def sign(secret: str, now_s: int) -> str:
    """Return the signature: time and secret are the key, and the message is empty."""
    key = f"{now_s}\n{secret}".encode()
    return base64.b64encode(hmac.new(key, b"", hashlib.sha256).digest()).decode("ascii")


def compose(alerts: Sequence[Alert], site: Site) -> HttpRequest:
    """Return the message: a card of plain text, in which nothing is markup and nobody is called."""
    settings = site.settings
    told = stories(alerts, settings.language)
    story = worst(told)
    head = f"{settings.keyword} {short_title(told, settings.language)}".strip()
    text = write(told, _STYLE, settings.language, head="")
    document: dict[str, Any] = {
        "msg_type": "interactive",
        "card": {
            "config": {"wide_screen_mode": True},
            "header": {
                "template": "green" if story.over else _COLOURS[story.severity],
                "title": {"tag": "plain_text", "content": head[:300]},
            },
            "elements": [{"tag": "div", "text": {"tag": "plain_text", "content": text}}],
        },
    }
    if settings.secret_file is not None:
        now_s = int(site.now_s)
        secret = site.secrets.one("secret_file", settings.secret_file)
        document["timestamp"] = str(now_s)
        document["sign"] = site.secrets.remember(sign(secret, now_s))
    return as_json(site.secrets.url(), document)


def judge(answer: HttpAnswer, now_s: float) -> Outcome:
    """Return what the answer means."""
    return by_code(
        answer,
        now_s,
        names=(("code", "msg"), ("StatusCode", "StatusMessage")),
        too_fast={11232, 99991400},
        never={19001, 19021, 19022, 19024, 9499},
    )
