"""Alertmanager's own API, version 2: we are a source of alerts, as Prometheus is.

One message holds several alerts. A firing one is said to end a few minutes ahead, and is told again
before that; see delivery/alertmanager_queue.py. Success is a status of 2xx. Source: alertmanager
docs/alerts_api.md; what it answers was seen with 0.25.0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fpm_listener.delivery.alertmanager_queue import LASTS_S
from fpm_listener.delivery.attempt import FailureReason, Rejected
from fpm_listener.delivery.receivers.http import HttpReceiver, by_status
from fpm_listener.delivery.receivers.json_http import as_json, rfc3339, said
from fpm_listener.incidents.alert import Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fpm_listener.delivery.attempt import Outcome
    from fpm_listener.delivery.receivers.http import HttpAnswer, HttpRequest, Site, Trace
    from fpm_listener.incidents.alert import Alert
    from fpm_listener.settings.receivers import ReceiverSettings

_PATH = "/api/v2/alerts"


def make(settings: ReceiverSettings, external_url: str, trace: Trace | None = None) -> HttpReceiver:
    """Return the receiver at one of the URLs."""
    return HttpReceiver(settings, external_url, trace, compose, judge)


def compose(alerts: Sequence[Alert], site: Site) -> HttpRequest:
    """Return the request."""
    url = site.secrets.url().rstrip("/").removesuffix(_PATH) + _PATH
    document = [_alert(alert, site) for alert in alerts]
    return as_json(url, document, site.authorization())


def _alert(alert: Alert, site: Site) -> dict[str, Any]:
    ends_at_s = alert.ends_at_s if alert.status is Status.RESOLVED else site.now_s + LASTS_S
    told: dict[str, Any] = {
        "labels": _texts(alert.labels),
        "annotations": _texts(alert.annotations),
        "startsAt": rfc3339(alert.starts_at_s),
        "endsAt": rfc3339(ends_at_s),
    }
    if site.external_url:
        told["generatorURL"] = site.external_url
    return told


def _texts(texts: Mapping[str, str]) -> dict[str, str]:
    """Return `texts` without empty ones: Alertmanager has none."""
    return {name: value for name, value in texts.items() if value}


def judge(answer: HttpAnswer, now_s: float) -> Outcome:
    """Return what the answer means; a 400 says which label it does not like."""
    outcome = by_status(answer, now_s)
    if isinstance(outcome, Rejected) and outcome.reason is FailureReason.CLIENT_ERROR:
        body = said(answer.body.decode("utf-8", "replace"))
        return Rejected(reason=outcome.reason, detail=f"{outcome.detail}: {body}")
    return outcome
