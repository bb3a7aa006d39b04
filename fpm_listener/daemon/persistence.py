"""Stores what must survive a restart: process states, log positions, timeline, pending alerts.

Laws:
1. Only the main thread uses it.
2. Memory is the authority and the database its mirror, so that a failing disk stops nothing.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from fpm_listener.daemon.log_position import restore_positions
from fpm_listener.delivery.database import Database
from fpm_listener.delivery.database_schema import Statement
from fpm_listener.delivery.outbox import Outbox
from fpm_listener.delivery.queue_settings import Limits
from fpm_listener.guard import orphans
from fpm_listener.host import procfs
from fpm_listener.incidents.effects import Notify
from fpm_listener.supervisor.process import ProcessName
from fpm_listener.values import Clocks, Instant, Written

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from fpm_listener.daemon.log_position import Position
    from fpm_listener.delivery.database_schema import Rows
    from fpm_listener.guard.orphans import Master
    from fpm_listener.host.fallback_directory import StateDirectory
    from fpm_listener.monitor.messages import GuardAsks, SaveState
    from fpm_listener.settings.settings import Settings

log = logging.getLogger(__name__)

#: Names of stored values; the first two are followed by the name of a process.
_PROCESS, _MASTERS = "process ", "masters "
_POSITIONS, _STAMP, _TIMELINE, _PHP_FPM = "positions", "event", "timeline", "php-fpm"


class StateStore:
    """Named values. It attaches itself to the database, which mirrors them."""

    tables: tuple[str, ...] = ("memory",)

    def __init__(self, database: Database) -> None:
        self.values: dict[str, Any] = {}
        self._clocks = Clocks(Instant(0.0, 0.0), procfs.boot_id())
        database.attach(self)

    def put(self, name: str, value: object, now: Instant | None = None) -> Statement:
        """Store `value` (JSON), or delete it if it is None; return the change of the file.

        now: the value is a dictionary with wall seconds in it. When it is restored, it gets
        `clock_shift_s`: the seconds by which the wall clock was set since.
        """
        if now is not None and isinstance(value, dict):
            value = {**value, "clock": self._clocks._replace(now=now).write(now.monotonic_s)}
        if value is None:
            self.values.pop(name, None)
            return Statement("DELETE FROM memory WHERE name = ?", (json.dumps(name),))
        self.values[name] = value
        return self._row(name, value)

    def restore(self, found: Mapping[str, Rows], now: Instant) -> None:
        """Restore the values of an earlier listener; drop those that are not JSON."""
        self._clocks = self._clocks._replace(now=now)
        for name, value in found["memory"]:
            try:
                self.values.setdefault(str(json.loads(name)), self._shifted(json.loads(value)))
            except (ValueError, TypeError):
                log.warning("dropped a value in the database: it is not valid JSON name=%r", name)

    def _shifted(self, value: Any) -> Any:  # noqa: ANN401 - JSON
        if isinstance(value, dict) and "clock" in value:
            value["clock_shift_s"] = self._clocks.shift_s(Written(*value["clock"]))
        return value

    def rows(self) -> Iterable[Statement]:
        """Return the statements that write all values."""
        return [self._row(name, value) for name, value in self.values.items()]

    def _row(self, name: str, value: object) -> Statement:
        return Statement(
            "INSERT OR REPLACE INTO memory VALUES (?, ?)",
            (json.dumps(name), json.dumps(value)),
        )


class Persistence:
    """The database with the outbox and the named values."""

    def __init__(self, settings: Settings, directory: StateDirectory, now: Instant) -> None:
        self.directory = directory
        self._database = Database(directory)
        self._store = StateStore(self._database)
        self.outbox = Outbox(
            self._database, settings.receivers, limits(settings), settings.instance
        )
        self._boot = procfs.boot_id()
        self._database.open(now)

    def open(self, now: Instant) -> None:
        """Open the database if it is not open; to be called from time to time."""
        self._database.open(now)

    @property
    def is_writable(self) -> bool:
        """Return whether the database can be written now."""
        return self._database.persistent

    @property
    def ledger_path(self) -> Path | None:
        """Return the file for the last event; None if nothing can be written now."""
        return self._database.folder / "ledger" if self._database.persistent else None

    # -- data of an earlier listener ---------------------------------------------------------------

    def process_states(self) -> dict[ProcessName, Any]:
        """Return the state of each process, as the engine saved it."""
        return dict(self._by_process(_PROCESS))

    def timeline(self) -> object:
        """Return the saved timeline."""
        return self._store.values.get(_TIMELINE)

    def last_stamp(self) -> object:
        """Return the stamp of the last event that was committed."""
        return self._store.values.get(_STAMP)

    def log_positions(self) -> dict[str, Position]:
        """Return how far each log file was read."""
        return restore_positions(self._store.values.get(_POSITIONS))

    def php_fpm(self) -> object:
        """Return the programs that were found to be php-fpm."""
        return self._store.values.get(_PHP_FPM)

    def former_masters(self) -> dict[ProcessName, tuple[Master, ...]]:
        """Return the masters of this boot that guards became."""
        return {name: self._parse_masters(saved) for name, saved in self._by_process(_MASTERS)}

    def _by_process(self, prefix: str) -> Iterator[tuple[ProcessName, Any]]:
        for key, value in self._store.values.items():
            group, colon, process = key.removeprefix(prefix).partition(":")
            if key.startswith(prefix) and colon:
                yield ProcessName(group, process), value

    def _parse_masters(self, saved: object) -> tuple[Master, ...]:
        if not isinstance(saved, dict) or saved.get("boot") != self._boot:
            return ()
        try:
            return orphans.parse(saved["masters"])
        except (TypeError, LookupError, ValueError, AttributeError):
            return ()

    # -- changes -----------------------------------------------------------------------------------

    def commit(
        self, effects: Sequence[Notify | SaveState], now: Instant, stamp: list[int] | None = None
    ) -> None:
        """Write these effects to disk; alerts survive a power failure, the rest survives kill -9.

        stamp: of the event that caused them, so that a restart does not count it twice.
        """
        statements: list[Statement] = []
        durable = False
        for effect in effects:
            if isinstance(effect, Notify):
                statements += self.outbox.notify(effect, now)
                durable = True
            else:
                name = f"{_PROCESS}{effect.process}"
                statements.append(self._store.put(name, effect.memory, now))
        if stamp is not None:
            statements.append(self._store.put(_STAMP, stamp))
        self._database.write(statements, durable=durable)

    def save(
        self, timeline: list[Any], positions: Mapping[str, Position], php_fpm: object = None
    ) -> None:
        """Write data whose last half minute may be lost if the listener is killed."""
        saved = {path: position.to_json() for path, position in positions.items()}
        values: dict[str, object] = {_POSITIONS: saved, _TIMELINE: timeline}
        if php_fpm:
            values[_PHP_FPM] = php_fpm
        changed = [name for name, value in values.items() if value != self._store.values.get(name)]
        if changed:
            statements = [self._store.put(name, values[name]) for name in changed]
            self._database.write(statements, durable=False)

    def record_guard(self, asked: GuardAsks) -> None:
        """Record a guard as a master: it becomes php-fpm next.

        A guard has its own record in state_dir (`masters`). This one reaches it even if the two
        use different directories.
        """
        if not asked.started:
            return
        name = f"{_MASTERS}{asked.process}"
        known = self._parse_masters(self._store.values.get(name))
        known = orphans.add(known, [orphans.Master(asked.pid, asked.started)])
        value = {"boot": self._boot, "masters": list(orphans.lines(known))}
        self._database.write([self._store.put(name, value)], durable=False)

    def close(self) -> None:
        """Close the database."""
        self._database.close()


def limits(settings: Settings) -> Limits:
    """Return the limits of all receivers."""
    return Limits(
        max_age_s=settings.max_age_s,
        max_alerts=settings.max_alerts,
        repeat_interval_s=settings.repeat_interval_s,
    )
