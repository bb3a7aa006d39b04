"""One question over FastCGI: whatever the other side does, the deadline holds."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import pytest

from fpm_listener.phpfpm import fastcgi
from fpm_listener.phpfpm.fastcgi import NoAnswer, Response
from tests.fastcgi_server import END, Server, answer, record
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


PONG = record(6, b"Content-type: text/plain\r\n\r\npo", 3) + record(7, b"noise") + record(6, b"ng")


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


def ask(address: tuple[str, int] | str, within_s: float = 10.0) -> Response | NoAnswer:
    return fastcgi.get(address, "/ping", "", time.monotonic() + within_s)


def test_an_answer_in_pieces(server: Server) -> None:
    """Records, padding and what is not ours are told apart, however the bytes come."""

    def drip(connection: socket.socket) -> None:
        for byte in PONG + END:
            connection.sendall(bytes([byte]))

    server.do = drip
    assert ask(server.address) == Response(200, "pong")


def test_a_status(server: Server) -> None:
    """What is no 200 is told."""
    text = b"Status: 404 Not Found\r\nX: y\r\n\r\nFile not found.\n"
    server.do = lambda connection: connection.sendall(record(6, text) + END)
    assert ask(server.address) == Response(404, "File not found.\n")


def test_records_of_another_request(server: Server) -> None:
    """They are no part of the answer."""
    other = record(6, b"other", request_id=2) + record(3, b"\0" * 8, request_id=2)
    server.do = lambda connection: connection.sendall(other + PONG + END)
    assert ask(server.address) == Response(200, "pong")


def test_hostile_headers(server: Server) -> None:
    """Only the beginning of the header is read."""
    text = answer(b"A: b\r\n" * 300_000 + b"Status: 404\r\n\r\nx")
    server.do = lambda connection: connection.sendall(text)
    began_s = time.process_time()
    assert ask(server.address) == Response(200, "x")
    assert time.process_time() - began_s < 1


@pytest.mark.parametrize("pause_s", [0.05, 60.0])
def test_the_deadline_holds(server: Server, pause_s: float) -> None:
    """Against who says nothing, and against who drips bytes for ever."""

    def drip(connection: socket.socket) -> None:
        while not server.over.wait(pause_s):
            connection.sendall(b"\1")

    server.do = drip
    began_s = time.monotonic()
    answer = ask(server.address, 0.5)

    assert isinstance(answer, NoAnswer)
    assert answer.silent
    assert time.monotonic() - began_s < 20  # generous: a minute is what it must not take


@pytest.mark.parametrize(
    ("bytes_", "why"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "is not php-fpm"),
        (b"", "closed before"),
        (PONG, "closed before"),
        (PONG + record(3, b"\0" * 8, request_id=7), "closed before"),
        (record(6, b"x" * 65535) * 40, "longer than"),
    ],
)
def test_what_is_no_answer(server: Server, bytes_: bytes, why: str) -> None:
    """It is said, and is no silence."""
    server.do = lambda connection: connection.sendall(bytes_)
    answer = ask(server.address)

    assert isinstance(answer, NoAnswer)
    assert why in answer.why
    assert not answer.silent


def test_no_listener(tmp_path: Path) -> None:
    """Refused and missing are no silence."""
    for address in (("127.0.0.1", free_port()), f"{tmp_path}/none.sock", f"{tmp_path}/{'x' * 200}"):
        answer = ask(address)
        assert isinstance(answer, NoAnswer)
        assert "no connection: " in answer.why
        assert not answer.silent


def test_a_socket_whose_queue_is_full(tmp_path: Path) -> None:
    """Linux says EAGAIN at once; that is a php-fpm that takes nobody in."""
    path = f"{tmp_path}/full.sock"
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as first:
        listening.bind(path)
        listening.listen(0)
        first.connect(path)
        answer = ask(path, 0.5)

    assert isinstance(answer, NoAnswer)
    assert answer.silent
