"""What the page, the metrics and the operator see of the outbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fpm_listener.delivery.receiver_counters import ReceiverView, add_up
from fpm_listener.histogram import merge

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fpm_listener.delivery.alert_queue import AlertQueue
    from fpm_listener.settings.receivers import ReceiverSettings
    from fpm_listener.values import Instant


def view_receiver(
    settings: ReceiverSettings, queues: Sequence[AlertQueue], *, failing: bool
) -> ReceiverView:
    """Return one receiver with the sums of its queues, for other threads."""
    counters = [queue.counters for queue in queues]
    return ReceiverView(
        name=settings.name,
        kind=settings.kind,
        pending=sum(queue.pending() for queue in queues),
        sent=sum(one.sent for one in counters),
        failed=add_up([one.failed for one in counters]),
        dropped=add_up([one.dropped for one in counters]),
        seconds=merge([one.seconds.view() for one in counters]),
        failing=failing,
        last_failure=next((one.last_failure for one in counters if one.last_failure), ""),
    )


def list_alerts(queues: Iterable[AlertQueue], now: Instant) -> list[dict[str, Any]]:
    """Return all undelivered alerts, for `fpm-listener alerts list`; without secrets."""
    return [
        {
            "number": queued.number,
            "receiver": queue.name,
            "alert": queued.alert.alert_id,
            "status": queued.alert.status.value,
            "reason": queued.alert.reason.value,
            "state": "in flight" if queued.in_flight else "pending",
            "age_s": round(max(0.0, now.monotonic_s - queued.since_s), 1),
            "attempts": queued.attempts,
            "last_failure": queue.counters.last_failure if queued.attempts else "",
            "summary": queued.alert.annotations.get("summary", ""),
        }
        for queue in queues
        for queued in queue.alerts()
    ]
