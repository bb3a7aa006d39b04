"""The listener's record of the masters that guards became, which outlives the listener.

A guard has a record of its own in state_dir (`masters`). This one reaches it when the two have
different opinions of where state_dir is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm_listener.guard import orphans
from fpm_listener.host import procfs
from fpm_listener.supervisor.process import ProcessName

if TYPE_CHECKING:
    from fpm_listener.daemon.persistence import StateStore
    from fpm_listener.delivery.database import Database
    from fpm_listener.guard.orphans import Master
    from fpm_listener.monitor.messages import GuardAsks

_PREFIX = "masters "


class FormerMasters:
    """Owned by the daemon's main thread."""

    def __init__(self, database: Database, memory: StateStore) -> None:
        self._database = database
        self._memory = memory
        self._boot = procfs.boot_id()

    def add(self, asked: GuardAsks) -> None:
        """Record a guard, which is about to become php-fpm."""
        if not asked.started:
            return
        name = f"{_PREFIX}{asked.process}"
        known = self._parse(self._memory.values.get(name))
        known = orphans.add(known, [orphans.Master(asked.pid, asked.started)])
        value = {"boot": self._boot, "masters": list(orphans.lines(known))}
        self._database.write([self._memory.put(name, value)], durable=False)

    def read(self) -> dict[ProcessName, tuple[Master, ...]]:
        """Return what is recorded of this boot."""
        found = {}
        for key, value in self._memory.values.items():
            group, colon, process = key.removeprefix(_PREFIX).partition(":")
            if key.startswith(_PREFIX) and colon:
                found[ProcessName(group, process)] = self._parse(value)
        return found

    def _parse(self, saved: object) -> tuple[Master, ...]:
        if not isinstance(saved, dict) or saved.get("boot") != self._boot:
            return ()
        try:
            return orphans.parse(saved["masters"])
        except (TypeError, LookupError, ValueError, AttributeError):
            return ()
