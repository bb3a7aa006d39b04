"""A receiver that cannot be told, as the others hear of it; and what an operator does to alerts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from fpm_listener.delivery.receiver_failure import FAILING_AFTER_S
from fpm_listener.settings.receivers import ReceiverSettings
from tests.owners import CHAT, OPS, Owner, again
from tests.samples import DOWN, LIMITS, NO, YES, ended, fires, resolves

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fpm_listener.delivery.attempt import Outcome
    from fpm_listener.incidents.alert import Alert

AM = ReceiverSettings(name="am", kind="alertmanager", urls=("http://a/", "http://b/", "http://c/"))


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Owner]:
    """Return an owner with two receivers."""
    made = Owner(tmp_path, OPS, CHAT)
    yield made
    made.database.close()


def answer(owner: Owner, **outcomes: Outcome) -> dict[str, list[Alert]]:
    """Let each receiver answer all that is due; return what each was sent."""
    told: dict[str, list[Alert]] = {}
    while attempts := owner.outbox.start_attempts(owner.now):
        for attempt in attempts:
            told.setdefault(attempt.queue, []).extend(attempt.alerts)
            outcome = outcomes.get(attempt.queue, YES)
            owner.outbox.record_result(ended(attempt, outcome), owner.now)
    return told


def names(alerts: list[Alert]) -> list[tuple[str, str]]:
    """Return what alerts are about."""
    return [(alert.labels["alertname"], alert.reason.value) for alert in alerts]


def test_a_receiver_that_is_late_is_told_of_to_the_others(owner: Owner) -> None:
    """After five minutes without a yes; it is over with the next yes; itself never hears of it."""
    owner.enqueue(fires("a"))
    answer(owner, ops=DOWN)
    owner.wait(FAILING_AFTER_S - 1.0)
    assert answer(owner, ops=DOWN) == {"ops": [fires("a")]}
    owner.wait(FAILING_AFTER_S)
    told = answer(owner, ops=DOWN)

    assert names(told["chat"]) == [("NotificationFailing", "first")]
    (alert,) = told["chat"]
    assert alert.labels["receiver"] == "ops"
    assert "fpm-listener alerts test ops" in alert.annotations["remedy"]
    assert alert.annotations["evidence"] == "Connection refused"
    (ops, _) = owner.outbox.views()
    assert ops.failing
    owner.wait(FAILING_AFTER_S)
    told = answer(owner)
    assert names(told["ops"]) == [("PhpFpmFailing", "first")]
    assert names(told["chat"]) == [("NotificationFailing", "resolved")]
    assert told["chat"][0].incident_id == alert.incident_id
    assert not owner.outbox.views()[0].failing


def test_who_wakes_the_owner_for_it(owner: Owner) -> None:
    """The moment is among those that the owner waits for."""
    owner.enqueue(fires("a"))
    attempt = next(one for one in owner.outbox.start_attempts(owner.now) if one.queue == "ops")
    owner.record_result(ended(attempt, replace(DOWN, after_s=3600.0)))

    assert owner.outbox.next_due_s(owner.now) == FAILING_AFTER_S


def test_an_alert_that_is_lost_is_told_of_at_once(owner: Owner) -> None:
    """The receiver will never take it."""
    owner.enqueue(fires("a"))
    told = answer(owner, ops=NO)

    assert names(told["chat"]) == [("PhpFpmFailing", "first"), ("NotificationFailing", "first")]
    assert "it rejects alerts (status 400)" in told["chat"][1].annotations["summary"]


def test_it_is_repeated(owner: Owner) -> None:
    """As every incident is."""
    owner.enqueue(fires("a"))
    answer(owner, ops=NO)
    owner.wait(LIMITS.repeat_interval_s + 1.0)

    assert names(answer(owner)["chat"]) == [("NotificationFailing", "repeat")]


def test_it_outlives_the_listener(owner: Owner) -> None:
    """Its end is told by the next one, under the same incident."""
    owner.enqueue(fires("a"))
    first = answer(owner, ops=NO)["chat"][1]
    after = again(owner, OPS, CHAT)
    assert after.outbox.views()[0].failing
    after.enqueue(fires("b"))
    told = answer(after)

    (alert,) = [one for one in told["chat"] if one.labels["alertname"] == "NotificationFailing"]
    assert (alert.incident_id, alert.status.value) == (first.incident_id, "resolved")
    assert alert.sequence > first.sequence
    after.database.close()


def test_a_test_that_was_taken_ends_it(owner: Owner) -> None:
    """`fpm-listener alerts test`: no alert need come to find out."""
    owner.enqueue(fires("a"))
    answer(owner, ops=NO)
    owner.outbox.test_delivered("ops", owner.now)

    assert not owner.outbox.views()[0].failing
    assert names(answer(owner)["chat"]) == [("NotificationFailing", "resolved")]


def test_one_place_that_rejects_is_no_receiver_that_fails(tmp_path: Path) -> None:
    """The other Alertmanagers take the alert; log and metric tell of the one."""
    owner = Owner(tmp_path, AM, CHAT)
    owner.enqueue(fires("a"))
    told = answer(owner, **{"am#2": NO})

    assert names(told["chat"]) == [("PhpFpmFailing", "first")]
    assert owner.outbox.views()[0].dropped["rejected"] == 1
    owner.database.close()


def test_a_receiver_that_is_gone_fails_no_more(owner: Owner) -> None:
    """Its end is told when the settings do not name it any more."""
    owner.enqueue(fires("a"))
    answer(owner, ops=NO)
    owner.outbox.reconfigure([CHAT], LIMITS)

    assert names(answer(owner)["chat"]) == [("NotificationFailing", "resolved")]


def test_nobody_else_to_tell(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Then our own log has it."""
    owner = Owner(tmp_path, OPS)
    owner.enqueue(fires("a"))
    answer(owner, ops=NO)
    owner.database.close()

    assert "alerts do not reach a receiver receiver=ops" in caplog.text


# -- several places of one receiver ----------------------------------------------------------------


def test_all_alertmanagers_are_told(tmp_path: Path) -> None:
    """Each has its own queue; one that is down delays no other and causes no alert."""
    owner = Owner(tmp_path, AM, CHAT)
    owner.enqueue(fires("a"))
    told = answer(owner, **{"am#2": DOWN})
    assert sorted(told) == ["am", "am#2", "am#3", "chat"]
    for _ in range(10):
        owner.wait(FAILING_AFTER_S / 5)
        told = answer(owner, **{"am#2": DOWN})

    assert names(told.get("chat", [])) == []
    (am, _) = owner.outbox.views()
    assert (am.name, am.pending, am.failing) == ("am", 1, False)
    assert am.failed["refused"] > 5
    owner.database.close()


def test_alertmanagers_that_are_all_dead(tmp_path: Path) -> None:
    """That is a receiver that cannot be told."""
    owner = Owner(tmp_path, AM, CHAT)
    owner.enqueue(fires("a"))
    down = dict.fromkeys(AM.queues, DOWN)
    answer(owner, **down)
    owner.wait(FAILING_AFTER_S)

    assert names(answer(owner, **down)["chat"]) == [("NotificationFailing", "first")]
    owner.database.close()


def test_alertmanagers_that_all_reject(tmp_path: Path) -> None:
    """A password that is wrong everywhere: the others hear of it at once."""
    owner = Owner(tmp_path, AM, CHAT)
    owner.enqueue(fires("a"))
    told = answer(owner, **dict.fromkeys(AM.queues, NO))

    assert names(told["chat"])[-1] == ("NotificationFailing", "first")
    owner.database.close()


def test_an_alertmanager_that_took_it_and_is_down_since(tmp_path: Path) -> None:
    """It is told again each minute, and that it cannot be is a failing, too."""
    owner = Owner(tmp_path, replace(AM, urls=("http://a/",)), CHAT)
    owner.enqueue(fires("a"))
    answer(owner)
    told: list[Alert] = []
    for _ in range(20):
        owner.wait(30.0)
        told += answer(owner, am=DOWN).get("chat", [])

    assert names(told) == [("NotificationFailing", "first")]
    owner.database.close()


def test_an_alertmanager_whose_section_was_missing_for_a_while(tmp_path: Path) -> None:
    """What it was owed is told on, as an Alertmanager wants it."""
    owner = Owner(tmp_path, AM, CHAT)
    owner.enqueue(fires("a"))
    answer(owner)
    after = again(owner, CHAT)
    after.outbox.reconfigure([AM, CHAT], LIMITS)
    count = 0
    for _ in range(5):
        count += len(answer(after).get("am", []))
        after.wait(60.0)

    assert count == 5
    after.database.close()


def test_an_alertmanager_whose_url_was_missing_for_a_while(tmp_path: Path) -> None:
    """Its queue keeps the alerts, and sends them again when the URL is back."""
    owner = Owner(tmp_path, AM)
    owner.enqueue(fires("a"))
    answer(owner)
    one_url = replace(AM, urls=AM.urls[:1])
    after = again(owner, one_url)
    after.outbox.reconfigure([AM], LIMITS)

    assert sorted(answer(after)) == ["am", "am#2", "am#3"]
    after.database.close()


def test_an_alertmanager_that_was_told_before_a_restart(tmp_path: Path) -> None:
    """The next listener tells it on, each place by itself."""
    owner = Owner(tmp_path, AM)
    owner.enqueue(fires("a"))
    answer(owner)
    after = again(owner, AM)

    assert sorted(answer(after)) == ["am", "am#2", "am#3"]
    after.enqueue(resolves("a"))
    assert {alert.status.value for told in answer(after).values() for alert in told} == {"resolved"}
    after.database.close()


def test_another_kind_under_the_same_name(tmp_path: Path) -> None:
    """What was owed there is given up: the two are told in different ways."""
    owner = Owner(tmp_path, AM)
    owner.enqueue(fires("a"))
    owner.outbox.reconfigure([replace(OPS, name="am")], LIMITS)
    owner.enqueue(fires("b"))

    assert [alert.alert_id for alert in answer(owner)["am"]] == ["b-1"]
    owner.database.close()


# -- what the operator does ------------------------------------------------------------------------


def test_the_listing(owner: Owner) -> None:
    """All that is owed, without a secret."""
    owner.enqueue(fires("a"))
    answer(owner, ops=DOWN)
    (row,) = owner.outbox.list_alerts(owner.now)

    assert row["receiver"] == "ops"
    assert (row["alert"], row["state"], row["attempts"]) == ("a-1", "pending", 1)
    assert row["last_failure"] == "Connection refused"
    assert "s3cret" not in str(row)


def test_retry_is_at_once(owner: Owner) -> None:
    """Though the receiver had asked for an hour of rest."""
    owner.enqueue(fires("a"))
    answer(owner, ops=replace(DOWN, after_s=3600.0))

    assert owner.outbox.retry_now("ops") == 1
    assert names(answer(owner)["ops"]) == [("PhpFpmFailing", "first")]


def test_drop_by_number_and_by_name(owner: Owner) -> None:
    """On disk as well; what another receiver is owed stays."""
    owner.enqueue(fires("a"), fires("b"), fires("c"))
    (first, *_) = [row for row in owner.outbox.list_alerts(owner.now) if row["receiver"] == "ops"]

    assert owner.outbox.drop(None, first["number"]) == 1
    assert owner.outbox.drop("ops", None) == 2
    assert owner.outbox.drop("ops", None) == 0
    after = again(owner, OPS, CHAT)
    assert (after.ids("ops"), after.ids("chat")) == ([], ["a-1", "b-1", "c-1"])
    after.database.close()
