"""Unexpected errors and shortages: they are counted, logged once, and end nothing."""

from __future__ import annotations

import errno
import os
import re
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest

from fpm_listener.daemon import control_client
from fpm_listener.daemon.exit_watch import ExitWatch
from fpm_listener.daemon.log_follower import LogFollower
from fpm_listener.daemon.pool_poller import PoolPoller
from fpm_listener.daemon.worker import Starter, Worker
from fpm_listener.delivery.attempt import Attempt, Delivered, RetryLater
from fpm_listener.delivery.sender import Sender
from fpm_listener.guard.handover_messages import SOCKET_NAME
from fpm_listener.internal_errors import InternalErrors, RetriedThread, is_exhausted
from fpm_listener.phpfpm.status_page import PoolTarget
from fpm_listener.settings.receivers import ReceiverSettings
from fpm_listener.settings.settings import WebSettings
from fpm_listener.status.metrics import make_registry
from fpm_listener.supervisor.process import ProcessName
from fpm_listener.vocabulary import Where
from fpm_listener.web.descriptors import PAUSE_S
from fpm_listener.web.server import WebServer
from tests.ports import free_port
from tests.receiver_server import PATIENCE_S, ReceiverServer
from tests.samples import fires
from tests.snapshots import WELL
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

READY, OK = b"READY\n", b"RESULT 2\nOK"
#: Bytes of a stack that no machine has: starting a thread fails as it does without any thread left.
IMPOSSIBLE = 1 << 46


class Child:
    """A listener on pipes, as supervisord has it."""

    def __init__(self, folder: Path, *program: str, **settings: object) -> None:
        self.port = free_port()
        self.state_dir = folder / "state"
        self.conf = folder / "fpm_listener.conf"
        words = {"listen": f"127.0.0.1:{self.port}", "state_dir": self.state_dir, **settings}
        lines = "".join(f"{key} = {value}\n" for key, value in words.items())
        self.conf.write_text(f"[fpm-listener]\n{lines}")
        self._log = folder / "log"
        self._serial = 0
        command = [sys.executable, *(program or ("-m", "fpm_listener", "listen", "--config"))]
        with self._log.open("wb") as stderr:
            self.process = subprocess.Popen(
                [*command, str(self.conf)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                bufsize=0,
            )
        self.read(READY)
        self.wait("web server started")

    @property
    def log(self) -> str:
        """Return what it has logged."""
        return self._log.read_text()

    def wait(self, words: str) -> None:
        """Wait until it has logged this."""
        wait_until(lambda: words in self.log or self.process.poll() is not None, words)
        assert self.process.poll() is None, self.log

    def read(self, words: bytes) -> None:
        """Read these protocol words, and no other."""
        assert self.process.stdout
        found = b""
        while len(found) < len(words):
            ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE_S)
            assert ready, f"no {words!r} came, but {found!r}:\n{self.log}"
            found += os.read(self.process.stdout.fileno(), len(words) - len(found))
        assert found == words

    def event(self, process: str) -> None:
        """Send an event, and read the answer."""
        assert self.process.stdin
        self._serial += 1
        payload = f"processname:{process} groupname:web from_state:STOPPED tries:0"
        self.process.stdin.write(
            f"ver:3.0 server:supervisor serial:{self._serial} pool:listener "
            f"poolserial:{self._serial} eventname:PROCESS_STATE_STARTING len:{len(payload)}\n"
            f"{payload}".encode()
        )
        self.read(OK + READY)

    def metric(self, name: str) -> float:
        """Return a sample's value."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=200) as answer:
            found = re.search(
                rf"^fpm_listener_{re.escape(name)} (\S+)$", answer.read().decode(), re.MULTILINE
            )
        assert found, name
        return float(found[1])

    def errors(self, where: Where) -> float:
        """Return how many errors it has counted in one place."""
        return self.metric(f'internal_errors_total{{where="{where.value}"}}')

    def close(self) -> int:
        """End it as supervisord does when it ends; return the exit status."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        try:
            return self.process.wait(PATIENCE_S)
        finally:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()


def test_an_event_that_the_engine_fails_over(tmp_path: Path) -> None:
    """It is answered, counted and logged once; the next events count, and nothing spins."""
    child = Child(tmp_path, str(Path(__file__).parents[2] / "faulty_listener.py"))
    try:
        began_s = time.monotonic()
        for name in ("a", "poison", "poison2", "b", "poison3"):
            child.event(name)
        wait_until(lambda: child.errors(Where.EVENT) == 3, "three errors over events")
        wait_until(lambda: child.errors(Where.INPUT) >= 2, "two errors over ticks")
        assert child.metric("events_missed_total") == 0
        assert child.metric('events_total{event="PROCESS_STATE_STARTING"}') == 2
        lasted_s = time.monotonic() - began_s
        # One try a second: thousands, if the owner did not pause.
        assert child.errors(Where.INPUT) <= lasted_s + 3
    finally:
        assert child.close() == 0
    assert child.log.count("unexpected error, continuing where=event thread=MainThread") == 1
    assert child.log.count("raise LookupError") == 2  # one for ticks


def test_a_reload_of_what_cannot_be_parsed(tmp_path: Path) -> None:
    """The old settings stay, whatever the file has become."""
    child = Child(tmp_path)
    good = child.conf.read_text()
    try:
        for number, text in enumerate((b"[fpm-listener]\nstate_dir\n  x\n", b"\xff", b"[")):
            child.conf.write_bytes(text)
            child.process.send_signal(signal.SIGHUP)
            at = number + 1
            wait_until(lambda at=at: child.log.count("reload failed") == at, "the refusal")  # type: ignore[misc]
        child.conf.unlink()
        os.mkfifo(child.conf)
        child.process.send_signal(signal.SIGHUP)
        child.wait("is not a regular file")
        # A snapshot is published up to 20 ms after the line in the log.
        wait_until(lambda: child.metric("config_last_reload_successful") == 0, "the metric")
        child.event("a")
        child.conf.unlink()
        child.conf.write_text(good)
        child.process.send_signal(signal.SIGHUP)
        wait_until(lambda: child.metric("config_last_reload_successful") == 1, "good settings")
        assert sum(child.errors(where) for where in Where) == 0
    finally:
        assert child.close() == 0


def test_no_descriptor_is_left(tmp_path: Path) -> None:
    """Events, commands and one guard are served; the rest waits, no loop spins, and all goes on."""
    child = Child(tmp_path)
    pid = child.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    web = [socket.socket() for _ in range(5)]
    guards = [socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(3)]
    try:
        child.event("a")
        assert ask_status(child)
        sockets = sockets_of(pid)
        assert child.errors(Where.WEB) == 0  # this releases the descriptors that are kept for it
        wait_until(lambda: sockets_of(pid) <= sockets, "the end of the connection")
        used = {int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir()}
        free = next(number for number in range(1 << 20) if number not in used)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (free, before[1]))
        began_s = time.monotonic()
        for client in web:
            client.connect(("127.0.0.1", child.port))
            client.sendall(b"GET /-/healthy HTTP/1.0\r\n\r\n")
        for guard in guards:
            guard.connect(str(child.state_dir / SOCKET_NAME))
        child.wait("resources exhausted, trying again where=web")
        child.wait("resources exhausted, trying again where=guard")
        for number in range(5):
            child.event(f"b{number}")
            assert ask_status(child)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        for client in web:
            client.settimeout(PATIENCE_S)
            assert client.recv(100).startswith(b"HTTP/1.0 200")
        lasted_s = time.monotonic() - began_s
        for where in (Where.WEB, Where.GUARD):
            # Each failed accept is counted: a loop without a pause has thousands a second.
            assert 1 <= child.errors(where) <= lasted_s / PAUSE_S + 3
        for part in ("web", "guard"):
            assert child.log.count(f"resources exhausted, trying again where={part}") == 1
    finally:
        for one in (*web, *guards):
            one.close()
        assert child.close() == 0


def sockets_of(pid: int) -> set[str]:
    found = set()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed a moment ago
            found.add(str(path.readlink()))
    return {target for target in found if target.startswith("socket:")}


def ask_status(child: Child) -> object:
    return control_client.ask(child.state_dir, control_client.ControlRequest(action="status"))


# -- threads ---------------------------------------------------------------------------------------


@pytest.fixture
def no_thread() -> Iterator[Callable[[], None]]:
    """Return what lets every start of a thread fail, until `threading.stack_size(0)`."""

    def fail() -> None:
        threading.stack_size(IMPOSSIBLE)

    yield fail
    threading.stack_size(0)


def test_a_sender_without_a_thread(no_thread: Callable[[], None]) -> None:
    """The attempt failed and is tried again; the next one may find a thread."""
    answers: SimpleQueue[Any] = SimpleQueue()
    caught: list[Where] = []
    with ReceiverServer() as server:
        ops = ReceiverSettings(name="ops", url=server.url)
        sender = Sender(ops, answers.put, print, caught=InternalErrors(caught.append).caught)
        attempt = Attempt(queue="ops", number=1, alert_numbers=(1,), alerts=(fires("a"),))
        no_thread()
        sender.send(attempt)
        failed = answers.get(timeout=PATIENCE_S)
        assert isinstance(failed.outcome, RetryLater)
        assert "can't start new thread" in failed.outcome.detail
        threading.stack_size(0)
        sender.send(attempt)
        assert isinstance(answers.get(timeout=PATIENCE_S).outcome, Delivered)
        assert answers.empty()
        assert sender.stop(time.monotonic() + PATIENCE_S)
    assert caught == [Where.THREAD]


def test_a_thread_of_python_3_13(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread of Python 3.13 cannot start again after a failed start; ours can."""
    tried: list[object] = []
    start = threading.Thread.start

    def start_once(thread: threading.Thread) -> None:
        started = vars(thread)["_started"]
        if any(started is one for one in tried):
            message = "thread already started"
            raise RuntimeError(message)
        tried.append(started)
        if len(tried) == 1:
            message = "can't start new thread"
            raise RuntimeError(message)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_once)
    done: SimpleQueue[str] = SimpleQueue()
    thread = RetriedThread("test", lambda: done.put("a"))
    with pytest.raises(RuntimeError, match="can't start new thread"):
        thread.start()
    thread.start()

    assert done.get(timeout=PATIENCE_S) == "a"


def test_a_worker_without_a_thread(no_thread: Callable[[], None]) -> None:
    """It starts later, and does then what it was asked for meanwhile."""
    caught: list[Where] = []
    errors = InternalErrors(caught.append)
    done: SimpleQueue[tuple[str, ...]] = SimpleQueue()
    worker: Worker[str] = Worker("test", done.put, print, errors, Where.EXIT)
    starter = Starter(errors)
    no_thread()
    starter.start(worker.start)
    starter.try_again()
    worker.ask("a")
    assert caught == [Where.THREAD] * 2
    threading.stack_size(0)
    starter.try_again()

    assert done.get(timeout=PATIENCE_S) == ("a",)
    starter.try_again()  # nothing is left to start


def test_a_web_server_without_threads(no_thread: Callable[[], None]) -> None:
    """A connection that no thread can serve is closed; the next one is served."""
    caught: list[Where] = []
    failures: list[BaseException] = []
    errors = InternalErrors(caught.append)
    server = WebServer(
        WebSettings(port=0),
        lambda: WELL,
        partial(make_registry, lambda: WELL),
        failures.append,
        errors.caught,
    )
    server.start()
    try:
        wait_until(lambda: server.port is not None, "the port")
        address = ("127.0.0.1", server.port or 0)
        no_thread()
        for _ in range(3):
            with socket.create_connection(address, PATIENCE_S) as client:
                assert client.recv(10) == b""
        threading.stack_size(0)
        with socket.create_connection(address, PATIENCE_S) as client:
            client.sendall(b"GET /-/healthy HTTP/1.0\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.0 200")
    finally:
        server.stop()
    assert (caught, failures) == ([Where.WEB] * 3, [])


# -- one of many -----------------------------------------------------------------------------------


def test_a_worker_goes_on() -> None:
    """A request that fails unexpectedly does not end the thread."""
    caught: list[Where] = []
    done: SimpleQueue[str] = SimpleQueue()

    def work(requests: tuple[Any, ...]) -> None:
        for request in requests:
            done.put(request.upper())

    worker: Worker[Any] = Worker("test", work, print, InternalErrors(caught.append), Where.HOLDER)
    worker.start()
    worker.ask(5)
    wait_until(lambda: caught == [Where.HOLDER], "the error")
    worker.ask("a")
    assert done.get(timeout=PATIENCE_S) == "A"


def test_one_pool_of_two() -> None:
    """What cannot be asked for an unexpected reason is down, and the other pool is asked."""
    caught: list[Where] = []
    seen: SimpleQueue[Any] = SimpleQueue()
    failures: list[BaseException] = []
    odd: Any = 5  # no address
    watch = PoolPoller(60.0, seen.put, failures.append, InternalErrors(caught.append).caught)
    good = PoolTarget(pool="good", address=f"127.0.0.1:{free_port()}", status_path="/status")
    bad = PoolTarget(pool="bad", address=odd, status_path="/status")
    watch.follow({ProcessName("web", "php-fpm"): (bad, good)})
    watch.start()
    found = seen.get(timeout=PATIENCE_S)
    watch.stop()

    views = {view.pool: view.detail for view in found.pools}
    assert views["bad"] == "its answer cannot be read"
    assert "no connection" in views["good"]
    assert (caught, failures) == ([Where.POOL], [])


def test_one_log_of_two(tmp_path: Path) -> None:
    """An unexpected error with one file is reported; the other one is followed."""
    caught: list[Where] = []
    seen: SimpleQueue[Any] = SimpleQueue()
    failures: list[BaseException] = []
    good = tmp_path / "good.log"
    good.write_text("")
    tail = LogFollower(seen.put, failures.append, None, InternalErrors(caught.append).caught)
    tail.follow([str(good), "a\0b"])  # in this order: the good one is open by then
    tail.start()
    wait_until(lambda: Where.LOG in caught, "the error")
    tail.poll_fast()
    with good.open("a") as file:
        file.write("[23-Nov-2026 08:42:29] NOTICE: fpm is running, pid 1\n")
    assert seen.get(timeout=PATIENCE_S).path == str(good)
    tail.stop()
    assert failures == []


# -- the log ---------------------------------------------------------------------------------------


def test_each_kind_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """All are counted; the text is left out where it can hold a secret."""
    counted: list[Where] = []
    errors = InternalErrors(counted.append)
    for where in (Where.POOL, Where.RECEIVER, Where.POOL):
        assert not errors.survive(where, int, "s3cret")
        assert errors.result(where, int, "s3cret") is None
    assert errors.survive(Where.POOL, int, "5")
    assert errors.result(Where.POOL, int, "5") == 5

    assert len(counted) == 6
    pool, pool_result, receiver, receiver_result = caplog.messages
    assert "s3cret" in pool + pool_result
    assert "s3cret" not in receiver + receiver_result
    assert all("internal_errors.py" in message for message in caplog.messages)


@pytest.mark.parametrize(
    ("error", "exhausted"),
    [
        (OSError(24, "EMFILE"), True),
        (OSError(12, "ENOMEM"), True),
        (OSError(11, "EAGAIN"), False),
        (MemoryError(), True),
        (RuntimeError("can't start new thread"), True),
        (RuntimeError("x"), False),
    ],
)
def test_a_shortage(error: Exception, caplog: pytest.LogCaptureFixture, *, exhausted: bool) -> None:
    """It is told from a mistake in the code, and has no traceback."""
    InternalErrors(lambda _: None).caught(Where.WEB, error)

    assert is_exhausted(error) is exhausted
    assert caplog.messages[0].startswith("resources exhausted") is exhausted


def test_a_module_that_cannot_be_loaded(caplog: pytest.LogCaptureFixture) -> None:
    """pip has replaced the files of the running listener: what to do, and no traceback."""
    InternalErrors(lambda _: None).caught(Where.WEB, ImportError("no New"))

    (message,) = caplog.messages
    assert message.endswith(
        "restart it: supervisorctl restart fpm-listener where=web error='no New'"
    )
    assert "\n" not in message


def test_a_process_that_no_descriptor_is_left_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """That is logged once; it is watched as soon as a descriptor is there."""
    web, api = ProcessName("web", "web"), ProcessName("api", "api")
    poller = select.poll()
    deaths = ExitWatch(poller)
    children = [subprocess.Popen(["sleep", "1000"]) for _ in range(2)]
    watch = list(zip((web, api), (child.pid for child in children), strict=True))
    try:
        monkeypatch.setattr(os, "pidfd_open", no_descriptor)
        for one in watch:
            assert deaths.watch(*one)
        deaths.retry(lambda one: deaths.watch(*one))
        assert caplog.text.count("no file descriptor left to watch a process") == 1
        monkeypatch.undo()
        deaths.retry(lambda one: deaths.watch(*one))
        for child in children:
            child.kill()
        died: set[tuple[ProcessName, int]] = set()
        while len(died) < len(watch):
            assert poller.poll(PATIENCE_S * 1000)
            died |= {(one.process, one.pid) for one in deaths.take()}
        assert died == set(watch)
    finally:
        deaths.close()
        for child in children:
            child.kill()
            child.wait()


def no_descriptor(_: int) -> int:
    """Fail as pidfd_open(2) does without a descriptor left."""
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
