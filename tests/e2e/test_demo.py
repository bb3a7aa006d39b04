"""`make demo` and `make demo-recipe` as a user runs them, without the setup."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.lab import kill, processes
from tests.waiting import DEADLINE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]


class Terminal:
    """The demo in its own terminal, where Ctrl-C is a key."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.folder = folder
        for name in ("demo", "scripts", "supervisord.d"):
            shutil.copytree(ROOT / name, folder / name)
        # exec: a /bin/sh in between would die of Ctrl-C, and its status hide the demo's.
        command = "exec " + shlex.join([sys.executable, "-m", "demo.run_demo", *words])
        self._screen = (folder / "screen").open("wb")
        # script(1) gives it a terminal, and types there what comes on its own standard input.
        self._script = subprocess.Popen(
            ["script", "--quiet", "--return", "--flush", "--command", command, "/dev/null"],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=self._screen,
        )

    def screen(self) -> str:
        """Return all output so far."""
        return (self.folder / "screen").read_text(errors="replace").replace("\r", "")

    def wait_for(self, text: str) -> str:
        """Wait for `text` on the screen, a pattern; return its group if it has one."""
        found = wait_until(lambda: re.search(text, self.screen()), f"{text!r} on the screen")
        return found[found.re.groups]

    def wait_for_held_sockets(self) -> None:
        """Restart php-fpm if the listener was slower than its guard; wait for a held socket."""
        made = self.folder / ".demo"
        command = [sys.executable, "-m", "supervisor.supervisorctl"]
        command += ["-c", str(made / "supervisord.conf"), "restart", "php-fpm"]
        page = re.findall(r"http://127\.0\.0\.1:\d+", self.screen())[0]
        restarts = 0

        def is_held() -> bool:
            nonlocal restarts
            with urllib.request.urlopen(f"{page}/metrics", timeout=10) as answer:
                metrics = answer.read().decode()
            if re.search(r"^fpm_listener_held_sockets\{.*\} 1\.0$", metrics, re.MULTILINE):
                return True
            if (made / "php-fpm.stderr.log").read_text().count("[not_held") > restarts:
                restarts += 1
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            return False

        wait_until(is_held, "a held socket")

    def type_ctrl_c(self) -> int:
        """Type Ctrl-C; return the exit status of the demo."""
        assert self._script.stdin
        self._script.stdin.write(b"\x03")
        self._script.stdin.flush()
        return self._script.wait(DEADLINE_S)

    def processes_left(self) -> list[int]:
        """Return the pids of the processes that the demo started."""
        found = processes(re.escape(str(self.folder)))
        for pool in re.findall(r"^\[(demo-\d+)\]", self._fpm_conf(), re.MULTILINE):
            found += processes(rf"php-fpm: pool {pool}\b")
        return found

    def _fpm_conf(self) -> str:
        path = self.folder / ".demo/php-fpm.conf"
        return path.read_text() if path.exists() else ""

    def close(self) -> None:
        """End the processes that are left after a failure."""
        assert self._script.stdin
        self._script.stdin.close()
        self._script.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._script.wait(40)
        for pid in self.processes_left():
            kill(pid)
        self._screen.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder with a short name: a unix socket's path has at most 107 bytes."""
    path = Path(tempfile.mkdtemp(prefix="demo-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def test_the_master_of_the_demo_is_killed(folder: Path) -> None:
    """A new master serves, no request fails, and no process is left at the end."""
    demo = Terminal(folder)
    pid_file = folder / ".demo/php-fpm.pid"
    try:
        demo.wait_for("Ctrl-C stops everything")
        demo.wait_for_held_sockets()
        before, shown = pid_file.read_text(), len(demo.screen())
        kill(int(before))
        wait_until(lambda: pid_file.read_text() not in {before, ""}, "a new master")
        answered = r"[1-9]\d* requests answered, "
        wait_until(lambda: re.search(answered, demo.screen()[shown:]), "answered requests")
        status = demo.type_ctrl_c()

        serving = demo.screen()[shown:].partition("demo: stopping")[0]
        assert re.findall(r"answered, ([1-9]\d*) failed", serving) == []
        assert "FIRING" not in demo.screen()
        assert "no process is left" in demo.screen()
        assert demo.processes_left() == []
        assert status == 0
    finally:
        demo.close()


def test_the_master_of_the_recipe_is_killed(folder: Path) -> None:
    """supervisord reports RUNNING each time and never FATAL; the alert's remedy ends the loop."""
    demo = Terminal(folder, "--recipe")
    try:
        demo.wait_for("FIRING php-fpm")
        group = demo.wait_for(r"kill -QUIT -(\d+)\s")
        wait_until(lambda: demo.screen().count("success: php-fpm entered RUNNING") > 2, "a loop")
        os.killpg(int(group), signal.SIGQUIT)
        demo.wait_for("RESOLVED php-fpm")
        demo.type_ctrl_c()

        assert "FATAL" not in demo.screen()
        assert demo.processes_left() == []
    finally:
        demo.close()
