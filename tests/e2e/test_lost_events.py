"""supervisord discards events while the listener is stopped: no state stays wrong.

LOST_EVENTS_ROUNDS is the number of rounds of each case; its default is 1.
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
#: The programs of the test.
PROGRAMS = ("php-fpm", "job", "noise")
DEAD = {"STOPPED", "EXITED", "FATAL", "BACKOFF", "UNKNOWN"}


class LostEventsLab:
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

    def actual(self, name: str) -> tuple[str, int | None]:
        """Return state and pid as supervisord reports them."""
        info = self.lab.process_info(name)
        return info["statename"], info["pid"] or None

    def runs(self, name: str) -> bool:
        """Return whether supervisord reports RUNNING."""
        return self.actual(name)[0] == "RUNNING"

    def missed(self) -> float:
        """Return the number of events that the listener has missed."""
        return self.lab.metrics()["fpm_listener_events_missed_total"]

    def seconds_until_right(self, case: Callable[[LostEventsLab], None]) -> float:
        """Run a case; return after how many seconds every state was right."""
        before = self.missed()
        case(self)
        began_s = time.monotonic()
        wait_until(lambda: self.missed() > before, "the gap")
        for name in PROGRAMS:
            wait_until(partial(self.is_right, name), f"{name} to be right")
        return time.monotonic() - began_s

    def is_right(self, name: str) -> bool:
        """Return whether the listener reports the same, or reports that it does not know."""
        state, pid = self.actual(name)
        known = self.lab.status(name)
        if not self.rpc and state in DEAD and known["state"] == "UNKNOWN":
            return True
        return bool(known["state"] == state and known["pid"] == pid)

    def lose(self, *commands: tuple[str, str]) -> None:
        """Run supervisorctl while the listener is stopped: supervisord discards the events."""
        listener = self.lab.listener_pid()
        os.kill(listener, signal.SIGSTOP)
        try:
            for command in commands:
                self.lab.ctl(*command)
            for _ in range(2):
                self.lab.ctl("restart", "noise")
        finally:
            os.kill(listener, signal.SIGCONT)


def _break_job(events_lab: LostEventsLab) -> None:
    """The listener knows RUNNING; the real state is FATAL."""
    events_lab.good.unlink()
    events_lab.lose(("restart", "job"))


def _repair_job(events_lab: LostEventsLab) -> None:
    """The listener knows FATAL; the real state is RUNNING."""
    events_lab.good.touch()
    events_lab.lose(("start", "job"))


def _stop_fpm(events_lab: LostEventsLab) -> None:
    """The listener knows RUNNING; the real state is STOPPED."""
    events_lab.lose(("stop", "php-fpm"))


def _start_fpm(events_lab: LostEventsLab) -> None:
    """The listener knows STOPPED; the real state is RUNNING."""
    events_lab.lose(("start", "php-fpm"))


def _restart_fpm(events_lab: LostEventsLab) -> None:
    """The listener knows RUNNING; the real state is RUNNING with another pid."""
    events_lab.lose(("restart", "php-fpm"))


def _kill_and_start_job(events_lab: LostEventsLab) -> None:
    """The listener receives neither the exit nor the new start of the job."""
    pid = events_lab.actual("job")[1]
    assert pid is not None
    events_lab.lab.ctl("stop", "noise")
    kill(pid)
    wait_until(lambda: events_lab.actual("job")[0] == "EXITED", "the exit")
    events_lab.lab.ctl("start", "noise")
    events_lab.lose(("start", "job"))


CASES = (_break_job, _repair_job, _stop_fpm, _start_fpm, _restart_fpm, _kill_and_start_job)


@pytest.mark.timeout(600 * ROUNDS)
@pytest.mark.parametrize("rpc", [True, False], ids=["xml-rpc", "proc"])
def test_lost_events(lab: Lab, *, rpc: bool) -> None:
    """A minute later every state and pid is right, and php-fpm has no alert."""
    events_lab = LostEventsLab(lab, rpc=rpc)
    took = [
        events_lab.seconds_until_right(CASES[number % len(CASES)])
        for number in range(ROUNDS * len(CASES))
    ]
    print(f"wrong after a minute: 0 of {len(took)}, longest {max(took):.1f} s")  # noqa: T201 - a figure

    told = [one["annotations"]["summary"] for one in lab.webhook.alerts("firing", "php-fpm")]
    assert told == []
