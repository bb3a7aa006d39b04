"""What starts the holder of an address again: real processes with the names of supervisors."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fpm_listener.host import holder_remedies
from fpm_listener.host.address_holders import Holder, HolderKind, HolderReport
from fpm_listener.supervisor import holder_supervisors
from tests.ports import free_port
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Starts a child that listens, as a supervisor does. The child gets its environment, as
#: supervisord's children do, and calls the function that is named.
PARENT = """
import os, signal, socket, sys, time
os.setuid(int(os.environ["USER_ID"]))
started = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
started.set_inheritable(True)
pid = os.fork()
if not pid:
    if os.environ["CALL"]:
        getattr(os, os.environ["CALL"])()
    os.execve("/bin/sleep", ["nginx", "1000"], {
        "SUPERVISOR_GROUP_NAME": "web", "SUPERVISOR_PROCESS_NAME": "nginx",
    })
started.close()
signal.signal(signal.SIGTERM, lambda *_: (os.kill(pid, 9), sys.exit()))
os.waitpid(pid, 0)
"""
CONF = """[unix_http_server]
file=%(here)s/s.sock
[rpcinterface:supervisor]
x=y
[supervisorctl]
serverurl=unix://%(here)s/s.sock
[supervisord]
"""


class Parent:
    """A process with the name of a supervisor, and its child."""

    def __init__(self, name: str, call: str, user: int = os.geteuid()) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="hs-"))
        self.folder.chmod(0o755)
        self.conf = self.folder / "other.conf"
        self.conf.write_text(CONF)
        script = self.folder / name
        script.write_text(PARENT)
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        named = self.folder / "bin" / name
        named.parent.mkdir()
        named.symlink_to(sys.executable)
        self.process = subprocess.Popen(
            [sys.executable, str(script), "-c", str(self.conf)]
            if name == "supervisord"
            else [str(named), "-c", PARENT],
            cwd=self.folder,
            env={**os.environ, "PORT": str(port), "CALL": call, "USER_ID": str(user)},
            start_new_session=True,
        )
        wait_until(self._is_held, "a child that listens")

    def _is_held(self) -> bool:
        (holder, *_) = self.find().holders or (None,)
        return holder is not None and holder.command.startswith("nginx")

    def find(self, own: int | None = None) -> HolderReport:
        """Return the holder of the address."""
        return holder_supervisors.find_holders(self.address, supervisord=own)

    def holder(self, own: int | None = None) -> Holder:
        """Return the only holder."""
        (holder,) = self.find(own).holders
        return holder


@pytest.fixture
def parents() -> Iterator[list[Parent]]:
    """Return a list; the processes in it are ended."""
    started: list[Parent] = []
    yield started
    for one in started:
        with contextlib.suppress(ProcessLookupError):
            os.kill(one.process.pid, signal.SIGTERM)
        one.process.wait(20)


def test_another_supervisord(parents: list[Parent]) -> None:
    """Its child leads a process group; the command has its file and the name of the program."""
    parents.append(parent := Parent("supervisord", "setpgrp"))
    holder = parent.holder()

    assert holder.supervisor is not None
    assert holder.supervisor.pid == parent.process.pid
    assert (holder.supervisor.stop or "").endswith(f"supervisorctl -c {parent.conf} stop web:nginx")
    assert f"started by another supervisord (pid {parent.process.pid}, {parent.conf})" in str(
        holder
    )
    remedy = holder_remedies.free([holder])
    assert "kill " not in remedy
    assert remedy.endswith(f" -c {parent.conf} stop web:nginx")


def test_our_own_supervisord(parents: list[Parent]) -> None:
    """The holder is another program of the supervisord that needs the address."""
    parents.append(parent := Parent("supervisord", "setpgrp"))
    holder = parent.holder(own=parent.process.pid)

    assert holder.supervisor is not None
    assert holder.supervisor.ours
    assert "another program of this supervisord" in holder_remedies.free([holder])


@pytest.mark.parametrize("call", ["setsid", ""])
def test_a_process_that_supervisord_has_not_started(parents: list[Parent], call: str) -> None:
    """It has another session, or leads no group: supervisord, as pid 1, has adopted it."""
    parents.append(parent := Parent("supervisord", call))

    assert parent.holder().supervisor is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start processes of another user")
def test_the_supervisord_of_another_user(parents: list[Parent]) -> None:
    """root does not run supervisorctl with a file that another user can change."""
    parents.append(parent := Parent("supervisord", "setpgrp", user=65534))
    holder = parent.holder()

    assert holder.supervisor is not None
    stop = holder.supervisor.stop or ""
    assert stop.startswith("su -s /bin/sh nobody -c '")
    assert stop.endswith(f" -c {parent.conf} stop web:nginx'")


@pytest.mark.parametrize(
    ("name", "command"),
    [("runsv", "sv down"), ("s6-supervise", "s6-svc -d"), ("supervise", "svc -d")],
)
def test_supervisors_with_a_directory_for_each_service(
    parents: list[Parent], name: str, command: str
) -> None:
    """Their directory is the name of the service."""
    parents.append(parent := Parent(name, ""))
    holder = parent.holder()

    assert holder.supervisor is not None
    assert holder.supervisor.stop == f"{command} {parent.folder}"
    assert f"started by {name} (pid {parent.process.pid}, {parent.folder})" in str(holder)


def test_a_process_without_a_supervisor() -> None:
    """Nothing is known about its parent."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        (holder,) = holder_supervisors.find_holders(f"127.0.0.1:{server.getsockname()[1]}").holders

    assert holder.pid == os.getpid()
    assert holder.supervisor is None


@pytest.mark.parametrize("engine", ["docker", "podman", None])
def test_a_container(engine: str | None) -> None:
    """A container can start its process again, so the container is stopped."""
    holder = Holder(
        kind=HolderKind.MASTER,
        pid=1,
        command="php-fpm: master process (/etc/x.conf)",
        user="root",
        container="c0ffee",
        engine=engine,
    )
    found = holder_supervisors.add_supervisor(holder)

    assert found.supervisor is not None
    assert found.supervisor.stop == (f"{engine} stop c0ffee" if engine else None)
    assert "c0ffee" in holder_remedies.free([found])
