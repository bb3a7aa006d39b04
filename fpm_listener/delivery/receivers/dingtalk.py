"""DingTalk: a group's bot.

Success: the body's `errcode` is 0, whatever the status. Source: open.dingtalk.com, "Custom bot":
20 messages a minute, else ten minutes of silence; about 20,000 bytes; 130101 too often, 310000
signature, keyword or address, 300001 token, 300005 no such bot. Signing vector in
tests/unit/test_signatures.py.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from fpm_listener.delivery.receivers.http import HttpReceiver
from fpm_listener.delivery.receivers.json_http import as_json, by_code
from fpm_listener.delivery.receivers.markdown import style
from fpm_listener.delivery.receivers.message_text import stories, title, write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fpm_listener.delivery.attempt import Outcome
    from fpm_listener.delivery.receivers.http import HttpAnswer, HttpRequest, Site, Trace
    from fpm_listener.incidents.alert import Alert
    from fpm_listener.settings.receivers import ReceiverSettings

_LIMIT = 9_000  # JSON escapes what we count: 20,000 bytes in all
#: Seconds for which a bot is left alone that was asked too often: DingTalk's own ten minutes.
_REST_S = 600.0


def make(settings: ReceiverSettings, external_url: str, trace: Trace | None = None) -> HttpReceiver:
    """Return the receiver."""
    return HttpReceiver(settings, external_url, trace, compose, judge)


def sign(secret: str, now_ms: int) -> str:
    """Return the signature: the secret is the key, time and secret are the message."""
    message = f"{now_ms}\n{secret}".encode()
    return base64.b64encode(hmac.new(secret.encode(), message, hashlib.sha256).digest()).decode()


def compose(alerts: Sequence[Alert], site: Site) -> HttpRequest:
    """Return the message, which calls nobody."""
    settings = site.settings
    told = stories(alerts, settings.language)
    head = f"{settings.keyword} {title(told, settings.language)}".strip()
    # As the bot wants it, to the letter: the operator's word is not escaped.
    first = f"{settings.keyword}\n" if settings.keyword else ""
    text = first + write(told, style(_LIMIT - len(first.encode())), settings.language)
    document = {
        "msgtype": "markdown",
        # A line break needs two: DingTalk's markdown joins lines.
        "markdown": {"title": head[:100], "text": text.replace("\n", "\n\n")},
        "at": {"isAtAll": False},
    }
    url = site.secrets.url()
    if settings.secret_file is not None:
        now_ms = int(site.now_s * 1000)
        signature = sign(site.secrets.one("secret_file", settings.secret_file), now_ms)
        site.secrets.remember(signature)
        url = f"{url}{'&' if '?' in url else '?'}"
        url += urlencode({"timestamp": now_ms, "sign": signature})
    return as_json(url, document)


def judge(answer: HttpAnswer, now_s: float) -> Outcome:
    """Return what the answer means."""
    return by_code(
        answer,
        now_s,
        names=(("errcode", "errmsg"),),
        too_fast={130101, 130102, 410100},
        never={
            310000,
            300001,
            300005,
            400013,
            400014,
            40035,
            400101,
            400102,
            400105,
            400106,
            430101,
        },
        wait_s=_REST_S,
    )
