"""The containers of the tests have the conditions that their tests name."""

from __future__ import annotations

import shutil
import tempfile
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.container import Conditions, Container
from tests.receiver_server import ReceiverServer
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 1 << 20


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return an empty directory with a short path."""
    made = Path(tempfile.mkdtemp(prefix="container-"))
    yield made
    shutil.rmtree(made)  # fails if a mount has stayed


def test_an_ordinary_container(folder: Path) -> None:
    """PID 1 is the command, with the rights of Docker; the machine is not changed."""
    container = Container(folder, Conditions(absent=("/etc/resolv.conf", "/usr/share/zoneinfo")))
    container.add(
        "/opt/app/run",
        "#!/bin/sh\necho to-stdout\necho to-stderr >/dev/stderr\nexec sleep 60\n",
        0o755,
    )
    container.build("mkdir /srv/made", "echo built")
    try:
        container.start("/opt/app/run")
        wait_until(lambda: "sleep 60" in container.processes().values(), "the command to run")
        told = container.run(
            "sh",
            "-c",
            "cat /proc/1/comm; grep CapBnd /proc/1/status; ls -A /run /tmp; id -u; hostname;"
            "ls -d /srv/made /etc/resolv.conf /usr/share/zoneinfo; env; touch /etc/written",
        )
        refused = pytest.raises(OSError, match="refused")
        with ReceiverServer() as outside, container.network(), refused:
            urllib.request.urlopen(outside.url, timeout=5)
        with container.network():
            inside = ReceiverServer()
        with inside, container.network():
            urllib.request.urlopen(inside.url, timeout=5)
        written = container.path("/etc/written").exists()
    finally:
        container.close()
    assert told.stdout.split("\n")[:2] == ["sleep", "CapBnd:\t00000000a80425fb"]
    assert "/srv/made" in told.stdout
    assert "HOME" not in told.stdout
    assert "SYS_PTRACE" not in told.stdout
    assert told.stderr.count("No such file") == 2
    assert "built\nto-stdout\nto-stderr\n" in container.text()
    assert len(inside.requests) == 1
    assert written
    assert not Path("/etc/written").exists()
    assert not Path("/srv/made").exists()
    assert container.remains() == []


def test_a_confined_container(folder: Path) -> None:
    """Another user, read-only root, hidden processes of others, limits."""
    out = folder / "out"
    out.mkdir()
    out.chmod(0o777)
    container = Container(
        folder,
        Conditions(
            uid=33,
            read_only=True,
            no_new_privileges=True,
            hidden_processes=True,
            memory_bytes=64 * MIB,
            pids=40,
            binds={"/out": out},
        ),
    )
    script = "id -u; touch /x; touch /tmp/y /out/z; echo still >/dev/stderr; exec sleep 60"
    try:
        container.start("sh", "-c", script)
        wait_until(lambda: "sleep 60" in container.processes().values(), "the command to run")
        limits = container.run(
            "sh",
            "-c",
            "cd /sys/fs/cgroup; cat pids.max */pids.max memory.max */memory.limit*",
            uid=0,
        )
        user = container.run("sh", "-c", "grep Cap /proc/self/status; ls -d /proc/[0-9]*")
        hidden = container.run("sh", "-c", "ls -d /proc/[0-9]*", uid=34)
    finally:
        container.close()
    assert container.text() == "33\ntouch: cannot touch '/x': Read-only file system\nstill\n"
    assert "CapEff:\t0000000000000000" in user.stdout
    assert "/proc/1\n" in user.stdout
    assert "/proc/1\n" not in hidden.stdout
    assert (out / "z").exists()
    assert limits.stdout == f"40\n{64 * MIB}\n"


def test_ends(folder: Path) -> None:
    """The status of PID 1 is the status of the container; a failed build step shows its output."""
    ends = Container(folder, Conditions(docker_seccomp=False))
    fails = Container(folder, Conditions(docker_seccomp=False))
    fails.build("echo no such thing; false")
    try:
        ends.start("sh", "-c", "sleep 60 & read line; kill -TERM $$; exit 3")
        assert ends.wait() == 3
        assert ends.remains() == []
        with pytest.raises(AssertionError, match="no such thing"):
            fails.start("true")
    finally:
        ends.close()
        fails.close()
