"""Named values that outlive the listener, such as what the engine wants remembered."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from fpm_listener.database import Statement

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fpm_listener.core.values import Instant
    from fpm_listener.database import Database, Rows

log = logging.getLogger(__name__)


class Memory:
    """The values, by name. Attaches itself to the database, which mirrors them."""

    tables: tuple[str, ...] = ("memory",)

    def __init__(self, database: Database) -> None:
        self.values: dict[str, Any] = {}
        database.attach(self)

    def put(self, name: str, value: object) -> Statement:
        """Remember `value` (JSON), or forget it where it is None; return the change of the file."""
        if value is None:
            self.values.pop(name, None)
            return Statement("DELETE FROM memory WHERE name = ?", (json.dumps(name),))
        self.values[name] = value
        return self._row(name, value)

    def restore(self, found: Mapping[str, Rows], now: Instant) -> None:  # noqa: ARG002 - no clock here
        """Take up what an earlier listener remembered; what is not JSON is forgotten."""
        for name, value in found["memory"]:
            try:
                self.values.setdefault(json.loads(name), json.loads(value))
            except ValueError:
                log.warning("a value in the database is not understood and is forgotten")

    def rows(self) -> Iterable[Statement]:
        """Return all that is remembered."""
        return [self._row(name, value) for name, value in self.values.items()]

    def _row(self, name: str, value: object) -> Statement:
        return Statement(
            "INSERT OR REPLACE INTO memory VALUES (?, ?)",
            (json.dumps(name), json.dumps(value)),
        )
