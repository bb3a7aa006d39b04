"""WeCom: a group's bot. The key in its URL is all that protects it.

Success: the body's `errcode` is 0, whatever the status. Source:
developer.work.weixin.qq.com/document/path/91770: 20 messages a minute; markdown of 4096 bytes of
UTF-8; 45009 too often, 93000 wrong key, 40058 wrong parameter, 45002 too long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm_listener.delivery.receivers.http import HttpReceiver
from fpm_listener.delivery.receivers.json_http import as_json, by_code
from fpm_listener.delivery.receivers.markdown import style
from fpm_listener.delivery.receivers.message_text import stories, write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fpm_listener.delivery.attempt import Outcome
    from fpm_listener.delivery.receivers.http import HttpAnswer, HttpRequest, Site, Trace
    from fpm_listener.incidents.alert import Alert
    from fpm_listener.settings.receivers import ReceiverSettings

_LIMIT = 4096
#: Seconds for which a bot is left alone that was asked too often.
_REST_S = 60.0


def make(settings: ReceiverSettings, external_url: str, trace: Trace | None = None) -> HttpReceiver:
    """Return the receiver."""
    return HttpReceiver(settings, external_url, trace, compose, judge)


def compose(alerts: Sequence[Alert], site: Site) -> HttpRequest:
    """Return the message."""
    settings = site.settings
    told = stories(alerts, settings.language)
    # As the bot wants it, to the letter: the operator's word is not escaped.
    first = f"{settings.keyword}\n" if settings.keyword else ""
    text = first + write(told, style(_LIMIT - len(first.encode())), settings.language)
    return as_json(site.secrets.url(), {"msgtype": "markdown", "markdown": {"content": text}})


def judge(answer: HttpAnswer, now_s: float) -> Outcome:
    """Return what the answer means."""
    return by_code(
        answer,
        now_s,
        names=(("errcode", "errmsg"),),
        too_fast={45009, 45033},
        never={93000, 93004, 93017, 40008, 40058, 44004, 45002},
        wait_s=_REST_S,
    )
