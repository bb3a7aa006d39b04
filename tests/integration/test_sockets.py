"""Who has an address: real sockets, real php-fpm, and layouts that this machine has not."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fpm_listener.core.holders import HolderKind
from fpm_listener.sockets import find_holders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def wait(probe: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not probe():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a short folder: a unix socket's path has 107 bytes."""
    made = Path(tempfile.mkdtemp(prefix="so-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


NOBODY = """\
import os, sys
from fpm_listener.sockets import find_holders
os.setuid(65534)
print(find_holders(sys.argv[1]))
"""


class Fpm:
    """A php-fpm that leads a process group of its own, as under supervisord."""

    def __init__(self, folder: Path, listen: str) -> None:
        binary = next(iter(sorted(Path("/usr/sbin").glob("php-fpm[0-9]*"))), None)
        assert binary, "no php-fpm on this machine: run scripts/setup.sh"
        user = "user = www-data\n" if os.geteuid() == 0 else ""
        conf = folder / "fpm.conf"
        conf.write_text(
            f"[global]\nerror_log = {folder}/fpm.log\n[so{os.getpid()}]\n{user}listen = {listen}\n"
            "pm = static\npm.max_children = 2\n",
        )
        self.master = subprocess.Popen(
            [binary, "-F", "-y", conf],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        log = folder / "fpm.log"
        wait(lambda: log.exists() and "ready to handle" in log.read_text())

    def kill_master(self) -> int:
        self.master.kill()
        self.master.wait()
        return self.master.pid

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.master.pid, signal.SIGKILL)
        self.master.wait()


@pytest.fixture
def fpm(folder: Path) -> Iterator[Callable[[str], Fpm]]:
    """Return a function that starts a php-fpm; all are ended."""
    started: list[Fpm] = []

    def start(listen: str) -> Fpm:
        started.append(Fpm(folder, listen))
        return started[-1]

    yield start
    for one in started:
        one.end()


@pytest.mark.parametrize(
    ("bound", "asked", "clash"),
    [
        ("127.0.0.1", "127.0.0.1:{port}", True),
        ("127.0.0.1", "{port}", True),
        ("127.0.0.1", "0.0.0.0:{port}", True),
        ("127.0.0.1", "[::]:{port}", True),
        ("127.0.0.1", "localhost:{port}", True),
        ("127.0.0.1", "127.0.0.2:{port}", False),
        ("127.0.0.1", "[::1]:{port}", False),
        ("0.0.0.0", "127.0.0.1:{port}", True),
        ("::", "127.0.0.1:{port}", True),
        ("::1", "[::1]:{port}", True),
        ("::1", "127.0.0.1:{port}", False),
    ],
)
def test_which_addresses_clash(bound: str, asked: str, clash: bool) -> None:  # noqa: FBT001 - a column
    """Wildcards and families clash as they do for bind(2) with SO_REUSEADDR."""
    family = socket.AF_INET6 if ":" in bound else socket.AF_INET
    with socket.socket(family) as holder:
        holder.bind((bound, 0))
        holder.listen()
        report = find_holders(asked.format(port=holder.getsockname()[1]))

    assert report.blind is None
    assert [holder.pid for holder in report.holders] == ([os.getpid()] if clash else [])


def test_something_else() -> None:
    """A holder that is no php-fpm is named with its command and user."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        (found,) = find_holders(f"127.0.0.1:{holder.getsockname()[1]}").holders

    assert found.kind is HolderKind.OTHER
    assert "python" in found.command
    assert found.user


def test_nobody() -> None:
    """A free address has no holder, and that is no blindness."""
    report = find_holders(f"127.0.0.1:{free_port()}")

    assert (report.holders, report.blind) == ((), None)


@pytest.mark.parametrize("address", ["", "nonsense", "127.0.0.1:x"])
def test_an_address_that_is_none(address: str) -> None:
    """What is no address is said not to be understood."""
    assert find_holders(address).blind is not None


@pytest.mark.parametrize("unix", [False, True])
def test_a_living_master(fpm: Callable[[str], Fpm], folder: Path, unix: bool) -> None:  # noqa: FBT001 - a column
    """A living php-fpm is one holder, its master first, its workers with it."""
    address = str(folder / "w.sock") if unix else f"127.0.0.1:{free_port()}"
    running = fpm(address)
    (found,) = find_holders(address, former_masters=frozenset({running.master.pid})).holders

    assert (found.kind, found.pid) == (HolderKind.MASTER, running.master.pid)
    assert not found.ours
    assert len(found.others) == 2


@pytest.mark.parametrize("unix", [False, True])
def test_orphans(fpm: Callable[[str], Fpm], folder: Path, unix: bool) -> None:  # noqa: FBT001 - a column
    """Workers whose master was killed are orphans; ours, where we knew the master."""
    address = str(folder / "w.sock") if unix else f"127.0.0.1:{free_port()}"
    master = fpm(address).kill_master()
    (found,) = find_holders(address, former_masters=frozenset({master})).holders

    assert (found.kind, found.master_pid, found.ours) == (HolderKind.ORPHAN, master, True)
    assert found.command.startswith("php-fpm: pool")
    assert len(found.others) == 1
    (strange,) = find_holders(address).holders
    assert (strange.kind, strange.ours) == (HolderKind.ORPHAN, False)


def test_what_another_user_may_not_see(fpm: Callable[[str], Fpm]) -> None:
    """Who is not root says that it could not look, and accuses nobody."""
    assert os.geteuid() == 0, "this test needs root, as the whole machine's setup does"
    address = f"127.0.0.1:{free_port()}"
    fpm(address)
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            NOBODY,
            address,
        ],
        capture_output=True,
        text=True,
        check=True,
    )

    assert "we may not look into other users' processes" in done.stdout


@pytest.mark.parametrize(
    ("cgroup", "unit", "container"),
    [
        ("0::/system.slice/php8.2-fpm.service", "php8.2-fpm.service", None),
        (f"0::/system.slice/docker-{'ab' * 32}.scope", None, "abababababab"),
        (f"12:pids:/docker/{'cd' * 32}", None, "cdcdcdcdcdcd"),
        (f"0::/kubepods.slice/pod1.slice/cri-containerd-{'ef' * 32}.scope", None, "efefefefefef"),
        ("0::/user.slice/user-0.slice/user@0.service/app.slice/x.scope", None, None),
        ("0::/", None, None),
    ],
)
def test_unit_and_container(
    tmp_path: Path,
    cgroup: str,
    unit: str | None,
    container: str | None,
) -> None:
    """The systemd unit or the container is read from the control group."""
    net = tmp_path / "net"
    net.mkdir()
    (net / "tcp").write_text(
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout"
        " inode\n   0: 0100007F:2328 00000000:0000 0A 00000000:00000000 00:00000000 00000000 33"
        " 0 4711 1 0 100 0 0 10 0\n",
    )
    process = tmp_path / "77"
    (process / "fd").mkdir(parents=True)
    (process / "fd" / "9").symlink_to("socket:[4711]")
    (process / "stat").write_text("77 (php-fpm8.2) S 1 70 70 0 -1 0")
    (process / "cmdline").write_bytes(b"php-fpm: pool www\x1b[31m\0")
    (process / "cgroup").write_text(cgroup + "\n")
    (found,) = find_holders("127.0.0.1:9000", proc=str(tmp_path)).holders

    assert (found.kind, found.master_pid) == (HolderKind.ORPHAN, 70)
    assert (found.unit, found.container) == (unit, container)
    assert "\x1b" not in found.command
