"""`fpm-listener after`: waits for php-fpm, then becomes nginx. Threads stand in for php-fpm."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from fpm_listener.cli import after, after_targets
from fpm_listener.cli.after_targets import Options
from fpm_listener.values import FpmListenerError
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

AFTER = (sys.executable, "-m", "fpm_listener", "after")
#: FCGI_GET_VALUES_RESULT without values.
ANSWER = bytes([1, 10, 0, 0, 0, 0, 0, 0])


@contextmanager
def php_fpm(*addresses: str, answers: bool = True) -> Iterator[None]:
    """Answer as php-fpm does, on ports and unix sockets; or accept only."""
    servers = []
    for address in addresses:
        if address.startswith("/"):
            server = socket.socket(socket.AF_UNIX)
            server.bind(address)
            server.listen()
        else:
            server = socket.create_server(("127.0.0.1", int(address.rpartition(":")[2])))
        servers.append(server)
        if answers:
            threading.Thread(target=_serve, args=(server,), daemon=True).start()
    try:
        yield
    finally:
        for server in servers:
            server.shutdown(socket.SHUT_RDWR)
            server.close()


def _serve(server: socket.socket) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection:
            connection.recv(100)
            connection.sendall(ANSWER)


def site(tmp_path: Path, *, section: str = "program:php-fpm", extra: str = "") -> tuple[str, str]:
    """Write a supervisord.conf with a php-fpm of two pools; return its path and a socket."""
    path, port = str(tmp_path / "a.sock"), free_port()
    (tmp_path / "php-fpm.conf").write_text(
        f"[global]\n[www]\nlisten = {path}\n[api]\nlisten = 127.0.0.1:{port}\n"
    )
    conf = tmp_path / "supervisord.conf"
    conf.write_text(
        f"[supervisord]\n[{section}]\ncommand=php-fpm -F -y %(here)s/php-fpm.conf\n{extra}"
        "[program:nginx]\ncommand=nginx\n"
    )
    return str(conf), f"127.0.0.1:{port}"


def test_it_becomes_the_command(tmp_path: Path) -> None:
    """When the last pool answers: with the same pid and environment, and without descriptors."""
    conf, address = site(tmp_path)
    show = "print(json.dumps([os.getpid(), dict(os.environ), os.listdir('/proc/self/fd')]))"
    show = f"import json, os; {show}"
    command = [*AFTER, "php-fpm", "--supervisord-conf", conf, "--", sys.executable, "-c", show]
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "X": "y"}
    with php_fpm(str(tmp_path / "a.sock")):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        with php_fpm(address):
            out, _ = process.communicate()
    pid, found, descriptors = json.loads(out)
    assert (process.returncode, pid) == (0, process.pid)
    assert {name: found[name] for name in environment} == environment
    assert found.keys() - {"LC_CTYPE"} == environment.keys()  # this Python adds it, not `after`
    assert set(descriptors) <= {"0", "1", "2", "3"}  # 3: of listdir


def test_nothing_answers(tmp_path: Path) -> None:
    """It exits with 75, and says what it has seen. The command is not started."""
    conf, address = site(tmp_path)
    started = tmp_path / "started"
    command = ["php-fpm", "--timeout=200ms", f"--supervisord-conf={conf}", "--"]
    with php_fpm(address):
        done = subprocess.run(
            [*AFTER, *command, "touch", str(started)], capture_output=True, text=True, check=False
        )
    socket_path = tmp_path / "a.sock"
    assert done.returncode == 75
    assert done.stderr == (
        "fpm-listener after: php-fpm did not answer within 200ms:"
        f" {socket_path}: the socket does not exist (exit 75)\n"
    )
    assert not started.exists()


def test_a_stop_while_it_waits() -> None:
    """SIGTERM ends it at once."""
    address = f"127.0.0.1:{free_port()}"
    process = subprocess.Popen([*AFTER, address, "--", "true"], stderr=subprocess.PIPE, text=True)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=20)  # its own timeout is longer
    assert (process.returncode, errors) == (-signal.SIGTERM, "")


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (("--", "true"), 2, "name one program; usage: fpm-listener after"),
        (("a", "b", "--", "true"), 2, "name one program"),
        (("php-fpm",), 2, "the command after -- is missing"),
        (("php-fpm", "--timeout", "soon", "--", "x"), 2, "--timeout 'soon': write a number"),
        (("php-fpm", "--wait", "5s", "--", "x"), 2, "'--wait' is not an option"),
        (("php-fpm", "--config"), 2, "--config needs a value"),
    ],
)
def test_mistakes(words: tuple[str, ...], status: int, message: str) -> None:
    """The message has the usage, or the expected value."""
    with pytest.raises(FpmListenerError, match=message.replace("[", r"\[")):
        after.parse(words)
    assert status == 2


def test_options() -> None:
    """They can be before and after the program; the command keeps its own."""
    assert after.parse(["--timeout", "5s", "x", "--config=/f", "--", "nginx", "--", "-g"]) == (
        Options("x", ("nginx", "--", "-g"), 5.0, "/f")
    )
    assert after.parse(["x", "--timeout", "7", "--", "y"]).timeout_s == 7.0


@pytest.mark.parametrize(
    ("text", "is_it"),
    [
        ("/run/php.sock", True),
        ("127.0.0.1:9000", True),
        ("[::1]:9000", True),
        ("php:9000", True),
        ("9000", True),
        ("php-fpm", False),
        ("php-fpm:php-fpm", False),
        ("php8.2", False),
        (":9000", False),
        ("php:", False),
    ],
)
def test_addresses(text: str, *, is_it: bool) -> None:
    """A path, a port, or a host with a port is an address; else it is a program."""
    assert after_targets.is_address(text) is is_it


@pytest.mark.parametrize(
    ("section", "extra", "name"),
    [
        ("program:php-fpm", "", "php-fpm"),
        ("program:php-fpm", "", "php-fpm:php-fpm"),
        ("program:fpm", "", "fpm"),
        ("program:fpm", "process_name=php-%(process_num)d\nnumprocs=1\n", "fpm:php-0"),
        ("program:fpm", 'environment=A="b"\n[group:web]\nprograms=fpm\n', "web:fpm"),
    ],
)
def test_names_of_programs(tmp_path: Path, section: str, extra: str, name: str) -> None:
    """As supervisor names them; all pools are waited for."""
    conf, address = site(tmp_path, section=section, extra=extra)
    assert after_targets.find(name, conf) == (str(tmp_path / "a.sock"), address)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("php", r"has no program 'php'; it has: nginx, php-fpm"),
        ("nginx", r"\[program:nginx\]: its command is not recognized as php-fpm; name its address"),
    ],
)
def test_wrong_programs(tmp_path: Path, name: str, message: str) -> None:
    """The error has the names, or another way."""
    conf, _ = site(tmp_path)
    with pytest.raises(FpmListenerError, match=message):
        after_targets.find(name, conf)


def test_a_php_fpm_that_accepts_only(tmp_path: Path) -> None:
    """A full queue or a dead worker is no answer."""
    path = str(tmp_path / "a.sock")
    with php_fpm(path, answers=False):
        found = after.wait([path], time.monotonic() + 0.1)
    assert found == (path, "it accepts connections and does not answer")


def test_a_command_that_does_not_exist() -> None:
    """It exits as a shell does."""
    address = f"127.0.0.1:{free_port()}"
    with php_fpm(address):
        done = subprocess.run(
            [*AFTER, address, "--", "/nowhere/nginx"], capture_output=True, text=True, check=False
        )
    assert done.returncode == 127
    assert "cannot execute /nowhere/nginx: No such file" in done.stderr
