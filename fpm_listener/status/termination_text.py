"""Why the listener has ended a container, in a few lines for people."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fpm_listener import untrusted_text
from fpm_listener.incidents.text_en import ENGLISH

if TYPE_CHECKING:
    from fpm_listener.monitor.process_view import ProcessView


def lines(view: ProcessView) -> list[str]:
    """Return the reason, the cause and the remedy; nothing if the program has not ended for good.

    The lines that the program has written are left out: they can contain a secret.
    """
    if view.final_end is None:
        return []
    found = [view.final_end.value.format(view.name)]
    if view.incident is not None:
        facts = view.incident.facts
        # supervisord ends, so no command of supervisorctl can follow.
        remedy, _, _ = ENGLISH.remedy(replace(facts, gave_up=False)).partition(", then type: ")
        found += [ENGLISH.summary(facts), f"remedy: {remedy}, then start the container again"]
    return [untrusted_text.escaped(line) for line in found]
