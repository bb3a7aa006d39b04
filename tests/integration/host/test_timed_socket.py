"""One deadline holds for a whole exchange, and each address of a host gets a share of it."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from fpm_listener.host import timed_socket

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def server() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def test_a_deadline_that_is_over(server: socket.socket) -> None:
    """Nothing starts after the deadline: no connection, no sending, no reading."""
    with server, timed_socket.connect(server.getsockname(), time.monotonic() + 60) as client:
        client.ends_at_s = time.monotonic()
        steps: list[Callable[[], object]] = [
            lambda: client.sendall(b"x"),
            lambda: client.recv(1),
            lambda: client.connect(server.getsockname()),
            lambda: timed_socket.connect(server.getsockname(), time.monotonic()),
        ]
        for step in steps:
            with pytest.raises(TimeoutError):
                step()


def test_bytes_that_come_do_not_extend_the_deadline(server: socket.socket) -> None:
    """A peer that sends one byte after the other cannot hold the client."""
    with server, timed_socket.connect(server.getsockname(), time.monotonic() + 60) as client:
        peer, _ = server.accept()
        stopped = threading.Event()

        def drip() -> None:
            while not stopped.wait(0.001):
                peer.sendall(b"x")

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            assert client.recv(1) == b"x"
            client.ends_at_s = time.monotonic() + 0.05
            with pytest.raises(TimeoutError):
                list(iter(lambda: client.recv(1), b""))
        finally:
            stopped.set()
            thread.join()
            peer.close()


def test_a_silent_peer(server: socket.socket) -> None:
    """The wait for the first byte, and for room to send, ends at the deadline."""
    with server, timed_socket.connect(server.getsockname(), time.monotonic() + 60) as client:
        client.ends_at_s = time.monotonic() + 0.05
        with pytest.raises(TimeoutError) as late:
            client.recv(1)
        assert late.value.__context__ is None  # senders report the deepest cause
        client.ends_at_s = time.monotonic() + 0.05
        with pytest.raises(TimeoutError):
            client.sendall(bytes(1 << 25))


def test_more_bytes_than_the_peer_takes_at_once(server: socket.socket) -> None:
    """All bytes arrive in their order."""
    data = bytes(range(256)) * (1 << 14)
    with server, timed_socket.connect(server.getsockname(), time.monotonic() + 60) as client:
        peer, _ = server.accept()
        received = bytearray()

        def read() -> None:
            while chunk := peer.recv(1 << 16):
                received.extend(chunk)

        thread = threading.Thread(target=read)
        thread.start()
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        thread.join()
        peer.close()
    assert received == data


def test_a_port_that_nobody_listens_on() -> None:
    """The refusal is an error at once."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        closed = gone.getsockname()
    with pytest.raises(ConnectionRefusedError):
        timed_socket.connect(closed, time.monotonic() + 60)


def test_a_host_with_several_addresses(
    server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refused address leaves the whole rest of the time to the next one."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        closed = gone.getsockname()
    stream = (socket.AF_INET, socket.SOCK_STREAM, 0, "")
    found = [(*stream, closed), (*stream, server.getsockname())]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)

    ends_at_s = time.monotonic() + 60
    with server, timed_socket.connect(("two.example", 80), ends_at_s) as client:
        assert client.getpeername() == server.getsockname()
        assert client.ends_at_s == ends_at_s


def test_a_path_without_a_listener(tmp_path: Path) -> None:
    """The error of the last address is raised."""
    with pytest.raises(FileNotFoundError):
        timed_socket.connect(str(tmp_path / "none.sock"), time.monotonic() + 60)
