"""The incident of a receiver that fails: its alerts, and its saved state."""

from __future__ import annotations

import json

import pytest

from fpm_listener.delivery.receiver_failure import (
    ReceiverFailure,
    ReceiverFailures,
    alert,
    start,
)
from fpm_listener.incidents.alert import Alert, Reason, Status
from fpm_listener.values import Clocks, Instant
from tests.samples import EPOCH_S, at

CLOCKS = Clocks(at(500.0), "boot")
FAILURE = start("ops", at(100.0), "HTTP 500", "web-7", "token")


def test_its_first_alert() -> None:
    """The failure starts now; its identity names host and receiver."""
    failures = ReceiverFailures("web-7", lambda: "token")
    first = failures.next_alert("ops", Reason.FIRST, at(100.0), "HTTP 500", 2)

    assert failures.by_receiver == {
        "ops": ReceiverFailure(
            receiver="ops",
            started_at_s=EPOCH_S + 100.0,
            started_s=100.0,
            sequence=1,
            notified_s=100.0,
            why="HTTP 500",
            incident_id=FAILURE.incident_id,
        )
    }
    assert first == alert(FAILURE, Reason.FIRST, at(100.0), "web-7", 2)
    assert FAILURE.incident_id.startswith("web-7/receiver:ops/")


def test_its_next_alerts() -> None:
    """Each has the next number; without a new reason the former one stays; the last removes it."""
    failures = ReceiverFailures("web-7", lambda: "token")
    failures.next_alert("ops", Reason.FIRST, at(100.0), "HTTP 500", 2)
    failures.next_alert("ops", Reason.REPEAT, at(200.0), "", 2)
    second = failures.by_receiver["ops"]
    assert (second.sequence, second.notified_s, second.why) == (2, 200.0, "HTTP 500")
    failures.next_alert("ops", Reason.REPEAT, at(300.0), "timeout", 2)
    third = failures.by_receiver["ops"]
    assert (third.sequence, third.notified_s, third.why) == (3, 300.0, "timeout")
    assert third.started_s == 100.0
    last = failures.next_alert("ops", Reason.RESOLVED, at(400.0), "", 0)
    assert (last.sequence, last.starts_at_s) == (4, EPOCH_S + 100.0)
    assert failures.by_receiver == {}


def shape(one: Alert) -> dict[str, object]:
    """Return all parts of an alert except its texts."""
    return {
        "incident": one.incident_id == FAILURE.incident_id,
        "sequence": one.sequence,
        "reason": one.reason,
        "status": one.status,
        "labels": one.labels,
        "times": (one.starts_at_s, one.ends_at_s, one.known_at_s),
        "annotations": set(one.annotations),
        "cause": one.annotations["cause"],
        "evidence": one.annotations["evidence"],
        "zh": set(one.translations["zh"]),
    }


@pytest.mark.parametrize("over", [False, True])
def test_its_alerts(*, over: bool) -> None:
    """All have the same labels; the resolved one has an end."""
    reason = Reason.RESOLVED if over else Reason.FIRST
    one = alert(FAILURE, reason, at(280.0), "web-7", 3)

    assert shape(one) == {
        "incident": True,
        "sequence": 1,
        "reason": reason,
        "status": Status.RESOLVED if over else Status.FIRING,
        "labels": {
            "alertname": "NotificationFailing",
            "instance": "web-7",
            "receiver": "ops",
            "severity": "warning",
        },
        "times": (EPOCH_S + 100.0, EPOCH_S + 280.0 if over else None, EPOCH_S + 280.0),
        "annotations": {"summary", "description", "cause", "evidence", "remedy"},
        "cause": "notification_failing",
        "evidence": "HTTP 500",
        "zh": {"summary", "description", "remedy"},
    }
    assert ("3m" in one.annotations["summary"]) == over
    assert ("HTTP 500" in one.annotations["summary"]) != over
    assert ("alerts test ops" in one.annotations["remedy"]) != over
    assert "3" in one.annotations["description"]


def test_a_clock_that_goes_back_makes_no_negative_time() -> None:
    """The monotonic clock of another boot can be behind."""
    words = alert(FAILURE, Reason.RESOLVED, Instant(50.0, EPOCH_S), "web-7", 0).annotations

    assert "-" not in words["summary"]


def test_what_is_saved() -> None:
    """All of it, as JSON; it is the same after reading."""
    saved = json.loads(FAILURE.to_json(CLOCKS))

    assert saved == {
        "receiver": "ops",
        "started_at": EPOCH_S + 100.0,
        "sequence": 1,
        "started": [EPOCH_S + 100.0, 100.0, "boot"],
        "told": [EPOCH_S + 100.0, 100.0, "boot"],
        "text": "HTTP 500",
        "id": FAILURE.incident_id,
    }
    assert ReceiverFailure.from_json(json.dumps(saved), CLOCKS) == FAILURE
    later = Clocks(Instant(600.0, EPOCH_S + 90_000.0), "boot")  # the wall clock was set
    assert ReceiverFailure.from_json(json.dumps(saved), later) == FAILURE


def test_what_an_older_version_saved() -> None:
    """It had the wall clock only, and no id."""
    saved = {
        "receiver": "ops",
        "started_at": EPOCH_S + 100.0,
        "told_at": EPOCH_S + 200.0,
        "sequence": 4,
        "text": "x",
    }
    one = ReceiverFailure.from_json(json.dumps(saved), CLOCKS)

    assert (one.started_s, one.notified_s) == (100.0, 200.0)
    assert one.incident_id == f"receiver:ops-{EPOCH_S + 100.0:.3f}"
