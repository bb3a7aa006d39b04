"""Clients of php-fpm that count every request; each request has one attempt.

`Load` runs each client in its own process, with this file as a script. So the waiting of one client
delays no other, and the measuring process keeps its processor time.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

_VERSION, _BEGIN, _END, _PARAMS, _STDIN, _STDOUT = 1, 1, 3, 4, 5, 6  # FastCGI 1.0, section 8
_RESPONDER, _REQUEST_COMPLETE = 1, 0
#: Seconds for each step of a request. php-fpm is restarted meanwhile, perhaps on a busy machine.
_ANSWER_S = 60.0
#: Seconds before a client that has failed tries its next request.
_AFTER_FAILURE_S = 0.001
#: Seconds for the client processes to begin, and beyond their last requests' own time to end.
_PATIENCE_S = 120.0


class ErrorStatusError(ConnectionError):
    """The answer was complete, and was an error page."""


def ask(
    address: str,
    script: str = "/ping",
    filename: str = "/ping",
    timeout_s: float = _ANSWER_S,
) -> str:
    """Return the output of php-fpm for one request, with headers.

    address: "host:port", "[::1]:port" or the path of a unix socket.
    timeout_s: for each step: the connection, and every part of the answer.
    Raises OSError without an answer; ConnectionError if the answer is incomplete.
    """
    return _exchange(_target(address), _request(script, filename), timeout_s)


def _target(address: str) -> tuple[socket.AddressFamily, str | tuple[str, int]]:
    if "/" in address:
        return socket.AF_UNIX, address
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    return family, (host.strip("[]"), int(port))


def _record(kind: int, content: bytes) -> bytes:
    return struct.pack("!BBHHBB", _VERSION, kind, 1, len(content), 0, 0) + content


def _request(script: str, filename: str) -> bytes:
    words = {"SCRIPT_NAME": script, "SCRIPT_FILENAME": filename, "REQUEST_METHOD": "GET"}
    pairs = ((key.encode(), value.encode()) for key, value in words.items())
    params = b"".join(struct.pack("!BI", len(k), len(v) | 1 << 31) + k + v for k, v in pairs)
    begin = struct.pack("!HB5x", _RESPONDER, 0)
    parts = ((_BEGIN, begin), (_PARAMS, params), (_PARAMS, b""), (_STDIN, b""))
    return b"".join(_record(kind, content) for kind, content in parts)


def _exchange(
    target: tuple[socket.AddressFamily, str | tuple[str, int]],
    request: bytes,
    timeout_s: float,
) -> str:
    family, address = target
    answer = bytearray()
    with socket.socket(family) as connection:
        connection.settimeout(timeout_s)
        connection.connect(address)
        connection.sendall(request)
        while (printed := _printed(answer)) is None:
            chunk = connection.recv(65536)
            if not chunk:
                raise ConnectionError(f"the answer ends after {len(answer)} bytes")
            answer += chunk
    return printed


def _printed(answer: bytes | bytearray) -> str | None:
    """Return the text of a complete answer; None before its end."""
    printed, at = bytearray(), 0
    while len(answer) >= at + 8:
        kind, length, padding = struct.unpack_from("!xBxxHB", answer, at)
        content = answer[at + 8 : at + 8 + length]
        at += 8 + length + padding
        if len(answer) < at:
            return None
        if kind == _STDOUT:
            printed += content
        elif kind == _END:
            if content[4] != _REQUEST_COMPLETE or not printed:
                raise ConnectionError(f"no answer: protocol status {content[4]}")
            return printed.decode("latin-1")
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """The results of all clients together."""

    requests: int  #: all that were tried
    failures: Mapping[str, int]  #: by the exception's class
    worst_s: float  #: the longest that a request took which was answered
    worst_began_at_s: float  #: monotonic: when that request began
    outage_s: float  #: the longest that one client was without: first failed try to next answer
    per_second: float  #: answers, from the first request to the end of the last


class Load:
    """Clients that send requests as fast as they can until the `with` block ends: see `report`.

    addresses: one for each client in turn; a client keeps its address.
    pause_s: seconds between two requests of a client.
    """

    report: LoadReport

    def __init__(
        self,
        addresses: Sequence[str],
        clients: int = 4,
        script: str = "/ping",
        pause_s: float = 0.0,
    ) -> None:
        self._addresses = [addresses[n % len(addresses)] for n in range(clients)]
        if len(addresses) > clients:
            raise ValueError(f"{len(addresses)} addresses want as many clients, not {clients}")
        self._words = ["--script", script, "--pause", str(pause_s)]
        self._clients: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Load:  # noqa: PYI034 - typing.Self is of Python 3.11
        try:
            for address in self._addresses:
                self._clients.append(_client(address, self._words))
            for client in self._clients:
                assert client.stdout
                assert client.stdout.readline() == b"ready\n", "a client has not started"
            for client in self._clients:
                assert client.stdin
                client.stdin.write(b"go\n")
                client.stdin.flush()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            for client in self._clients:
                assert client.stdin
                client.stdin.close()
                client.stdin = None  # communicate() would flush it
            told = [client.communicate(timeout=_PATIENCE_S)[0] for client in self._clients]
        finally:
            self._end()
        self.report = _together([_ClientResult(**json.loads(text)) for text in told])

    def _end(self) -> None:
        for client in self._clients:
            if client.poll() is None:
                client.kill()
            client.wait()
            for pipe in (client.stdin, client.stdout):
                if pipe is not None:
                    pipe.close()


def _client(address: str, words: Sequence[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-S", __file__, *words, address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # a Ctrl-C is for us: clients end when their stdin does
    )


@dataclass(slots=True, kw_only=True)
class _ClientResult:
    """The results of one client so far; seconds of a clock that all processes share."""

    began_at_s: float
    ended_at_s: float
    requests: int = 0
    failures: dict[str, int] = field(default_factory=Counter)
    worst_s: float = 0.0
    worst_began_at_s: float = 0.0
    outage_s: float = 0.0
    failing_since_s: float | None = None

    def answered(self, began_at_s: float, now_s: float) -> None:
        self.requests += 1
        if now_s - began_at_s > self.worst_s:
            self.worst_s, self.worst_began_at_s = now_s - began_at_s, began_at_s
        self._over(now_s)

    def failed(self, began_at_s: float, error: OSError) -> None:
        self.requests += 1
        self.failures[type(error).__name__] += 1
        if self.failing_since_s is None:
            self.failing_since_s = began_at_s

    def end(self, now_s: float) -> None:
        """Make the end known: an outage that is not over has lasted until now."""
        self.ended_at_s = now_s
        self._over(now_s)

    def _over(self, now_s: float) -> None:
        if self.failing_since_s is not None:
            self.outage_s = max(self.outage_s, now_s - self.failing_since_s)
            self.failing_since_s = None


def _together(seen: Sequence[_ClientResult]) -> LoadReport:
    failures = sum((Counter(one.failures) for one in seen), Counter())
    requests = sum(one.requests for one in seen)
    took_s = max(one.ended_at_s for one in seen) - min(one.began_at_s for one in seen)
    worst = max(seen, key=lambda one: one.worst_s)
    return LoadReport(
        requests=requests,
        failures=dict(failures),
        worst_s=worst.worst_s,
        worst_began_at_s=worst.worst_began_at_s,
        outage_s=max(one.outage_s for one in seen),
        per_second=(requests - failures.total()) / took_s,
    )


def _ask_until_stdin_ends(address: str, script: str, pause_s: float) -> _ClientResult:
    target, request = _target(address), _request(script, script)
    now_s = time.monotonic()
    seen = _ClientResult(began_at_s=now_s, ended_at_s=now_s)
    wait_s = 0.0
    while not select.select([0], [], [], wait_s)[0]:
        began_at_s = time.monotonic()
        try:
            answer = _exchange(target, request, _ANSWER_S)
            if answer.startswith(("Status: 4", "Status: 5")):
                raise ErrorStatusError(answer.partition("\r")[0])
        except OSError as error:
            seen.failed(began_at_s, error)
            wait_s = max(pause_s, _AFTER_FAILURE_S)
        else:
            seen.answered(began_at_s, time.monotonic())
            wait_s = pause_s
    seen.end(time.monotonic())
    return seen


def _main() -> None:
    """Be one client: ready, go, and a report when stdin ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("--script", required=True)
    parser.add_argument("--pause", type=float, required=True)
    options = parser.parse_args()
    os.write(1, b"ready\n")
    if os.read(0, 3) == b"go\n":
        seen = _ask_until_stdin_ends(options.address, options.script, options.pause)
        os.write(1, json.dumps({name: getattr(seen, name) for name in seen.__slots__}).encode())


if __name__ == "__main__":
    _main()
