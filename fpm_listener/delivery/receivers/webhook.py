"""The webhook: Alertmanager's own format, CloudEvents, or a small JSON of ours.

Success is a status of 2xx. Every request has the id and the time of Standard Webhooks, and with a
secret its signature. Source: alertmanager docs/configuration.md, `webhook_config`, bodies captured
from Alertmanager 0.25.0; CloudEvents 1.0, HTTP binding, structured mode; Standard Webhooks 1.0.0.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from fpm_listener.delivery.receivers.http import HttpRequest, http_receiver
from fpm_listener.delivery.receivers.json_http import rfc3339
from fpm_listener.delivery.receivers.secrets import BadFileError, hmac_base64
from fpm_listener.incidents.alert import Status
from fpm_listener.untrusted_text import valid_unicode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm_listener.delivery.receivers.http import RequestContext
    from fpm_listener.incidents.alert import Alert

#: Go's text for a time that is not set; Alertmanager sends it while an alert is firing.
_NO_TIME = "0001-01-01T00:00:00Z"
_TYPES = {
    "alertmanager": "application/json",
    "cloudevents": "application/cloudevents+json",
    "plain": "application/json",
}
#: Characters of an id in a header. Others are percent-encoded: different ids stay different.
_HEADER_SAFE = "".join(chr(code) for code in range(0x21, 0x7F) if code != 0x25)
_SECRET_PREFIX = "whsec_"  # noqa: S105 - not a secret, but its prefix


def compose(context: RequestContext) -> HttpRequest:
    """Return the request of one alert."""
    (alert,) = context.alerts
    settings, secrets = context.settings, context.secrets
    if settings.format == "alertmanager":
        body = payload(alert, receiver=settings.name, external_url=context.external_url)
    elif settings.format == "cloudevents":
        body = cloud_event(alert)
    else:
        body = plain(alert)
    given = {"Content-Type": _TYPES[settings.format], **headers(alert, int(context.now_s))}
    if settings.secret_file is not None:
        keys = secrets.read_lines("secret_file", settings.secret_file)
        signed = (sign(s, given["Webhook-Id"], given["Webhook-Timestamp"], body) for s in keys)
        given["Webhook-Signature"] = secrets.remember(" ".join(signed))
    return HttpRequest(url=secrets.url(), body=body, headers={**given, **context.authorization()})


def headers(alert: Alert, now_s: int) -> dict[str, str]:
    """Return the headers of every format; now_s: wall seconds of this attempt.

    The id is the same over retries, restarts and receivers, so that receivers can ignore repeats.
    The reason is in a header, because version 4 of Alertmanager's body has no field for it.
    """
    identity = quote(alert.alert_id.encode("utf-8", "replace"), safe=_HEADER_SAFE)
    return {
        "Idempotency-Key": identity,
        "Webhook-Id": identity,
        "Webhook-Timestamp": str(now_s),
        "X-Fpm-Listener-Reason": alert.reason.value,
    }


def sign(secret: str, identity: str, timestamp: str, body: bytes) -> str:
    """Return a signature of Standard Webhooks: HMAC-SHA256 over id, time and body.

    secret: `whsec_` and base64 of the key. Raises BadFileError if it has another form.
    """
    try:
        key = base64.b64decode(secret.removeprefix(_SECRET_PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not secret.startswith(_SECRET_PREFIX) or not key:
        raise BadFileError(f"secret_file: each line must be {_SECRET_PREFIX} and base64 of a key")
    content = f"{identity}.{timestamp}.".encode() + body
    return f"v1,{hmac_base64(key, content)}"


def plain(alert: Alert) -> bytes:
    """Return the small JSON of docs/receivers.md, in ASCII."""
    return json.dumps(_data(alert)).encode("ascii")


def cloud_event(alert: Alert) -> bytes:
    """Return a CloudEvent, in structured mode; its data is the small JSON."""
    labels = _clean(alert.labels)
    subject = f"{labels.get('group', '')}:{labels['process']}" if "process" in labels else ""
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": valid_unicode(alert.alert_id),
        "source": f"/fpm-listener/{labels.get('instance', '')}/{labels.get('supervisor', '')}",
        "type": f"fpm-listener.incident.{alert.status.value}",
        "time": rfc3339(alert.known_at_s),
        "subject": subject or labels.get("receiver", ""),
        "datacontenttype": "application/json",
        "data": _data(alert),
    }
    return json.dumps({name: value for name, value in event.items() if value != ""}).encode("ascii")


def _data(alert: Alert) -> dict[str, Any]:
    return {
        "id": valid_unicode(alert.alert_id),
        "incident": valid_unicode(alert.incident_id),
        "status": alert.status.value,
        "reason": alert.reason.value,
        "starts_at": rfc3339(alert.starts_at_s),
        "ends_at": None if alert.ends_at_s is None else rfc3339(alert.ends_at_s),
        "labels": _clean(alert.labels),
        "annotations": _clean(alert.annotations),
    }


def payload(alert: Alert, *, receiver: str, external_url: str) -> bytes:
    """Return the body of one alert: JSON, in ASCII."""
    labels, annotations = _clean(alert.labels), _clean(alert.annotations)
    one = {
        "status": alert.status.value,
        "labels": labels,
        "annotations": annotations,
        "startsAt": rfc3339(alert.starts_at_s),
        "endsAt": _NO_TIME if alert.status is Status.FIRING else rfc3339(alert.ends_at_s),
        "generatorURL": external_url,
        "fingerprint": fingerprint(labels),
    }
    quoted = (f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in labels.items())
    message = {
        "version": "4",
        "groupKey": f"{{}}:{{{', '.join(quoted)}}}",
        "truncatedAlerts": 0,
        "status": alert.status.value,
        "receiver": receiver,
        "groupLabels": labels,
        "commonLabels": labels,
        "commonAnnotations": annotations,
        "externalURL": external_url,
        "alerts": [one],
    }
    return json.dumps(message).encode("ascii")


def fingerprint(labels: Mapping[str, str]) -> str:
    """Return the fingerprint of a set of labels in Prometheus, as 16 hexadecimal digits.

    Source: prometheus/common model/signature.go, `labelSetToFingerprint`: FNV-1a, 64 bits, over
    each name and each value in the order of the names, each followed by the byte 0xff.
    """
    digest = 0xCBF29CE484222325
    for name, value in sorted(labels.items()):
        for byte in name.encode() + b"\xff" + value.encode() + b"\xff":
            digest = ((digest ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{digest:016x}"


def _clean(texts: Mapping[str, str]) -> dict[str, str]:
    """Return `texts` as valid Unicode, sorted by name."""
    return {name: valid_unicode(value) for name, value in sorted(texts.items())}


make = http_receiver(compose)
