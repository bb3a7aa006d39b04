"""Looks at pools: a queue that moves, one that does not, and none."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

from fpm_listener.daemon.health_check import HealthCheck
from fpm_listener.monitor.known_programs import ProgramsKnown
from fpm_listener.phpfpm.config import FpmSite
from fpm_listener.phpfpm.pool_probe import Outcome, ProbeTarget
from fpm_listener.phpfpm.probe import probe, probe_all
from fpm_listener.status.health import Health, Patience
from fpm_listener.status.snapshot import Snapshot
from fpm_listener.supervisor.process import ProcessName
from tests.snapshots import program

if TYPE_CHECKING:
    from pathlib import Path

VALUES = struct.pack("!BBHHBB", 1, 10, 0, 0, 0, 0)


def listening(opened: ExitStack, path: Path, backlog: int = 9) -> socket.socket:
    server = opened.enter_context(socket.socket(socket.AF_UNIX))
    server.bind(str(path))
    server.listen(backlog)
    return server


def client(opened: ExitStack, path: Path) -> None:
    opened.enter_context(socket.socket(socket.AF_UNIX)).connect(str(path))


def test_a_dead_pool_gets_one_question(tmp_path: Path) -> None:
    """The first look asks, and its question stays in the queue. The next ones only watch."""
    target = ProbeTarget("www", str(tmp_path / "s"))
    with ExitStack() as opened:
        listening(opened, tmp_path / "s")
        first = probe(target, 0.1)
        assert first.pong is not None
        assert first.pong.outcome is Outcome.SILENT
        assert (first.waiting, first.limit) == (1, 9)
        for _ in range(3):
            later = probe(target, 0.1)
            assert (later.pong, later.moved, later.waiting) == (None, False, 1)


def test_a_full_queue_that_moves(tmp_path: Path) -> None:
    """It is alive although nobody can connect, and its number does not change."""
    path = tmp_path / "s"
    with ExitStack() as opened:
        server = listening(opened, path, backlog=1)
        client(opened, path)
        client(opened, path)

        def swap() -> None:
            opened.enter_context(server.accept()[0])
            client(opened, path)

        timer = threading.Timer(0.1, swap)
        timer.start()
        found = probe(ProbeTarget("www", str(path)), 20.0)
        timer.join(10)
        assert found.moved
        assert found.pong is None
        assert found.looked_s < 20


def test_a_restart_while_the_queue_is_watched(tmp_path: Path) -> None:
    """The new socket has an empty queue, which never moves: it is asked, and the old one is not."""
    path = tmp_path / "s"
    with ExitStack() as opened:
        old = listening(opened, path)
        client(opened, path)

        def restart() -> None:
            path.unlink()
            old.close()
            serve(opened, listening(opened, path), [b"", VALUES])

        timer = threading.Timer(0.1, restart)
        timer.start()
        found = probe(ProbeTarget("www", str(path)), 20.0)
        timer.join(10)
        assert found.looked_s < 20
        assert found.pong is not None
        assert found.pong.outcome is Outcome.ANSWERED


def serve(opened: ExitStack, server: socket.socket, answers: list[bytes]) -> None:
    """Answer one connection each, in a thread; an empty answer only closes it."""

    def run() -> None:
        for answer in answers:
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                connection.sendall(answer)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    opened.callback(thread.join, 10)


def test_several_pools_at_once(tmp_path: Path) -> None:
    """Silent pools are waited for side by side; results keep their order."""
    with ExitStack() as opened:
        targets = [ProbeTarget(str(at), str(tmp_path / str(at))) for at in range(3)]
        for at in (0, 2):
            listening(opened, tmp_path / str(at))
        found = probe_all(targets, 0.2)

    outcomes = [one.pong.outcome for one in found if one.pong]
    assert outcomes == [Outcome.SILENT, Outcome.NO_SOCKET, Outcome.SILENT]
    assert probe_all([], 1.0) == []


def test_questions_at_the_same_time(tmp_path: Path) -> None:
    """Each of five questions gets a verdict, and a question that came later looks itself."""
    path, asked = tmp_path / "s", []
    name = ProcessName("php-fpm", "php-fpm")
    site = FpmSite(probes=(ProbeTarget("www", str(path)),))
    check = HealthCheck()
    check.follow(ProgramsKnown(programs=(), sites={name: site}))
    snapshot = Snapshot(ready=True, processes=(program("php-fpm"),))
    release = threading.Event()
    with ExitStack() as opened:
        server = listening(opened, path)

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    asked.append(connection.recv(100))
                    release.wait(20)
                    connection.sendall(VALUES)

        serving = threading.Thread(target=serve)
        serving.start()
        verdicts: list[Health] = []
        threads = [
            threading.Thread(
                target=lambda: verdicts.append(
                    check.report(snapshot, (), Patience(timeout_s=20)).verdicts[0].health
                )
            )
            for _ in range(5)
        ]
        for thread in threads:
            thread.start()
        release.set()
        for thread in threads:
            thread.join(30)
        before = len(asked)
        check.report(snapshot, (), Patience(timeout_s=20))
        assert len(asked) == before + 1
        server.shutdown(socket.SHUT_RDWR)
        serving.join(10)
    assert len(verdicts) == 5
    assert set(verdicts) <= {Health.FINE, Health.BUSY}
    assert before <= 5
