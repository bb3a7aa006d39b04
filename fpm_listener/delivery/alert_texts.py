"""Adds the texts to an alert, in English and in the languages of the receivers.

Law: nothing is imported when there is an alert. An import can fail then, because no descriptor is
left or another version was installed, and the alert would be lost.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fpm_listener.incidents.alert import Status
from fpm_listener.incidents.text_en import ENGLISH
from fpm_listener.incidents.text_zh import CHINESE
from fpm_listener.vocabulary import NOTIFICATION_FAILING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fpm_listener.incidents.alert import Alert
    from fpm_listener.incidents.incident_facts import IncidentFacts

_TRANSLATIONS = {"zh": CHINESE}


def with_texts(alert: Alert, facts: IncidentFacts, languages: Iterable[str] = ()) -> Alert:
    """Return the alert with everything that it says, in English and in `languages`."""
    over = alert.status is Status.RESOLVED
    annotations = {
        **ENGLISH.sentences(facts, over=over),
        "cause": facts.cause.value,
        "evidence": "\n".join((*facts.evidence, *facts.requests)),
    }
    if facts.address:
        annotations["address"] = facts.address
    if facts.holder and not facts.recovering:
        annotations["holder"] = str(facts.holder)
    translations = {
        language: _TRANSLATIONS[language].sentences(facts, over=over)
        for language in sorted({*languages} & _TRANSLATIONS.keys())
    }
    return replace(alert, annotations=annotations, translations=translations)


def with_failure_texts(alert: Alert, why: str, lasted: str, pending: int) -> Alert:
    """Return the alert about a receiver that fails with its texts.

    why: of the last attempt. lasted: the duration, as text. pending: alerts that wait for it.
    """
    name, over = alert.labels["receiver"], alert.status is Status.RESOLVED
    english, chinese = (
        language.receiver_failure(name, why, lasted, pending, over=over)
        for language in (ENGLISH, CHINESE)
    )
    annotations = {**english, "cause": NOTIFICATION_FAILING, "evidence": why}
    return replace(alert, annotations=annotations, translations={"zh": chinese})
