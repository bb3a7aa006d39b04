"""Which pending alerts share one message, and when one of them must be sent alone.

Law: a message that is rejected is split, so that no alert is lost because of another one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm_listener.delivery.attempt import FailureReason
from fpm_listener.incidents.alert import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fpm_listener.delivery.attempt import Attempt, RetryLater
    from fpm_listener.delivery.queued_alert import QueuedAlert, QueuePolicy

#: Attempts with a shared message before its alerts are sent alone.
_SHARED_ATTEMPTS = 3


def choose(
    incidents: Sequence[Sequence[QueuedAlert]], policy: QueuePolicy, budget: int | None
) -> Sequence[QueuedAlert]:
    """Return the alerts of the next message: those of one incident, or of several.

    incidents: the alerts that may be sent now, oldest first within each incident; at least one.
    budget: messages that may be sent now; None = any number.
    """
    if policy.batch == 1:
        return [min((alerts[0] for alerts in incidents), key=urgency)]
    by_urgency = sorted(incidents, key=lambda alerts: urgency(alerts[0]))
    first = by_urgency[0]
    crowded = budget is not None and len(incidents) > budget
    if not crowded or first[0].send_alone:
        return _wanted(first, policy)
    shared = [alerts for alerts in by_urgency if not alerts[0].send_alone]
    return [one for alerts in shared[: policy.batch] for one in _wanted(alerts, policy)]


def urgency(queued: QueuedAlert) -> tuple[int, int]:
    """Return the key by which alerts are sorted: the fewest attempts first, then the oldest."""
    return queued.attempts, queued.number


def must_split(attempt: Attempt, outcome: RetryLater) -> bool:
    """Return whether the content of a shared message may be the reason why it fails again."""
    reasons = {FailureReason.ANSWER, FailureReason.OTHER}
    return attempt.number >= _SHARED_ATTEMPTS and outcome.reason in reasons


def _wanted(alerts: Sequence[QueuedAlert], policy: QueuePolicy) -> Sequence[QueuedAlert]:
    if policy.send_resolved:
        return alerts
    return [queued for queued in alerts if queued.alert.status is Status.FIRING]
