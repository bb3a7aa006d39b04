"""The file that tells Kubernetes why the container ended."""

from __future__ import annotations

import pytest

from fpm_listener.incidents.incident import IncidentView
from fpm_listener.incidents.incident_facts import IncidentFacts
from fpm_listener.monitor.final_end import FinalEnd
from fpm_listener.monitor.process_view import ProcessView
from fpm_listener.phpfpm.config import FpmSite
from fpm_listener.status import termination_text
from fpm_listener.supervisor.process import ProcessName
from fpm_listener.vocabulary import Cause, Fault, State

NAME = ProcessName("php-fpm", "php-fpm")
SITE = FpmSite(check_command="php-fpm -t")


def view(cause: Cause, fault: Fault | None = None) -> ProcessView:
    """Return a program that supervisord gave up on."""
    facts = IncidentFacts(name=NAME, cause=cause, fault=fault, gave_up=True, site=SITE)
    incident = IncidentView(incident_id="id", severity="critical", started_at_s=0.0, facts=facts)
    return ProcessView(
        name=NAME, is_fpm=True, state=State.FATAL, incident=incident, final_end=FinalEnd.FATAL
    )


@pytest.mark.parametrize(
    ("cause", "fault"), [(Cause.CONFIG_ERROR, None), (Cause.CONFIG_ERROR, Fault.USAGE)]
)
def test_no_command_for_a_container_that_has_ended(cause: Cause, fault: Fault | None) -> None:
    """Nobody can start a program there; a corrected image is started."""
    reason, summary, remedy = termination_text.lines(view(cause, fault))

    assert reason == "supervisord gave up on php-fpm:php-fpm (FATAL)"
    assert summary.startswith("php-fpm:")
    assert remedy.startswith("remedy: ")
    assert remedy.endswith(", then start the container again")
    assert "supervisorctl" not in remedy
