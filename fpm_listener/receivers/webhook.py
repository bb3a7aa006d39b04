"""The webhook: what Alertmanager's webhooks are received with receives ours.

The body is Alertmanager's webhook, version 4, with one alert in a group of its own. Success is a
status of 2xx. Source: alertmanager docs/configuration.md, `webhook_config`; bodies captured from
Alertmanager 0.25.0.
"""

from __future__ import annotations

import json
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from fpm_listener.core.alerts import Status
from fpm_listener.core.retry import classify
from fpm_listener.receivers.http import Answer, Poster

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm_listener.core.alerts import Alert
    from fpm_listener.core.retry import Outcome
    from fpm_listener.settings import ReceiverSettings

#: What Go writes for a time that is not set; Alertmanager sends it while an alert is firing.
_NO_TIME = "0001-01-01T00:00:00Z"


class Webhook:
    """One receiver of kind `webhook`."""

    def __init__(self, settings: ReceiverSettings, external_url: str) -> None:
        """`external_url`: where this listener's own page is, for people; may be empty."""
        self._name = settings.name
        self._external_url = external_url
        self._poster = Poster(settings)

    def send(self, alert: Alert) -> Outcome:
        """Tell the receiver of `alert`, once."""
        body = payload(alert, receiver=self._name, external_url=self._external_url)
        answer = self._poster.post(body, headers(alert))
        if isinstance(answer, Answer):
            return classify(answer.status, answer.retry_after, time.time())
        return answer


def headers(alert: Alert) -> dict[str, str]:
    """Return the headers that go with the body.

    The key is the same over retries, restarts and receivers: who has seen it can leave it out. The
    reason stands in a header, since version 4 of the body has no place for it.
    """
    return {
        "Content-Type": "application/json",
        "Idempotency-Key": alert.alert_id.encode("ascii", "replace").decode("ascii"),
        "X-Fpm-Listener-Reason": alert.reason.value,
    }


def payload(alert: Alert, *, receiver: str, external_url: str) -> bytes:
    """Return the body of one alert: JSON, in ASCII."""
    labels, annotations = _clean(alert.labels), _clean(alert.annotations)
    one = {
        "status": alert.status.value,
        "labels": labels,
        "annotations": annotations,
        "startsAt": _time(alert.starts_at_s),
        "endsAt": _NO_TIME if alert.status is Status.FIRING else _time(alert.ends_at_s),
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
    """Return the identity that Prometheus gives to a set of labels, as 16 hexadecimal digits.

    Source: prometheus/common model/signature.go, `labelSetToFingerprint`: FNV-1a, 64 bits, over
    each name and each value in the order of the names, each followed by the byte 0xff.
    """
    digest = 0xCBF29CE484222325
    for name, value in sorted(labels.items()):
        for byte in name.encode() + b"\xff" + value.encode() + b"\xff":
            digest = ((digest ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{digest:016x}"


def _clean(texts: Mapping[str, str]) -> dict[str, str]:
    """Return `texts` in order of their names, without what is no Unicode: strict parsers refuse it.

    Lone surrogates stand for bytes of a log line that are not UTF-8.
    """
    return {
        name: value.encode("utf-8", "replace").decode("utf-8")
        for name, value in sorted(texts.items())
    }


def _time(wall_s: float | None) -> str:
    """Return RFC 3339, in UTC, with milliseconds."""
    moment = datetime.fromtimestamp(wall_s or 0.0, tz=timezone.utc)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"
