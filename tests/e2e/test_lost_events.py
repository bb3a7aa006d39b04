"""supervisord discards events while the listener is stopped: no state stays wrong.

LOST_EVENTS_ROUNDS says how often each case is played; once by default.
"""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.e2e.lab import Lab, kill
from tests.ports import free_port
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ROUNDS = int(os.environ.get("LOST_EVENTS_ROUNDS", "1"))
#: What an answer without XML-RPC cannot tell apart.
PROGRAMS = ("php-fpm", "job", "noise")
DEAD = {"STOPPED", "EXITED", "FATAL", "BACKOFF", "UNKNOWN"}


class Scene:
    """A php-fpm, a job that can be made to fail, and a program whose events fill the buffer."""

    def __init__(self, lab: Lab, *, rpc: bool) -> None:
        self.lab = lab
        self.rpc = rpc
        self.good: Path = lab.folder / "good"
        self.good.touch()
        lab.listener_keys = {"buffer_size": "2"}
        if not rpc:
            lab.listener_keys["environment"] = 'SUPERVISOR_SERVER_URL=""'
        lab.fpm_program(f"127.0.0.1:{free_port()}", startretries="1")
        script = f"if test -e {self.good}; then exec sleep 3600; fi; exit 1"
        job = {"startsecs": "0", "autorestart": "false"}
        lab.program("job", f"sh -c '{script}'", **{**job, "startsecs": "1", "startretries": "0"})
        lab.program("noise", "sleep 3600", **job)
        lab.start()
        for name in PROGRAMS:
            wait_until(partial(self.runs, name), f"{name} to run")
            wait_until(partial(self.is_right, name), f"{name} to be known")

    def truth(self, name: str) -> tuple[str, int | None]:
        """Return state and pid as supervisord tells them."""
        words = self.lab.ctl("status", name).split()
        pid = int(words[3].rstrip(",")) if "pid" in words else None
        return words[1], pid

    def runs(self, name: str) -> bool:
        """Return whether supervisord says that it runs."""
        return self.truth(name)[0] == "RUNNING"

    def missed(self) -> float:
        """Return how many events the listener has missed."""
        return self.lab.metrics()["fpm_listener_events_missed_total"]

    def play(self, case: Callable[[Scene], None]) -> float:
        """Play a case; return after how many seconds everything was right."""
        before = self.missed()
        case(self)
        began_s = time.monotonic()
        wait_until(lambda: self.missed() > before, "the gap")
        for name in PROGRAMS:
            wait_until(partial(self.is_right, name), f"{name} to be right", deadline_s=60)
        return time.monotonic() - began_s

    def is_right(self, name: str) -> bool:
        """Return whether the listener says the same, or says that it does not know."""
        state, pid = self.truth(name)
        known = self.lab.status(name)
        if not self.rpc and state in DEAD and known["state"] == "UNKNOWN":
            return True
        return bool(known["state"] == state and known["pid"] == pid)

    def lose(self, *commands: tuple[str, str]) -> None:
        """Have supervisorctl do this while the listener is stopped, and the events discarded."""
        listener = self.lab.listener_pid()
        os.kill(listener, signal.SIGSTOP)
        try:
            for command in commands:
                self.lab.ctl(*command)
            for _ in range(2):
                self.lab.ctl("restart", "noise")
        finally:
            os.kill(listener, signal.SIGCONT)


def _break_job(scene: Scene) -> None:
    """RUNNING, and FATAL in truth."""
    scene.good.unlink()
    scene.lose(("restart", "job"))


def _repair_job(scene: Scene) -> None:
    """FATAL, and RUNNING in truth."""
    scene.good.touch()
    scene.lose(("start", "job"))


def _stop_fpm(scene: Scene) -> None:
    """RUNNING, and STOPPED in truth."""
    scene.lose(("stop", "php-fpm"))


def _start_fpm(scene: Scene) -> None:
    """STOPPED, and RUNNING in truth."""
    scene.lose(("start", "php-fpm"))


def _restart_fpm(scene: Scene) -> None:
    """RUNNING, and another process in truth."""
    scene.lose(("restart", "php-fpm"))


def _killed_and_stopped(scene: Scene) -> None:
    """The job dies while nobody listens."""
    pid = scene.truth("job")[1]
    assert pid is not None
    scene.lab.ctl("stop", "noise")
    kill(pid)
    wait_until(lambda: scene.truth("job")[0] == "EXITED", "the death")
    scene.lab.ctl("start", "noise")
    scene.lose(("start", "job"))


CASES = (_break_job, _repair_job, _stop_fpm, _start_fpm, _restart_fpm, _killed_and_stopped)


@pytest.mark.timeout(600 * ROUNDS)
@pytest.mark.parametrize("rpc", [True, False], ids=["xml-rpc", "proc"])
def test_no_state_is_wrong_a_minute_after_events_were_lost(lab: Lab, *, rpc: bool) -> None:
    """Neither a state nor a pid; and who was given up, and is not, makes no alert."""
    scene = Scene(lab, rpc=rpc)
    took = [scene.play(CASES[number % len(CASES)]) for number in range(ROUNDS * len(CASES))]
    print(f"wrong after a minute: 0 of {len(took)}, longest {max(took):.1f} s")  # noqa: T201 - a figure

    told = [one["annotations"]["summary"] for one in lab.webhook.alerts("firing", "php-fpm")]
    assert told == []
