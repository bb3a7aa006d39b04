"""What an earlier listener leaves on disk, as inputs for fuzzing."""

from __future__ import annotations

import json
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fpm_listener.daemon.persistence import StateStore
from fpm_listener.delivery import receiver_failure
from fpm_listener.delivery.database import Database
from fpm_listener.delivery.database_files import FILE
from fpm_listener.delivery.outbox import Outbox
from fpm_listener.delivery.queued_alert import to_json
from fpm_listener.host.fallback_directory import StateDirectory
from fpm_listener.monitor.engine import Engine
from fpm_listener.monitor.messages import Identity, SaveState
from fpm_listener.monitor.supervision import EngineSettings
from fpm_listener.settings.policy import LoopPolicy, Policy
from fpm_listener.settings.receivers import ReceiverSettings
from fpm_listener.supervisor.protocol import Event
from fpm_listener.values import Clocks, Instant
from fpm_listener.vocabulary import Tier
from tests.samples import LIMITS, at, fires

if TYPE_CHECKING:
    from fpm_listener.delivery.database_schema import Rows

POLICY = Policy(
    loops={
        Tier.FAST: LoopPolicy(threshold=3, window_s=60.0),
        Tier.SLOW: LoopPolicy(threshold=5, window_s=900.0),
    },
    stable_for_s=120.0,
    repeat_interval_s=4 * 3600.0,
)
RECEIVERS = (
    ReceiverSettings(name="ops", url="http://127.0.0.1/x"),
    ReceiverSettings(name="am", kind="alertmanager", urls=("http://127.0.0.1/a",)),
)
_COLUMNS = {"failing": 2, "heard": 5, "outbox": 6}


def memory() -> bytes:
    """Return what an engine saves of a program in a restart loop."""
    engine = Engine(EngineSettings(policy=POLICY, identity=Identity(instance="host")), "token")
    saved: dict[str, Any] | None = None
    for serial in range(8):
        state, before = ("BACKOFF", "STARTING") if serial % 2 else ("STARTING", "BACKOFF")
        payload = f"processname:a groupname:a from_state:{before} tries:1"
        event = Event("s", "p", serial, serial, f"PROCESS_STATE_{state}", payload)
        for effect in engine.step(at(float(serial)), event):
            if isinstance(effect, SaveState) and effect.memory:
                saved = effect.memory
    return json.dumps(saved).encode()


def timeline() -> bytes:
    """Return what a timeline saves."""
    return json.dumps(
        [["failed", "a:a", [1, "permission", "/run"], 1.0, 2.0, 3, None], ["began"]]
    ).encode()


def parse(data: bytes) -> Any:  # noqa: ANN401 - JSON
    """Return the JSON in an input, as `json.loads` of the memory's table does; else None."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def rows() -> bytes:
    """Return the rows of an outbox, as JSON."""
    alert = to_json(fires())
    known = receiver_failure.start(
        "ops", at(0.0), "status 500", instance="host", token="token"
    ).to_json(Clocks(at(0.0), "boot"))
    written = (1_795_000_000.0, 0.0, "boot")
    tables = {
        "failing": [["ops", known]],
        "heard": [["ops", json.dumps("www:php-fpm"), *written]],
        "outbox": [
            [1, "ops", written[0], alert, *written[1:]],
            [2, "am", written[0], alert, *written[1:]],
        ],
    }
    return json.dumps(tables).encode()


def found_rows(data: bytes) -> dict[str, Rows]:
    """Return the rows of an input as sqlite can return them; what no column can hold is left out.

    The types are sqlite's: a number is an integer, a text can be any text, NULL is refused.
    """
    saved = parse(data)
    tables: dict[str, Rows] = {"failing": [], "heard": [], "outbox": []}
    for table, width in _COLUMNS.items():
        lines = saved.get(table) if isinstance(saved, dict) else None
        for line in lines if isinstance(lines, list) else ():
            if isinstance(line, list) and len(line) == width and all(map(_storable, line)):
                tables[table].append(tuple(line))
    for line in tables["outbox"]:
        if not isinstance(line[0], int) or not isinstance(line[1], str):
            return {**tables, "outbox": []}
    return tables


def _storable(value: object) -> bool:
    if isinstance(value, bool) or value is None:
        return False
    if isinstance(value, int):
        return -(1 << 63) <= value < 1 << 63
    return isinstance(value, str | float) and value == value  # noqa: PLR0124 - sqlite stores NaN as NULL


def database_file() -> bytes:
    """Return the file of an outbox that holds an alert."""
    with tempfile.TemporaryDirectory() as folder:
        with closing(Database(StateDirectory(folder))) as database:
            outbox = Outbox(database, RECEIVERS, LIMITS, instance="host")
            kept = StateStore(database)
            now = Instant(0.0, 1_795_000_000.0)
            database.open(now)
            statements = [*outbox.enqueue(fires(), now), kept.put("timeline", [])]
            database.write(statements, durable=True)
        with closing(sqlite3.connect(f"{folder}/{FILE}")) as connection:
            connection.execute("PRAGMA journal_mode=DELETE")
        return (Path(folder) / FILE).read_bytes()
