"""The alerts that receivers are owed: what is where, on disk and in memory.

Laws:
1. Memory is the authority, the database its mirror; the owner alone uses this.
2. An alert is enqueued by the very transaction that commits what the engine learnt.
3. An alert is stored as itself and formatted anew at each attempt; its id never changes.
4. Which alert goes to which receiver, in which order, and when again: receiver_queue.py and
   alertmanager_queue.py decide.
5. A receiver that cannot be reached is an incident for all the others (receiver_failure.py).
"""

from __future__ import annotations

import json
import logging
import random as random_module
from contextlib import suppress
from dataclasses import dataclass
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from fpm_listener.delivery import receiver_failure
from fpm_listener.delivery.alertmanager_queue import AlertmanagerQueue
from fpm_listener.delivery.attempt import Delivered, DropReason
from fpm_listener.delivery.database import Statement
from fpm_listener.delivery.delivery_log import DeliveryLog
from fpm_listener.delivery.outbox_statements import failing_statement, statement
from fpm_listener.delivery.queued_alert import Change, Drop, Hear, Put, QueuePolicy, Row, from_json
from fpm_listener.delivery.receiver_counters import ReceiverView, add_up
from fpm_listener.delivery.receiver_failure import FAILING_AFTER_S, Failing
from fpm_listener.delivery.receiver_queue import ReceiverQueue
from fpm_listener.histogram import merge
from fpm_listener.host import procfs
from fpm_listener.incidents.alert import Reason
from fpm_listener.settings.receiver_types import KINDS
from fpm_listener.values import Clocks, Instant, Written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from fpm_listener.delivery.attempt import Attempt, Attempted
    from fpm_listener.delivery.database import Database, Rows
    from fpm_listener.incidents.alert import Alert
    from fpm_listener.settings.receivers import ReceiverSettings

log = logging.getLogger(__name__)

AnyLane = ReceiverQueue | AlertmanagerQueue

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

    tables: tuple[str, ...] = ("outbox", "heard", "failing")

    def __init__(
        self,
        database: Database,
        receivers: Sequence[ReceiverSettings],
        limits: Limits,
        instance: str = "",
        random: Callable[[], float] = random_module.random,
        boot_id: str | None = None,
    ) -> None:
        """`instance`: the name of this host in alerts; `random`: from 0 up to 1, for the delays.

        boot_id: None = the one of this machine.
        """
        self._clocks = Clocks(Instant(0.0, 0.0), procfs.boot_id() if boot_id is None else boot_id)
        self._database = database
        self._random = random
        self._limits = limits
        self._instance = instance
        self._settings = {receiver.name: receiver for receiver in receivers}
        self._lanes = {
            lane: _make_lane(lane, settings, self._policy(settings))
            for settings in receivers
            for lane in settings.lanes
        }
        self._last_number = 0
        self._failing: dict[str, Failing] = {}  # by receiver
        self._log = DeliveryLog()
        database.attach(self)

    # -- alerts ------------------------------------------------------------------------------------

    def enqueue(self, alert: Alert, now: Instant) -> list[Statement]:
        """Owe `alert` to every receiver that is to hear of it; return what is to be committed."""
        return self._owe(alert, now, self._lanes.values())

    def _owe(self, alert: Alert, now: Instant, lanes: Iterable[AnyLane]) -> list[Statement]:
        statements = []
        self._clocks = self._clocks._replace(now=now)
        for lane in lanes:
            # From the clock, so that a file that turns up late holds smaller numbers than ours.
            self._last_number = max(self._last_number + 1, int(now.wall_s * 1e6))
            statements += self._record(lane, lane.enqueue(self._last_number, alert, now))
        return statements

    def due(self, now: Instant) -> list[Attempt]:
        """Return what is to be attempted now: at most one message for each place."""
        self._clocks = self._clocks._replace(now=now)
        self._tell_of_failing(now)
        attempts = []
        for lane in self._lanes.values():
            attempt, changes = lane.lease(now)
            if attempt is not None:
                attempts.append(attempt)
            if changes:
                self._database.write(self._record(lane, changes), durable=False)
        return attempts

    def next_due_s(self, now: Instant) -> float | None:
        """Return the monotonic moment from which `due` has something; None = nothing is waiting."""
        moments = [lane.wake_s(now) for lane in self._lanes.values()]
        moments += [self._failing_due_s(name) for name in self._settings]
        return min((moment for moment in moments if moment is not None), default=None)

    def settle(self, attempted: Attempted, now: Instant) -> None:
        """Take in how an attempt ended.

        Not durable: what a power failure undoes is sent once more, under the same id.
        """
        lane = self._lanes.get(attempted.attempt.lane)
        if lane is None:
            return
        self._clocks = self._clocks._replace(now=now)
        changes = lane.settle(attempted, now, self._random())
        self._log.ended(attempted, max(0.0, lane.pace.retry_at_s - now.monotonic_s))
        statements = self._record(lane, changes)
        if statements:
            self._database.write(statements, durable=False)
        receiver = _receiver_of(lane.name)
        all_fail = all(lane.tally.last_failure for lane in self._lanes_of(receiver))
        if Drop(DropReason.REJECTED) in changes and all_fail:
            self._begin_failing(receiver, now, f"it rejects alerts ({lane.tally.last_failure})")
        elif isinstance(attempted.outcome, Delivered) and receiver in self._failing:
            self._end_failing(receiver, now)

    # -- a receiver that cannot be told ------------------------------------------------------------

    def _failing_due_s(self, name: str) -> float | None:
        """Return the monotonic moment at which the others are to be told (again)."""
        known = self._failing.get(name)
        if known is not None:
            return known.told_s + self._limits.repeat_interval_s
        lanes = self._lanes_of(name)
        found = [s for one in lanes if len(one) and (s := one.pace.failing_since_s) is not None]
        if not found or len(found) < len(lanes):
            return None  # one place of several that says yes is enough
        return max(found) + FAILING_AFTER_S

    def _tell_of_failing(self, now: Instant) -> None:
        for name in set(self._failing) - set(self._settings):
            self._end_failing(name, now)
        for name in self._settings:
            due_s = self._failing_due_s(name)
            if due_s is None or now.monotonic_s < due_s:
                continue
            why = self._lanes_of(name)[0].tally.last_failure
            known = self._failing.get(name)
            if known is None:
                self._begin_failing(name, now, why)
            else:
                self._failing[name] = receiver_failure.again(known, now, why)
                self._tell_others(name, Reason.REPEAT, now)

    def _begin_failing(self, name: str, now: Instant, why: str) -> None:
        if name in self._failing:
            return
        log.error("alerts do not reach a receiver receiver=%s why=%r", name, why)
        self._failing[name] = receiver_failure.begins(name, now, why, self._instance, token_hex(16))
        self._tell_others(name, Reason.FIRST, now)

    def _end_failing(self, name: str, now: Instant) -> None:
        self._failing[name] = receiver_failure.again(self._failing[name], now)
        self._tell_others(name, Reason.RESOLVED, now)
        del self._failing[name]
        gone = Statement("DELETE FROM failing WHERE receiver = ?", (name,))
        self._database.write([gone], durable=False)

    def _tell_others(self, name: str, reason: Reason, now: Instant) -> None:
        known = self._failing[name]
        owed = sum(lane.pending() for lane in self._lanes_of(name))
        alert = receiver_failure.alert(known, reason, now, self._instance, owed)
        others = [lane for lane in self._lanes.values() if _receiver_of(lane.name) != name]
        statements = [*self._owe(alert, now, others), failing_statement(self._clocks, known)]
        self._database.write(statements, durable=True)

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
        wanted = {lane: one for one in receivers for lane in one.lanes}
        statements: list[Statement] = []
        for name in [name for name in self._lanes if name not in wanted]:
            statements += self._abandon(name)
        for name, settings in wanted.items():
            old, policy = before.get(settings.name), self._policy(settings)
            fresh = _make_lane(name, settings, None)
            lane = self._lanes.setdefault(name, fresh)
            if type(lane) is not type(fresh):
                if old is None:  # it was not known of which kind it is: what it is owed stays owed
                    for row in lane.rows():
                        fresh.restore(row)
                    fresh.heard.update(lane.heard)
                else:
                    statements += self._abandon(name)
                lane = self._lanes[name] = fresh
            statements += self._record(lane, lane.adopt(policy))
            if old != settings:
                lane.release()
        self._database.write(statements, durable=False)

    def _abandon(self, name: str) -> list[Statement]:
        """Drop a lane, and all that is owed there."""
        lane = self._lanes.pop(name)
        if len(lane):
            log.warning(
                "alerts are dropped: the settings do not name their receiver any more"
                " receiver=%s count=%s",
                name,
                len(lane),
            )
        return [
            Statement("DELETE FROM outbox WHERE receiver = ?", (name,)),
            Statement("DELETE FROM heard WHERE receiver = ?", (name,)),
        ]

    def views(self) -> tuple[ReceiverView, ...]:
        """Return all receivers of the settings, for other threads."""
        return tuple(self._view(one) for one in self._settings.values())

    def _view(self, settings: ReceiverSettings) -> ReceiverView:
        lanes = self._lanes_of(settings.name)
        return ReceiverView(
            name=settings.name,
            kind=settings.kind,
            pending=sum(lane.pending() for lane in lanes),
            sent=sum(lane.tally.sent for lane in lanes),
            failed=add_up([lane.tally.failed for lane in lanes]),
            dropped=add_up([lane.tally.dropped for lane in lanes]),
            seconds=merge([lane.tally.seconds.view() for lane in lanes]),
            failing=settings.name in self._failing,
            last_failure=next(filter(None, (lane.tally.last_failure for lane in lanes)), ""),
        )

    def pending(self, receiver: str) -> tuple[Alert, ...]:
        """Return what is owed to a receiver, oldest first."""
        lane = self._lanes.get(receiver)
        return tuple(row.alert for row in lane.rows()) if lane else ()

    # -- what the operator does --------------------------------------------------------------------

    def listing(self, now: Instant) -> list[dict[str, Any]]:
        """Return all that is owed, for `fpm-listener alerts list`; no secret is in it."""
        return [
            {
                "number": row.number,
                "receiver": lane.name,
                "alert": row.alert.alert_id,
                "status": row.alert.status.value,
                "reason": row.alert.reason.value,
                "state": row.state.value,
                "age_s": round(max(0.0, now.monotonic_s - row.since_s), 1),
                "attempts": row.attempts,
                "last_failure": lane.tally.last_failure if row.attempts else "",
                "summary": row.alert.annotations.get("summary", ""),
            }
            for lane in self._lanes.values()
            for row in lane.rows()
        ]

    def hasten(self, receiver: str | None) -> int:
        """Try again at once what waits for its retry; return for how many alerts that is so."""
        lanes = [one for one in self._lanes.values() if receiver in {None, _receiver_of(one.name)}]
        for lane in lanes:
            lane.hasten()
        return sum(lane.pending() for lane in lanes)

    def worked(self, receiver: str, now: Instant) -> int:
        """Take in that a test was taken: it fails no more; return what is tried again now."""
        if receiver in self._failing:
            self._end_failing(receiver, now)
        return self.hasten(receiver)

    def drop(self, receiver: str | None, number: int | None) -> int:
        """Give up one alert, or all of a receiver's; return how many. What is in flight stays."""
        dropped = 0
        for lane in self._lanes.values():
            if receiver not in {None, _receiver_of(lane.name)}:
                continue
            numbers = [row.number for row in lane.rows() if number in {None, row.number}]
            before = len(lane)
            self._database.write(self._record(lane, lane.drop(numbers)), durable=True)
            dropped += before - len(lane)
        return dropped

    # -- the mirror --------------------------------------------------------------------------------

    def restore(self, found: Mapping[str, Rows], now: Instant) -> None:
        """Take up what an earlier listener left owed."""
        clocks = self._clocks = self._clocks._replace(now=now)
        for receiver, text in found["failing"]:
            with suppress(KeyError, ValueError, TypeError, OverflowError):
                self._failing.setdefault(receiver, Failing.from_json(text, clocks))
        for receiver, incident, *told in found["heard"]:
            with suppress(ValueError, TypeError, OverflowError):  # what makes no sense is forgotten
                told_s = clocks.read(Written(*told))
                if now.monotonic_s - told_s < _HEARD_FOR_S:
                    self._lane(receiver).heard.setdefault(str(json.loads(incident)), told_s)
        for number, receiver, enqueued_at_s, text, *boot in found["outbox"]:
            try:
                alert = from_json(text)
                since_s = clocks.read(Written(enqueued_at_s, *boot))
            except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
                log.error(  # noqa: TRY400 - how it cannot be read helps nobody
                    "an alert in the database cannot be read and is lost receiver=%s text=%.200r",
                    receiver,
                    text,
                )
                continue
            row = Row(
                number=number,
                alert=alert,
                since_s=since_s,
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
        yield from (failing_statement(self._clocks, one) for one in self._failing.values())
        for lane in self._lanes.values():
            for row in lane.rows():
                yield statement(self._clocks, lane.name, Put(row.number, row.since_s, row.alert))
            for incident, told_s in lane.heard.items():
                yield statement(self._clocks, lane.name, Hear(incident, told_s))

    # -- details -----------------------------------------------------------------------------------

    def _lane(self, name: str) -> AnyLane:
        return self._lanes.setdefault(name, ReceiverQueue(name, None))

    def _lanes_of(self, receiver: str) -> list[AnyLane]:
        settings = self._settings.get(receiver)
        return [self._lanes[name] for name in settings.lanes] if settings else []

    def _policy(self, receiver: ReceiverSettings) -> QueuePolicy:
        return QueuePolicy(
            send_resolved=receiver.send_resolved,
            repeat_interval_s=receiver.repeat_interval_s or self._limits.repeat_interval_s,
            max_age_s=self._limits.max_age_s,
            max_alerts=self._limits.max_alerts,
            min_severity=receiver.min_severity,
            programs=receiver.programs,
            causes=receiver.causes,
            quiet=receiver.quiet,
            rates=receiver.rates,
            joins=KINDS[receiver.kind].joins,
            once=receiver.once,
        )

    def _record(self, lane: AnyLane, changes: Iterable[Change]) -> list[Statement]:
        """Return what tells the database of `changes`, having logged what is lost by them."""
        changes = list(changes)
        self._log.dropped(lane.name, [one.reason for one in changes if isinstance(one, Drop)])
        kept = (one for one in changes if not isinstance(one, Drop))
        return [statement(self._clocks, lane.name, one) for one in kept]


def _make_lane(name: str, settings: ReceiverSettings, policy: QueuePolicy | None) -> AnyLane:
    return (AlertmanagerQueue if KINDS[settings.kind].standing else ReceiverQueue)(name, policy)


def _receiver_of(lane: str) -> str:
    return lane.partition("#")[0]  # which is in no receiver's name
