"""Feishu, and Lark, its name outside China: the bot of a group.

Success: the body's `code` (older: `StatusCode`) is 0, with any status. Source:
open.feishu.cn, "Custom bot guide": 100 messages a minute and 5 a second, 20 KB, signature,
keywords; 19021 wrong signature or time, 19022 address not allowed, 19024 keyword missing, 9499 bad
request, 11232 too often. Signing vectors in tests/unit/delivery/test_signatures.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fpm_listener.delivery.receivers.http import http_receiver
from fpm_listener.delivery.receivers.json_http import CodeInBody, as_json
from fpm_listener.delivery.receivers.message_text import Message, Style, count_bytes
from fpm_listener.delivery.receivers.secrets import hmac_base64
from fpm_listener.vocabulary import Severity

if TYPE_CHECKING:
    from fpm_listener.delivery.receivers.http import HttpRequest, RequestContext

_COLOURS = {Severity.CRITICAL: "red", Severity.WARNING: "orange", Severity.INFO: "blue"}
_STYLE = Style(limit=9_000, measure=count_bytes)  # JSON escapes the text: 20 KB in all


def sign(secret: str, now_s: int) -> str:
    """Return the signature: time and secret are the key, and the message is empty."""
    return hmac_base64(f"{now_s}\n{secret}".encode(), b"")


def compose(context: RequestContext) -> HttpRequest:
    """Return a card of plain text, in which nothing is markup and which notifies nobody by name."""
    settings = context.settings
    message = Message(context.alerts, settings.language)
    worst = message.worst
    title = f"{settings.keyword} {message.short_title()}".strip()
    text = {"tag": "plain_text", "content": message.write(_STYLE, title="")}
    document: dict[str, Any] = {
        "msg_type": "interactive",
        "card": {
            "config": {"wide_screen_mode": True},
            "header": {
                "template": "green" if worst.resolved else _COLOURS[worst.severity],
                "title": {"tag": "plain_text", "content": title[:300]},
            },
            "elements": [{"tag": "div", "text": text}],
        },
    }
    if settings.secret_file is not None:
        now_s = int(context.now_s)
        secret = context.secrets.read_line("secret_file", settings.secret_file)
        document["timestamp"] = str(now_s)
        document["sign"] = context.secrets.remember(sign(secret, now_s))
    return as_json(context.secrets.url(), document)


classify_response = CodeInBody(
    keys=(("code", "msg"), ("StatusCode", "StatusMessage")),
    too_fast={11232, 99991400},
    rejected={19001, 19021, 19022, 19024, 9499},
).classify

make = http_receiver(compose, classify_response)
