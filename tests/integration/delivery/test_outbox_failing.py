"""The alerts about a receiver that fails, and the requests of an operator."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from fpm_listener.delivery.receiver_failure import FAILING_AFTER_S
from fpm_listener.settings.receivers import ReceiverSettings
from tests.outbox_harness import CHAT, OPS, OutboxHarness, after_reboot
from tests.samples import DOWN, LIMITS, NO, YES, ended, fires, resolves

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fpm_listener.delivery.attempt import Outcome
    from fpm_listener.incidents.alert import Alert

AM = ReceiverSettings(name="am", kind="alertmanager", urls=("http://a/", "http://b/", "http://c/"))


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[OutboxHarness]:
    """Return an owner with two receivers."""
    made = OutboxHarness(tmp_path, OPS, CHAT)
    yield made
    made.database.close()


def answer(harness: OutboxHarness, **outcomes: Outcome) -> dict[str, list[Alert]]:
    """Let each receiver answer all that is due; return what each was sent."""
    sent: dict[str, list[Alert]] = {}
    while attempts := harness.outbox.start_attempts(harness.now):
        for attempt in attempts:
            sent.setdefault(attempt.queue, []).extend(attempt.alerts)
            outcome = outcomes.get(attempt.queue, YES)
            harness.outbox.record_result(ended(attempt, outcome), harness.now)
    return sent


def names(alerts: list[Alert]) -> list[tuple[str, str]]:
    """Return what alerts are about."""
    return [(alert.labels["alertname"], alert.reason.value) for alert in alerts]


def test_the_others_get_an_alert_about_a_late_receiver(harness: OutboxHarness) -> None:
    """After five minutes without a delivery, until the next one; the receiver itself gets none."""
    harness.enqueue(fires("a"))
    answer(harness, ops=DOWN)
    harness.wait(FAILING_AFTER_S - 1.0)
    assert answer(harness, ops=DOWN) == {"ops": [fires("a")]}
    harness.wait(FAILING_AFTER_S)
    sent = answer(harness, ops=DOWN)

    assert names(sent["chat"]) == [("NotificationFailing", "first")]
    (alert,) = sent["chat"]
    assert alert.labels["receiver"] == "ops"
    assert "fpm-listener alerts test ops" in alert.annotations["remedy"]
    assert alert.annotations["evidence"] == "Connection refused"
    (ops, _) = harness.outbox.views()
    assert ops.failing
    harness.wait(FAILING_AFTER_S)
    sent = answer(harness)
    assert names(sent["ops"]) == [("PhpFpmFailing", "first")]
    assert names(sent["chat"]) == [("NotificationFailing", "resolved")]
    assert sent["chat"][0].incident_id == alert.incident_id
    assert not harness.outbox.views()[0].failing


def test_the_alert_is_in_the_due_time(harness: OutboxHarness) -> None:
    """The main thread wakes at that moment."""
    harness.enqueue(fires("a"))
    attempt = next(one for one in harness.outbox.start_attempts(harness.now) if one.queue == "ops")
    harness.record_result(ended(attempt, replace(DOWN, after_s=3600.0)))

    assert harness.outbox.next_due_s(harness.now) == FAILING_AFTER_S


def test_a_lost_alert_is_reported_at_once(harness: OutboxHarness) -> None:
    """The receiver rejects it."""
    harness.enqueue(fires("a"))
    sent = answer(harness, ops=NO)

    assert names(sent["chat"]) == [("PhpFpmFailing", "first"), ("NotificationFailing", "first")]
    assert "it rejects alerts (status 400)" in sent["chat"][1].annotations["summary"]


def test_it_is_repeated(harness: OutboxHarness) -> None:
    """As every incident is."""
    harness.enqueue(fires("a"))
    answer(harness, ops=NO)
    harness.wait(LIMITS.repeat_interval_s + 1.0)

    assert names(answer(harness)["chat"]) == [("NotificationFailing", "repeat")]


def test_it_survives_the_listener(harness: OutboxHarness) -> None:
    """The next listener resolves the same incident."""
    harness.enqueue(fires("a"))
    first = answer(harness, ops=NO)["chat"][1]
    after = after_reboot(harness, OPS, CHAT)
    assert after.outbox.views()[0].failing
    after.enqueue(fires("b"))
    sent = answer(after)

    (alert,) = [one for one in sent["chat"] if one.labels["alertname"] == "NotificationFailing"]
    assert (alert.incident_id, alert.status.value) == (first.incident_id, "resolved")
    assert alert.sequence > first.sequence
    after.database.close()


def test_a_delivered_test_ends_it(harness: OutboxHarness) -> None:
    """`fpm-listener alerts test` ends it without another alert."""
    harness.enqueue(fires("a"))
    answer(harness, ops=NO)
    harness.outbox.test_delivered("ops", harness.now)

    assert not harness.outbox.views()[0].failing
    assert names(answer(harness)["chat"]) == [("NotificationFailing", "resolved")]


def test_one_url_that_rejects_is_not_a_failure(tmp_path: Path) -> None:
    """The other Alertmanagers accept the alert; log and metric show the one."""
    harness = OutboxHarness(tmp_path, AM, CHAT)
    harness.enqueue(fires("a"))
    sent = answer(harness, **{"am#2": NO})

    assert names(sent["chat"]) == [("PhpFpmFailing", "first")]
    assert harness.outbox.views()[0].dropped["rejected"] == 1
    harness.database.close()


def test_the_failure_of_a_removed_receiver_is_resolved(harness: OutboxHarness) -> None:
    """When the settings no longer name it."""
    harness.enqueue(fires("a"))
    answer(harness, ops=NO)
    harness.outbox.reconfigure([CHAT], LIMITS)

    assert names(answer(harness)["chat"]) == [("NotificationFailing", "resolved")]


def test_a_single_receiver_that_fails(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Then the log has it."""
    harness = OutboxHarness(tmp_path, OPS)
    harness.enqueue(fires("a"))
    answer(harness, ops=NO)
    harness.database.close()

    assert "alerts do not reach a receiver receiver=ops" in caplog.text


# -- several places of one receiver ----------------------------------------------------------------


def test_all_alertmanagers_get_the_alert(tmp_path: Path) -> None:
    """Each has its own queue; one that is down delays no other and causes no alert."""
    harness = OutboxHarness(tmp_path, AM, CHAT)
    harness.enqueue(fires("a"))
    sent = answer(harness, **{"am#2": DOWN})
    assert sorted(sent) == ["am", "am#2", "am#3", "chat"]
    for _ in range(10):
        harness.wait(FAILING_AFTER_S / 5)
        sent = answer(harness, **{"am#2": DOWN})

    assert names(sent.get("chat", [])) == []
    (am, _) = harness.outbox.views()
    assert (am.name, am.pending, am.failing) == ("am", 1, False)
    assert am.failed["refused"] > 5
    harness.database.close()


def test_alertmanagers_that_are_all_down(tmp_path: Path) -> None:
    """Then the receiver fails."""
    harness = OutboxHarness(tmp_path, AM, CHAT)
    harness.enqueue(fires("a"))
    down = dict.fromkeys(AM.queues, DOWN)
    answer(harness, **down)
    harness.wait(FAILING_AFTER_S)

    assert names(answer(harness, **down)["chat"]) == [("NotificationFailing", "first")]
    harness.database.close()


def test_alertmanagers_that_all_reject(tmp_path: Path) -> None:
    """The other receivers get an alert at once."""
    harness = OutboxHarness(tmp_path, AM, CHAT)
    harness.enqueue(fires("a"))
    sent = answer(harness, **dict.fromkeys(AM.queues, NO))

    assert names(sent["chat"])[-1] == ("NotificationFailing", "first")
    harness.database.close()


def test_an_alertmanager_that_fails_after_a_delivery(tmp_path: Path) -> None:
    """Its alert is sent again each minute, so the failure is detected."""
    harness = OutboxHarness(tmp_path, replace(AM, urls=("http://a/",)), CHAT)
    harness.enqueue(fires("a"))
    answer(harness)
    sent: list[Alert] = []
    for _ in range(20):
        harness.wait(30.0)
        sent += answer(harness, am=DOWN).get("chat", [])

    assert names(sent) == [("NotificationFailing", "first")]
    harness.database.close()


def test_an_alertmanager_whose_section_was_missing_for_a_while(tmp_path: Path) -> None:
    """Its alerts are sent again, as Alertmanager needs it."""
    harness = OutboxHarness(tmp_path, AM, CHAT)
    harness.enqueue(fires("a"))
    answer(harness)
    after = after_reboot(harness, CHAT)
    after.outbox.reconfigure([AM, CHAT], LIMITS)
    count = 0
    for _ in range(5):
        count += len(answer(after).get("am", []))
        after.wait(60.0)

    assert count == 5
    after.database.close()


def test_an_alertmanager_whose_url_was_missing_for_a_while(tmp_path: Path) -> None:
    """Its queue keeps the alerts, and sends them again when the URL is back."""
    harness = OutboxHarness(tmp_path, AM)
    harness.enqueue(fires("a"))
    answer(harness)
    one_url = replace(AM, urls=AM.urls[:1])
    after = after_reboot(harness, one_url)
    after.outbox.reconfigure([AM], LIMITS)

    assert sorted(answer(after)) == ["am", "am#2", "am#3"]
    after.database.close()


def test_alertmanagers_after_a_restart(tmp_path: Path) -> None:
    """The next listener sends the alert again, to each URL."""
    harness = OutboxHarness(tmp_path, AM)
    harness.enqueue(fires("a"))
    answer(harness)
    after = after_reboot(harness, AM)

    assert sorted(answer(after)) == ["am", "am#2", "am#3"]
    after.enqueue(resolves("a"))
    assert {alert.status.value for sent in answer(after).values() for alert in sent} == {"resolved"}
    after.database.close()


def test_another_kind_under_the_same_name(tmp_path: Path) -> None:
    """Its alerts are dropped: the two queues work in different ways."""
    harness = OutboxHarness(tmp_path, AM)
    harness.enqueue(fires("a"))
    harness.outbox.reconfigure([replace(OPS, name="am")], LIMITS)
    harness.enqueue(fires("b"))

    assert [alert.alert_id for alert in answer(harness)["am"]] == ["b-1"]
    harness.database.close()


# -- what the operator does ------------------------------------------------------------------------


def test_the_listing(harness: OutboxHarness) -> None:
    """All undelivered alerts, without a secret."""
    harness.enqueue(fires("a"))
    answer(harness, ops=DOWN)
    (row,) = harness.outbox.list_alerts(harness.now)

    assert row["receiver"] == "ops"
    assert (row["alert"], row["state"], row["attempts"]) == ("a-1", "pending", 1)
    assert row["last_failure"] == "Connection refused"
    assert "s3cret" not in str(row)


def test_retry_is_at_once(harness: OutboxHarness) -> None:
    """Though the receiver requested a delay of an hour."""
    harness.enqueue(fires("a"))
    answer(harness, ops=replace(DOWN, after_s=3600.0))

    assert harness.outbox.retry_now("ops") == 1
    assert names(answer(harness)["ops"]) == [("PhpFpmFailing", "first")]


def test_drop_by_number_and_by_name(harness: OutboxHarness) -> None:
    """On disk too; the alerts of other receivers stay."""
    harness.enqueue(fires("a"), fires("b"), fires("c"))
    (first, *_) = [
        row for row in harness.outbox.list_alerts(harness.now) if row["receiver"] == "ops"
    ]

    assert harness.outbox.drop(None, first["number"]) == 1
    assert harness.outbox.drop("ops", None) == 2
    assert harness.outbox.drop("ops", None) == 0
    after = after_reboot(harness, OPS, CHAT)
    assert (after.ids("ops"), after.ids("chat")) == ([], ["a-1", "b-1", "c-1"])
    after.database.close()
