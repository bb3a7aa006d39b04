"""DingTalk: the bot of a group.

Success: the body's `errcode` is 0, with any status. Source: open.dingtalk.com, "Custom bot":
20 messages a minute, then a block of ten minutes; about 20,000 bytes; 130101 too often, 310000
signature, keyword or address, 300001 token, 300005 no such bot. Signing vector in
tests/unit/delivery/test_signatures.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm_listener.delivery.receivers import markdown
from fpm_listener.delivery.receivers.http import http_receiver
from fpm_listener.delivery.receivers.json_http import CodeInBody, as_json, with_query
from fpm_listener.delivery.receivers.message_text import Message
from fpm_listener.delivery.receivers.secrets import hmac_base64

if TYPE_CHECKING:
    from fpm_listener.delivery.receivers.http import HttpRequest, RequestContext

_LIMIT = 9_000  # JSON escapes the text: 20,000 bytes in all


def sign(secret: str, now_ms: int) -> str:
    """Return the signature: the secret is the key, time and secret are the message."""
    return hmac_base64(secret.encode(), f"{now_ms}\n{secret}".encode())


def compose(context: RequestContext) -> HttpRequest:
    """Return the message, which notifies nobody by name."""
    settings, url = context.settings, context.secrets.url()
    message = Message(context.alerts, settings.language)
    title = f"{settings.keyword} {message.title()}".strip()
    text = markdown.write(message, settings.keyword, _LIMIT)
    document = {
        "msgtype": "markdown",
        # A line break needs two: DingTalk's markdown joins lines.
        "markdown": {"title": title[:100], "text": text.replace("\n", "\n\n")},
        "at": {"isAtAll": False},
    }
    if settings.secret_file is not None:
        now_ms = int(context.now_s * 1000)
        secret = context.secrets.read_line("secret_file", settings.secret_file)
        signature = context.secrets.remember(sign(secret, now_ms))
        url = with_query(url, timestamp=now_ms, sign=signature)
    return as_json(url, document)


classify_response = CodeInBody(
    keys=(("errcode", "errmsg"),),
    too_fast={130101, 130102, 410100},
    rejected={
        *(310000, 300001, 300005, 400013, 400014, 40035),
        *(400101, 400102, 400105, 400106, 430101),
    },
    pause_s=600.0,  # DingTalk blocks a bot for ten minutes
).classify

make = http_receiver(compose, classify_response)
