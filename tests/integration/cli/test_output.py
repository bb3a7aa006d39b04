"""What commands print: nothing of others steers the terminal, and no output ends in a traceback."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fpm_listener.status.document import to_json
from tests.snapshots import NOW_S, TROUBLE

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMAND = [sys.executable, "-m", "fpm_listener"]
#: Escapes, an OSC sequence, a C1 control, a bidi override, a return, a bell.
HOSTILE = "\x1b[31m\x1b]0;title\x07\x9b2J\u202e\r\x08"
FORBIDDEN = {*map(chr, range(32)), *map(chr, range(0x7F, 0xA0)), *"\u202a\u202b\u202c\u202d\u202e"}


def harmless(text: str) -> bool:
    return not (FORBIDDEN - {"\n"}) & set(text)


def run(*words: str, stdout: int | None = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *words],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        check=False,
        timeout=200,
    )


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """Serve these bytes to each connection; return the URL."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            with client:
                client.recv(65536)
                client.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()


def page(body: str, status: str = "200 OK") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
    return head.encode("latin-1") + body.encode()


@pytest.fixture
def words(tmp_path: Path) -> dict[str, list[str]]:
    """Return a command line of each kind that works here."""
    config = tmp_path / "fpm_listener.conf"
    config.write_text(
        f"[fpm-listener]\nstate_dir = {tmp_path}\n[fpm-listener:receiver:ops]\ntype = exec\n"
        "command = /bin/true\n"
    )
    conf = tmp_path / "supervisord.conf"
    conf.write_text(f"[supervisord]\n[program:a{HOSTILE[-3]}b]\ncommand=x/y\n", encoding="utf-8")
    (tmp_path / "init").mkdir()
    return {
        "check": ["check", "--supervisord-conf", str(conf)],
        "check --json": ["check", "--json", "--supervisord-conf", str(conf)],
        "check --fix-preview": ["check", "--fix-preview", "--supervisord-conf", str(conf)],
        "alerts list": ["alerts", "list", "--config", str(config)],
        "alerts list --json": ["alerts", "--json", "list", "--config", str(config)],
        "alerts drop": ["alerts", "drop", "ops", "--config", str(config)],
        "alerts test": ["alerts", "--config", str(config), "test", "ops"],
        "init": ["init", str(tmp_path / "init")],
        "version": ["version"],
        "--version": ["--version"],
        "help": ["help"],
        "--help": ["--help"],
        "check --help": ["check", "--help"],
    }


COMMANDS = (
    *("check", "check --json", "alerts list", "alerts list --json", "alerts drop", "alerts test"),
    *("init", "version", "--version", "help", "--help", "check --help"),
)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk(command: str, words: dict[str, list[str]]) -> None:
    """One line says so, and the status is 2."""
    with Path("/dev/full").open("w") as full:
        done = run(*words[command], stdout=full.fileno())

    assert done.stderr.endswith("standard output cannot be written: No space left on device\n")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


@pytest.mark.parametrize("command", COMMANDS)
def test_output_into_a_closed_pipe(command: str, words: dict[str, list[str]]) -> None:
    """Nothing is said, and the status is that of a program which SIGPIPE ended."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = run(*words[command], stdout=writer)
    finally:
        os.close(writer)

    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("command", ["check", "alerts list", "version", "help"])
def test_standard_output_is_closed(command: str, words: dict[str, list[str]]) -> None:
    """One line says so."""
    line = subprocess.list2cmdline([*COMMAND, *words[command]])
    done = subprocess.run(
        ["/bin/sh", "-c", f"{line} >&-"],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=200,
    )

    assert (done.returncode, done.stderr) == (2, "fpm-listener: standard output is closed\n")


def test_standard_error_is_full(tmp_path: Path) -> None:
    """The status is kept."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*COMMAND, "check", "--supervisord-conf", str(tmp_path / "none")],
            stdout=subprocess.PIPE,
            stderr=full,
            check=False,
            timeout=200,
        )

    assert (done.returncode, done.stdout) == (2, b"")


NOT_A_STATUS = {
    "an empty object": "{}",
    "a list": "[]",
    "null": "null",
    "a number": "7",
    "a text": '"x"',
    "deep": "[" * 200_000,
    "deep and whole": "[" * 50_000 + "]" * 50_000,
    "deep objects": '{"programs":' * 50_000,
    "no JSON": "<html>",
    "not UTF-8": "\ud800",
    "other programs": '{"programs": [1], "supervisor": null, "instance": null}',
}


@pytest.mark.parametrize("kind", NOT_A_STATUS)
@pytest.mark.parametrize("option", [[], ["--json"]])
def test_answers_that_are_no_status(kind: str, option: list[str]) -> None:
    """One line, status 2, no traceback."""
    body = NOT_A_STATUS[kind].encode("utf-8", "surrogatepass").decode("latin-1")
    with answering(page(body)) as url:
        done = run("status", "--url", url, *option)

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr[-500:]
    assert url in done.stderr


@pytest.mark.parametrize(
    "answer",
    [
        page("", f"500 {HOSTILE.replace(chr(13), '').replace(chr(0x202E), '')}"),
        b"\x1b[31m\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{",
        b"",
    ],
)
def test_answers_that_are_no_http(answer: bytes) -> None:
    """A reason phrase cannot steer the terminal; what is no HTTP is one line."""
    with answering(answer) as url:
        done = run("status", "--url", url)

    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert harmless(done.stderr)


def test_a_status_full_of_escapes() -> None:
    """Whatever text of it has control characters, they become question marks."""

    def spoilt(value: object, key: str = "") -> object:
        if isinstance(value, dict):
            return {name: spoilt(one, name) for name, one in value.items()}
        if isinstance(value, list):
            return [spoilt(one, key) for one in value]
        return value + HOSTILE if isinstance(value, str) and key not in KEYS else value

    document = spoilt(to_json(TROUBLE, NOW_S))
    with answering(page(json.dumps(document))) as url:
        done = run("status", "--url", url)

    assert done.returncode == 0, done.stderr
    assert harmless(done.stdout)
    assert "?[31m" in done.stdout


#: What the table chooses by.
KEYS = {"severity", "what", "tier"}


def test_check_of_names_full_of_escapes(tmp_path: Path) -> None:
    """A name of a program, a path or a value cannot steer the terminal."""
    conf = tmp_path / f"a{HOSTILE.replace(chr(13), '')}b.conf"
    conf.write_text("[supervisord]\n[program:a\u202eb\x1bc\x9b]\ncommand=./x\x1b[2J\u2028ERROR y\n")
    done = run("check", "--supervisord-conf", str(conf))

    assert done.returncode == 1
    assert "FPM114" in done.stdout
    assert harmless(done.stdout)
    assert "\u2028" not in done.stdout


def test_what_the_encoding_lacks(tmp_path: Path) -> None:
    """It is printed as an escape."""
    conf = tmp_path / "supervisord.conf"
    conf.write_text("[supervisord]\n[program:\u4e2d]\ncommand=./x\n", encoding="utf-8")
    done = subprocess.run(
        [*COMMAND, "check", "--supervisord-conf", str(conf)],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=False,
        timeout=200,
    )

    assert done.stderr == b""
    assert rb"program:\u4e2d" in done.stdout
