"""The webhook's body: Alertmanager's version 4, to the letter."""

import json
from dataclasses import replace
from typing import Any

import pytest

from fpm_listener.delivery.receivers.webhook import fingerprint, headers, payload
from fpm_listener.incidents.alert import Alert, Reason
from tests.samples import fires, resolves

URL = "http://web1:19253/"


def body(alert: Alert) -> Any:  # noqa: ANN401 - JSON
    """Return the parsed body."""
    return json.loads(payload(alert, receiver="ops", external_url=URL))


def test_a_firing_alert() -> None:
    """Every field that Alertmanager sends is there, and no other one."""
    labels = {"alertname": "PhpFpmFailing", "group": "www", "process": "php-fpm"}
    annotations = {"cause": "bind_conflict", "summary": "www:php-fpm fails to start"}

    assert body(fires()) == {
        "version": "4",
        "groupKey": '{}:{alertname="PhpFpmFailing", group="www", process="php-fpm"}',
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "ops",
        "groupLabels": labels,
        "commonLabels": labels,
        "commonAnnotations": annotations,
        "externalURL": URL,
        "alerts": [
            {
                "status": "firing",
                "labels": labels,
                "annotations": annotations,
                "startsAt": "2026-11-18T11:06:40.000Z",
                "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": URL,
                "fingerprint": fingerprint(labels),
            },
        ],
    }


def test_a_resolved_alert_has_an_end() -> None:
    """Both states are resolved, and the identity is that of the firing alert."""
    firing, resolved = body(fires()), body(resolves())

    assert resolved["status"] == resolved["alerts"][0]["status"] == "resolved"
    assert resolved["alerts"][0]["endsAt"] == "2026-11-18T11:07:40.000Z"
    for same in ("groupKey", "groupLabels"):
        assert resolved[same] == firing[same]
    for same in ("fingerprint", "startsAt", "labels"):
        assert resolved["alerts"][0][same] == firing["alerts"][0][same]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        # Captured from Alertmanager 0.25.0.
        (
            {"alertname": "FpmCrashLoop", "process": "php-fpm", "severity": "critical"},
            "eeeeeace0b099853",
        ),
        # FNV-1a of nothing: its offset basis.
        ({}, "cbf29ce484222325"),
    ],
)
def test_the_fingerprint_is_prometheus_own(labels: dict[str, str], expected: str) -> None:
    """The same labels have the same fingerprint here and in Alertmanager, in any order."""
    assert fingerprint(labels) == expected
    assert fingerprint(dict(reversed(labels.items()))) == expected


def test_milliseconds_are_cut_not_rounded() -> None:
    """Half a microsecond below the next second is still this second."""
    alert = fires(starts_at_s=1795000000.9999)

    assert body(alert)["alerts"][0]["startsAt"] == "2026-11-18T11:06:40.999Z"


def test_bytes_that_are_not_text() -> None:
    """Lone surrogates, which strict JSON parsers refuse, become question marks; the rest stays."""
    alert = fires(annotations={"evidence": "caf\udce9 é ☃ 😀\n\x00"})

    raw = payload(alert, receiver="ops", external_url=URL)

    assert b"\\udce9" not in raw
    assert raw.isascii()
    assert json.loads(raw)["commonAnnotations"]["evidence"] == "caf? é ☃ 😀\n\x00"


def test_quotes_in_a_label_are_quoted_in_the_group_key() -> None:
    """The key is written as Prometheus writes labels."""
    alert = fires(labels={"process": 'a"b\\c'})

    assert body(alert)["groupKey"] == '{}:{process="a\\"b\\\\c"}'


def test_the_headers_name_the_alert() -> None:
    """The idempotency key is the alert's id, for any name of a program."""
    alert = replace(fires("café:php-fpm", 3), reason=Reason.CAUSE_CHANGED)

    assert headers(alert, 1700000000) == {
        "Idempotency-Key": "caf%C3%A9:php-fpm-3",
        "Webhook-Id": "caf%C3%A9:php-fpm-3",
        "Webhook-Timestamp": "1700000000",
        "X-Fpm-Listener-Reason": "cause changed",
    }
