"""When a process is well again. RUNNING alone proves nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm_listener.incidents.incident import Recovery
from fpm_listener.incidents.post_mortem import SHORT_LIFE_S
from fpm_listener.vocabulary import Cause

if TYPE_CHECKING:
    from collections.abc import Collection

    from fpm_listener.incidents.incident import Incident
    from fpm_listener.incidents.restart_loops import LoopDetector
    from fpm_listener.settings.policy import Policy

#: Seconds between the alert about a stop and its resolution, so that both are sent.
_APART_S = 1.0


def find_recovery(
    calm_since_s: float,
    incident: Incident,
    loops: LoopDetector,
    policy: Policy,
    problems: Collection[Cause],
) -> Recovery | None:
    """Return when the process is well again; None = that is not known yet.

    calm_since_s: as ProcessStatus; problems: those that are not failures.
    """
    if incident.cause is Cause.STOP_TIMEOUT:
        if incident.sent_cause is None:
            return None
        at_s = max(calm_since_s, incident.sent_at_s + _APART_S)
        return Recovery(since_s=calm_since_s, counts_at_s=at_s, resolves_at_s=at_s)
    usual_s = SHORT_LIFE_S if problems else loops.usual_distance_s
    return Recovery(
        since_s=calm_since_s,
        counts_at_s=calm_since_s + min(SHORT_LIFE_S, usual_s),
        resolves_at_s=calm_since_s + loops.stable_after_s(policy.stable_for_s),
    )
