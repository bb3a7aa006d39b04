"""After recovery nothing is shown as if the problem still existed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm_listener.incidents.effects import CheckGone, FindHolder, Gone, HolderFound
from fpm_listener.incidents.text_en import ENGLISH
from fpm_listener.status.document import to_json
from fpm_listener.status.page import to_html
from fpm_listener.status.snapshot import Snapshot
from fpm_listener.status.terminal import to_table
from fpm_listener.status.text import headline, recovery
from tests.unit.monitor.engine_scenario import EPOCH, FPM, HOLDER, Scenario

if TYPE_CHECKING:
    from fpm_listener.incidents.incident import IncidentView

KNOWN = HOLDER._replace(holders=(HOLDER.holders[0]._replace(started=4711),))


def conflict() -> Scenario:
    """Return a php-fpm whose address is in use by pid 812."""
    scenario = Scenario().fail(0.0, 2.0).play("4 starting", "4.4 log bind", "4.5 backoff")
    scenario.give(4.6, HolderFound(FPM, KNOWN))
    assert scenario.sent == ["first: bind_conflict"]
    return scenario


def incident(scenario: Scenario) -> IncidentView:
    """Return the incident that is shown."""
    found = scenario.view().incident
    assert found is not None
    return found


def shown(scenario: Scenario) -> dict[str, object]:
    """Return the document that `status`, the page and /status.json are made of."""
    return to_json(Snapshot(processes=scenario.engine.views(), ready=True), EPOCH + scenario.now_s)


def test_what_runs_again_is_recovering() -> None:
    """Past tense, when it will be resolved, and nothing to do; no pid that may be gone."""
    scenario = conflict()
    assert "kill" in ENGLISH.remedy(incident(scenario).facts)
    scenario.play("6 starting", "7 running", "12 tick")

    one = incident(scenario)
    assert (one.recovering_s, one.resolves_s) == (EPOCH + 7, EPOCH + 127)
    assert ENGLISH.summary(one.facts) == (
        "php-fpm: recovering; the problem was: 127.0.0.1:9000 was in use by pid 812 "
        "(php-fpm: pool www, user www-data, orphan of the dead master 100)"
    )
    assert ENGLISH.remedy(one.facts) == "No action is needed unless it fails again"
    program = next(one for one in shown(scenario)["programs"] if one["incident"])  # type: ignore[attr-defined] # JSON
    assert program["incident"]["holder"] is None


def test_a_run_that_is_no_longer_than_usual_is_no_recovery() -> None:
    """supervisord says RUNNING of a php-fpm that could not bind: the remedy stays."""
    scenario = conflict().play("6 starting", "7 running", "8 tick")

    assert incident(scenario).recovering_s is None
    assert "kill" in ENGLISH.remedy(incident(scenario).facts)


def test_who_fails_again_is_not_recovering() -> None:
    """The remedy is back."""
    scenario = conflict().play("6 starting", "7 running", "12 tick", "13 crash", "13 tick")

    assert incident(scenario).recovering_s is None


def test_every_view_says_so() -> None:
    """The table, the page and the headline; the JSON has both moments."""
    scenario = conflict().play("6 starting", "7 running", "12 tick")
    document = shown(scenario)
    program = next(one for one in document["programs"] if one["incident"])  # type: ignore[attr-defined] # JSON

    words = recovery(program)
    assert words is not None
    assert words.startswith("recovering since ")
    assert words.endswith(" if it keeps running")
    assert "will be resolved at" in words
    assert program["incident"]["resolves_at_s"] == EPOCH + 127
    assert headline(document) == ("1 of 2 programs is recovering", "warn")
    table = to_table(document)
    assert words in table
    assert "kill" not in table
    assert "remedy:" not in table
    page = to_html(document)
    assert words[1:] in page
    assert "What to do" not in page


def test_what_its_operator_has_stopped_is_said_to_be_stopped() -> None:
    """It is resolved if it stays stopped."""
    scenario = conflict().play("5 stopped", "10 tick")
    program = next(one for one in shown(scenario)["programs"] if one["incident"])  # type: ignore[attr-defined] # JSON

    assert (recovery(program) or "").endswith(" if it stays stopped")


def test_an_alert_while_it_recovers_is_in_the_past_tense() -> None:
    """The cause became known late."""
    scenario = Scenario().fail(0.0, 2.0, 4.0)
    assert scenario.sent == ["first: restart_loop"]
    scenario.play("6 starting", "6.4 running", "9.0 log bind", "9.1 tick", "9.5 tick")

    for alert in scenario.alerts[1:]:
        assert "recovering" in alert.annotations["summary"]
        assert "holder" not in alert.annotations


def test_a_resolved_alert_says_what_was() -> None:
    """The address is in use no more."""
    scenario = conflict().play("6 starting", "7 running", "128 tick")

    assert scenario.sent[-1] == "resolved: bind_conflict"
    assert "127.0.0.1:9000 was in use" in scenario.alerts[-1].annotations["summary"]


def test_a_holder_that_has_ended_is_not_shown() -> None:
    """Pid and start are verified every two seconds; then the remedy does not name that pid."""
    scenario = conflict().play("7 tick", "8 tick", "9 tick", "10 tick")
    asked = [one for one in scenario.effects if isinstance(one, CheckGone)]
    assert len(asked) == 3
    assert asked[0].started == frozenset({(812, 4711)})
    scenario.give(10.1, Gone(FPM, frozenset({812})))

    assert "812" not in ENGLISH.summary(incident(scenario).facts)
    assert "812" not in ENGLISH.remedy(incident(scenario).facts)
    scenario.play("20 starting", "20.4 log bind", "20.5 backoff")
    assert isinstance(scenario.looks[-1], FindHolder)
    assert len(scenario.looks) == 2


def test_a_holder_of_which_the_start_is_not_known_is_not_asked_about() -> None:
    """A pid alone proves nothing."""
    scenario = (
        Scenario().fail(0.0, 2.0).play("4 starting", "4.4 log bind", "4.5 backoff", "4.6 holder")
    )
    scenario.play("9 tick")

    assert not any(isinstance(one, CheckGone) for one in scenario.effects)
