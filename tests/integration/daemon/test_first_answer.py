"""The first answer of a listener that was restarted."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from tests.ports import free_port
from tests.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

#: Three failed starts: a restart loop, so the state is saved.
EVENTS = "".join(
    f"ver:3.0 server:supervisor serial:{serial} pool:listener poolserial:{serial} "
    f"eventname:PROCESS_STATE_{state} len:{len(payload)}\n{payload}"
    for serial, state in enumerate(("STARTING", "BACKOFF") * 3, 1)
    for payload in ["processname:php groupname:web from_state:STOPPED tries:0"]
)


def listen(conf: Path, log: Path, events: str) -> subprocess.Popen[bytes]:
    """Start a listener that reads these events."""
    with log.open("wb") as stderr:
        child = subprocess.Popen(
            [sys.executable, "-m", "fpm_listener", "listen", "--config", str(conf)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            bufsize=0,
        )
    assert child.stdin
    child.stdin.write(events.encode())
    return child


def test_it_shows_the_restored_programs(tmp_path: Path) -> None:
    """Not even the first answer lacks a program and its incident."""
    port = free_port()
    conf, log = tmp_path / "fpm_listener.conf", tmp_path / "log"
    conf.write_text(f"[fpm-listener]\nlisten = 127.0.0.1:{port}\nstate_dir = {tmp_path}/state\n")

    def answer() -> Any:  # noqa: ANN401 - JSON
        """Return the first answer, with as many attempts as fit: the moment is short."""
        for _ in range(1000):
            with (
                suppress(ConnectionRefusedError),
                socket.create_connection(("127.0.0.1", port)) as connection,
            ):
                connection.sendall(b"GET /status.json HTTP/1.0\r\n\r\n")
                return json.loads(connection.makefile("rb").read().partition(b"\r\n\r\n")[2])
        return None

    first = listen(conf, log, EVENTS)
    try:
        wait_until(lambda: "incident firing" in log.read_text(), "the incident")
    finally:
        first.kill()
        first.communicate()
    second = listen(conf, log, "")
    try:
        document = wait_until(answer, "the first answer")
    finally:
        second.kill()
        second.communicate()
    assert [program["name"] for program in document["programs"]] == ["web:php"]
