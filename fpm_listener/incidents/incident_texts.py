"""What is sent and what is shown of one incident."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm_listener.incidents import text_en
from fpm_listener.incidents.incident import IncidentView

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fpm_listener.incidents.incident import Incident
    from fpm_listener.incidents.text_en import IncidentFacts


def alert_texts(plight: IncidentFacts, evidence: Sequence[str], *, over: bool) -> dict[str, str]:
    """Return the annotations of an alert."""
    texts = {
        **text_en.sentences(plight, over=over),
        "cause": plight.cause.value,
        "evidence": "\n".join(evidence),
    }
    if plight.address:
        texts["address"] = plight.address
    if plight.holder and not plight.recovering:
        texts["holder"] = str(plight.holder)
    return texts


def view(incident: Incident, plight: IncidentFacts, evidence: Sequence[str]) -> IncidentView:
    """Return the incident for the status page."""
    return IncidentView(
        incident_id=incident.incident_id,
        cause=incident.cause,
        severity=incident.labels["severity"],
        gave_up=incident.gave_up,
        started_at_s=incident.started_at_s,
        failed_lives=incident.failed_lives,
        address=incident.address,
        holder=None if plight.recovering else plight.holder,
        evidence=tuple(evidence),
        summary=text_en.summary(plight),
        remedy=text_en.remedy(plight),
        recovering_s=incident.recovering_s,
        resolves_s=incident.resolves_s,
    )
