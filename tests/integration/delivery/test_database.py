"""The database on disk: what it survives, and what is logged."""

import logging
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fpm_listener.daemon.persistence import Persistence, StateStore
from fpm_listener.delivery.database import Database
from fpm_listener.delivery.database_files import FILE, LOCK
from fpm_listener.delivery.database_schema import VERSION, Statement
from fpm_listener.host.fallback_directory import StateDirectory
from fpm_listener.settings.settings import Settings
from tests.samples import at

IN_MEMORY = "alerts are kept in memory only"
SET_ASIDE = "cannot use the database; it was renamed"


class Opened:
    """The database of a folder with one user."""

    def __init__(self, folder: Path) -> None:
        self.database = Database(StateDirectory(folder), lambda: 1_795_000_000.25)
        self.memory = StateStore(self.database)
        self.database.open(at(0.0))

    def put(self, name: str, value: object, *, durable: bool = False) -> bool:
        """Remember a value; return whether it is on disk."""
        return self.database.write([self.memory.put(name, value)], durable=durable)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a state folder that is not there yet."""
    return tmp_path / "state"


@pytest.fixture
def opened(folder: Path) -> Iterator[Opened]:
    """Return an open database."""
    one = Opened(folder)
    yield one
    one.database.close()


def remembered(folder: Path) -> dict[str, object]:
    """Return what a new listener finds."""
    one = Opened(folder)
    one.database.close()
    return one.memory.values


def errors(caplog: pytest.LogCaptureFixture, sentence: str) -> list[str]:
    """Return the ERROR messages that begin with `sentence`."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno == logging.ERROR and record.getMessage().startswith(sentence)
    ]


@pytest.mark.parametrize("durable", [False, True])
def test_what_was_written_is_found_again(folder: Path, *, durable: bool) -> None:
    """Values with any characters survive the listener; None removes a value."""
    one = Opened(folder)
    assert one.put("www:café\udce9", {"☃": [1, None]}, durable=durable)
    assert one.put("gone", 1, durable=durable)
    assert one.put("gone", None, durable=durable)
    one.database.close()

    assert remembered(folder) == {"www:café\udce9": {"☃": [1, None]}}


def test_only_the_owner_can_read_it(folder: Path) -> None:
    """The folder is 0700 and each file in it 0600, whatever the umask was."""
    before = os.umask(0)
    try:
        one = Opened(folder)
        one.put("a", 1)
        modes = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
    finally:
        os.umask(before)
        one.database.close()

    assert folder.stat().st_mode & 0o777 == 0o700
    assert modes == dict.fromkeys((FILE, f"{FILE}-wal", f"{FILE}-shm", LOCK), 0o600)


def test_the_mode_of_an_existing_file_is_restricted(folder: Path) -> None:
    """The file is 0600 again."""
    Opened(folder).database.close()
    (folder / FILE).chmod(0o644)
    Opened(folder).database.close()

    assert (folder / FILE).stat().st_mode & 0o777 == 0o600


def test_all_or_nothing(opened: Opened, folder: Path) -> None:
    """Statements of one call are a transaction; a bug does not count as a lost disk."""
    good = opened.memory.put("a", 1)
    with pytest.raises(sqlite3.IntegrityError):
        opened.database.write(
            [good, Statement("INSERT INTO memory VALUES (NULL, NULL)")],
            durable=True,
        )
    assert opened.database.persistent
    opened.database.close()

    assert remembered(folder) == {}


def test_durable_writes(opened: Opened) -> None:
    """FULL survives a power failure, NORMAL is enough against kill -9."""
    connection = opened.database._connection
    assert connection is not None
    found = []
    for durable in (False, True, True, False):
        opened.put("a", 1, durable=durable)
        found.append(connection.execute("PRAGMA synchronous").fetchone()[0])

    assert found == [1, 2, 2, 1]
    assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


@pytest.mark.parametrize("content", [b"no database at all, but long enough to look at" * 50, b"SQ"])
def test_a_corrupt_file_is_set_aside(
    folder: Path,
    content: bytes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is kept under a name with the time, and a new one is created."""
    folder.mkdir()
    (folder / FILE).write_bytes(content)
    one = Opened(folder)
    assert one.database.persistent
    assert one.put("a", 1)
    one.database.close()

    kept = folder / f"{FILE}.corrupt-20261118T110640.250000Z"
    assert kept.read_bytes() == content
    assert remembered(folder) == {"a": 1}
    (message,) = errors(caplog, SET_ASIDE)
    assert kept.name in message


def test_a_damaged_page_is_found_when_it_is_opened(folder: Path) -> None:
    """A file with a valid header and a damaged table is corrupt too."""
    one = Opened(folder)
    for index in range(200):
        one.put(f"name {index}", "x" * 500)
    one.database.close()
    with (folder / FILE).open("r+b") as file:
        file.seek(8 * 4096)
        file.write(b"\xff" * 8 * 4096)
    one = Opened(folder)
    one.database.close()

    assert one.memory.values == {}
    assert list(folder.glob(f"{FILE}.corrupt-*"))


def test_a_file_that_becomes_corrupt_is_replaced_from_memory(
    folder: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No data of the listener is lost with the file."""
    one = Opened(folder)
    for index in range(50):
        one.put(f"name {index}", "x" * 500)
    for path in (folder / FILE, folder / f"{FILE}-wal"):
        size = path.stat().st_size
        with path.open("r+b") as file:
            file.write(b"\xff" * size)
    assert one.database._connection is not None
    one.database._connection.execute("PRAGMA shrink_memory")  # nothing is left in its cache
    assert one.put("last", 1)
    assert one.database.persistent
    one.database.close()

    assert remembered(folder) == one.memory.values
    assert len(one.memory.values) == 51
    assert errors(caplog, SET_ASIDE)


def test_a_file_of_a_newer_version_is_kept(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The listener neither uses nor deletes it."""
    folder.mkdir()
    connection = sqlite3.connect(folder / FILE)
    connection.execute("CREATE TABLE future (x)")
    connection.execute(f"PRAGMA user_version={VERSION + 1}")
    connection.commit()
    connection.close()
    one = Opened(folder)
    assert one.database.persistent
    one.database.close()

    (kept,) = folder.glob(f"{FILE}.newer-*")
    connection = sqlite3.connect(kept)
    assert connection.execute("SELECT * FROM future").fetchall() == []
    connection.close()
    assert errors(caplog, SET_ASIDE)


def test_a_folder_that_cannot_be_made(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The listener works in memory and logs that once; later it uses the folder."""
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    one = Opened(in_the_way / "state")
    assert not one.put("a", 1)
    one.database.open(at(30.0))
    assert not one.database.persistent
    (message,) = errors(caplog, IN_MEMORY)
    assert "Not a directory" in message
    assert "lost if the listener stops" in message

    in_the_way.unlink()
    caplog.set_level(logging.INFO)
    one.database.open(at(60.0))
    one.database.open(at(90.0))

    assert one.database.persistent
    assert [r.getMessage() for r in caplog.records if r.levelno == logging.INFO] == [
        f"the database is writable again folder={in_the_way / 'state'}",
    ]
    one.database.close()
    assert remembered(in_the_way / "state") == {"a": 1}


def test_a_second_listener_works_in_memory(
    folder: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It logs why; when the first one exits, it restores that one's data beside its own."""
    first = Opened(folder)
    first.put("a", "first")
    first.put("b", "first")
    second = Opened(folder)
    assert not second.put("b", "second")
    assert not second.database.persistent
    (message,) = errors(caplog, IN_MEMORY)
    assert "another listener uses this directory" in message

    first.database.close()
    second.database.open(at(30.0))

    assert second.database.persistent
    assert second.memory.values == {"a": "first", "b": "second"}
    second.database.close()
    assert remembered(folder) == {"a": "first", "b": "second"}


def test_a_value_that_is_not_json_is_skipped(
    folder: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One invalid row does not affect the others."""
    one = Opened(folder)
    one.put("a", 1)
    one.database.write([Statement("INSERT INTO memory VALUES ('{', '{')")], durable=False)
    one.database.close()

    assert remembered(folder) == {"a": 1}
    assert "not valid JSON" in caplog.text


def test_a_name_that_is_not_a_text(folder: Path) -> None:
    """The listener starts, and ignores the value."""
    one = Opened(folder)
    one.database.write([Statement("INSERT INTO memory VALUES ('7', '{}')")], durable=False)
    one.database.close()

    stored = Persistence(Settings(source=""), StateDirectory(folder), at(0.0))
    assert stored.is_writable
    assert stored.process_states() == stored.former_masters() == {}
    stored.close()


FULL_DISK = """
import logging, resource, signal, sys
from pathlib import Path
from fpm_listener.delivery.database import Database
from fpm_listener.daemon.persistence import StateStore
from fpm_listener.host.fallback_directory import StateDirectory
from tests.samples import at

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
database = Database(StateDirectory(sys.argv[1]))
memory = StateStore(database)
database.open(at(0.0))
assert database.write([memory.put("small", 1)], durable=True)

_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (128 * 1024, hard))
written = 0
while database.write([memory.put(f"name {written}", "x" * 4000)], durable=True):
    written += 1
    assert written < 1000
assert not database.persistent
assert not database.write([memory.put("later", 1)], durable=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (16 * 1024, hard))
database.open(at(30.0))
assert not database.persistent

resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
database.open(at(60.0))
assert database.persistent
print(len(memory.values))
"""


def test_a_full_disk_is_survived(folder: Path) -> None:
    """The data is written when there is room again, and both are logged once."""
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(folder)],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )

    assert done.returncode == 0, done.stderr
    found = remembered(folder)
    assert len(found) == int(done.stdout)
    assert {"small", "later", "name 0"} <= set(found)
    levels = [line.split()[0] for line in done.stderr.splitlines()]
    assert levels == ["ERROR", "INFO"], done.stderr
