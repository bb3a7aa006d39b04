"""PagerDuty, Events API v2: one event for each alert; the id of the incident joins them.

Success: 2xx (202). Source: developer.pagerduty.com, "Send an alert event": summary 1024 characters,
dedup_key 255, 512 KB in all; 400 is permanent, 429 and 5xx are not.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from fpm_listener.delivery.receivers.http import http_receiver
from fpm_listener.delivery.receivers.json_http import as_json, rfc3339
from fpm_listener.delivery.receivers.message_text import Style, cut
from fpm_listener.incidents.alert import Status
from fpm_listener.untrusted_text import clean
from fpm_listener.vocabulary import Severity

if TYPE_CHECKING:
    from fpm_listener.delivery.receivers.http import HttpRequest, RequestContext

_EVENTS = "https://events.pagerduty.com/v2/enqueue"
_LONGEST_KEY = 255
_NOTE = "... ({n} characters cut)"


def dedup_key(incident_id: str) -> str:
    """Return the id of the incident, or a digest if it is too long for PagerDuty."""
    if len(incident_id) <= _LONGEST_KEY:
        return incident_id
    return hashlib.sha256(incident_id.encode("utf-8", "replace")).hexdigest()


def compose(context: RequestContext) -> HttpRequest:
    """Return the event of one alert."""
    (alert,) = context.alerts
    settings, secrets = context.settings, context.secrets
    labels = {name: clean(value) for name, value in alert.labels.items()}
    texts = {name: clean(value) for name, value in alert.annotations.items()}
    event: dict[str, object] = {
        "routing_key": secrets.read_line("routing_key_file", settings.routing_key_file),
        "dedup_key": clean(dedup_key(alert.incident_id)),
        "event_action": "resolve" if alert.status is Status.RESOLVED else "trigger",
    }
    if alert.status is Status.FIRING:
        details = ("description", "evidence", "remedy", "address", "holder")
        event["client"] = "fpm-listener"
        if context.external_url:
            event["client_url"] = context.external_url
        event["payload"] = {
            "summary": _cut(texts.get("summary", ""), 1024),
            "source": labels.get("instance", "") or "fpm-listener",
            "severity": Severity.of(labels.get("severity", "")).name.lower(),
            "timestamp": rfc3339(alert.starts_at_s),
            "component": labels.get("process", labels.get("receiver", "")),
            "group": labels.get("group", ""),
            "class": texts.get("cause", ""),
            "custom_details": {
                name: _cut(texts[name], 16_000) for name in details if texts.get(name)
            },
        }
    return as_json(secrets.url() if settings.url else _EVENTS, event)


def _cut(text: str, limit: int) -> str:
    return cut(text, limit, Style(limit=limit), _NOTE)


make = http_receiver(compose)
