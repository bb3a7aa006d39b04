"""The directory that the listener uses if it cannot use state_dir, among hostile users."""

from __future__ import annotations

import logging
import os
import socket
import struct
import subprocess
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fpm_listener.daemon import control_client
from fpm_listener.daemon.control_client import SOCKET_NAME, ControlRequest, ask
from fpm_listener.daemon.control_socket import Asked, ControlSocket
from fpm_listener.daemon.persistence import StateStore
from fpm_listener.delivery.database import Database
from fpm_listener.delivery.database_files import FILE
from fpm_listener.host import fallback_directory, unix_connection
from fpm_listener.host.fallback_directory import OWNER_FILE, StateDirectory
from fpm_listener.host.state_directory import UnsafeDirectoryError
from tests.other_user import OTHER_UID, needs_root, open_folder
from tests.samples import at

if TYPE_CHECKING:
    from collections.abc import Iterator

#: A state_dir that nobody can create.
BROKEN = "/dev/null/state"


@pytest.fixture
def shared() -> Iterator[Path]:
    """Yield a folder like /tmp."""
    with open_folder(0o1777) as folder:
        yield folder


class Opened:
    """The database of one listener."""

    def __init__(self, directory: StateDirectory) -> None:
        self.database = Database(directory)
        self.memory = StateStore(self.database)
        self.database.open(at(0.0))

    def put(self, name: str) -> bool:
        """Remember a value; return whether it is on disk."""
        return self.database.write([self.memory.put(name, 1)], durable=True)

    def close(self) -> set[str]:
        """End the listener; return what it knows."""
        self.database.close()
        return set(self.memory.values)


def logged(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.levelno == level]


def test_names_of_the_fallbacks() -> None:
    """A relative XDG_STATE_HOME is not used, as its specification says."""
    own = f"/tmp/fpm-listener-{os.geteuid()}"
    assert fallback_directory.fallbacks({}) == ("/run/fpm-listener", own)
    assert fallback_directory.fallbacks({"XDG_STATE_HOME": "state"})[0] == "/run/fpm-listener"
    assert fallback_directory.fallbacks({"XDG_STATE_HOME": "/s"})[0] == "/s/fpm-listener"


# -- which one is used -----------------------------------------------------------------------------


def test_a_state_dir_that_cannot_be_used(shared: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Alerts survive a restart of the listener, and one warning says what is lost."""
    directory = StateDirectory(BROKEN, [str(shared / "own")])
    one = Opened(directory)
    assert one.put("a")
    one.database.open(at(30.0))
    one.close()
    assert (shared / "own").stat().st_mode & 0o777 == 0o700
    (warning,) = logged(caplog, logging.WARNING)
    assert "survive a restart of the listener, but not a new container or a reboot" in warning
    assert f"in_use={shared}/own state_dir={BROKEN}" in warning
    assert directory.is_temporary

    assert Opened(StateDirectory(BROKEN, [str(shared / "own")])).close() == {"a"}


def test_no_directory_can_be_used(caplog: pytest.LogCaptureFixture) -> None:
    """The listener works in memory, and one error says so."""
    one = Opened(StateDirectory(BROKEN, ["/dev/null/run", "/proc/none"]))
    one.database.open(at(30.0))
    assert not one.put("a")
    assert not one.database.persistent
    (error,) = logged(caplog, logging.ERROR)
    assert "alerts are kept in memory only" in error


def test_a_directory_above_the_fallback_is_missing(shared: Path) -> None:
    """It is created, as the specification of XDG_STATE_HOME says; only we can open it."""
    found = fallback_directory.prepare(f"{shared}/local/state/fpm-listener", BROKEN)
    assert (shared / "local").stat().st_mode & 0o777 == 0o700
    assert found == f"{shared}/local/state/fpm-listener"


def test_two_state_dirs_do_not_share_a_fallback(shared: Path) -> None:
    """A second listener of the same user takes the next one; it would send its alerts."""
    places = [str(shared / "a"), str(shared / "b")]
    one = Opened(StateDirectory(BROKEN, places))
    one.put("a")
    one.close()
    other = Opened(StateDirectory("/dev/null/other", places))
    assert str(other.database.folder) == places[1]
    assert other.close() == set()


@contextmanager
def read_only(path: Path) -> Iterator[None]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", path], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


@needs_root
def test_a_state_dir_that_is_read_only_for_a_while(
    shared: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The data moves to the fallback and back; nothing stays that could be sent twice."""
    directory = StateDirectory(tmp_path / "state", [str(shared / "own")])
    one = Opened(directory)
    one.put("before")
    with read_only(tmp_path / "state"):
        one.database.open(at(30.0))
        assert one.put("meanwhile")
        assert directory.fallback == str(shared / "own")
        assert "why='Read-only file system'" in logged(caplog, logging.WARNING)[0]
    one.database.open(at(60.0))
    assert one.database.persistent
    assert not (shared / "own" / FILE).exists()
    one.close()

    assert len(caplog.records) == len(logged(caplog, logging.WARNING)) == 1
    assert Opened(StateDirectory(tmp_path / "state")).close() == {"before", "meanwhile"}


def test_a_state_dir_that_is_repaired_before_a_restart(shared: Path, tmp_path: Path) -> None:
    """The next listener finds the data in the fallback and moves it."""
    state_dir = tmp_path / "state"
    state_dir.write_text("a file is in the way")
    one = Opened(StateDirectory(state_dir, [str(shared / "own")]))
    one.put("a")
    one.close()
    state_dir.unlink()
    assert Opened(StateDirectory(state_dir, [str(shared / "own")])).close() == {"a"}
    assert not (shared / "own" / FILE).exists()
    assert Opened(StateDirectory(state_dir)).close() == {"a"}


def test_a_state_dir_with_older_data_that_comes_late(shared: Path, tmp_path: Path) -> None:
    """The alerts in it are not lost: a volume is mounted, or can be written again."""
    state_dir, places = tmp_path / "state", [str(shared / "own")]
    older = Opened(StateDirectory(state_dir))
    older.put("older")
    older.close()
    state_dir.rename(tmp_path / "away")
    state_dir.write_text("a file is in the way")
    one = Opened(StateDirectory(state_dir, places))
    one.put("newer")
    state_dir.unlink()
    (tmp_path / "away").rename(state_dir)
    one.database.open(at(30.0))
    assert one.close() == {"older", "newer"}
    assert Opened(StateDirectory(state_dir)).close() == {"older", "newer"}
    assert [path.name for path in state_dir.glob("*.replaced-*")] == []


# -- other users -----------------------------------------------------------------------------------


@needs_root
@pytest.mark.parametrize("what", ["directory", "symlink", "own and open", "file", "dangling"])
def test_a_name_that_another_user_took_first(shared: Path, what: str) -> None:
    """The next fallback is used; nothing behind a link is touched."""
    taken = shared / "taken"
    with open_folder(0o700) as target:
        if what == "symlink":
            taken.symlink_to(target)
        elif what == "dangling":
            taken.symlink_to(target / "none")
        elif what == "file":
            taken.write_text("")
        else:
            taken.mkdir()
            taken.chmod(0o777 if what == "own and open" else 0o700)
        if what != "own and open":
            os.chown(taken, OTHER_UID, OTHER_UID, follow_symlinks=False)
        directory = StateDirectory(BROKEN, [str(taken), str(shared / "next")])
        assert directory.choose() == str(shared / "next")
        assert list(target.iterdir()) == []


@needs_root
@pytest.mark.parametrize("mode", [0o777, 0o775])
def test_a_parent_in_which_others_can_rename(mode: int) -> None:
    """Without the sticky bit another user could replace the directory later."""
    with open_folder(mode) as parent:
        os.chown(parent, 0, OTHER_UID)
        with pytest.raises(UnsafeDirectoryError, match="lets other users replace"):
            fallback_directory.prepare(f"{parent}/own", BROKEN)
        assert list(parent.iterdir()) == []


@needs_root
def test_a_parent_of_another_user() -> None:
    """Root does not use the XDG_STATE_HOME that it inherited from a user."""
    with open_folder(0o755, owner=OTHER_UID) as home:
        with pytest.raises(UnsafeDirectoryError, match=f"belongs to user {OTHER_UID}"):
            fallback_directory.prepare(f"{home}/state/fpm-listener", BROKEN)
        assert list(home.iterdir()) == []


@needs_root
def test_a_link_of_another_user_above_the_fallback(shared: Path) -> None:
    """The result has no link in it, so a later change of the link has no effect."""
    with open_folder(0o755) as target:
        (shared / "link").symlink_to(target)
        os.chown(shared / "link", OTHER_UID, OTHER_UID, follow_symlinks=False)
        assert fallback_directory.prepare(f"{shared}/link/own", BROKEN) == f"{target}/own"


@needs_root
def test_an_abstract_name_that_another_user_bound_first(tmp_path: Path) -> None:
    """Commands do not believe it, and the listener works without it."""
    name = control_client.own_name()
    assert name is not None
    request = ControlRequest(action="list", state_dir=BROKEN)
    with socket.socket(socket.AF_UNIX) as squatter:
        squatter.bind(name)
        os.seteuid(OTHER_UID)
        try:
            squatter.listen()  # its user at this moment is what the kernel reports
        finally:
            os.seteuid(0)
        assert name in [one.name for one in control_client.channels()]
        answers, problem = control_client.ask_elsewhere(BROKEN, request, 5.0)
        assert answers == []
        assert f"user {OTHER_UID}, not its owner, listens there" in str(problem)
        control = ControlSocket(StateDirectory(tmp_path), print, print, name=name)
        control.start_abstract()
        control.start()
        assert (tmp_path / SOCKET_NAME).exists()
        control.stop()


@pytest.mark.parametrize(("patience_s", "longest"), [(0.05, 1 << 20), (60.0, 20)])
def test_an_answer_that_does_not_end(
    patience_s: float, longest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another user's listener can neither fill the memory of a command, nor keep it for hours."""
    monkeypatch.setattr(control_client, "_LONGEST", longest)
    ours, theirs = socket.socketpair()
    ours.settimeout(patience_s)
    monkeypatch.setattr(control_client, "_ways", lambda *_: [(True, lambda: ours)])
    ended = threading.Event()

    def drip() -> None:
        with theirs, suppress(OSError):
            while not ended.wait(0.01):
                theirs.send(b"x")

    thread = threading.Thread(target=drip)
    thread.start()
    timer = threading.Timer(10.0, ended.set)
    timer.start()
    try:
        request = ControlRequest(action="status", state_dir=BROKEN)
        answers, problem = control_client.ask_elsewhere(BROKEN, request, patience_s)
        assert not ended.is_set()
    finally:
        timer.cancel()
        ended.set()
        thread.join()
    assert answers == []
    assert problem is not None


def test_the_user_of_a_peer_with_a_high_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Users of nested containers can have numbers above 2147483647."""
    raw = struct.pack("iII", 7, 2**32 - 5, 0)
    monkeypatch.setattr(socket.socket, "getsockopt", lambda *_: raw)
    with socket.socket(socket.AF_UNIX) as connection:
        assert unix_connection.peer_of(connection) == (7, 2**32 - 5)


def test_a_listener_without_any_directory() -> None:
    """Commands reach it through its abstract socket, if they mean its state_dir."""
    name = control_client.own_name()
    assert name is not None

    def answer(asked: object) -> None:
        assert isinstance(asked, Asked)
        asked.reply.put(7)

    control = ControlSocket(StateDirectory(BROKEN), answer, print, name=name)
    control.start_abstract()
    try:
        assert ask(Path(BROKEN), ControlRequest(action="list")) == 7
        assert ask(Path("/dev/null/other"), ControlRequest(action="list")) is None
    finally:
        control.stop()


def test_one_listener_that_two_ways_lead_to(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked once: its fallback and its abstract socket are not two listeners."""
    name = control_client.own_name()
    assert name is not None
    monkeypatch.setenv("XDG_STATE_HOME", str(shared))
    asked = []

    def answer(one: object) -> None:
        assert isinstance(one, Asked)
        asked.append(one)
        one.reply.put(7)

    directory = StateDirectory(BROKEN, [f"{shared}/fpm-listener"])
    directory.choose()
    control = ControlSocket(directory, answer, print, name=name)
    control.start_abstract()
    control.start()
    try:
        request = ControlRequest(action="list")
        assert ask(Path(BROKEN), request, any_state_dir=True) == 7
        assert len(asked) == 1
    finally:
        control.stop()


@needs_root
def test_a_marker_that_another_user_made(shared: Path) -> None:
    """Commands do not look into a directory of another user, or behind a link."""
    folder = shared / "fake"
    folder.mkdir(0o700)
    (folder / OWNER_FILE).write_text(BROKEN)
    assert fallback_directory.read_owner(str(folder)) == BROKEN
    (shared / "link").symlink_to(folder)
    assert fallback_directory.read_owner(str(shared / "link")) is None
    os.chown(folder, OTHER_UID, OTHER_UID)
    assert fallback_directory.read_owner(str(folder)) is None
