"""The state directory: deleted, renamed, hidden, replaced, or in the reach of other users."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import sqlite3
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from fpm_listener.cli import endpoint
from fpm_listener.daemon import unix_listener
from fpm_listener.daemon.control_client import SOCKET_NAME, ControlRequest, ask
from fpm_listener.daemon.control_socket import Asked, ControlSocket
from fpm_listener.daemon.persistence import StateStore
from fpm_listener.delivery.database import Database
from fpm_listener.delivery.database_files import FILE, LOCK
from fpm_listener.guard import fast_start
from fpm_listener.guard.handover_messages import SOCKET_NAME as DOOR
from fpm_listener.host import state_directory
from fpm_listener.host.fallback_directory import StateDirectory
from fpm_listener.host.state_directory import SUBDIRECTORY, UnsafeDirectoryError
from fpm_listener.settings import settings as settings_file
from fpm_listener.supervisor.deduplication import EventDeduplicator
from fpm_listener.supervisor.protocol import Event
from tests.other_user import OTHER_UID, needs_root, open_folder
from tests.samples import at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Opened:
    """The database of a state directory, with one value in it."""

    def __init__(self, state_dir: Path) -> None:
        self.database = Database(StateDirectory(state_dir))
        self.memory = StateStore(self.database)
        self.database.open(at(0.0))

    def put(self, name: str, *, durable: bool = False) -> bool:
        """Remember a value; return whether it is on disk."""
        return self.database.write([self.memory.put(name, 1)], durable=durable)


def remembered(state_dir: Path) -> set[str]:
    """Return what a new listener finds."""
    one = Opened(state_dir)
    assert one.database.persistent
    one.database.close()
    return set(one.memory.values)


def delete(state_dir: Path) -> None:
    shutil.rmtree(state_dir)


def rename(state_dir: Path) -> None:
    state_dir.rename(state_dir.with_name("renamed"))


def exchange(state_dir: Path) -> None:
    rename(state_dir)
    other = Opened(state_dir)
    other.put("of another listener")
    other.database.close()


def replace_file(state_dir: Path) -> None:
    (state_dir / FILE).unlink()
    (state_dir / FILE).write_bytes(b"no database")


def delete_one(name: str) -> Callable[[Path], None]:
    return lambda state_dir: (state_dir / name).unlink()


CHANGES = {
    "deleted": delete,
    "renamed": rename,
    "exchanged": exchange,
    "file replaced": replace_file,
    "file deleted": delete_one(FILE),
    "wal deleted": delete_one(f"{FILE}-wal"),
    "lock deleted": delete_one(LOCK),
}


@pytest.mark.parametrize("how", CHANGES)
@pytest.mark.parametrize("when", ["upkeep", "alert", "end"])
def test_the_files_are_written_again(
    tmp_path: Path, how: str, when: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What memory has is on disk again at the next upkeep, alert, or end of the listener."""
    state_dir = tmp_path / "state"
    one = Opened(state_dir)
    one.put("before")
    CHANGES[how](state_dir)
    if when == "upkeep":
        one.database.open(at(30.0))
        assert one.put("after")
        assert one.database.persistent
    elif when == "alert":
        assert one.put("after", durable=True)
    else:
        one.put("after")
        one.database.close()
    messages = [record.getMessage() for record in caplog.records]
    one.database.close()

    assert remembered(state_dir) == {"before", "after"}
    assert len([m for m in messages if "were deleted or replaced" in m]) == 1
    kept = list(state_dir.glob(f"{FILE}.replaced-*"))
    assert len([path for path in kept if not path.name.endswith(("-wal", "-shm"))]) == (
        how in {"exchanged", "file replaced"}
    )


def test_a_database_of_another_listener_is_kept(tmp_path: Path) -> None:
    """Alerts in a volume that was mounted meanwhile are not deleted."""
    state_dir = tmp_path / "state"
    one = Opened(state_dir)
    exchange(state_dir)
    one.database.open(at(30.0))
    one.database.close()
    (kept,) = state_dir.glob(f"{FILE}.replaced-*Z")
    connection = sqlite3.connect(kept)

    assert connection.execute("SELECT name FROM memory").fetchall() == [('"of another listener"',)]
    connection.close()


@contextmanager
def mounted(path: Path, options: str) -> Iterator[None]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", path], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


@needs_root
def test_a_volume_that_is_mounted_over_the_directory(tmp_path: Path) -> None:
    """The volume gets the data, and so does the directory when the volume is gone."""
    state_dir = tmp_path / "state"
    one = Opened(state_dir)
    one.put("before")
    with mounted(state_dir, "mode=0700"):
        one.database.open(at(30.0))
        assert one.database.persistent
        assert (state_dir / FILE).stat().st_size
    one.put("after")
    one.database.open(at(60.0))
    assert one.database.persistent
    one.database.close()

    assert remembered(state_dir) == {"before", "after"}


@needs_root
def test_a_read_only_volume(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is reported once that nothing is on disk, until the directory can be written again."""
    state_dir = tmp_path / "state"
    one = Opened(state_dir)
    with mounted(state_dir, "ro"):
        for moment_s in (30.0, 60.0):
            one.database.open(at(moment_s))
            assert not one.database.persistent
            assert not one.put("meanwhile")
        errors = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
        assert len(errors) == 1
        assert "Read-only file system" in errors[0]
    one.database.open(at(90.0))
    assert one.database.persistent
    one.database.close()

    assert remembered(state_dir) == {"meanwhile"}


@needs_root
def test_a_file_system_that_becomes_read_only(tmp_path: Path) -> None:
    """It is noticed although nothing is to be written."""
    one = Opened(tmp_path / "state")
    subprocess.run(["chattr", "+i", tmp_path / "state" / FILE], check=True)
    try:
        one.database.open(at(30.0))
        assert not one.database.persistent
    finally:
        subprocess.run(["chattr", "-i", tmp_path / "state" / FILE], check=True)
    one.database.open(at(60.0))
    assert one.database.persistent
    one.database.close()


# -- the ledger, the socket for commands -----------------------------------------------------------


def event(number: int) -> Event:
    return Event("supervisor", "l", number, number, "PROCESS_STATE_EXITED", "")


def test_a_deleted_ledger_means_no_lost_events(tmp_path: Path) -> None:
    """The next listener neither counts events as lost nor takes the last one twice."""
    path = tmp_path / "ledger"
    one = EventDeduplicator(path, (1, 100))
    one.mark(event(499))
    path.unlink()
    assert EventDeduplicator(path, (1, 100)).judge(event(500)).missed == 0

    one.keep_at(path)
    assert EventDeduplicator(path, (1, 100)).judge(event(499)).repeated
    path.unlink()
    path.write_bytes(b"")
    one.keep_at(path)
    one.mark(event(500))
    assert EventDeduplicator(path, (1, 100)).judge(event(502)).missed == 1


def test_a_ledger_path_that_is_a_symlink(tmp_path: Path) -> None:
    """The target of the link is not written."""
    target, path = tmp_path / "target", tmp_path / "ledger"
    target.write_text("secret")
    path.symlink_to(target)
    EventDeduplicator(path, (1, 100)).mark(event(0))

    assert target.read_text() == "secret"


def test_commands_reach_the_listener_again(tmp_path: Path) -> None:
    """The socket for commands is made again where its directory was deleted."""
    state_dir = tmp_path / "state"
    state_dir.mkdir(0o700)

    def answer(asked: object) -> None:
        assert isinstance(asked, Asked)
        asked.reply.put(7)

    control = ControlSocket(
        StateDirectory(state_dir), answer, lambda error: pytest.fail(str(error))
    )
    control.start()
    try:
        assert ask(state_dir, ControlRequest(action="list")) == 7
        for _ in range(3):
            shutil.rmtree(state_dir)
            assert ask(state_dir, ControlRequest(action="list")) is None
            control.start()
            inode = (state_dir / SOCKET_NAME).stat().st_ino
            control.start()
            assert (state_dir / SOCKET_NAME).stat().st_ino == inode
            assert ask(state_dir, ControlRequest(action="list")) == 7
    finally:
        control.stop()


# -- the setting -----------------------------------------------------------------------------------


@pytest.mark.parametrize("variable", ["", "/from/the/environment", "relative"])
@pytest.mark.parametrize(
    "text",
    [
        "",
        "[fpm-listener]\n",
        "[fpm-listener]\nstate_dir = /x/y\n",
        "[fpm-listener]\nstate_dir=/x/y ; here\n",
        "[fpm-listener]\nSTATE_DIR : /x/y # here\n",
        "[fpm-listener]\nstate_dir = /x//./y/\n",
        "[fpm-listener]\nstate_dir = a;b#c\n",
        "[fpm-listener]\nstate_dir = own/dir\n",
        "[fpm-listener]\nstate_dir = ../beside\n",
        "[fpm-listener]\nstate_dir =\n",
        "[fpm-listener]\nstate_dir = /a\nstate_dir = /b\n",
        "[fpm-listener]\nstate_dir = /a\n[fpm-listener:receiver:ops]\nurl = https://h/x\n",
        "[other]\nstate_dir = /no\n[fpm-listener]\n; state_dir = /no\nlisten = 127.0.0.1:1\n",
        "[eventlistener:x]\ncommand=y\n[fpm-listener]\nstate_dir\t=\t/x\n[z]\nstate_dir=/q\n",
    ],
)
def test_all_programs_find_the_same_state_dir(
    tmp_path: Path, text: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guard and `healthy` find what the listener finds, for both spellings of the file."""
    (tmp_path / "listener.conf").write_text(text)
    environ = {"FPM_LISTENER_STATE_DIR": variable} if variable else {}
    monkeypatch.chdir(tmp_path)
    for config in ("listener.conf", str(tmp_path / "listener.conf")):
        expected = str(settings_file.load(config, environ).state_dir)
        assert state_directory.configured(config, environ) == expected


def test_a_relative_state_dir_without_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It starts at the working directory, for each command."""
    environ = {"FPM_LISTENER_STATE_DIR": "own"}
    monkeypatch.chdir(tmp_path)

    assert state_directory.configured(None, environ) == str(tmp_path / "own")
    assert endpoint.default(environ).state_dir == tmp_path / "own"


# -- other users -----------------------------------------------------------------------------------


@needs_root
@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o2775])
def test_a_directory_that_others_can_write(mode: int) -> None:
    """A subdirectory is used that nobody else can open; guard and commands find it."""
    with open_folder(mode) as state_dir:
        one = Opened(state_dir)
        assert one.put("a")
        unix_listener.listen(StateDirectory(state_dir)).close()
        used = state_dir / SUBDIRECTORY
        assert used.stat().st_mode & 0o777 == 0o700
        assert [path.name for path in state_dir.iterdir()] == [SUBDIRECTORY]
        assert {FILE, LOCK, DOOR} <= {path.name for path in used.iterdir()}
        settings = state_dir / "conf"
        settings.write_text(f"[fpm-listener]\nstate_dir = {state_dir}\n")
        assert fast_start.glance_at_state_dir(str(settings)) == str(used)
        one.database.close()
        assert remembered(state_dir) == {"a"}


@needs_root
def test_a_directory_that_becomes_writable_for_others() -> None:
    """What was in it moves into the subdirectory, at once and after a restart."""
    for restart in (False, True):
        with open_folder(0o700) as state_dir:
            one = Opened(state_dir)
            one.put("a")
            if restart:
                one.database.close()
            state_dir.chmod(0o777)
            one = Opened(state_dir) if restart else one
            one.database.open(at(30.0))
            assert one.database.folder == state_dir / SUBDIRECTORY
            assert not (state_dir / FILE).exists()
            one.database.close()
            assert remembered(state_dir) == {"a"}


@needs_root
def test_a_directory_of_another_user(caplog: pytest.LogCaptureFixture) -> None:
    """It is not used; one warning has the reason and the command, which ends the problem."""
    with open_folder(0o700, owner=OTHER_UID) as state_dir:
        one = Opened(state_dir)
        one.database.open(at(30.0))
        assert not one.put("a", durable=True)
        with pytest.raises(UnsafeDirectoryError):
            unix_listener.listen(StateDirectory(state_dir))
        (record,) = caplog.records
        assert record.levelno == logging.WARNING
        assert list(state_dir.iterdir()) == []
        command = record.getMessage().partition("type: ")[2].strip("'")
        subprocess.run(command, shell=True, check=True)  # noqa: S602 - it is the command that is tested
        one.database.open(at(60.0))
        assert one.database.persistent
        one.database.close()
        assert remembered(state_dir) == {"a"}


@needs_root
@pytest.mark.parametrize("what", ["directory", "symlink", "open", "file"])
def test_a_subdirectory_that_another_user_made(what: str) -> None:
    """It is not used, whatever it is, and nothing behind a link is touched."""
    with open_folder(0o1777) as state_dir, open_folder(0o700) as target:
        path = state_dir / SUBDIRECTORY
        if what == "symlink":
            path.symlink_to(target)
        elif what == "file":
            path.write_text("")
        else:
            path.mkdir()
            path.chmod(0o777 if what == "open" else 0o755)
        if what != "open":
            os.chown(path, OTHER_UID, OTHER_UID, follow_symlinks=False)
        with pytest.raises(UnsafeDirectoryError):
            state_directory.prepare(str(state_dir))
        one = Opened(state_dir)
        assert not one.database.persistent
        assert list(target.iterdir()) == []


@needs_root
def test_a_state_dir_that_is_a_link_of_another_user() -> None:
    """A directory of root behind the link is not touched; a link of root may be used."""
    with open_folder(0o1777) as folder, open_folder(0o755) as target:
        state_dir = folder / "state"
        state_dir.symlink_to(target)
        assert state_directory.prepare(str(state_dir)) == str(state_dir)
        os.chown(state_dir, OTHER_UID, OTHER_UID, follow_symlinks=False)
        with pytest.raises(UnsafeDirectoryError, match="is a symlink of user 65534"):
            state_directory.prepare(str(state_dir))


@needs_root
def test_the_doors_of_the_guard_and_the_commands_are_sockets_of_ours() -> None:
    """A socket that another user left at the path is replaced."""
    with open_folder(0o700) as state_dir, socket.socket(socket.AF_UNIX) as other:
        other.bind(str(state_dir / SOCKET_NAME))
        control = ControlSocket(StateDirectory(state_dir), lambda asked: None, print)  # noqa: ARG005
        control.start()
        assert (state_dir / SOCKET_NAME).stat().st_uid == 0
        control.stop()
