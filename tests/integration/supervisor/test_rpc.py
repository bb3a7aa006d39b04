"""What supervisord's XML-RPC does on bad days: what `test_supervisor.py` does not play."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
import xmlrpc.client
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from fpm_listener.host.timed_socket import TimedSocket
from fpm_listener.supervisor import server_login
from fpm_listener.supervisor.process import ProcessName, ProcessSeen
from fpm_listener.supervisor.rpc import LONGEST_ANSWER, RpcFailed, SupervisorRpc
from fpm_listener.supervisor.server_login import Login
from fpm_listener.vocabulary import State
from tests.ports import free_port
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


PASSWORD = "s3cret"
RUNNING = {"group": "a", "name": "a", "statename": "RUNNING", "pid": 1, "start": 1}
CONF = """\
[supervisord]
identifier=café
{user}
logfile={folder}/supervisord.log
pidfile={folder}/supervisord.pid
childlogdir={folder}
[unix_http_server]
file={folder}/s.sock
[inet_http_server]
port=127.0.0.1:{port}
username=admin
password={password}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[program:quick-café]
command=/bin/sh -c 'exit 7'
startsecs=0
autorestart=false
[program:idle]
command=/bin/sleep 1000
autostart=false
[program:stubborn]
command={python} -c "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(1000)"
stopwaitsecs=1000
"""


def identification(rpc: SupervisorRpc) -> str | RpcFailed:
    """Make the shortest call there is."""
    return rpc._ask(str, "supervisor.getIdentification")


class Supervisord:
    """A real one, with its programs."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        (folder / "supervisord.conf").write_text(
            CONF.format(
                folder=folder,
                port=self.port,
                password=PASSWORD,
                python=sys.executable,
                user="user=root" if os.geteuid() == 0 else "",
            ),
            encoding="utf-8",
        )
        command = [sys.executable, "-m", "supervisor.supervisord", "-n", "-c"]
        self.process = subprocess.Popen(
            [*command, str(folder / "supervisord.conf")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONUTF8": "1"},
        )
        self.rpc = SupervisorRpc(f"unix://{folder}/s.sock")

    def infos(self) -> dict[str, ProcessSeen]:
        found = self.rpc.processes()
        return {} if isinstance(found, RpcFailed) else {one.name.process: one for one in found}

    def log(self, more: bytes) -> None:
        with (self.folder / "supervisord.log").open("ab") as log:
            log.write(more)

    def end(self) -> None:
        stubborn = self.infos().get("stubborn")
        self.process.terminate()
        if stubborn and stubborn.pid:
            with suppress(ProcessLookupError):
                os.kill(stubborn.pid, 9)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def supervisord(tmp_path: Path) -> Iterator[Supervisord]:
    """Run supervisord until its quick program has ended."""
    made = Supervisord(tmp_path)
    try:
        wait_until(lambda: (one := made.infos().get("quick-café")) and one.state is State.EXITED)
        yield made
    finally:
        made.end()


@contextmanager
def door(folder: Path, speak: Callable[[socket.socket], None]) -> Iterator[SupervisorRpc]:
    """Yield a client of something that answers as `speak` does, and is no supervisord."""

    def serve() -> None:
        with suppress(OSError):  # the door is closed
            while True:
                peer, _ = listener.accept()
                with peer, suppress(OSError):
                    asked = b""
                    while b"</methodCall>" not in asked and (piece := peer.recv(65536)):
                        asked += piece
                    speak(peer)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "d.sock"))
        listener.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield SupervisorRpc(f"unix://{folder}/d.sock", timeout_s=5.0)
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(30)


def answer(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def result(value: object) -> bytes:
    return answer(xmlrpc.client.dumps((value,), methodresponse=True).encode())  # type: ignore[arg-type]  # any value can be marshalled


def why(failed: object) -> str:
    assert isinstance(failed, RpcFailed), failed
    return failed.why


# -- what supervisord tells ------------------------------------------------------------------------


def test_process_infos(supervisord: Supervisord) -> None:
    """States, pids and starts; a process that never started has neither pid nor start."""
    quick, idle = supervisord.infos()["quick-café"], supervisord.infos()["idle"]

    assert (quick.name, quick.pid) == (ProcessName("quick-café", "quick-café"), None)
    assert quick.started_at_s is not None
    assert (idle.state, idle.pid, idle.started_at_s) == (State.STOPPED, None, None)
    assert identification(supervisord.rpc) == "café"


def test_over_tcp_with_a_password(supervisord: Supervisord) -> None:
    """An [inet_http_server] works as well, and asks for the password."""
    right = SupervisorRpc(f"http://127.0.0.1:{supervisord.port}", "admin", PASSWORD)
    assert identification(right) == "café"
    wrong = SupervisorRpc(f"http://127.0.0.1:{supervisord.port}", "admin", "other")

    assert why(identification(wrong)) == (
        "supervisord asks for a password, and rejects the one that it gets. Set "
        "SUPERVISOR_USERNAME and SUPERVISOR_PASSWORD in environment= of the listener's section. "
        "Until then, exit codes can be unknown, and self-healing does not work"
    )


def test_the_password_of_the_configuration(supervisord: Supervisord) -> None:
    """It is looked for when supervisord asks for it; a wrong one is replaced."""
    url, path = f"http://127.0.0.1:{supervisord.port}", str(supervisord.folder / "supervisord.conf")
    for name, given in (("", ""), ("admin", "other")):
        rpc = SupervisorRpc(url, name, given, find_login=server_login.in_file(path, {}))
        assert identification(rpc) == "café"
        assert identification(rpc) == "café"
    unknown = SupervisorRpc(url, find_login=lambda _: "X contains only the hash of the password")
    assert why(identification(unknown)).startswith(
        "supervisord asks for a password, and X contains only the hash of the password. Set SUPER"
    )
    rejected = SupervisorRpc(url, find_login=lambda _: Login("admin", "old"))
    assert "and rejects the one" in why(identification(rejected))


def test_a_socket_of_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The socket of supervisord in /tmp is gone, and somebody has created it: no password."""
    refused = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"
    with door(tmp_path, lambda peer: peer.sendall(refused)) as rpc:
        rpc._find_login = lambda _: Login("admin", PASSWORD)
        assert "and rejects the one" in why(identification(rpc))
        monkeypatch.setattr(TimedSocket, "peer_uid", 65534)
        assert "is a socket of user id 65534" in why(identification(rpc))


def test_states_of_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They can be false. Only `check`, which root may run, asks a supervisord of any user."""
    monkeypatch.setattr(TimedSocket, "peer_uid", 65534)
    with door(tmp_path, lambda peer: peer.sendall(result("false"))) as rpc:
        assert "is not asked" in why(identification(rpc))
        rpc._of_any_user = True
        assert identification(rpc) == "false"


def test_a_name_with_several_addresses(
    supervisord: Supervisord,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`localhost` may be ::1 first, where nobody is: the next is tried."""
    ports = [free_port(), supervisord.port]
    addresses = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)

    rpc = SupervisorRpc(f"http://localhost:{supervisord.port}", "admin", PASSWORD)
    assert identification(rpc) == "café"


def test_from_the_environment(supervisord: Supervisord) -> None:
    """The password is read from where supervisor's own tools read it."""
    environ = {
        "SUPERVISOR_SERVER_URL": f"http://127.0.0.1:{supervisord.port}",
        "SUPERVISOR_USERNAME": "admin",
        "SUPERVISOR_PASSWORD": PASSWORD,
    }
    rpc = SupervisorRpc.from_environment(environ)

    assert rpc is not None
    assert identification(rpc) == "café"
    assert PASSWORD not in repr(rpc)


def test_a_supervisord_that_is_ending(supervisord: Supervisord) -> None:
    """While it waits for its programs it answers SHUTDOWN_STATE, and that is told."""
    wait_until(lambda: supervisord.infos()["stubborn"].state is State.RUNNING)
    pid = supervisord.infos()["stubborn"].pid
    assert pid
    try:
        supervisord.process.terminate()
        wait_until(lambda: isinstance(identification(supervisord.rpc), RpcFailed))
        assert why(identification(supervisord.rpc)) == "supervisord refused: SHUTDOWN_STATE"
    finally:
        os.kill(pid, 9)


# -- its log ---------------------------------------------------------------------------------------


def test_control_characters_in_the_log(supervisord: Supervisord) -> None:
    """XML cannot carry them, supervisord sends them all the same, and the rest is read."""
    supervisord.log(b"one \x00\x07\x1b[31m two\n")
    tail = supervisord.rpc.read_log_tail(1 << 20)

    assert isinstance(tail, str)
    assert "exited: quick-café (exit status 7; not expected)" in tail
    assert tail.endswith("one ???[31m two\n")


def test_a_tail_that_begins_within_a_character(supervisord: Supervisord) -> None:
    """supervisord fails over it; a shorter tail is read instead."""
    supervisord.log("é".encode() + b"x" * 31_998 + b"\n")
    tail = supervisord.rpc.read_log_tail(32_000)

    assert isinstance(tail, str)
    assert len(tail) == 8000
    assert "xxx\n" in tail  # not only the traceback that supervisord has logged meanwhile


def test_a_log_that_is_no_text(tmp_path: Path) -> None:
    """Where no tail can be read, that is said, after a few tries: each has supervisord log more."""
    tries = []

    def stumble(peer: socket.socket) -> None:
        tries.append(1)
        peer.sendall(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")

    with door(tmp_path, stumble) as rpc:
        assert why(rpc.read_log_tail(32 << 10)) == "supervisord answered with status 500"
        assert len(tries) == 3
        assert why(rpc.processes()) == "supervisord answered with status 500"
        assert len(tries) == 4


def test_a_log_that_is_gone(supervisord: Supervisord) -> None:
    """The fault's name is told, as in a container where supervisord has no log file."""
    (supervisord.folder / "supervisord.log").unlink()

    assert "NO_FILE" in why(supervisord.rpc.read_log_tail(100))


# -- bad days --------------------------------------------------------------------------------------


def test_bytes_that_come_slowly(tmp_path: Path) -> None:
    """The deadline is for the whole call: a byte now and then does not prolong it."""
    over = threading.Event()

    def drip(peer: socket.socket) -> None:
        for byte in answer(b" " * 100_000):
            if over.wait(0.05):
                return
            peer.sendall(bytes([byte]))

    with door(tmp_path, drip) as rpc:
        rpc._timeout_s = 0.5
        began = time.monotonic()
        said = why(identification(rpc))
        over.set()

    assert said == "supervisord timed out after 0.5 s"
    assert time.monotonic() - began < 20


def test_an_answer_without_end(tmp_path: Path) -> None:
    """It is not read to its end: the listener's memory is not supervisord's to fill."""
    mebibytes: list[int] = []

    def flood(peer: socket.socket) -> None:
        peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while len(mebibytes) < 64:
            peer.sendall(b" " * (1 << 20))
            mebibytes.append(1)

    with door(tmp_path, flood) as rpc:
        rpc._timeout_s = 30.0
        assert "longer than" in why(identification(rpc))

    assert len(mebibytes) <= (LONGEST_ANSWER >> 20) + 2


@pytest.mark.parametrize(
    "body",
    [
        result([1, 2]),
        result([{"name": "a"}]),
        result([{"group": "a", "name": "a", "statename": "RUNNING", "pid": "x"}]),
        result([RUNNING | {"pid": -1}]),
        result([RUNNING | {"pid": 1 << 30}]),
        result([RUNNING | {"pid": 1.5}]),
        result([RUNNING | {"start": "nan"}]),
        result([RUNNING | {"start": 1e300}]),
        result(7),
        answer(b"<?xml version='1.0'?><html>not supervisord</html>"),
        answer(b"<methodResponse><params><param><value><boolean>9</boolean></value>"),
        answer(b"\xff\xfe"),
        answer(b""),
    ],
)
def test_an_answer_of_something_else(tmp_path: Path, body: bytes) -> None:
    """What is no answer to the question is a value like other failures."""
    with door(tmp_path, lambda peer: peer.sendall(body)) as rpc:
        assert why(rpc.processes()) == "the answer of supervisord cannot be parsed"
        assert why(rpc.loaded()) == "the answer of supervisord cannot be parsed"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (b"", "supervisord closed the connection before the end of its answer"),
        (answer(b"abc")[:-1], "supervisord closed the connection before the end of its answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "the answer of supervisord cannot be parsed"),
        (b"HTTP/1.1 200 OK\r\n" + b"x" * 100_000, "the answer of supervisord cannot be parsed"),
    ],
)
def test_an_answer_that_is_no_http(tmp_path: Path, said: bytes, expected: str) -> None:
    """It ends too early, or another server listens there."""
    with door(tmp_path, lambda peer: peer.sendall(said)) as rpc:
        assert why(rpc.processes()) == expected


def test_a_state_that_is_new(tmp_path: Path) -> None:
    """A state of a later supervisor is UNKNOWN."""
    times = {"start": 0, "pid": 0}
    told = [{"group": "a", "name": "b", "statename": "PONDERING", **times}]
    with door(tmp_path, lambda peer: peer.sendall(result(told))) as rpc:
        infos = rpc.processes()

    assert not isinstance(infos, RpcFailed)
    assert [(one.name, one.state) for one in infos] == [(ProcessName("a", "b"), State.UNKNOWN)]


def test_a_supervisord_that_keeps_commands_to_itself(tmp_path: Path) -> None:
    """Versions before 4.2.5 may tell less; then the configuration file has to do."""
    with door(tmp_path, lambda peer: peer.sendall(result([{"group": "a", "name": "a"}]))) as rpc:
        assert "returns no commands" in why(rpc.programs())


@pytest.mark.parametrize(
    "url",
    [
        "unix:///none/s.sock",
        f"unix:///{'x' * 200}",
        "unix://a\0b",
        "http://127.0.0.1:{closed}",
        "http://127.0.0.1:port",
        "http://127.0.0.1:99999",
        "http://[::1",
    ],
)
def test_no_server_at_the_address(url: str) -> None:
    """A refusal, a path that is none, a port that is none: all are values."""
    rpc = SupervisorRpc(url.format(closed=free_port()), "admin", PASSWORD)

    assert PASSWORD not in why(identification(rpc))


def test_it_is_cheap_to_import() -> None:
    """The listener says READY before the protocol's modules are loaded."""
    program = (
        "import sys, fpm_listener.supervisor.rpc\n"
        "print([name for name in ('xmlrpc.client', 'http.client') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)

    assert done.stdout == b"[]\n"
