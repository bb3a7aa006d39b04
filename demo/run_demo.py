"""Runs the shipped files on a real supervisord and a real php-fpm until Ctrl-C.

Laws:
1. The files of supervisord.d/ are included as they are; what differs stands in overrides.conf.
2. Everything lies in .demo/ and on free loopback ports: other php-fpms are not disturbed.
3. Whatever ends the demo, nothing that it started goes on, orphans of php-fpm included.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from demo import sink

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
    parser = argparse.ArgumentParser(description="Run supervisord.d/ for real, until Ctrl-C.")
    parser.add_argument("--recipe", action="store_true", help="the 2015 recipe in php-fpm's place")
    recipe = parser.parse_args().recipe
    why_not = _obstacle()
    if why_not:
        print(f"demo: {why_not}", file=sys.stderr)
        return 1
    DIR.mkdir(exist_ok=True)
    with (DIR / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("demo: another demo is running in this checkout; end it first", file=sys.stderr)
            return 1
        _sweep_folder()
        return Demo(recipe=recipe).run()


def _obstacle() -> str | None:
    """Return why the demo cannot run here, or None."""
    if any(char in str(ROOT) for char in " \t%;#\"'\\"):
        return f"supervisord's files cannot hold the path {str(ROOT)!r}; clone to a plainer one"
    if len(f"{DIR}/supervisor.sock.1234567") > 107:
        return f"the path {str(ROOT)!r} is too long for a unix socket; clone to a shorter one"
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
        self._sink = sink.start()
        self._pool = f"demo-{os.getpid()}"
        self._fpm_port = _free_port()
        self._metrics_port = _free_port(19253)

    @property
    def _url(self) -> str:
        return f"http://127.0.0.1:{self._metrics_port}"

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
            self._show(supervisord)
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
        shipped = ROOT / "supervisord.d"
        ours = ["recipe.conf"] if self._recipe else ["php-fpm-program.conf"]
        theirs = [shipped / "fpm_listener.conf"] if self._recipe else [shipped / "*.conf"]
        included = [*theirs, DIR / "overrides.conf", *(DIR / name for name in ours)]
        words = {
            "@DIR@": str(DIR),
            "@FILES@": " ".join(map(str, included)),
            "@USER@": "user=root" if os.geteuid() == 0 else "",
            "@PHP_FPM@": php_fpm(),
            "@POOL@": self._pool,
            "@FPM_PORT@": str(self._fpm_port),
            "@METRICS_PORT@": str(self._metrics_port),
            "@SINK_PORT@": str(self._sink.server_port),
        }
        for name in ("supervisord.conf", "overrides.conf", "php-fpm.conf", *ours):
            text = (ROOT / "demo" / name).read_text()
            for word, value in words.items():
                text = text.replace(word, value)
            (DIR / name).write_text(text)
