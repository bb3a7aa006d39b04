"""Makes the queue of a receiver from its settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fpm_listener.delivery.alertmanager_queue import AlertmanagerQueue
from fpm_listener.delivery.queued_alert import QueuePolicy
from fpm_listener.delivery.receiver_queue import ReceiverQueue
from fpm_listener.settings.receiver_types import KINDS

if TYPE_CHECKING:
    from fpm_listener.delivery.alert_queue import AlertQueue
    from fpm_listener.settings.receivers import ReceiverSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Settings that apply to all receivers; the defaults are in settings.py."""

    max_age_s: float
    max_alerts: int  #: per receiver
    repeat_interval_s: float  #: for receivers without their own


def make_queue(
    name: str,
    settings: ReceiverSettings,
    limits: Limits | None = None,
    unknown: AlertQueue | None = None,
) -> AlertQueue:
    """Return a queue; limits: None = it gets its policy later.

    unknown: its alerts, from the time when the settings did not name the receiver.
    """
    queue_class = AlertmanagerQueue if resends(settings) else ReceiverQueue
    queue = queue_class(name, make_policy(settings, limits) if limits else None)
    if unknown is not None:
        for queued in unknown.alerts():
            queue.restore(queued)
        queue.notified.update(unknown.notified)
    return queue


def resends(settings: ReceiverSettings) -> bool:
    """Return whether a receiver needs the state of each incident again while it lasts."""
    return KINDS[settings.kind].resends


def make_policy(settings: ReceiverSettings, limits: Limits) -> QueuePolicy:
    """Return which alerts a receiver gets, and when."""
    return QueuePolicy(
        send_resolved=settings.send_resolved,
        repeat_interval_s=settings.repeat_interval_s or limits.repeat_interval_s,
        max_age_s=limits.max_age_s,
        max_alerts=limits.max_alerts,
        min_severity=settings.min_severity,
        programs=settings.programs,
        causes=settings.causes,
        mute_times=settings.mute_times,
        rates=settings.rates,
        batch=KINDS[settings.kind].batch,
        once=settings.once,
        evidence=settings.evidence,
    )
