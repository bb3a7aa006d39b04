"""Clients of the demo's php-fpm: they count the requests that fail during a restart."""

from __future__ import annotations

import socket
import struct
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

#: Clients at once; seconds between two requests of one; seconds of peace before it is told again.
_CLIENTS, _PAUSE_S, _TELL_EVERY_S = 4, 0.005, 10.0
#: Milliseconds. A request that took longer is told at once.
_SLOW_MS = 15.0


def _record(kind: int, content: bytes) -> bytes:
    return struct.pack("!BBHHBB", 1, kind, 1, len(content), 0, 0) + content


_PARAMS = b"".join(
    bytes([len(key), len(value)]) + key + value
    for key, value in (
        (b"SCRIPT_NAME", b"/ping"),
        (b"SCRIPT_FILENAME", b"/ping"),
        (b"REQUEST_METHOD", b"GET"),
    )
)
_REQUEST = (
    _record(1, struct.pack("!HB5x", 1, 0)) + _record(4, _PARAMS) + _record(4, b"") + _record(5, b"")
)


class Clients:
    """Threads that send requests to php-fpm without a pause, and count the answers."""

    def __init__(self, port: int, say: Callable[[str], None]) -> None:
        self._address = ("127.0.0.1", port)
        self._say = say
        self._lock = threading.Lock()
        self._answered = self._failed = 0
        self._slowest_ms = 0.0
        self._over = threading.Event()

    def start(self) -> None:
        """Start to send requests."""
        for work in (*(self._ask_on,) * _CLIENTS, self._tell_on):
            threading.Thread(target=work, daemon=True).start()

    def stop(self) -> None:
        """Stop requests and reports: php-fpm is about to stop."""
        self._over.set()

    def _ask_on(self) -> None:
        while not self._over.is_set():
            began = time.monotonic()
            answered = self._ask()
            took_ms = (time.monotonic() - began) * 1000
            with self._lock:
                self._answered += answered
                self._failed += not answered
                self._slowest_ms = max(self._slowest_ms, took_ms)
            time.sleep(_PAUSE_S)

    def _ask(self) -> bool:
        try:
            with socket.create_connection(self._address, timeout=10) as client:
                client.sendall(_REQUEST)
                answer = b""
                while chunk := client.recv(4096):
                    answer += chunk
        except OSError:
            return False
        return b"pong" in answer

    def _tell_on(self) -> None:
        """Report the counts after a failure, and from time to time."""
        told_at = time.monotonic()
        while not self._over.wait(1.0):
            with self._lock:
                noticed = self._failed > 0 or self._slowest_ms > _SLOW_MS
                if not noticed and time.monotonic() - told_at < _TELL_EVERY_S:
                    continue
                text = (
                    f"clients: {self._answered} requests answered, {self._failed} failed; "
                    f"the slowest took {self._slowest_ms:.0f} ms"
                )
                self._answered = self._failed = 0
                self._slowest_ms = 0.0
            told_at = time.monotonic()
            self._say(text)
