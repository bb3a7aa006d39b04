"""Alertmanager's own API, version 2: the listener is a source of alerts, as Prometheus is.

One message contains several alerts. A firing one ends a few minutes ahead and is sent again before;
see delivery/alertmanager_queue.py. Success: a status of 2xx. Source: alertmanager
docs/alerts_api.md; its responses were seen with 0.25.0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fpm_listener.delivery.alertmanager_queue import LASTS_S
from fpm_listener.delivery.attempt import FailureReason, Rejected
from fpm_listener.delivery.receivers.http import by_status, http_receiver
from fpm_listener.delivery.receivers.json_http import as_json, rfc3339, with_message
from fpm_listener.incidents.alert import Status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm_listener.delivery.attempt import Outcome
    from fpm_listener.delivery.receivers.http import HttpRequest, HttpResponse, RequestContext
    from fpm_listener.incidents.alert import Alert

_PATH = "/api/v2/alerts"


def compose(context: RequestContext) -> HttpRequest:
    """Return the request."""
    url = context.secrets.url().rstrip("/").removesuffix(_PATH) + _PATH
    document = [_alert(alert, context) for alert in context.alerts]
    return as_json(url, document, context.authorization())


def _alert(alert: Alert, context: RequestContext) -> dict[str, Any]:
    resolved = alert.status is Status.RESOLVED
    ends_at_s = alert.ends_at_s if resolved else context.now_s + LASTS_S
    document: dict[str, Any] = {
        "labels": _not_empty(alert.labels),
        "annotations": _not_empty(alert.annotations),
        "startsAt": rfc3339(alert.starts_at_s),
        "endsAt": rfc3339(ends_at_s),
    }
    if context.external_url:
        document["generatorURL"] = context.external_url
    return document


def _not_empty(texts: Mapping[str, str]) -> dict[str, str]:
    """Return `texts` without empty ones: Alertmanager refuses them."""
    return {name: value for name, value in texts.items() if value}


def classify_response(response: HttpResponse, now_s: float) -> Outcome:
    """Return the outcome; after a 400 the body names the label that is not valid."""
    outcome = by_status(response, now_s)
    if isinstance(outcome, Rejected) and outcome.reason is FailureReason.CLIENT_ERROR:
        return with_message(outcome, response.text)
    return outcome


make = http_receiver(compose, classify_response)
