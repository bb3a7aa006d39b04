"""Looks at a real php-fpm: its queue, and whether it accepts connections."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import time
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

import pytest

from fpm_listener.daemon import pool_watch
from fpm_listener.daemon.pool_poller import PoolPoller
from fpm_listener.daemon.pool_watch import PoolWatch
from fpm_listener.host import procfs
from fpm_listener.host.netlink import Kernel
from fpm_listener.monitor.messages import PoolsSeen
from fpm_listener.phpfpm.fastcgi import NoAnswer, Response
from fpm_listener.phpfpm.pool_life import Life
from fpm_listener.phpfpm.status_page import PoolTarget
from fpm_listener.supervisor.process import ProcessName
from tests.ports import free_port
from tests.waiting import DEADLINE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fpm_listener.monitor.opcache_seen import OpcacheSeen

BACKLOG = 20
PACES = {
    "static": "pm = static\npm.max_children = 2\n",
    "ondemand": "pm = ondemand\npm.max_children = 2\n",
}


class Fpm:
    """A php-fpm with one pool for each pace, on TCP and unix."""

    def __init__(self, folder: Path) -> None:
        folder.chmod(0o755)
        owner = "user = www-data\ngroup = www-data\nlisten.owner = www-data\n"
        self.targets = {}
        text = f"[global]\ndaemonize = no\nerror_log = {folder}/log\n"
        for pace, lines in PACES.items():
            for kind, address in (
                ("tcp", f"127.0.0.1:{free_port()}"),
                ("unix", f"{folder}/{pace}.sock"),
            ):
                name = f"{pace}-{kind}"
                pool = f"{name}-{os.getpid()}"  # tests run side by side
                text += f"[{pool}]\nlisten = {address}\nlisten.backlog = {BACKLOG}\n{lines}"
                text += f"pm.status_path = /status\n{owner if os.geteuid() == 0 else ''}"
                self.targets[name] = PoolTarget(pool, address, status_path="/status")
        conf = folder / "fpm.conf"
        conf.write_text(text)
        self.master = subprocess.Popen([os.environ["PHP_FPM"], "-F", "-y", str(conf)])
        wait_until(lambda: "ready to handle" in (folder / "log").read_text(), "php-fpm")
        static = [name for name in self.targets if name.startswith("static")]
        # A worker has its title a moment after its start.
        wait_until(lambda: all(len(self.processes(name)) == 2 for name in static), "its workers")

    def end(self) -> None:
        """End all processes; workers outlive their master."""
        os.kill(self.master.pid, signal.SIGSTOP)  # it starts no other worker
        for pid in [*procfs.children(self.master.pid), self.master.pid]:
            os.kill(pid, signal.SIGKILL)
        self.master.wait()

    def processes(self, pool: str) -> list[int]:
        """Return the workers of a pool."""
        pids = procfs.children(self.master.pid)
        return [pid for pid in pids if procfs.title(pid) == f"php-fpm: pool {pool}-{os.getpid()}"]

    def clients(self, opened: ExitStack, pool: str, count: int) -> list[socket.socket]:
        """Connect, and send nothing."""
        return [opened.enter_context(self._client(pool)) for _ in range(count)]

    def _client(self, pool: str) -> socket.socket:
        address = self.targets[pool].address
        if address.startswith("/"):
            client = socket.socket(socket.AF_UNIX)
            client.connect(address)
            return client
        return socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])))


def stop(*pids: int) -> None:
    """Stop processes: each has to run for a moment before it is stopped."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: all(map(is_stopped, pids)), "stopped processes")


def is_stopped(pid: int) -> bool:
    stat = procfs.read_stat(pid)
    return stat is not None and stat.state == "T"


@pytest.fixture
def fpm(tmp_path: Path) -> Iterator[Fpm]:
    started = Fpm(tmp_path)
    try:
        yield started
    finally:
        started.end()


@pytest.mark.parametrize("asks", [True, False])
@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_the_queue_of_a_busy_pool(fpm: Fpm, kind: str, *, asks: bool) -> None:
    """It is the number of clients that nobody accepted, also those that have gone."""
    pool = f"static-{kind}"
    watch = PoolWatch(fpm.targets[pool], 5.0, asks=asks)
    wait_until(lambda: watch.look().up is (True if asks else None), "an answer")
    assert watch.view.waiting == 0
    with ExitStack() as opened:
        busy = fpm.clients(opened, pool, 2)
        wait_until(lambda: watch.look().waiting == 0, "accepted clients")
        clients = fpm.clients(opened, pool, 7)
        for client in clients[:3]:
            client.close()
        for _ in range(3):
            view = watch.look()
            assert (view.waiting, view.limit) == (7, BACKLOG)
            assert view.life in {Life.ALIVE, Life.UNKNOWN}
            assert view.busy is None  # an earlier number says nothing about now
        assert (watch.view.silent, watch.view.detail) == (True, "")  # busy
        busy[0].close()
        wait_until(lambda: not watch.look().silent, "a queue that moves")
    watch.close()


def test_a_request_that_is_sent_early(fpm: Fpm, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the only one, and no silence if the looks at other pools take long."""
    monkeypatch.setattr(pool_watch, "ANSWER_S", DEADLINE_S)
    watch = PoolWatch(fpm.targets["static-tcp"], 5.0, asks=True)
    accepted = watch.look().numbers["accepted_connections"]
    with monkeypatch.context() as patch:
        patch.setattr(pool_watch, "ANSWER_S", 0.2)
        watch.begin()
        late_s = time.monotonic() + 0.2
        wait_until(lambda: time.monotonic() > late_s, "the looks at other pools")
    view = watch.look()
    assert (view.up, view.silent) == (True, False)
    assert view.numbers["accepted_connections"] == accepted + 1
    watch.begin()
    watch.postpone()
    # php-fpm may not have accepted the closed one yet; then nothing is asked.
    wait_until(lambda: watch.look().numbers["accepted_connections"] == accepted + 3, "one request")
    watch.close()


@pytest.mark.parametrize("pool", ["static-tcp", "static-unix", "ondemand-tcp", "ondemand-unix"])
def test_a_stopped_php_fpm(fpm: Fpm, pool: str) -> None:
    """The third look has the proof; our request is the only one, and is not counted."""
    watch = PoolWatch(fpm.targets[pool], 5.0, asks=True)
    if pool.startswith("static"):
        wait_until(lambda: watch.look().up, "an answer")
    stopped = [fpm.master.pid, *fpm.processes(pool)]
    stop(*stopped)
    views = [watch.look() for _ in range(3)]
    assert [view.silent for view in views] == [True, True, True]
    assert [view.life for view in views] == [Life.STOPPED] * 3
    assert (views[-1].up, views[-1].waiting) == (False, 0)
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
    wait_until(lambda: watch.look().numbers.get("total_processes"), "an answer")
    assert watch.view.up
    watch.close()


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_a_script_for_a_busy_pool(fpm: Fpm, kind: str) -> None:
    """Our request waits, and is no client; there is one of ours at most."""
    pool = f"static-{kind}"
    watch = PoolWatch(fpm.targets[pool], 5.0, asks=False)
    with ExitStack() as opened:
        fpm.clients(opened, pool, 2)
        wait_until(lambda: watch.look().waiting == 0, "accepted clients")
        answer = watch.run_script("/x.php", {}, 0.1)
        assert isinstance(answer, NoAnswer)
        assert answer.silent
        assert watch.run_script("/x.php", {}, 0.1) is None
        assert [watch.look().waiting for _ in range(3)] == [0, 0, 0]
        assert (watch.view.up, watch.view.failures, watch.view.silent) == (None, 0, True)
    wait_until(lambda: isinstance(watch.run_script("/x.php", {}, 5.0), Response), "a worker")
    watch.look()
    assert (watch.view.silent, watch.view.detail) == (False, "")
    watch.close()


@pytest.mark.parametrize("number", [errno.EPERM, errno.EPROTONOSUPPORT, errno.ENOENT])
def test_a_kernel_that_hides_the_queue(
    fpm: Fpm, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    """It is one message, and php-fpm is asked as before."""

    def refuse(_: Kernel, _request: bytes, *, one: bool) -> list[bytes]:  # noqa: ARG001 - as `ask`
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Kernel, "ask", refuse)
    taken: list[PoolsSeen | OpcacheSeen] = []
    poller = PoolPoller(0.1, taken.append, print)
    name = ProcessName("php-fpm", "php-fpm")
    poller.follow({name: tuple(fpm.targets.values())})
    poller.start()

    def answered() -> PoolsSeen | None:
        seen = [one for one in list(taken) if isinstance(one, PoolsSeen)]
        return next((one for one in seen[3:] if all(pool.up for pool in one.pools)), None)

    try:
        pools = wait_until(answered, "some looks").pools
    finally:
        poller.stop()
    assert {pool.waiting for pool in pools} == {None}
    assert {pool.queue for pool in pools} == {0, None}  # php-fpm's own, over TCP
    assert caplog.text.count("saturated is not detected") == 1
    assert os.strerror(number) in caplog.text


def is_silent(watch: PoolWatch) -> bool:
    return watch.look().silent


@pytest.mark.skipif(os.geteuid() != 0, reason="another user needs root")
def test_the_processes_of_another_user(fpm: Fpm) -> None:
    """Titles and states are for everyone: a busy pool is alive, a stopped one is not."""
    target, seen = fpm.targets["static-tcp"], []
    with ExitStack() as opened:
        fpm.clients(opened, "static-tcp", 5)
        for must_stop in (False, True):
            if must_stop:
                stop(*fpm.processes("static-tcp"))
            reader, writer = os.pipe()
            child = os.fork()
            if child == 0:
                os.setgid(65534)
                os.setuid(65534)
                watch = PoolWatch(target, 5.0, asks=False)
                wait_until(partial(is_silent, watch), "a queue that does not move")
                os.write(writer, watch.view.life.name.encode())
                os._exit(0)
            os.close(writer)
            os.waitpid(child, 0)
            with os.fdopen(reader) as answer:
                seen.append(answer.read())
    assert seen == ["ALIVE", "STOPPED"]
