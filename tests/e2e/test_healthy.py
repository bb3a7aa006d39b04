"""`fpm-listener healthy` in ten situations, with one real supervisord, php-fpm and listener."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from fpm_listener.cli import healthy
from fpm_listener.host import sock_diag
from fpm_listener.host.listen_queue import ListenQueue
from fpm_listener.phpfpm import fastcgi
from tests.e2e.lab import Lab, kill
from tests.ports import free_port
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest


#: Clients of a load; two of them are served at once.
CLIENTS, WORKERS = 10, 2
#: Two clients that are served at once leave more than half of it full.
BACKLOG = CLIENTS - WORKERS


class Asking:
    """Asks in this process, as the command does."""

    def __init__(self, lab: Lab, capture: pytest.CaptureFixture[str]) -> None:
        self.config = str(lab.folder / "supervisord.d/fpm_listener.conf")
        self._capture = capture

    def __call__(self, *words: str, config: str = "") -> tuple[int, str]:
        """Return the exit status and the line.

        A busy machine can need long for an answer. `--timeout` in `words` replaces ours.
        """
        self._capture.readouterr()
        status = healthy.run(["--timeout", "60", "--config", config or self.config, *words])
        return status, self._capture.readouterr().out.strip()


def direct(lab: Lab, *words: str) -> tuple[int, str]:
    """Ask php-fpm itself."""
    conf = str(lab.folder / "supervisord.conf")
    command = [sys.executable, "-m", "fpm_listener", "healthy", "--direct"]
    command += ["--timeout", "60", "--supervisord-conf", conf, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout.strip()


def wait_for_answer(ask: Callable[[], tuple[int, str]], wanted: int, *words: str) -> None:
    """Ask until the answer has this exit status and these words.

    On a busy machine, an answer can be late. Then php-fpm is busy, or the verdict is unknown.
    """

    def is_wanted() -> bool:
        status, line = ask()
        return status == wanted and all(word in line for word in words)

    wait_until(is_wanted, f"the exit status {wanted} and {words}")


@contextmanager
def load(address: tuple[str, int] | str, text: str, script: str) -> Iterator[None]:
    """Send slow requests; yield when all but two of the clients wait."""
    over = threading.Event()

    def run() -> None:
        while not over.is_set():
            fastcgi.get(address, script, "", time.monotonic() + 60)

    def is_full() -> bool:
        found = sock_diag.queue(text)
        return isinstance(found, ListenQueue) and found.waiting >= CLIENTS - WORKERS

    threads = [threading.Thread(target=run) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        wait_until(is_full, "clients in the queue")
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def programs_status(lab: Lab) -> int:
    """Return the status of /-/healthy/programs."""
    try:
        with urllib.request.urlopen(f"{lab.url}/-/healthy/programs", timeout=60) as answer:
            status: int = answer.status
            return status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_ten_situations(lab: Lab, capfd: pytest.CaptureFixture[str]) -> None:
    """Each has its verdict and exit status, on TCP and unix, with and without the listener."""
    port, path = free_port(), f"{lab.folder}/w.sock"
    tcp, script = f"127.0.0.1:{port}", lab.folder / "slow.php"
    script.write_text("<?php usleep(300000);")
    script.chmod(0o644)
    conf = lab.fpm_program(tcp)
    (main,) = lab.pools
    pool = f"lab{lab.web_port}unix"
    lab.pools.add(pool)
    owner = "user = www-data\ngroup = www-data\n" if os.geteuid() == 0 else ""
    other = f"[{pool}]\nlisten = {path}\nlisten.backlog = {BACKLOG}\n{owner}"
    pace = f"pm = static\npm.max_children = {WORKERS}\n"
    conf.write_text(conf.read_text() + other + pace)
    lab.program("slow", "sleep 1000", startsecs="3600")
    lab.program("fatal", "false", startretries="0")
    # A loop floods the listener with events, and the event RUNNING of php-fpm waits behind them.
    lab.program("looper", "false", startsecs="0", autorestart="true", autostart="false")
    lab.start()
    lab.wait_for_php_fpm()
    ask = Asking(lab, capfd)

    # fine; before the first event a pool that answers is fine too, and then it is `starting`
    wait_until(lambda: lab.status("php-fpm")["state"] == "RUNNING", "the event RUNNING")
    wait_for_answer(ask, 0, "php-fpm: fine: 2 pools answer")
    wait_for_answer(partial(direct, lab), 0, "php-fpm: fine: 2 pools answer")
    wait_until(lambda: programs_status(lab) == 200, "an answer within the usual timeout")
    wait_for_answer(partial(ask, "--nagios"), 0, "FPM OK -", f"'{main}_queue'=0")

    # starting, FATAL, looping, unknown
    assert ask("slow")[0] == 1
    assert "starting" in ask("slow")[1]
    assert ask("slow", "--start-period", "600")[0] == 0
    wait_until(lambda: "FATAL" in ask("fatal")[1], "FATAL")
    with lab.supervisor() as supervisor:
        supervisor.startProcess("looper", False)
    wait_until(lambda: "looping" in ask("looper")[1], "a loop")
    assert [ask(name)[0] for name in ("fatal", "looper", "nope")] == [1, 1, 1]
    assert ask("fatal", "--nagios")[0] == 2
    assert ask("nope", "--nagios")[0] == 3

    # busy and saturated
    with load(("127.0.0.1", port), tcp, str(script)):
        wait_for_answer(ask, 0, "busy")
    with load(path, path, str(script)):
        wait_for_answer(ask, 0, "saturated")
        wait_for_answer(partial(direct, lab), 0, "saturated")

    check_stopped(lab, ask)
    check_without_listener(lab, ask, path)
    check_wrong_server(lab, ask, path)


def check_stopped(lab: Lab, ask: Asking) -> None:
    """The kernel accepts connections for a stopped php-fpm; that is no life."""
    pids = [lab.process_info("php-fpm")["pid"], *lab.workers(), *lab.workers("unix")]
    for pid in pids:
        kill(pid, signal.SIGSTOP)
    try:
        for _ in range(3):  # the second and third question do not lengthen the queue
            wait_for_answer(partial(ask, "--timeout", "0.5"), 1, "php-fpm: dead: ", "; 1 of ")
        wait_for_answer(partial(direct, lab, "--timeout", "0.5"), 1, "php-fpm: dead: ")
        assert programs_status(lab) == 503
        wait_for_answer(partial(ask, "--timeout", "0.5", "--nagios"), 2)
    finally:
        for pid in pids:
            kill(pid, signal.SIGCONT)
    wait_for_answer(ask, 0)


def check_without_listener(lab: Lab, ask: Asking, path: str) -> None:
    """Without a listener, and with another program at its socket, the line says what to do."""
    none = lab.folder / "none.conf"
    none.write_text(f"[fpm-listener]\nstate_dir = {lab.folder}/none\n")
    status, line = ask(config=str(none))
    assert status == 1
    assert "no listener runs" in line
    assert "--direct" in line
    (lab.folder / "none").mkdir(mode=0o700)
    (lab.folder / "none/control.sock").symlink_to(path)
    status, line = ask("--timeout", "1", config=str(none))
    assert status == 1
    assert "gives no answer" in line
    assert ask("--timeout", "1", "--nagios", config=str(none))[0] == 3


def check_wrong_server(lab: Lab, ask: Asking, path: str) -> None:
    """A socket that does not exist, and one of another program, are not php-fpm."""
    os.rename(path, f"{path}.old")  # noqa: PTH104 - a text
    status, line = ask()
    assert (status, "not listening" in line, "does not exist" in line) == (1, True, True), line
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen(5)

        def serve() -> None:
            for _ in range(2):
                connection, _ = server.accept()
                with connection:
                    connection.recv(4096)
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            status, line = ask()
            assert (status, "wrong server" in line) == (1, True), line
            assert direct(lab)[0] == 1
        finally:
            with socket.socket(socket.AF_UNIX) as last:
                last.connect(path)
            thread.join()
