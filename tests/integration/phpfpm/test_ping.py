"""Is it alive: every answer of a server, and every way to have none."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from fpm_listener.phpfpm.ping import Outcome, ping
from tests.other_user import OTHER_UID, needs_root, open_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def ask(address: str, within_s: float = 10.0, path: str | None = None) -> Outcome:
    return ping(address, time.monotonic() + within_s, path).outcome


@contextmanager
def serving(path: str, do: Callable[[socket.socket], None], backlog: int = 5) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen(backlog)

        def run() -> None:
            connection, _ = server.accept()
            with connection:
                connection.settimeout(10)
                do(connection)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield
        thread.join(10)


VALUES = struct.pack("!BBHHBB", 1, 10, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (VALUES, Outcome.ANSWERED),
        (struct.pack("!BBHHBB", 1, 6, 1, 500, 0, 0), Outcome.ANSWERED),  # the rest never comes
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", Outcome.NOT_FASTCGI),
        (struct.pack("!BBHHBB", 1, 77, 1, 0, 0, 0), Outcome.NOT_FASTCGI),
        (b"\1", Outcome.CLOSED),
        (b"", Outcome.CLOSED),
    ],
)
def test_what_a_server_answers(tmp_path: Path, answer: bytes, outcome: Outcome) -> None:
    """Any FastCGI record counts; another protocol and a closed connection do not."""
    path = str(tmp_path / "s")
    asked = []

    def reply(connection: socket.socket) -> None:
        asked.append(connection.recv(4096))
        connection.sendall(answer)

    with serving(path, reply):
        assert ask(path) is outcome
    assert asked[0][1] == 9  # FCGI_GET_VALUES


def test_an_answer_in_single_bytes(tmp_path: Path) -> None:
    """Pieces are put together."""
    path = str(tmp_path / "s")

    def drip(connection: socket.socket) -> None:
        connection.recv(4096)
        for byte in VALUES:
            connection.sendall(bytes([byte]))

    with serving(path, drip):
        assert ask(path, path="/ping") is Outcome.ANSWERED


def test_no_answer_in_time(tmp_path: Path) -> None:
    """A client in the queue waits until the deadline, and no longer."""
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen(5)
        began_s = time.monotonic()
        assert ask(path, within_s=0.2) is Outcome.SILENT
        assert time.monotonic() - began_s < 5


def test_a_full_queue(tmp_path: Path) -> None:
    """The question is tried again until the deadline, and gets in as soon as there is a place."""
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as first:
        server.bind(path)
        server.listen(0)
        first.connect(path)
        assert ask(path, within_s=0.2) is Outcome.QUEUE_FULL

        def serve() -> None:
            first.close()
            for _ in range(2):
                connection, _ = server.accept()
                with connection:
                    if connection.recv(4096):
                        connection.sendall(VALUES)

        thread = threading.Timer(0.1, serve)
        thread.start()
        assert ask(path) is Outcome.ANSWERED
        thread.join(10)


def test_no_server(tmp_path: Path) -> None:
    """Each reason has its own outcome and a clause for people."""
    stale, odd = str(tmp_path / "stale"), str(tmp_path / "odd")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(stale)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(odd)
        assert ask(odd) is Outcome.NOT_FASTCGI
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        assert ask(f"127.0.0.1:{free.getsockname()[1]}") is Outcome.REFUSED
    assert ask(stale) is Outcome.REFUSED
    assert ask(str(tmp_path / "none")) is Outcome.NO_SOCKET
    assert ask("a:b") is Outcome.UNUSABLE
    assert "not a port" in ping("a:b", time.monotonic() + 1).why


@needs_root
def test_no_permission() -> None:
    """A user that may not connect is told which settings decide."""
    with open_folder() as folder, socket.socket(socket.AF_UNIX) as server:
        path = str(folder / "s")
        server.bind(path)
        server.listen(5)
        os.chmod(path, 0o600)  # noqa: PTH101 - a text
        os.seteuid(OTHER_UID)
        try:
            answer = ping(path, time.monotonic() + 5)
        finally:
            os.seteuid(0)
    assert answer.outcome is Outcome.FORBIDDEN
    assert "listen.owner" in answer.why
