"""What our own log says of receivers: once for each change, not for each attempt."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

from fpm_listener import durations
from fpm_listener.delivery.attempt import Delivered, DropReason, Rejected, RetryLater
from fpm_listener.values import assert_never

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fpm_listener.delivery.attempt import Attempted

log = logging.getLogger(__name__)


class DeliveryLog:
    """Belongs to the outbox."""

    def __init__(self) -> None:
        self._failing: dict[str, str] = {}  # lane → what its last attempt failed of
        self._said: set[tuple[str, DropReason]] = set()  # drops that were logged

    def dropped(self, lane: str, reasons: Sequence[DropReason]) -> None:
        """Say that alerts were given up."""
        for reason, count in Counter(reasons).items():
            if reason in {DropReason.REJECTED, DropReason.OPERATOR}:
                continue  # the answer itself is logged; who dropped them knows
            if reason is DropReason.NOT_HEARD:
                log.info(
                    "a resolution is not sent: its firing was not heard receiver=%s count=%s",
                    lane,
                    count,
                )
            elif (lane, reason) not in self._said:
                self._said.add((lane, reason))
                log.error(
                    "alerts are dropped, unsent, until the receiver takes some again"
                    " receiver=%s reason=%s count=%s",
                    lane,
                    reason.value,
                    count,
                )

    def ended(self, attempted: Attempted, retry_in_s: float) -> None:
        """Say what is new about a receiver after an attempt."""
        attempt, outcome = attempted.attempt, attempted.outcome
        if isinstance(outcome, RetryLater):
            if self._failing.get(attempt.lane) == outcome.reason.value:
                return
            self._failing[attempt.lane] = outcome.reason.value
            log.warning(
                "a receiver cannot be told and is tried again receiver=%s reason=%s detail=%r"
                " retry_in=%s",
                attempt.lane,
                outcome.reason.value,
                outcome.detail,
                durations.show(retry_in_s),
            )
        elif isinstance(outcome, Rejected):
            alone = len({alert.incident_id for alert in attempt.alerts}) == 1
            log.error(
                "a receiver rejected an alert, which is dropped receiver=%s reason=%s detail=%r"
                " alert=%r"
                if alone
                else "a receiver rejected several alerts in one message, they are sent one by one"
                " receiver=%s reason=%s detail=%r first=%r",
                attempt.lane,
                outcome.reason.value,
                outcome.detail,
                attempt.alerts[0].alert_id,
            )
        elif isinstance(outcome, Delivered):
            self._said = {(lane, reason) for lane, reason in self._said if lane != attempt.lane}
            if self._failing.pop(attempt.lane, None) is not None:
                log.info(
                    "a receiver can be told again receiver=%s attempts=%s",
                    attempt.lane,
                    attempt.number,
                )
        else:
            assert_never(outcome)
