"""The message about an incident, before any receiver's format is given to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Status(Enum):
    """The two states that a receiver hears of."""

    FIRING = "firing"
    RESOLVED = "resolved"


class Reason(Enum):
    """Why a receiver gets an alert now."""

    FIRST = "first"
    CAUSE_CHANGED = "cause changed"
    WORSE = "got worse"
    REPEAT = "repeat"
    RESOLVED = "resolved"
    TEST = "test"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One message about an incident to all receivers.

    The labels are the incident's identity: they are the same in each of its alerts.
    """

    incident_id: str
    sequence: int  #: 1, 2, … within the incident, over all receivers
    reason: Reason
    status: Status
    labels: Mapping[str, str]
    starts_at_s: float  #: wall seconds, UTC
    ends_at_s: float | None  #: wall seconds, UTC; None while firing
    known_at_s: float  #: wall seconds at which the fact that caused this alert was known
    #: What the alert says, by name: `summary`, `cause`, …; delivery/alert_texts.py adds it.
    annotations: Mapping[str, str] = field(default_factory=dict)
    #: By language other than English: the texts that replace those of the annotations.
    translations: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def alert_id(self) -> str:
        """The idempotency key: the same over retries, restarts and receivers."""
        return f"{self.incident_id}-{self.sequence}"
