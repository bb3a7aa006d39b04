"""Alerts, receivers and times for tests."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from fpm_listener.delivery.attempt import (
    Attempt,
    AttemptResult,
    Delivered,
    FailureReason,
    Outcome,
    Rejected,
    RetryLater,
)
from fpm_listener.delivery.queue_settings import Limits
from fpm_listener.incidents.alert import Alert, Reason, Status
from fpm_listener.values import Instant

if TYPE_CHECKING:
    from collections.abc import Callable

#: Wall seconds at which the monotonic clock of these tests stands at 0.
EPOCH_S = 1_795_000_000.0

LIMITS = Limits(max_age_s=86400.0, max_alerts=1000, repeat_interval_s=4 * 3600.0)

YES = Delivered()
DOWN = RetryLater(reason=FailureReason.REFUSED, detail="Connection refused")
NO = Rejected(reason=FailureReason.CLIENT_ERROR, detail="status 400")


def at(seconds: float) -> Instant:
    """Return the time `seconds` after the beginning, on both clocks."""
    return Instant(seconds, EPOCH_S + seconds)


def fires(incident: str = "www:php-fpm", sequence: int = 1, **others: Any) -> Alert:  # noqa: ANN401 - fields of Alert
    """Return a firing alert."""
    reason = Reason.FIRST if sequence == 1 else Reason.WORSE
    alert = Alert(
        incident_id=incident,
        sequence=sequence,
        reason=reason,
        status=Status.FIRING,
        labels={"alertname": "PhpFpmFailing", "group": "www", "process": "php-fpm"},
        annotations={"summary": "www:php-fpm fails to start", "cause": "bind_conflict"},
        starts_at_s=EPOCH_S,
        ends_at_s=None,
        known_at_s=EPOCH_S + sequence,
    )
    return replace(alert, **others)


def resolves(incident: str = "www:php-fpm", sequence: int = 2) -> Alert:
    """Return the resolved alert."""
    return replace(
        fires(incident, sequence),
        reason=Reason.RESOLVED,
        status=Status.RESOLVED,
        ends_at_s=EPOCH_S + 60.0,
    )


def ended(attempt: Attempt | None, outcome: Outcome) -> AttemptResult:
    """Return the result of a sender."""
    assert attempt is not None
    return AttemptResult(attempt=attempt, outcome=outcome)


#: Anything that can happen to a receiver's alerts, in any order: methods of `AlertHistory`.
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("fire"), st.sampled_from("abc")),
        st.tuples(st.just("resolve"), st.sampled_from("abc")),
        st.tuples(st.just("send"), st.none()),
        st.tuples(st.just("answer"), st.sampled_from([YES, YES, DOWN, NO])),
        st.tuples(st.just("wait"), st.floats(0, 2000)),
        st.tuples(st.just("interrupt"), st.booleans()),
    ),
    max_size=60,
)


@dataclass(kw_only=True)
class AlertHistory:
    """The alerts of one receiver; `check` verifies the laws."""

    enqueue: Callable[[Alert], None]
    start_attempt: Callable[[], Attempt | None]
    record_result: Callable[[AttemptResult], None]
    wait: Callable[[float], None]
    restart: Callable[[], None]  #: the outbox expects no result of the present attempt
    enqueued: list[Alert] = field(default_factory=list)
    delivered: list[Alert] = field(default_factory=list)  #: what the receiver accepted
    waiting: Attempt | None = None

    def fire(self, incident: str) -> None:
        """Open an incident."""
        self._enqueue(fires(incident, len(self.enqueued) + 1))

    def resolve(self, incident: str) -> None:
        """Resolve it."""
        self._enqueue(resolves(incident, len(self.enqueued) + 1))

    def send(self, _: None = None) -> None:
        """Send the due alerts."""
        attempt = self.start_attempt()
        if attempt is not None:
            assert self.waiting is None
            self.waiting = attempt

    def answer(self, outcome: Outcome) -> None:
        """Record the receiver's answer."""
        if self.waiting is not None:
            attempt, self.waiting = self.waiting, None
            self.delivered += attempt.alerts if isinstance(outcome, Delivered) else ()
            self.record_result(ended(attempt, outcome))

    def interrupt(self, took_it: bool) -> None:  # noqa: FBT001 - a strategy's value
        """Lose the answer; the receiver may have accepted the alert."""
        if self.waiting is not None:
            self.delivered += self.waiting.alerts if took_it else ()
            self.waiting = None
        self.restart()

    def finish(self) -> None:
        """Let the receiver accept everything that is left."""
        self.answer(YES)
        self.wait(2000.0)
        while (attempt := self.start_attempt()) is not None:
            self.waiting = attempt
            self.answer(YES)

    def check(self, dropped: int) -> None:
        """Assert the order within each incident, and that every loss is counted."""
        ids = {alert.alert_id for alert in self.delivered}
        missing = 0
        for incident in {alert.incident_id for alert in self.enqueued}:
            delivered = [a for a in self.delivered if a.incident_id == incident]
            delivered = [next(same) for _, same in groupby(delivered, key=lambda a: a.sequence)]
            assert [a.sequence for a in delivered] == sorted({a.sequence for a in delivered})
            assert not delivered or delivered[0].status is Status.FIRING
            for one, next_one in pairwise(delivered):
                assert Status.FIRING in {one.status, next_one.status}
            alerts = [alert for alert in self.enqueued if alert.incident_id == incident]
            missing += sum(
                not _replaced(alerts[index:], ids)
                for index, alert in enumerate(alerts)
                if alert.alert_id not in ids
            )
        assert missing <= dropped

    def _enqueue(self, alert: Alert) -> None:
        self.enqueued.append(alert)
        self.enqueue(alert)


def _replaced(alerts: list[Alert], delivered: set[str]) -> bool:
    """Return whether a newer firing alert replaced the first alert of an incident.

    The resolved alert between them was then lost, and is counted itself.
    """
    first, *later = alerts
    if first.status is not Status.FIRING:
        return False
    for alert in later:
        if alert.status is Status.FIRING:
            return True
        if alert.alert_id in delivered:
            return False
    return False
