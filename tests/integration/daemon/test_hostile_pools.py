"""Any process can answer at the address of a pool: one message each, and the others go on."""

from __future__ import annotations

import json
import os
from collections import Counter
from typing import TYPE_CHECKING

from fpm_listener.daemon.pool_poller import PoolPoller
from fpm_listener.daemon.pool_watch import PoolWatch
from fpm_listener.monitor.messages import PoolsSeen
from fpm_listener.phpfpm.status_page import PoolTarget
from fpm_listener.supervisor.process import ProcessName
from tests.fastcgi_server import END, Server, answer, record
from tests.waiting import wait_until

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    import pytest

    from fpm_listener.monitor.opcache_seen import OpcacheSeen
    from fpm_listener.phpfpm.status_page import PoolView

POOL = '{"pool":"www","accepted conn":%s,"idle processes":1,"active processes":2, "processes":['
WORKER = {"pid": 11, "state": "Running", "request duration": 5, "request uri": "/x?y"}


def page(*workers: str, accepted: str = "3") -> bytes:
    """Return an answer with a status page."""
    text = f"{POOL % accepted}{','.join(workers)}]}}"
    return answer(b"Content-type: application/json\r\n\r\n" + text.encode())


GOOD = page(json.dumps(WORKER, separators=(",", ":")))


def _endless(connection: socket.socket) -> None:
    while True:
        connection.sendall(record(6, b"x" * 65000))


def _sends(data: bytes) -> Callable[[socket.socket], None]:
    return lambda connection: connection.sendall(data)


#: What a server does, and the message about it; empty = its numbers are read.
SERVERS: dict[str, tuple[Callable[[socket.socket], None], str]] = {
    "good": (_sends(GOOD), ""),
    "garbage": (_sends(b"\xff" + os.urandom(100_000)), "the server is not php-fpm"),
    "http": (_sends(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "the server is not php-fpm"),
    "endless": (_endless, "longer than"),
    "many": (_sends(page(*[json.dumps(WORKER)] * 30_000)), "longer than"),
    "closes": (_sends(b""), "closed before the end"),
    "early": (_sends(GOOD[:-20]), "closed before the end"),
    "ids": (_sends(record(6, b"\r\n\r\nx", request_id=7) + END[:-1]), "closed before the end"),
    "deep": (_sends(page("[" * 1_900_000)), ""),
    "wide": (_sends(page("{}," * 600_000)), ""),
    "list": (_sends(answer(b"\r\n\r\n" + b"[]," * 600_000)), "not as php-fpm does"),
    "absurd": (_sends(page(accepted="9" * 5000)), "not as php-fpm does"),
    "status": (_sends(answer(b"Status: 999 x\r\n\r\n\x1b[2J")), "answers with status 999"),
}


def test_hostile_servers(caplog: pytest.LogCaptureFixture) -> None:
    """Numbers, or one message; no unexpected error, and no pool waits for another."""
    servers = {name: Server(do) for name, (do, _) in SERVERS.items()}
    views: dict[str, PoolView] = {}
    looks: Counter[str] = Counter()
    errors: list[object] = []

    def put(seen: PoolsSeen | OpcacheSeen) -> None:
        assert isinstance(seen, PoolsSeen)
        views.update((view.pool, view) for view in seen.pools)
        looks.update(view.pool for view in seen.pools)

    poller = PoolPoller(
        0.2, put, errors.append, lambda *got: errors.append(got), reads_requests=True
    )
    poller.follow(
        {
            ProcessName(name, name): (
                PoolTarget(name, f"127.0.0.1:{server.address[1]}", status_path="/status"),
            )
            for name, server in servers.items()
        }
    )
    poller.start()
    try:
        wait_until(lambda: all(looks[name] >= 3 for name in SERVERS), "three looks at each pool")
        wait_until(lambda: views["good"].states.get("running") == 1, "the numbers")
    finally:
        poller.stop()
        for server in servers.values():
            server.close()

    assert errors == []
    for name, (_, problem) in SERVERS.items():
        told = [
            record.getMessage() for record in caplog.records if f"pool={name} " in record.message
        ]
        slow = [text for text in told if "accepts connections" in text]  # on a busy machine
        assert len(told) - len(slow) == (1 if problem else 0) or slow, name
        assert all(problem in text for text in told if text not in slow), name
        assert views[name].up is (not problem) or slow, name


def watch_of(server: Server, interval_s: float = 5.0) -> PoolWatch:
    """Return a watch of a pool with a status page."""
    target = PoolTarget("www", f"127.0.0.1:{server.address[1]}", status_path="/status")
    return PoolWatch(target, interval_s, asks=True)


def test_an_answer_in_two_parts() -> None:
    """The first part is kept: a slow php-fpm is no other server."""
    server = Server()

    def send(connection: socket.socket) -> None:
        connection.sendall(GOOD[:50])
        server.over.wait(30)
        connection.sendall(GOOD[50:])

    server.do = send
    watch = watch_of(server)
    assert watch.look().silent
    assert watch.look().detail == "it accepts connections and does not answer"
    server.over.set()
    wait_until(lambda: watch.look().up, "the rest of the answer")
    assert watch.view.states["running"] == 1
    watch.close()
    server.close()


def test_a_worker_that_keeps_our_request() -> None:
    """It is asked again after a while, by a new request: another worker may answer."""
    server = Server()
    kept: list[socket.socket] = []

    def keep(connection: socket.socket) -> None:
        if server.connections > 1:
            connection.sendall(GOOD)
        else:
            kept.append(connection.dup())

    server.do = keep
    watch = watch_of(server, 0.1)
    assert watch.look().silent
    wait_until(lambda: watch.look().up, "another worker")
    watch.close()
    server.close()
    kept[0].close()
