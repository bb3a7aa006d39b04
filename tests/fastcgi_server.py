"""A FastCGI server that does with each connection what a test says."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def record(kind: int, content: bytes, padding: int = 0, request_id: int = 1) -> bytes:
    """Return one record."""
    head = struct.pack("!BBHHBB", 1, kind, request_id, len(content), padding, 0)
    return head + content + b"\0" * padding


#: The end of an answer.
END = record(3, b"\0" * 8)


def answer(text: bytes) -> bytes:
    """Return a whole answer with this output."""
    pieces = (text[at : at + 65000] for at in range(0, len(text), 65000))
    return b"".join(record(6, piece) for piece in pieces) + END


class Server:
    """Takes one connection after the other and does with it what the test says."""

    def __init__(self, do: Callable[[socket.socket], None] = lambda _: None) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self.socket.getsockname()
        self.do = do
        self.connections = 0
        self.over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.connections += 1
            with connection, suppress(OSError):
                connection.settimeout(10)
                connection.recv(65536)
                self.do(connection)

    def close(self) -> None:
        """End it."""
        self.over.set()
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self._thread.join(10)
