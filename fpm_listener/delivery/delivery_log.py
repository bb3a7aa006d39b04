"""What the listener logs about receivers: once for each change, not for each attempt."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

from fpm_listener import durations
from fpm_listener.delivery.attempt import DropReason, Rejected, RetryLater

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fpm_listener.delivery.attempt import AttemptResult

log = logging.getLogger(__name__)


class DeliveryLog:
    """Belongs to the outbox."""

    def __init__(self) -> None:
        self._failing: dict[str, str] = {}  # by queue: why its last attempt failed
        self._logged: set[tuple[str, DropReason]] = set()  # drops since the last success

    def dropped(self, queue: str, reasons: Sequence[DropReason]) -> None:
        """Log that alerts were dropped."""
        for reason, count in Counter(reasons).items():
            if reason in {DropReason.REJECTED, DropReason.OPERATOR}:
                continue  # `attempt_ended` logs the first; the operator knows the second
            if reason is DropReason.NOT_NOTIFIED:
                log.info(
                    "resolved notification skipped: the receiver did not get the firing one"
                    " receiver=%s count=%s",
                    queue,
                    count,
                )
            elif (queue, reason) not in self._logged:
                self._logged.add((queue, reason))
                log.error(
                    "alerts dropped before delivery; further drops are not logged until the next"
                    " delivery receiver=%s reason=%s count=%s",
                    queue,
                    reason.value,
                    count,
                )

    def attempt_ended(self, result: AttemptResult, retry_in_s: float) -> None:
        """Log what is new about a receiver after an attempt."""
        attempt, outcome = result.attempt, result.outcome
        if isinstance(outcome, RetryLater):
            if self._failing.get(attempt.queue) == outcome.reason.value:
                return
            self._failing[attempt.queue] = outcome.reason.value
            log.warning(
                "delivery failed and will be retried receiver=%s reason=%s detail=%r retry_in=%s",
                attempt.queue,
                outcome.reason.value,
                outcome.detail,
                durations.show(retry_in_s),
            )
        elif isinstance(outcome, Rejected):
            single = len({alert.incident_id for alert in attempt.alerts}) == 1
            log.error(
                "receiver rejected an alert; the alert is dropped"
                " receiver=%s reason=%s detail=%r alert=%r"
                if single
                else "receiver rejected a message with several alerts; they are sent one by one"
                " receiver=%s reason=%s detail=%r first=%r",
                attempt.queue,
                outcome.reason.value,
                outcome.detail,
                attempt.alerts[0].alert_id,
            )
        else:
            self._logged = {one for one in self._logged if one[0] != attempt.queue}
            if self._failing.pop(attempt.queue, None) is not None:
                log.info(
                    "delivery works again receiver=%s attempts=%s", attempt.queue, attempt.number
                )
