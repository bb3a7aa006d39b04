"""The rows of the database that mirror the outbox: how they are written and read.

Names of tables and columns are those of the first version of the file.
"""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from fpm_listener.delivery.database_schema import Statement
from fpm_listener.delivery.queued_alert import (
    Dropped,
    QueuedAlert,
    RemoveAlert,
    RemoveNotified,
    SaveAlert,
    SaveNotified,
    from_json,
    to_json,
)
from fpm_listener.delivery.receiver_failure import ReceiverFailure
from fpm_listener.values import Written, assert_never

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fpm_listener.delivery.alert_queue import AlertQueue
    from fpm_listener.delivery.database_schema import Rows
    from fpm_listener.delivery.queued_alert import Change
    from fpm_listener.values import Clocks

log = logging.getLogger(__name__)

#: Seconds after which a receiver no longer knows a firing alert that was never resolved.
_NOTIFIED_FOR_S = 90 * 86400.0


def write_failure(clocks: Clocks, failure: ReceiverFailure) -> Statement:
    """Return the statement that saves the failure of a receiver."""
    sql = "INSERT OR REPLACE INTO failing VALUES (?, ?)"
    return Statement(sql, (failure.receiver, failure.to_json(clocks)))


def remove_failure(receiver: str) -> Statement:
    """Return the statement that removes the failure of a receiver."""
    return Statement("DELETE FROM failing WHERE receiver = ?", (receiver,))


def remove_queue(queue: str) -> list[Statement]:
    """Return the statements that remove everything about a queue."""
    return [
        Statement("DELETE FROM outbox WHERE receiver = ?", (queue,)),
        Statement("DELETE FROM heard WHERE receiver = ?", (queue,)),
    ]


def write_change(clocks: Clocks, queue: str, change: Change) -> list[Statement]:
    """Return the statements that apply a change of a queue."""
    match change:
        case SaveAlert(number, since_s, alert):
            at_s, monotonic_s, boot_id = clocks.write(since_s)
            sql = "INSERT OR REPLACE INTO outbox VALUES (?, ?, ?, ?, ?, ?)"
            values = (number, queue, at_s, to_json(alert), monotonic_s, boot_id)
            return [Statement(sql, values)]
        case RemoveAlert(number):
            return [Statement("DELETE FROM outbox WHERE id = ?", (number,))]
        case SaveNotified(incident, since_s):
            sql = "INSERT OR REPLACE INTO heard VALUES (?, ?, ?, ?, ?)"
            return [Statement(sql, (queue, json.dumps(incident), *clocks.write(since_s)))]
        case RemoveNotified(incident):
            sql = "DELETE FROM heard WHERE receiver = ? AND incident = ?"
            return [Statement(sql, (queue, json.dumps(incident)))]
        case Dropped():
            return []
        case _:
            return assert_never(change)


def write_queue(clocks: Clocks, queue: AlertQueue) -> Iterator[Statement]:
    """Yield the statements that save a queue."""
    changes: list[Change] = [queued.saved() for queued in queue.alerts()]
    changes += [SaveNotified(*one) for one in queue.notified.items()]
    for change in changes:
        yield from write_change(clocks, queue.name, change)


def read_failures(rows: Rows, clocks: Clocks) -> Iterator[tuple[str, ReceiverFailure]]:
    """Yield receiver and failure; rows with invalid values are skipped."""
    for receiver, text in rows:
        with suppress(KeyError, ValueError, TypeError, OverflowError):
            yield receiver, ReceiverFailure.from_json(text, clocks)


def read_notified(rows: Rows, clocks: Clocks) -> Iterator[tuple[str, str, float]]:
    """Yield queue, incident and monotonic moment; old rows and those with errors are skipped."""
    for queue, incident, *written in rows:
        with suppress(ValueError, TypeError, OverflowError):
            since_s = clocks.read(Written(*written))
            if clocks.now.monotonic_s - since_s < _NOTIFIED_FOR_S:
                yield queue, str(json.loads(incident)), since_s


def read_alerts(rows: Rows, clocks: Clocks) -> Iterator[tuple[str, QueuedAlert]]:
    """Yield queue and alert; rows that cannot be read are logged."""
    for number, queue, enqueued_at_s, text, *boot in rows:
        try:
            alert = from_json(text)
            since_s = clocks.read(Written(enqueued_at_s, *boot))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
            log.error(  # noqa: TRY400 - the traceback helps no operator
                "cannot read an alert in the database; the alert is lost receiver=%s text=%.200r",
                queue,
                text,
            )
            continue
        yield queue, QueuedAlert(number=number, alert=alert, since_s=since_s)
