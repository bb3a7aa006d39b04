"""The alerts that receivers are owed: what is where, on disk and in memory.

Laws:
1. Memory is the authority, the database its mirror; the owner alone uses this.
2. An alert is enqueued by the very transaction that commits what the engine learnt.
3. An alert is stored as itself and formatted anew at each attempt; its id never changes.
4. Who is told, in which order, and when again is decided in core/lane.py.
"""

from __future__ import annotations

import json
import logging
import random as random_module
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fpm_listener.core import durations
from fpm_listener.core.lane import Lane
from fpm_listener.core.outcomes import DropReason
from fpm_listener.core.owed import (
    Change,
    Drop,
    Forget,
    Hear,
    LanePolicy,
    Put,
    Remove,
    Row,
    from_json,
    to_json,
)
from fpm_listener.core.retry import Attempt, Attempted, Delivered, Rejected, RetryLater
from fpm_listener.core.values import assert_never
from fpm_listener.database import Statement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from fpm_listener.core.alerts import Alert
    from fpm_listener.core.snapshot import ReceiverView
    from fpm_listener.core.values import Instant
    from fpm_listener.database import Database, Rows
    from fpm_listener.settings import ReceiverSettings

log = logging.getLogger(__name__)

#: Seconds after which a receiver is taken to have forgotten an incident that never was resolved.
_HEARD_FOR_S = 90 * 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the operator says of all receivers; the defaults are in settings.py."""

    max_age_s: float
    max_alerts: int  #: per receiver
    repeat_interval_s: float  #: for receivers that have none of their own


class Outbox:
    """What is owed to the receivers of `receivers`. Attaches itself to the database."""

    tables: tuple[str, ...] = ("outbox", "heard")

    def __init__(
        self,
        database: Database,
        receivers: Sequence[ReceiverSettings],
        limits: Limits,
        random: Callable[[], float] = random_module.random,
    ) -> None:
        """`random`: from 0 up to 1, for the delays."""
        self._database = database
        self._random = random
        self._limits = limits
        self._settings = {receiver.name: receiver for receiver in receivers}
        self._lanes = {name: Lane(name, self._policy(name)) for name in self._settings}
        self._last_number = 0
        self._failing: dict[str, str] = {}  # receiver → what its last attempt failed of
        self._said: set[tuple[str, DropReason]] = set()  # drops that were logged
        database.attach(self)

    # -- alerts ------------------------------------------------------------------------------------

    def enqueue(self, alert: Alert, now: Instant) -> list[Statement]:
        """Owe `alert` to every receiver that is to hear of it; return what is to be committed."""
        statements = []
        for lane in self._lanes.values():
            # From the clock, so that a file that turns up late holds smaller numbers than ours.
            self._last_number = max(self._last_number + 1, int(now.wall_s * 1e6))
            statements += self._record(lane, lane.enqueue(self._last_number, alert, now))
        return statements

    def due(self, now: Instant) -> list[Attempt]:
        """Return what is to be attempted now: at most one alert for each receiver."""
        attempts = []
        for lane in self._lanes.values():
            attempt, changes = lane.lease(now)
            if attempt is not None:
                attempts.append(attempt)
            if changes:
                self._database.write(self._record(lane, changes), durable=False)
        return attempts

    def next_due_s(self) -> float | None:
        """Return the monotonic moment from which `due` has something; None = nothing is waiting."""
        moments = (lane.wake_s() for lane in self._lanes.values())
        return min((moment for moment in moments if moment is not None), default=None)

    def settle(self, attempted: Attempted, now: Instant) -> None:
        """Take in how an attempt ended.

        Not durable: what a power failure undoes is sent once more, under the same id.
        """
        lane = self._lanes.get(attempted.attempt.receiver)
        if lane is None:
            return
        changes = lane.settle(attempted, now, self._random())
        self._say(lane, attempted, now)
        statements = self._record(lane, changes)
        if statements:
            self._database.write(statements, durable=False)

    # -- receivers ---------------------------------------------------------------------------------

    def reconfigure(
        self,
        receivers: Sequence[ReceiverSettings],
        limits: Limits,
    ) -> None:
        """Go on with other receivers, after settings were read that are good.

        What is owed to a receiver that they do not name is dropped now, and counted in the log.
        A receiver whose settings changed is asked again at once; its sender must be a new one.
        """
        before, self._settings = self._settings, {one.name: one for one in receivers}
        self._limits = limits
        statements: list[Statement] = []
        for name in [name for name in self._lanes if name not in self._settings]:
            lane = self._lanes.pop(name)
            self._failing.pop(name, None)
            statements.append(Statement("DELETE FROM outbox WHERE receiver = ?", (name,)))
            statements.append(Statement("DELETE FROM heard WHERE receiver = ?", (name,)))
            if len(lane):
                log.warning(
                    "alerts are dropped: the settings do not name their receiver any more"
                    " receiver=%s count=%s",
                    name,
                    len(lane),
                )
        for name, settings in self._settings.items():
            lane = self._lanes.setdefault(name, Lane(name, None))
            statements += self._record(lane, lane.adopt(self._policy(name)))
            if before.get(name) != settings:
                lane.release()
        self._database.write(statements, durable=False)

    def views(self) -> tuple[ReceiverView, ...]:
        """Return all receivers of the settings, for other threads."""
        lanes = self._lanes
        return tuple(lanes[name].view(one.kind) for name, one in self._settings.items())

    def pending(self, receiver: str) -> tuple[Alert, ...]:
        """Return what is owed to a receiver, oldest first."""
        lane = self._lanes.get(receiver)
        return tuple(row.alert for row in lane.rows()) if lane else ()

    # -- the mirror --------------------------------------------------------------------------------

    def restore(self, found: Mapping[str, Rows], now: Instant) -> None:
        """Take up what an earlier listener left owed."""
        for receiver, incident, told_at_s in found["heard"]:
            if now.wall_s - told_at_s < _HEARD_FOR_S:
                self._lane(receiver).heard.setdefault(json.loads(incident), told_at_s)
        for number, receiver, enqueued_at_s, text in found["outbox"]:
            try:
                alert = from_json(text)
            except (ValueError, KeyError, TypeError, AttributeError):
                log.error(  # noqa: TRY400 - how it cannot be read helps nobody
                    "an alert in the database cannot be read and is lost receiver=%s text=%.200r",
                    receiver,
                    text,
                )
                continue
            age_s = max(0.0, now.wall_s - enqueued_at_s)
            row = Row(
                number=number,
                alert=alert,
                enqueued_at_s=enqueued_at_s,
                since_s=now.monotonic_s - age_s,
            )
            self._lane(receiver).restore(row)
            self._last_number = max(self._last_number, number)
        for name, lane in self._lanes.items():
            if lane.policy is not None:
                self._record(lane, lane.adopt(lane.policy))  # `rows` writes what is left
            elif len(lane):
                log.warning(
                    "alerts are owed to a receiver that the settings do not name; they are kept"
                    " until the settings are read again receiver=%s count=%s",
                    name,
                    len(lane),
                )

    def rows(self) -> Iterable[Statement]:
        """Return all that is owed and all that was heard."""
        for lane in self._lanes.values():
            for row in lane.rows():
                yield _statement(lane.name, Put(row.number, row.enqueued_at_s, row.alert))
            for incident, told_at_s in lane.heard.items():
                yield _statement(lane.name, Hear(incident, told_at_s))

    # -- details -----------------------------------------------------------------------------------

    def _lane(self, name: str) -> Lane:
        return self._lanes.setdefault(name, Lane(name, None))

    def _policy(self, name: str) -> LanePolicy:
        receiver, limits = self._settings[name], self._limits
        return LanePolicy(
            send_resolved=receiver.send_resolved,
            repeat_interval_s=receiver.repeat_interval_s or limits.repeat_interval_s,
            max_age_s=limits.max_age_s,
            max_alerts=limits.max_alerts,
        )

    def _record(self, lane: Lane, changes: Iterable[Change]) -> list[Statement]:
        """Return what tells the database of `changes`, having logged what is lost by them."""
        dropped: dict[DropReason, int] = {}
        statements = []
        for change in changes:
            if isinstance(change, Drop):
                dropped[change.reason] = dropped.get(change.reason, 0) + 1
            else:
                statements.append(_statement(lane.name, change))
        for reason, count in dropped.items():
            if reason is DropReason.REJECTED:
                continue  # the answer itself is logged
            if reason is DropReason.NOT_HEARD:
                log.info(
                    "a resolution is not sent: its firing was not heard receiver=%s count=%s",
                    lane.name,
                    count,
                )
            elif (lane.name, reason) not in self._said:
                self._said.add((lane.name, reason))
                log.error(
                    "alerts are dropped, unsent, until the receiver takes some again"
                    " receiver=%s reason=%s count=%s",
                    lane.name,
                    reason.value,
                    count,
                )
        return statements

    def _say(self, lane: Lane, attempted: Attempted, now: Instant) -> None:
        """Log what is new about a receiver."""
        outcome, name = attempted.outcome, lane.name
        if isinstance(outcome, RetryLater):
            if self._failing.get(name) == outcome.reason.value:
                return
            self._failing[name] = outcome.reason.value
            log.warning(
                "a receiver cannot be told and is tried again receiver=%s reason=%s detail=%r"
                " retry_in=%s",
                name,
                outcome.reason.value,
                outcome.detail,
                durations.show(max(0.0, lane.retry_at_s - now.monotonic_s)),
            )
        elif isinstance(outcome, Rejected):
            log.error(
                "a receiver rejected an alert, which is dropped receiver=%s reason=%s detail=%r"
                " alert=%r",
                name,
                outcome.reason.value,
                outcome.detail,
                attempted.attempt.alert.alert_id,
            )
        elif isinstance(outcome, Delivered):
            self._said -= {(name, reason) for reason in DropReason}
            if self._failing.pop(name, None) is not None:
                log.info(
                    "a receiver can be told again receiver=%s attempts=%s",
                    name,
                    attempted.attempt.number,
                )
        else:
            assert_never(outcome)


def _statement(receiver: str, change: Put | Remove | Hear | Forget) -> Statement:
    match change:
        case Put(number, enqueued_at_s, alert):
            sql = "INSERT OR REPLACE INTO outbox VALUES (?, ?, ?, ?)"
            return Statement(sql, (number, receiver, enqueued_at_s, to_json(alert)))
        case Remove(number):
            return Statement("DELETE FROM outbox WHERE id = ?", (number,))
        case Hear(incident, told_at_s):
            sql = "INSERT OR REPLACE INTO heard VALUES (?, ?, ?)"
            return Statement(sql, (receiver, json.dumps(incident), told_at_s))
        case Forget(incident):
            sql = "DELETE FROM heard WHERE receiver = ? AND incident = ?"
            return Statement(sql, (receiver, json.dumps(incident)))
