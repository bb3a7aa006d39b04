"""The guard's fallbacks towards a listener that holds an address: real processes and sockets."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fpm_listener.guard.reclaim import Reclaim
from fpm_listener.host import addresses, procfs
from fpm_listener.host.addresses import TcpAddress
from fpm_listener.host.holder_search import find_holders
from tests.ports import free_port
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fpm_listener.guard.bind import Bound

#: Stands in for a listener: `-c … fpm-listener listen PORT`; it holds the port and reads nothing.
LISTENER = """
import socket, sys, time
held = socket.create_server(("127.0.0.1", int(sys.argv[3])))
print("up", flush=True)
time.sleep(1000)
"""
#: Starts that and ends, so that its input has no other end and its parent is gone.
ORPHANED = """
import os, subprocess, sys
read, write = os.pipe()
child = subprocess.Popen(
    sys.argv[1:], stdin=read, stdout=subprocess.DEVNULL, start_new_session=True
)
print(child.pid, flush=True)
os._exit(0)
"""


def lives(pid: int) -> bool:
    found = procfs.read_stat(pid)
    return found is not None and not found.has_ended


class Scene:
    """A held address, and a guard's view of it."""

    def __init__(self) -> None:
        self.port = free_port()
        self.asked = 0
        self.answers = False
        address = addresses.parse(f"127.0.0.1:{self.port}")
        assert isinstance(address, TcpAddress)
        self.address = address
        self.pids: list[int] = []

    @property
    def command(self) -> tuple[str, ...]:
        """Return what stands in for a listener."""
        return (sys.executable, "-c", LISTENER, "fpm-listener", "listen", str(self.port))

    def is_held(self) -> bool:
        """Return whether somebody listens."""
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0

    def ask(self) -> bool:
        """Be asked to release the address."""
        self.asked += 1
        return self.answers

    def get(self, *, answered: bool | None = False) -> Bound | None:
        """Do what a guard does that finds the address busy."""
        report = find_holders(self.address.text)
        reclaim = Reclaim({}, self.ask, answered=answered)
        return reclaim.get(self.address, report)


@pytest.fixture(autouse=True)
def _group_of_its_own() -> Iterator[None]:
    """Make this process the leader of its group, as supervisord does with each program.

    Otherwise the leader's parent can be init, which is also the parent of an orphaned listener.
    """
    before = os.getpgid(0)
    if before != os.getpid():
        os.setpgid(0, 0)
    yield
    if before != os.getpid():
        os.setpgid(0, before)


@pytest.fixture
def scene() -> Iterator[Scene]:
    """Return a scene; who holds the address is ended."""
    found = Scene()
    yield found
    for pid in found.pids:
        with suppress(ProcessLookupError):
            os.kill(pid, 9)


def orphaned(scene: Scene, *wrapper: str) -> int:
    """Return a listener whose supervisord is gone."""
    done = subprocess.run(
        [sys.executable, "-c", ORPHANED, *wrapper, *scene.command],
        stdout=subprocess.PIPE,
        check=True,
        timeout=200,
    )
    pid = int(done.stdout.split()[0])
    scene.pids.append(pid)
    wait_until(scene.is_held)
    return pid


@pytest.fixture
def supervised(scene: Scene) -> Iterator[int]:
    """Return a listener whose supervisord lives, and is not ours."""
    script = "import subprocess, sys; subprocess.Popen(sys.argv[2:], stdin=0).wait()"
    with subprocess.Popen(
        [sys.executable, "-c", script, "supervisord", *scene.command],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    ) as parent:
        wait_until(scene.is_held)
        (pid,) = [one for one in procfs.pids() if is_child(one, parent.pid)]
        scene.pids.append(pid)
        yield pid
        parent.kill()


def is_child(pid: int, parent: int) -> bool:
    found = procfs.read_stat(pid)
    return found is not None and found.ppid == parent


def test_of_a_supervisord_that_is_gone(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    """Its socket is taken over, what waits in the queue included, and it is ended."""
    pid = orphaned(scene)
    with socket.create_connection(("127.0.0.1", scene.port)) as client:
        client.sendall(b"I was here")
        bound = scene.get()
        assert bound is not None
        assert bound.key == scene.address.text
        wait_until(lambda: not lives(pid))
        with socket.socket(fileno=bound.fd) as server:
            served = server.accept()[0]
            while served.recv(10) != b"I was here":  # `is_held` has connected before
                served.close()
                served = server.accept()[0]
            served.close()
    said = capsys.readouterr().err.splitlines()[0]
    assert f"[socket_copied address={scene.address.text} pid={pid}] copied the socket" in said
    assert "which does not answer" in said


def test_of_another_supervisord(
    scene: Scene, supervised: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is a rival like any other: not asked, not copied, not ended."""
    assert scene.get(answered=None) is None
    assert scene.asked == 0
    assert capsys.readouterr().err == ""
    assert lives(supervised)


def test_one_that_answers(scene: Scene) -> None:
    """It releases the address itself, and is left alone."""
    pid = orphaned(scene)
    scene.answers = True
    assert scene.get(answered=None) is None
    assert scene.asked == 1
    assert lives(pid)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can filter its system calls")
@pytest.mark.parametrize("answered", [True, False])
def test_where_no_socket_can_be_copied(scene: Scene, answered: bool) -> None:  # noqa: FBT001 - a column
    """One that is silent is ended; one that answers never is."""
    docker = str(Path(__file__).parents[2] / "docker_defaults.py")
    pid = orphaned(scene, sys.executable, docker)
    script = (
        "import sys; from fpm_listener.host import addresses; "
        "from fpm_listener.guard.reclaim import Reclaim; "
        "from fpm_listener.host.holder_search import find_holders; "
        "address = addresses.parse(sys.argv[1]); "
        "reclaim = Reclaim({}, bool, answered=sys.argv[2] == 'True'); "
        "print(reclaim.get(address, find_holders(sys.argv[1])), reclaim.has_acted)"
    )
    done = subprocess.run(
        [sys.executable, docker, sys.executable, "-c", script, scene.address.text, str(answered)],
        capture_output=True,
        text=True,
        check=True,
        timeout=200,
    )
    assert done.stdout.splitlines()[-1] == f"None {not answered}", done.stdout
    assert lives(pid) == answered
