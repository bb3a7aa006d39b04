"""The helper that restores names of unix sockets: real sockets, real processes."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest

from fpm_listener.host import procfs, relink_helper, socket_paths
from fpm_listener.host.relinker import Relinker
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

Value = TypeVar("Value")


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder with a short name: a unix socket's path has 107 bytes."""
    path = tempfile.mkdtemp(prefix="link-")
    yield Path(path)
    shutil.rmtree(path)


@pytest.fixture
def relinker(folder: Path) -> Iterator[Relinker]:
    """Return what runs a helper; nobody else here restores a name."""
    assert folder.is_dir()  # requested so that the helper ends before its folder is removed
    found = Relinker()
    yield found
    found.close()


@pytest.fixture
def sockets() -> Iterator[list[socket.socket]]:
    """Return a place for the sockets of a test, which are closed in the end."""
    found: list[socket.socket] = []
    yield found
    for one in found:
        one.close()


def held(path: Path, sockets: list[socket.socket]) -> socket_paths.HeldPath:
    """Return the name of a new socket that listens."""
    server = socket.socket(socket.AF_UNIX)
    sockets.append(server)
    server.bind(str(path))
    server.listen()
    return socket_paths.keep(str(path))


def pid(relinker: Relinker) -> int:
    """Return the pid of a helper that runs."""
    assert relinker.pid is not None
    return relinker.pid


def runs(pid: int) -> bool:
    """Return whether a process is there and no zombie."""
    found = procfs.read_stat(pid)
    return found is not None and not found.has_ended


def test_names_are_restored(relinker: Relinker, folder: Path, sockets: list[socket.socket]) -> None:
    """Each name comes back again and again, and clients reach the same socket."""
    found = [held(folder / f"{number}.sock", sockets) for number in range(20)]
    relinker.follow(found)
    for _ in range(3):
        for name in found:
            Path(name.path).unlink()
        wait_until(lambda: all(name.is_there() for name in found), "all names")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(found[-1].path)


def test_a_name_that_was_lost_before(
    relinker: Relinker, folder: Path, sockets: list[socket.socket]
) -> None:
    """A helper that starts late restores what is missing already."""
    name = held(folder / "w.sock", sockets)
    Path(name.path).unlink()
    relinker.follow([name])
    wait_until(name.is_there, "the name")


def test_names_change(relinker: Relinker, folder: Path, sockets: list[socket.socket]) -> None:
    """The same helper follows new names, and ends when there are none."""
    first, second = held(folder / "1.sock", sockets), held(folder / "2.sock", sockets)
    relinker.follow([first])
    before = pid(relinker)
    relinker.follow([first, second])
    assert pid(relinker) == before
    Path(second.path).unlink()
    wait_until(second.is_there, "the name")
    relinker.follow([])
    assert relinker.pid is None
    assert not runs(before)


def test_a_released_name_is_not_restored(
    relinker: Relinker, folder: Path, sockets: list[socket.socket]
) -> None:
    """A socket without its second name is not held: its name is not restored."""
    gone, other = held(folder / "1.sock", sockets), held(folder / "2.sock", sockets)
    relinker.follow([gone, other])
    gone.forget(first_too=True)
    Path(other.path).unlink()
    wait_until(other.is_there, "the other name")  # by then the helper has seen both
    assert not Path(gone.path).exists()


def test_somebody_elses_file(
    relinker: Relinker, folder: Path, sockets: list[socket.socket]
) -> None:
    """What has the name now is not replaced."""
    name, other = held(folder / "1.sock", sockets), held(folder / "2.sock", sockets)
    relinker.follow([name, other])
    theirs = folder / "theirs"
    theirs.write_text("theirs")
    theirs.rename(name.path)
    Path(other.path).unlink()
    wait_until(other.is_there, "the other name")
    assert Path(name.path).read_text() == "theirs"


def test_a_helper_that_exits(
    relinker: Relinker, folder: Path, sockets: list[socket.socket]
) -> None:
    """It is noticed, and replaced the next time that names are looked at."""
    name = held(folder / "w.sock", sockets)
    relinker.follow([name])
    before = pid(relinker)
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: not runs(before), "its end")
    relinker.follow([name])
    assert pid(relinker) != before
    Path(name.path).unlink()
    wait_until(name.is_there, "the name")


def test_a_helper_that_hangs(
    relinker: Relinker, folder: Path, sockets: list[socket.socket]
) -> None:
    """Nobody waits for it, however often names change, and the end takes a second at most."""
    first, second = held(folder / "1.sock", sockets), held(folder / "2.sock", sockets)
    relinker.follow([first])
    hung = pid(relinker)
    os.kill(hung, signal.SIGSTOP)
    try:
        for number in range(2_000):  # more than the connection takes
            relinker.follow([first, second] if number % 2 else [first])
        relinker.close()
    finally:
        os.kill(hung, signal.SIGCONT)
    wait_until(partial(_is_over, hung), "its end")


def _is_over(child: int) -> bool:
    return os.waitpid(child, os.WNOHANG)[0] == child


def test_the_listener_is_killed(folder: Path, sockets: list[socket.socket]) -> None:
    """A helper whose listener got SIGKILL ends by itself."""
    held(folder / "w.sock", sockets)
    code = (
        "import sys, time; from fpm_listener.host import relinker, socket_paths as names; "
        "r = relinker.Relinker(); "
        "r.follow([names.keep(sys.argv[1])]); print(r.pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, f"{folder}/w.sock"], stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        helper = int(child.stdout.readline())
        assert runs(helper)
        child.kill()
    wait_until(lambda: not runs(helper), "the helper's end")


def test_no_helper(
    monkeypatch: pytest.MonkeyPatch,
    relinker: Relinker,
    folder: Path,
    sockets: list[socket.socket],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Where Python cannot be started again, that is logged once, and nothing fails."""
    monkeypatch.setattr(sys, "executable", f"{folder}/no-python")
    for number in range(3):
        relinker.follow([held(folder / f"{number}.sock", sockets)])
    assert relinker.pid is None
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_its_priority(relinker: Relinker, folder: Path, sockets: list[socket.socket]) -> None:
    """Where that is allowed, it runs before ordinary processes, and never without a limit."""
    relinker.follow([held(folder / "w.sock", sockets)])
    helper = pid(relinker)
    allowed = subprocess.run(
        [
            *(sys.executable, "-c"),
            "import os; os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))",
        ],
        check=False,
        stderr=subprocess.DEVNULL,
    )
    if allowed.returncode == 0:
        wait_until(lambda: os.sched_getscheduler(helper) == os.SCHED_FIFO, "its priority")
        limits = Path(f"/proc/{helper}/limits").read_text()
        assert any("realtime timeout" in line and "200000" in line for line in limits.splitlines())


def test_its_messages() -> None:
    """A message without names is one; half a name is none."""
    assert relink_helper.parse(b"1\0/a/.s\0/a/s\x002\0/b") == {1: (b"/a/.s", b"/a/s")}
