"""The statements by which the database follows the outbox."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from fpm_listener.delivery.database import Statement
from fpm_listener.delivery.queued_alert import Forget, Hear, Put, Remove, to_json

if TYPE_CHECKING:
    from fpm_listener.delivery.receiver_failure import Failing
    from fpm_listener.values import Clocks


def failing_statement(clocks: Clocks, known: Failing) -> Statement:
    """Return what writes that a receiver fails."""
    sql = "INSERT OR REPLACE INTO failing VALUES (?, ?)"
    return Statement(sql, (known.receiver, known.to_json(clocks)))


def statement(clocks: Clocks, receiver: str, change: Put | Remove | Hear | Forget) -> Statement:
    """Return what writes a change of a receiver's alerts."""
    match change:
        case Put(number, since_s, alert):
            at_s, monotonic_s, boot_id = clocks.write(since_s)
            sql = "INSERT OR REPLACE INTO outbox VALUES (?, ?, ?, ?, ?, ?)"
            values = (number, receiver, at_s, to_json(alert), monotonic_s, boot_id)
            return Statement(sql, values)
        case Remove(number):
            return Statement("DELETE FROM outbox WHERE id = ?", (number,))
        case Hear(incident, told_s):
            sql = "INSERT OR REPLACE INTO heard VALUES (?, ?, ?, ?, ?)"
            return Statement(sql, (receiver, json.dumps(incident), *clocks.write(told_s)))
        case Forget(incident):
            sql = "DELETE FROM heard WHERE receiver = ? AND incident = ?"
            return Statement(sql, (receiver, json.dumps(incident)))
