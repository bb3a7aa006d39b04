"""WeCom: the bot of a group. Only the key in its URL protects it.

Success: the body's `errcode` is 0, with any status. Source:
developer.work.weixin.qq.com/document/path/91770: 20 messages a minute; markdown of 4096 bytes of
UTF-8; 45009 too often, 93000 wrong key, 40058 wrong parameter, 45002 too long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm_listener.delivery.receivers import markdown
from fpm_listener.delivery.receivers.http import http_receiver
from fpm_listener.delivery.receivers.json_http import CodeInBody, as_json
from fpm_listener.delivery.receivers.message_text import Message

if TYPE_CHECKING:
    from fpm_listener.delivery.receivers.http import HttpRequest, RequestContext

_LIMIT = 4096


def compose(context: RequestContext) -> HttpRequest:
    """Return the message."""
    message = Message(context.alerts, context.settings.language)
    text = markdown.write(message, context.settings.keyword, _LIMIT)
    document = {"msgtype": "markdown", "markdown": {"content": text}}
    return as_json(context.secrets.url(), document)


classify_response = CodeInBody(
    keys=(("errcode", "errmsg"),),
    too_fast={45009, 45033},
    rejected={93000, 93004, 93017, 40008, 40058, 44004, 45002},
    pause_s=60.0,
).classify

make = http_receiver(compose, classify_response)
