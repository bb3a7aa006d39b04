"""ntfy, at ntfy.sh or at home: the last part of the URL is the topic, and as good as a password.

Success: any 2xx. Source: docs.ntfy.sh/publish, "Publish as JSON", "Limitations": a message of more
than 4096 bytes becomes an attachment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from fpm_listener.delivery.receivers.http import HttpReceiver
from fpm_listener.delivery.receivers.json_http import as_json
from fpm_listener.delivery.receivers.message_text import (
    Style,
    count_bytes,
    short_title,
    stories,
    worst,
    write,
)
from fpm_listener.delivery.receivers.secrets import BadFileError
from fpm_listener.vocabulary import Severity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fpm_listener.delivery.receivers.http import HttpRequest, Site, Trace
    from fpm_listener.incidents.alert import Alert
    from fpm_listener.settings.receivers import ReceiverSettings

_PRIORITIES = {Severity.CRITICAL: 5, Severity.WARNING: 4, Severity.INFO: 3}
_STYLE = Style(limit=4000, measure=count_bytes)


def make(settings: ReceiverSettings, external_url: str, trace: Trace | None = None) -> HttpReceiver:
    """Return the receiver."""
    return HttpReceiver(settings, external_url, trace, compose)


def compose(alerts: Sequence[Alert], site: Site) -> HttpRequest:
    """Return the message, in plain text."""
    language = site.settings.language
    parts = urlsplit(site.secrets.url())
    folder, _, topic = parts.path.rstrip("/").rpartition("/")
    if not topic:
        raise BadFileError("url: no topic at its end, such as https://ntfy.sh/my-topic")
    told = stories(alerts, language)
    story = worst(told)
    document: dict[str, object] = {
        "topic": site.secrets.remember(topic),
        "title": short_title(told, language)[:250],
        "message": write(told, _STYLE, language, head=""),
        "priority": 3 if story.over else _PRIORITIES[story.severity],
        "tags": ["white_check_mark" if story.over else "rotating_light"],
    }
    url = urlunsplit((parts.scheme, parts.netloc, f"{folder}/", parts.query, ""))
    return as_json(url, document, site.authorization())
