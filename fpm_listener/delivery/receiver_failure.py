"""A receiver that fails is an incident, of which the other receivers are notified.

Laws:
1. If an alert is lost, the incident starts at once; if alerts are late, after FAILING_AFTER_S.
2. It ends with the next delivery.
3. A receiver gets no alert about itself: it would get the alert too late.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fpm_listener import durations
from fpm_listener.delivery.alert_texts import with_failure_texts
from fpm_listener.incidents.alert import Alert, Reason, Status
from fpm_listener.incidents.incident_ids import incident_id
from fpm_listener.values import Written

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fpm_listener.delivery.alert_queue import AlertQueue
    from fpm_listener.values import Clocks, Instant


#: Seconds from the first failure without a delivery until a receiver counts as failing.
FAILING_AFTER_S = 300.0

_ALERTNAME = "NotificationFailing"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverFailure:
    """The incident of one receiver."""

    receiver: str
    started_at_s: float  #: wall seconds, as in its alerts
    started_s: float  #: monotonic seconds
    sequence: int
    notified_s: float  #: monotonic seconds of its last alert
    why: str  #: the reason in its last alert
    incident_id: str  #: the same in all its alerts

    def to_json(self, clocks: Clocks) -> str:
        """Return it as text."""
        return json.dumps(
            {
                "receiver": self.receiver,
                "started_at": self.started_at_s,
                "sequence": self.sequence,
                "started": clocks.write(self.started_s),
                "told": clocks.write(self.notified_s),
                "text": self.why,
                "id": self.incident_id,
            }
        )

    @classmethod
    def from_json(cls, saved_text: str, clocks: Clocks) -> ReceiverFailure:
        """Return what `to_json` saved. Raises KeyError, ValueError or TypeError."""
        saved: dict[str, Any] = json.loads(saved_text)
        receiver, started_at_s = str(saved["receiver"]), float(saved["started_at"])
        # Versions before 2 of the database had wall seconds only.
        started = saved.get("started") or (started_at_s, 0.0, "")
        told = saved.get("told") or (saved["told_at"], 0.0, "")
        return cls(
            receiver=receiver,
            started_at_s=started_at_s,
            started_s=clocks.read(_written(*started)),
            sequence=int(saved["sequence"]),
            notified_s=clocks.read(_written(*told)),
            why=str(saved["text"]),
            # Versions that saved no id made it like this.
            incident_id=str(saved.get("id") or f"receiver:{receiver}-{started_at_s:.3f}"),
        )


def _written(wall_s: float, monotonic_s: float, boot_id: str) -> Written:
    return Written(float(wall_s), float(monotonic_s), str(boot_id))


class ReceiverFailures:
    """The receivers that fail now."""

    def __init__(self, instance: str, token: Callable[[], str]) -> None:
        """`instance`: the name of this host in alerts; `token`: random, for ids of incidents."""
        self._instance = instance
        self._token = token
        self.by_receiver: dict[str, ReceiverFailure] = {}

    def due_s(
        self, receiver: str, queues: Sequence[AlertQueue], repeat_interval_s: float
    ) -> float | None:
        """Return the monotonic moment of the next alert about a receiver."""
        failure = self.by_receiver.get(receiver)
        if failure is not None:
            return failure.notified_s + repeat_interval_s
        since = [queue.limiter.failing_since_s for queue in queues if len(queue)]
        failing_since = [one_s for one_s in since if one_s is not None]
        if not failing_since or len(failing_since) < len(queues):
            return None  # one of several URLs that works is enough
        return max(failing_since) + FAILING_AFTER_S

    def next_alert(
        self, receiver: str, reason: Reason, now: Instant, why: str, undelivered: int
    ) -> Alert:
        """Return the next alert about a receiver; a resolved one removes the failure.

        why: empty = as in the alert before. undelivered: alerts that wait for the receiver.
        """
        known = self.by_receiver.get(receiver)
        if known is None:
            failure = start(receiver, now, why, self._instance, self._token())
        else:
            failure = replace(
                known, sequence=known.sequence + 1, notified_s=now.monotonic_s, why=why or known.why
            )
        self.by_receiver[receiver] = failure
        if reason is Reason.RESOLVED:
            del self.by_receiver[receiver]
        return alert(failure, reason, now, self._instance, undelivered)


def start(receiver: str, now: Instant, why: str, instance: str, token: str) -> ReceiverFailure:
    """Return the incident of a receiver that fails from now on; token: random."""
    return ReceiverFailure(
        receiver=receiver,
        started_at_s=now.wall_s,
        started_s=now.monotonic_s,
        sequence=1,
        notified_s=now.monotonic_s,
        why=why,
        incident_id=incident_id(
            instance, f"receiver:{receiver}", started_at_s=now.wall_s, token=token
        ),
    )


def alert(
    failure: ReceiverFailure, reason: Reason, now: Instant, instance: str, undelivered: int
) -> Alert:
    """Return the alert for the other receivers; undelivered: alerts that wait for this receiver."""
    resolved = reason is Reason.RESOLVED
    lasted = durations.age(max(0.0, now.monotonic_s - failure.started_s))
    without_texts = Alert(
        incident_id=failure.incident_id,
        sequence=failure.sequence,
        reason=reason,
        status=Status.RESOLVED if resolved else Status.FIRING,
        labels={
            "alertname": _ALERTNAME,
            "instance": instance,
            "receiver": failure.receiver,
            "severity": "warning",
        },
        starts_at_s=failure.started_at_s,
        ends_at_s=now.wall_s if resolved else None,
        known_at_s=now.wall_s,
    )
    return with_failure_texts(without_texts, failure.why, lasted, undelivered)
