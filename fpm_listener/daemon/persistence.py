"""Named values that outlive the listener, such as what the engine wants remembered."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from fpm_listener.delivery.database_schema import Statement
from fpm_listener.host import procfs
from fpm_listener.values import Clocks, Instant, Written

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fpm_listener.delivery.database import Database
    from fpm_listener.delivery.database_schema import Rows

log = logging.getLogger(__name__)


class StateStore:
    """The values, by name. Attaches itself to the database, which mirrors them."""

    tables: tuple[str, ...] = ("memory",)

    def __init__(self, database: Database) -> None:
        self.values: dict[str, Any] = {}
        self._clocks = Clocks(Instant(0.0, 0.0), procfs.boot_id())
        database.attach(self)

    def put(self, name: str, value: object, now: Instant | None = None) -> Statement:
        """Remember `value` (JSON), or forget it where it is None; return the change of the file.

        now: the value is a dictionary with wall seconds in it. When it is restored, it has
        `clock_shift_s`: by how much the wall clock was set since.
        """
        if now is not None and isinstance(value, dict):
            value = {**value, "clock": self._clocks._replace(now=now).write(now.monotonic_s)}
        if value is None:
            self.values.pop(name, None)
            return Statement("DELETE FROM memory WHERE name = ?", (json.dumps(name),))
        self.values[name] = value
        return self._row(name, value)

    def restore(self, found: Mapping[str, Rows], now: Instant) -> None:
        """Take up what an earlier listener remembered; what is not JSON is forgotten."""
        self._clocks = self._clocks._replace(now=now)
        for name, value in found["memory"]:
            try:
                self.values.setdefault(json.loads(name), self._shifted(json.loads(value)))
            except (ValueError, TypeError):
                log.warning("a value in the database is not understood and is forgotten")

    def _shifted(self, value: Any) -> Any:  # noqa: ANN401 - JSON
        if isinstance(value, dict) and "clock" in value:
            value["clock_shift_s"] = self._clocks.shift_s(Written(*value["clock"]))
        return value

    def rows(self) -> Iterable[Statement]:
        """Return all that is remembered."""
        return [self._row(name, value) for name, value in self.values.items()]

    def _row(self, name: str, value: object) -> Statement:
        return Statement(
            "INSERT OR REPLACE INTO memory VALUES (?, ?)",
            (json.dumps(name), json.dumps(value)),
        )
