"""ntfy, at ntfy.sh or self-hosted: the last part of the URL is the topic, and works as a password.

Success: any 2xx. Source: docs.ntfy.sh/publish, "Publish as JSON", "Limitations": a message of more
than 4096 bytes becomes an attachment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from fpm_listener.delivery.receivers.http import http_receiver
from fpm_listener.delivery.receivers.json_http import as_json
from fpm_listener.delivery.receivers.message_text import Message, Style, count_bytes
from fpm_listener.delivery.receivers.secrets import BadFileError
from fpm_listener.vocabulary import Severity

if TYPE_CHECKING:
    from fpm_listener.delivery.receivers.http import HttpRequest, RequestContext

_PRIORITIES = {Severity.CRITICAL: 5, Severity.WARNING: 4, Severity.INFO: 3}
_STYLE = Style(limit=4000, measure=count_bytes)


def compose(context: RequestContext) -> HttpRequest:
    """Return the message, in plain text."""
    parts = urlsplit(context.secrets.url())
    folder, _, topic = parts.path.rstrip("/").rpartition("/")
    if not topic:
        raise BadFileError("url: must end with a topic, such as https://ntfy.sh/my-topic")
    message = Message(context.alerts, context.settings.language)
    resolved, severity = message.worst.resolved, message.worst.severity
    document: dict[str, object] = {
        "topic": context.secrets.remember(topic),
        "title": message.short_title()[:250],
        "message": message.write(_STYLE, title=""),
        "priority": 3 if resolved else _PRIORITIES[severity],
        "tags": ["white_check_mark" if resolved else "rotating_light"],
    }
    url = urlunsplit((parts.scheme, parts.netloc, f"{folder}/", parts.query, ""))
    return as_json(url, document, context.authorization())


make = http_receiver(compose)
