"""How a process ended, from the kernel: before and after its parent has reaped it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fpm_listener.host import pidfd_info, procfs, zombie_status
from tests.other_user import OTHER_UID, needs_root

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ENDS = {
    "exit 0": 0,
    "exit 78": 78 << 8,
    "exit 255": 255 << 8,
    "kill -KILL $$": signal.SIGKILL,
    "kill -TERM $$": signal.SIGTERM,
}

has_exit_info = pytest.mark.skipif(
    tuple(map(int, os.uname().release.split(".")[:2])) < (6, 15), reason="since Linux 6.15"
)


@contextmanager
def zombie(command: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Yield a process that has ended, and its pidfd; nobody has reaped it."""
    process = subprocess.Popen(["/bin/sh", "-c", f"read line; {command}"], stdin=subprocess.PIPE)
    pidfd = os.pidfd_open(process.pid)
    try:
        assert process.stdin
        process.stdin.write(b"go\n")
        process.stdin.close()
        select.select([pidfd], [], [], 60)
        yield process, pidfd
    finally:
        os.close(pidfd)
        process.wait()


@pytest.mark.parametrize("command", ENDS)
def test_a_zombie(command: str) -> None:
    """/proc has the status that its parent is going to get, also a proven 0."""
    with zombie(command) as (process, _):
        assert zombie_status.wait_status(process.pid, started(process)) == ENDS[command]


def test_a_process_that_is_no_zombie() -> None:
    """A process that lives has no status, and neither has one that is reaped."""
    assert zombie_status.wait_status(os.getpid(), procfs.pid_and_start(os.getpid())[1]) is None
    with zombie("exit 0") as (process, _):
        its_start = started(process)
        assert zombie_status.wait_status(process.pid, its_start + 1) is None
        process.wait()
        assert zombie_status.wait_status(process.pid, its_start) is None


def test_a_zombie_that_is_reaped_before_the_proof(tmp_path: Path) -> None:
    """A missing executable proves nothing then."""
    proc = tmp_path / "7"
    proc.mkdir()
    stat = "7 (a) Z 1 7 7 " + " ".join(["0"] * 15) + " 99" + " 0" * 30
    (proc / "stat").write_text(stat)
    assert zombie_status.wait_status(7, 99, str(tmp_path)) == 0
    (proc / "exe").symlink_to("/bin/true")
    assert zombie_status.wait_status(7, 99, str(tmp_path)) is None


@needs_root
def test_a_zombie_of_another_user() -> None:
    """The kernel writes 0 for a process that we may not read: that is not its status."""
    for command in ("exit 0", "exit 78"):
        with zombie(command) as (process, _):
            its_start = started(process)
            told = as_nobody(
                lambda pid=process.pid, began=its_start: zombie_status.wait_status(pid, began)  # type: ignore[misc]
            )
            assert told == "None"


@has_exit_info
@pytest.mark.parametrize("command", ENDS)
def test_a_process_that_is_reaped(command: str) -> None:
    """The pidfd has the status then, and not before."""
    with zombie(command) as (process, pidfd):
        assert pidfd_info.wait_status(pidfd) is pidfd_info.Missing.NOT_REAPED
        process.wait()
        assert pidfd_info.wait_status(pidfd) == ENDS[command]


@has_exit_info
@needs_root
def test_a_reaped_process_of_another_user() -> None:
    """The pidfd needs no permission."""
    with zombie("exit 78") as (process, pidfd):
        process.wait()
        assert as_nobody(lambda: pidfd_info.wait_status(pidfd)) == str(78 << 8)


def test_a_descriptor_without_an_answer() -> None:
    """An older kernel answers like a descriptor of another kind."""
    with Path("/dev/null").open() as file:
        assert pidfd_info.wait_status(file.fileno()) is pidfd_info.Missing.UNSUPPORTED


def test_children() -> None:
    """Zombies are children too."""
    with zombie("exit 0") as (process, _):
        assert process.pid in procfs.children(os.getpid())


def started(process: subprocess.Popen[bytes]) -> int:
    """Return the start of a process in ticks."""
    return procfs.pid_and_start(process.pid)[1]


def as_nobody(question: Callable[[], object]) -> str:
    """Ask as another user; return the answer as text."""
    receive, send = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setgid(OTHER_UID)
        os.setuid(OTHER_UID)
        os.write(send, str(question()).encode())
        os._exit(0)
    os.close(send)
    os.waitpid(pid, 0)
    with os.fdopen(receive) as file:
        return file.read()
