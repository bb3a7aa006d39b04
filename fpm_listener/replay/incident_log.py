"""The incidents of a replay: each with its last state, and its end."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fpm_listener.incidents.alert import Reason
from fpm_listener.incidents.incident import IncidentView
from fpm_listener.vocabulary import State

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fpm_listener.incidents.effects import Notify
    from fpm_listener.monitor.process_view import ProcessView

#: Incidents that are kept, the latest ones.
MOST = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class PastIncident:
    """One incident that the listener would have reported. Moments are wall seconds."""

    view: IncidentView
    recovered_at_s: float | None = None  #: since when it is well; None = it is not, or unknown
    ended_at_s: float | None = None  #: it was resolved then; None = it is open at the end


class IncidentLog:
    """Its Replayer owns it."""

    def __init__(self) -> None:
        self.ended: deque[PastIncident] = deque(maxlen=MOST)
        self.dropped = 0  #: ended incidents that are not kept
        self._open: dict[str, PastIncident] = {}  # by id

    @property
    def has_open(self) -> bool:
        """Return whether an incident is open."""
        return bool(self._open)

    @property
    def all(self) -> list[PastIncident]:
        """Return all incidents, the first one first."""
        found = [*self.ended, *self._open.values()]
        return sorted(found, key=lambda one: one.view.started_at_s)

    def take(self, notify: Notify) -> None:
        """Take what would have been sent."""
        alert = notify.alert
        before = self._open.pop(alert.incident_id, None)
        past = PastIncident(
            view=IncidentView(
                incident_id=alert.incident_id,
                severity=alert.labels["severity"],
                started_at_s=alert.starts_at_s,
                facts=replace(notify.facts, recovering=False),
            ),
            recovered_at_s=before.recovered_at_s if before is not None else None,
            ended_at_s=alert.ends_at_s,
        )
        if alert.reason is Reason.RESOLVED:
            self.dropped += len(self.ended) == MOST
            self.ended.append(past)
        else:
            self._open[alert.incident_id] = past

    def look(self, views: Iterable[ProcessView]) -> None:
        """Note since when processes with an incident are well again."""
        for view in views:
            incident = view.incident
            past = self._open.get(incident.incident_id) if incident is not None else None
            if incident is not None and past is not None:
                past = replace(past, recovered_at_s=incident.recovering_s)
                self._open[incident.incident_id] = past

    def end(self, views: Iterable[ProcessView]) -> None:
        """Take the incidents that are open at the end of the logs."""
        for process in views:
            incident = process.incident
            if incident is None:
                continue
            is_stopped = process.state is State.STOPPED
            facts = replace(incident.facts, recovering=incident.facts.recovering or is_stopped)
            past = PastIncident(
                view=replace(incident, facts=facts), recovered_at_s=incident.recovering_s
            )
            self._open[incident.incident_id] = past
