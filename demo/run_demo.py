"""Runs the shipped files on a real supervisord and a real php-fpm until Ctrl-C.

Laws:
1. The files of supervisord.d/ are included without changes; other files override some keys.
2. All files are in .demo/, and all ports are free loopback ports: other php-fpms are not affected.
3. After the demo no process that it started runs, not even orphans of php-fpm.
"""

from __future__ import annotations

import argparse
import errno
import fcntl
import http.client
import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from demo import webhook_receiver
from demo.clients import Clients

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

ROOT = Path(__file__).resolve().parent.parent
DIR = ROOT / ".demo"
BIN = Path(sys.executable).parent

#: Seconds. php-fpm.conf gives requests 10 s, supervisord.d/php-fpm.conf gives php-fpm 20.
_STOP_S = 30.0
_RECIPE_KILLS_AFTER_S = 8.0


def main() -> int:
    """Run the demo; return its exit status."""
    parser = argparse.ArgumentParser(
        description="Run a real supervisord with supervisord.d/ until Ctrl-C."
    )
    parser.add_argument("--recipe", action="store_true", help="run php-fpm with the recipe of 2015")
    recipe = parser.parse_args().recipe
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # log lines come in any alphabet
    why_not = _obstacle()
    if why_not:
        print(f"demo: {why_not}", file=sys.stderr)
        return 1
    DIR.mkdir(exist_ok=True)
    with (DIR / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("demo: another demo is running in this checkout; stop it first", file=sys.stderr)
            return 1
        _sweep_folder()
        return Demo(recipe=recipe).run()


def _obstacle() -> str | None:
    """Return why the demo cannot run here, or None."""
    if any(char in str(ROOT) for char in " \t%;#\"'\\"):
        return f"supervisord's files cannot contain the path {str(ROOT)!r}; use a plain one"
    if len(f"{DIR}/supervisor.sock.1234567") > 107:
        return f"the path {str(ROOT)!r} is too long for a unix socket; use a shorter one"
    if not php_fpm():
        return "php-fpm is not installed; scripts/setup.sh installs it"
    return None


def php_fpm() -> str:
    """Return the path of php-fpm: $PHP_FPM, or the one that setup found; empty = none."""
    if os.environ.get("PHP_FPM"):
        return os.environ["PHP_FPM"]
    found = subprocess.run(
        [ROOT / "scripts/php-fpm-path.sh"], stdout=subprocess.PIPE, text=True, check=False
    )
    return found.stdout.strip()


def _sweep_folder() -> None:
    """Remove what an earlier demo left in .demo/."""
    for path in DIR.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != "lock":
            path.unlink()


class Demo:
    """One run: files written, processes started, and all of them ended."""

    def __init__(self, *, recipe: bool) -> None:
        self._recipe = recipe
        self._asked_to_end = threading.Event()
        self._receiver = webhook_receiver.start()
        self._pool = f"demo-{os.getpid()}"
        self._fpm_port = _free_port()
        self._clients = Clients(self._fpm_port, say)
        self._metrics_port = _free_port(19253)
        self._words = {
            "@ROOT@": str(ROOT),
            "@DIR@": str(DIR),
            "@BIN@": str(BIN.relative_to(ROOT) if BIN.is_relative_to(ROOT) else BIN),
            "@USER@": "user=root" if os.geteuid() == 0 else "",
            "@PHP_FPM@": php_fpm(),
            "@POOL@": self._pool,
            "@FPM_PORT@": str(self._fpm_port),
            "@METRICS_PORT@": str(self._metrics_port),
            "@RECEIVER_PORT@": str(self._receiver.server_port),
            "@URL@": f"http://127.0.0.1:{self._metrics_port}",
            "@SECONDS@": f"{_RECIPE_KILLS_AFTER_S:.0f}",
        }

    def run(self) -> int:
        """Return 0 after Ctrl-C, 1 where it could not start or ended by itself."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._end)
        self._write_files()
        # A session of its own: Ctrl-C reaches us alone, and we end things in order.
        supervisord = subprocess.Popen(
            [BIN / "supervisord", "-n", "-c", DIR / "supervisord.conf"],
            cwd=ROOT,
            env=os.environ | {"PATH": f"{BIN}:{os.environ.get('PATH', os.defpath)}"},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            self._show(lambda: supervisord.poll() is not None)
            self._wait(lambda: supervisord.poll() is not None)
        finally:
            ended_by_itself = supervisord.poll() is not None
            self._stop(supervisord)
        return 1 if ended_by_itself else 0

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        self._asked_to_end.set()

    def _wait(self, done: Callable[[], bool], seconds: float = float("inf")) -> bool:
        """Return whether it was done before the time was over or the user had enough."""
        end = time.monotonic() + seconds
        while not done():
            if self._asked_to_end.wait(0.1) or time.monotonic() > end:
                return False
        return True

    def _write_files(self) -> None:
        """Write .demo/*.conf: those of demo/, with the ports and paths of this run."""
        shipped = ["fpm_listener.conf"] if self._recipe else ["*.conf"]
        ours = ["listener.conf", "recipe.conf" if self._recipe else "program.conf"]
        files = [
            *(ROOT / "supervisord.d" / name for name in shipped),
            *(DIR / name for name in ours),
        ]
        self._words["@FILES@"] = " ".join(map(str, files))
        for name in ("supervisord.conf", "php-fpm.conf", *ours):
            (DIR / name).write_text(self._filled(name))

    def _filled(self, name: str) -> str:
        """Return the text of a file of demo/, its @WORDS@ replaced."""
        text = (ROOT / "demo" / name).read_text()
        for word, value in self._words.items():
            text = text.replace(word, value)
        return text

    def _show(self, ended: Callable[[], bool]) -> None:
        """Print the instructions when php-fpm serves; with the recipe, then kill the master."""
        self._wait(lambda: ended() or (self._is_ready() and self._serves()), 30)
        if ended() or self._asked_to_end.is_set():
            return
        if not self._is_ready():
            say(f"the listener does not answer; its log is {DIR}/fpm-listener.log")
        say(self._filled("welcome.txt"))
        if not self._recipe:
            say(self._filled("try.txt"))
            self._clients.start()
            return
        say(self._filled("recipe.txt"))
        self._wait(ended, _RECIPE_KILLS_AFTER_S)
        self._kill_master()

    def _is_ready(self) -> bool:
        client = http.client.HTTPConnection("127.0.0.1", self._metrics_port, timeout=1)
        try:
            client.request("GET", "/-/ready")
            return client.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            client.close()

    def _serves(self) -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self._fpm_port)) == 0

    def _kill_master(self) -> None:
        path = DIR / "php-fpm.pid"
        pid = path.read_text() if path.exists() else ""
        if not self._asked_to_end.is_set() and pid.isdigit() and int(pid) in self._fpm_pids():
            say(f"kill -9 {pid}")
            _signal(int(pid), signal.SIGKILL)

    def _fpm_pids(self) -> list[int]:
        """Return the pids of this demo's php-fpms, known by file or pool in their titles."""
        marks = (f"{DIR}/php-fpm.conf".encode(), f"pool {self._pool}".encode())
        return [
            pid
            for pid, name, command in _processes()
            if name.startswith(b"php-fpm") and any(mark in command for mark in marks)
        ]

    def _stop(self, supervisord: subprocess.Popen[bytes]) -> None:
        """Stop supervisord with its programs, then the workers whose master was killed."""
        self._clients.stop()
        say("stopping")
        supervisord.terminate()
        try:
            supervisord.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            supervisord.kill()
            supervisord.wait()
        for number in (signal.SIGQUIT, signal.SIGKILL):
            for pid in self._fpm_pids():
                say(f"php-fpm {pid} still runs without a master; sending {number.name}")
                _signal(pid, number)
            end = time.monotonic() + 5
            while self._fpm_pids() and time.monotonic() < end:
                time.sleep(0.05)
        left = self._fpm_pids()
        say(f"cannot stop php-fpm {left}" if left else "no process is left")
        self._receiver.shutdown()


def say(text: str) -> None:
    """Print a message of the demo itself, with a prefix."""
    with suppress(OSError):  # the terminal can be gone, and the processes must stop all the same
        print("\n".join(f"demo: {line}" for line in text.splitlines()), flush=True)


def _free_port(wanted: int = 0) -> int:
    """Return a loopback port that is free now: the one that is wanted, or any."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _processes() -> Iterator[tuple[int, bytes, bytes]]:
    """Yield pid, name and command line of each process."""
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                yield int(path.name), (path / "comm").read_bytes(), (path / "cmdline").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended meanwhile


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # it ended by itself
        os.kill(pid, number)


if __name__ == "__main__":
    sys.exit(main())
