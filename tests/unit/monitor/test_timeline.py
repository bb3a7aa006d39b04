"""What has happened in the last 24 hours."""

from __future__ import annotations

import dataclasses
import json

import pytest

from fpm_listener.durations import parse
from fpm_listener.incidents.alert import Alert, Reason, Status
from fpm_listener.incidents.effects import Notify
from fpm_listener.incidents.incident_facts import IncidentFacts
from fpm_listener.monitor import timeline as module
from fpm_listener.monitor.timeline import ENTRIES, Entry, Timeline, TimelineEvent
from fpm_listener.settings.policy import HealingPolicy, Span
from fpm_listener.supervisor.exit_log import ExitReason
from fpm_listener.supervisor.process import ProcessName
from fpm_listener.vocabulary import Cause
from tests.unit.monitor.engine_scenario import ADDRESS, EPOCH, POLICY, Scenario, moment


def shown_entries(scenario: Scenario) -> list[tuple[str, ExitReason | None, int]]:
    """Return what happened, how the process ended, and how often; the latest last."""
    entries = sorted(scenario.engine.timeline.view(), key=lambda entry: entry.last_s)
    return [(one.what.value, one.exit_reason, one.count) for one in entries]


def firing(process: str, reason: Reason = Reason.FIRST) -> Notify:
    """Return an alert of a process."""
    return Notify(
        Alert(
            incident_id=process,
            sequence=1,
            reason=reason,
            status=Status.FIRING,
            labels={"group": process, "process": process},
            starts_at_s=0.0,
            ends_at_s=None,
            known_at_s=0.0,
        ),
        IncidentFacts(name=ProcessName(process, process), cause=Cause.RESTART_LOOP),
    )


def test_an_exit_and_the_start_after_it() -> None:
    """The reason comes with supervisord's log; the time without the program is shown."""
    scenario = Scenario(exits=True).play("0 starting", "2 running", "500 crash", "500.1 starting")
    scenario.play("500.2 exits -9")
    died, started = sorted(scenario.engine.timeline.view(), key=lambda entry: entry.last_s)

    assert (died.what, died.exit_reason) == (TimelineEvent.FAILED, ExitReason(signal=9))
    assert died.first_s == EPOCH + 500
    assert started.what is TimelineEvent.STARTED
    assert started.away_s == pytest.approx(0.1)
    assert scenario.engine.timeline.failures() == {"php-fpm:php-fpm": (EPOCH + 500,)}


def test_a_first_start_is_no_news() -> None:
    """Only what comes after an exit is shown."""
    assert shown_entries(Scenario().play("0 starting", "2 running")) == []


def test_the_operators_hand() -> None:
    """A stop is shown as a stop, and the start after it is the operator's own business."""
    scenario = Scenario().play(
        "0 starting", "2 running", "50 stopping", "51 stopped", "60 starting"
    )

    assert shown_entries(scenario) == [("stopped", None, 1)]


def test_a_restart_by_the_operator_of_which_the_log_comes_late() -> None:
    """supervisord's log reports the end after the next start: it is a stop nevertheless."""
    scenario = Scenario(exits=True).play("0 starting", "2 running", "50 stopping", "51 stopped")
    scenario.play("51.1 starting", "51.2 exits 0")

    assert shown_entries(scenario) == [("stopped", ExitReason(status=0), 1)]


def test_a_job_that_has_done_its_work() -> None:
    """An expected exit is no failure."""
    assert shown_entries(Scenario().play("0 starting job", "2 running job", "9 exit job")) == [
        ("exited", None, 1)
    ]


def test_a_loop_is_one_entry() -> None:
    """What happens again within a quarter of an hour is counted; the incident stands between."""
    scenario = Scenario().fail(0.0, 2.0, 5.0, 7.0).play("10 log bind", "20 tick")

    assert ("failed", None, 4) in shown_entries(scenario)
    assert ("started", None, 3) in shown_entries(scenario)
    assert [what for what, _, _ in shown_entries(scenario) if what in {"incident", "changed"}]


def test_an_incident_from_first_to_last() -> None:
    """It opens, it gets worse, it is over; a repetition is no news."""
    scenario = (
        Scenario().fail(0.0, 2.0, 5.0).play("8 fatal", "20 starting", "22 running", "30000 tick")
    )
    happened = [what for what, _, _ in shown_entries(scenario)]

    assert [one for one in happened if one in {"incident", "worse", "resolved"}] == [
        "incident",
        "worse",
        "resolved",
    ]


def test_what_is_healed_is_shown() -> None:
    """What the listener does has its own entries."""
    span = Span(parse("10s"), parse("5m"))
    policy = dataclasses.replace(POLICY, healing=HealingPolicy(restart_fatal=span))
    scenario = Scenario(policy=policy).fail(0.0, 2.0, 5.0).play("8 fatal", "60 tick")
    assert "healed" in [what for what, _, _ in shown_entries(scenario)]

    policy = dataclasses.replace(POLICY, healing=HealingPolicy(loop_delay=span))
    scenario = (
        Scenario(policy=policy).fail(0.0, 2.0, 5.0).play("6 starting", "7 stopping", "7.1 stopped")
    )
    happened = [what for what, _, _ in shown_entries(scenario)]
    assert "paused" in happened
    assert "stopped" not in happened


def test_it_is_bounded() -> None:
    """However much happens, the latest entries are kept, and none is older than a day."""
    timeline = Timeline()
    for number in range(ENTRIES + 100):
        timeline.take(moment(float(number)), [firing(f"p{number}")])
    assert len(timeline.view()) == ENTRIES
    assert timeline.view()[-1].process == f"p{ENTRIES + 99}:p{ENTRIES + 99}"

    timeline.take(moment(2 * 86400.0), [firing("late")])
    assert [one.process for one in timeline.view()] == ["late:late"]


def test_what_is_known_beside_it_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups that come and go leave nothing behind for ever."""
    monkeypatch.setattr(module, "PROCESSES", 1)
    scenario = Scenario().play("0 starting", "1 running", "2 crash")
    scenario.play("3 starting job", "4 running job", "5 crash job")

    assert set(scenario.engine.timeline.failures()) == {"job:job"}


def test_the_timeline_is_saved() -> None:
    """What is remembered is JSON, and comes back as it was; what is not understood does not."""
    scenario = Scenario().fail(0.0, 2.0, 5.0)
    saved = json.loads(json.dumps(scenario.engine.timeline.memory()))
    fresh = Timeline()
    fresh.restore([*saved, ["failed"], 7, ["no such thing", "p", "", 1, 1, 1, None]])

    assert fresh.view() == scenario.engine.timeline.view()
    fresh.began(moment(9.0))
    assert fresh.view()[-1].what is TimelineEvent.LISTENER
    before = fresh.view()
    broken: tuple[object, ...] = (None, {}, "text", [[]])
    for one in broken:
        fresh.restore(one)
    assert fresh.view() == before


@pytest.mark.parametrize(
    ("log", "cause", "subject", "exit_reason"),
    [
        ("bind", Cause.BIND_CONFLICT, ADDRESS, None),
        ("config", Cause.CONFIG_ERROR, None, None),
        ("failed", Cause.RESTART_LOOP, None, ExitReason(status=78)),
    ],
)
def test_what_an_incident_is_about(
    log: str, cause: Cause, subject: str | None, exit_reason: ExitReason | None
) -> None:
    """The cause, and what it is about; the exit only where it is all that is known."""
    scenario = Scenario(exits=True)
    for start in (0.0, 2.0, 4.0):
        scenario.play(f"{start} starting", f"{start + 0.1} log {log}", f"{start + 0.5} backoff")
        scenario.play(f"{start + 0.6} exits 78")
    scenario.play("7 tick")
    incident = next(e for e in scenario.engine.timeline.view() if e.what is TimelineEvent.INCIDENT)

    assert (incident.cause, incident.subject) == (cause, subject)
    assert incident.exit_reason == exit_reason


@pytest.mark.parametrize(
    ("saved", "what"),
    [
        *(("died", TimelineEvent.FAILED), ("ended", TimelineEvent.EXITED)),
        *(("ending", TimelineEvent.SHUTDOWN), ("incident", TimelineEvent.INCIDENT)),
    ],
)
def test_a_row_of_an_earlier_version(saved: str, what: TimelineEvent) -> None:
    """Other words and a text as details: the entry stays, without the details."""
    timeline = Timeline()
    timeline.restore([[saved, "a:a", "exit status 1", 1.0, 2.0, 3, None]])

    assert timeline.view() == (Entry(what=what, process="a:a", first_s=1.0, last_s=2.0, count=3),)


def test_entries_of_the_same_quarter_are_joined_over_a_restart() -> None:
    """The listener's restart does not cut a loop in two."""
    scenario = Scenario().fail(0.0, 2.0)
    fresh = Scenario()
    fresh.engine.timeline.restore(scenario.engine.timeline.memory())
    fresh.fail(5.0)

    (died,) = [one for one in fresh.engine.timeline.view() if one.what is TimelineEvent.FAILED]
    assert died == Entry(
        what=TimelineEvent.FAILED,
        process="php-fpm:php-fpm",
        first_s=EPOCH + 0.5,
        last_s=EPOCH + 5.5,
        count=3,
    )
