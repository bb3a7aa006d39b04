"""The program on a terminal, and as supervisord starts it."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

from tests.ports import free_port
from tests.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

LISTENER = [sys.executable, "-m", "fpm_listener"]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*LISTENER, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )


class Child:
    """A listener on pipes."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.conf = folder / "fpm_listener.conf"
        self.port = free_port()
        self.write(**settings)
        self.log = folder / "log"
        with self.log.open("wb") as stderr:
            self.process = subprocess.Popen(
                [*LISTENER, "listen", "--config", str(self.conf)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                bufsize=0,
            )

    def write(self, **settings: str) -> None:
        words = {
            "listen": f"127.0.0.1:{self.port}",
            "state_dir": str(self.conf.parent / "state"),
            **settings,
        }
        lines = "".join(f"{key} = {value}\n" for key, value in words.items())
        self.conf.write_text(f"[fpm-listener]\n{lines}")

    def says(self, words: str) -> None:
        def logged() -> bool:
            assert self.process.poll() is None, self.log.read_text()
            return words in self.log.read_text()

        wait_until(logged, f"{words!r} in the log")

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            body: str = answer.read().decode()
        return body

    def close(self) -> int:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        try:
            return self.process.wait(20)
        finally:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()


def test_listen_on_a_terminal_explains_itself(tmp_path: Path) -> None:
    """By hand `listen` does not hang: it prints the section to paste, and ends with 2."""
    conf = tmp_path / "x.conf"
    conf.write_text("")
    control, terminal = pty.openpty()
    try:
        done = subprocess.run(
            [*LISTENER, "listen", "--config", str(conf)],
            stdin=terminal,
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )
    finally:
        os.close(control)
        os.close(terminal)

    assert done.returncode == 2
    assert "[eventlistener:fpm-listener]" in done.stderr
    assert done.stdout == ""


def test_version() -> None:
    """`version` and `--version` print one line."""
    assert run("version").stdout.startswith("fpm-listener 0.")
    assert run("--version").stdout == run("version").stdout


def test_help() -> None:
    """`help` is `--help`, and `help COMMAND` is `COMMAND --help`."""
    assert run("help").stdout == run("--help").stdout
    assert run("help", "alerts").stdout == run("alerts", "--help").stdout
    assert "usage: fpm-listener alerts" in run("help", "alerts").stdout
    assert run("help", "nonsense").returncode == 2


def test_a_mistake_in_the_settings_ends_it(tmp_path: Path) -> None:
    """A listener with wrong settings says so in one line and ends with 2, before any READY."""
    conf = tmp_path / "x.conf"
    conf.write_text("[fpm-listener]\nlissten = 1\n")
    done = run("listen", "--config", str(conf))

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "did you mean 'listen'?" in done.stderr


def test_status_without_a_listener() -> None:
    """`status` says that nobody answers, and where it has asked."""
    done = run("status", "--url", f"http://127.0.0.1:{free_port()}")

    assert done.returncode == 2
    assert "no listener answers there" in done.stderr


def test_status_of_a_listener(tmp_path: Path) -> None:
    """`status` prints a table, or JSON."""
    child = Child(tmp_path)
    try:
        child.says("web server started")
        url = f"http://127.0.0.1:{child.port}"
        assert run("status", "--url", url).stdout.startswith("supervisor")
        assert "programs" in json.loads(run("status", "--json", "--url", url).stdout)
    finally:
        assert child.close() == 0


def test_nothing_but_protocol_words_on_stdout(tmp_path: Path) -> None:
    """READY is all that supervisord hears of a listener that has nothing to answer."""
    child = Child(tmp_path, log_level="debug")
    try:
        child.says("listener started")
        assert child.process.stdout
        assert select.select([child.process.stdout], [], [], 10)[0]
        assert child.process.stdout.read(100) == b"READY\n"
    finally:
        child.close()


def test_the_settings_are_read_again_on_sighup(tmp_path: Path) -> None:
    """Good settings are taken over; a mistake changes nothing, and is said and shown."""
    child = Child(tmp_path)
    try:
        child.says("web server started")
        first = child.port
        child.write(lissten="1")
        child.process.send_signal(signal.SIGHUP)
        child.says("reload failed, keeping the old settings")
        assert "fpm_listener_config_last_reload_successful 0.0" in child.get("/metrics")

        child.port = free_port()
        child.write()
        child.process.send_signal(signal.SIGHUP)
        child.says(f"web server started address=127.0.0.1:{child.port}")
        assert "fpm_listener_config_last_reload_successful 1.0" in child.get("/metrics")
        child.port = first
        try:
            child.get("/metrics")
        except urllib.error.URLError:
            pass
        else:
            raise AssertionError("the old port is still served")
    finally:
        child.close()


def test_a_port_in_use_stops_nothing(tmp_path: Path) -> None:
    """Without its port the listener works on, says so once, and has the port when it is free."""
    child = None
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        try:
            child = Child(tmp_path, listen=f"127.0.0.1:{holder.getsockname()[1]}")
            child.port = holder.getsockname()[1]
            child.says("web server cannot start, trying again")
            holder.close()
            child.says("web server started")
            assert "fpm_listener_build_info" in child.get("/metrics")
        finally:
            if child is not None:
                assert child.close() == 0


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The listener uses a fallback and says so; commands find it there."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    child = Child(tmp_path, state_dir="/dev/null/state")
    try:
        child.says("web server started")
        child.says(f"in_use={tmp_path}/xdg/fpm-listener state_dir=/dev/null/state")
        assert "fpm_listener_outbox_persistent 1.0" in child.get("/metrics")
        done = run("status", "--json", "--config", str(child.conf))
        assert json.loads(done.stdout)["listener"]["outbox_persistent"], done.stderr
    finally:
        assert child.close() == 0
