"""Ten real minutes: supervisord, php-fpm behind the guard, flapping programs, and random faults.

Laws that are checked while it runs, and after the faults have ended:

1. php-fpm answers whenever nobody has stopped it (SILENT_S at most between two answers).
2. No state of a listener that runs differs from supervisord's own answer for a minute.
3. Each incident that was shown or sent reaches its receiver as firing, then as resolved.
4. When php-fpm is stopped, its addresses are free.
"""

from __future__ import annotations

import json
import os
import random as random_module
import signal
import time
from collections import deque
from contextlib import suppress
from http.client import HTTPException
from typing import TYPE_CHECKING, Any

from tests.e2e.lab import kill
from tests.soak.soak_lab import FPMS, PingLoop, SoakLab, limit_files

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

#: Seconds: a start of Python on a busy machine, and supervisord's own delays, are in it.
SILENT_S = 30.0
WRONG_S = 60.0
#: Seconds that everything has to become well after the last fault.
SETTLING_S = 150.0
LOOK_S = 1.0
_HISTORY = 300
#: Faults of the listener and its machine, then of php-fpm, then of the receiver; twice is likelier.
LISTENER = ("kill", "kill", "stop", "stop", "delete", "files", "disk")
FPM = ("TERM", "QUIT", "KILL", "restart", "stopped")
RECEIVER = ("status 500", "refuses", "slow")


class BrokenLawError(AssertionError):
    """A law does not hold."""


class Soak:
    """One run."""

    def __init__(self, seed: int, soak_lab: SoakLab) -> None:
        self.random: Random = random_module.Random(seed)  # noqa: S311 - faults, no secrets
        self.soak_lab, self.lab = soak_lab, soak_lab.lab
        self.faults: dict[str, int] = {}
        self.answers: dict[str, PingLoop] = {}
        self._began_s = time.monotonic()
        self._history: deque[str] = deque(maxlen=_HISTORY)
        self._undo: dict[str, tuple[float, Callable[[], None]]] = {}
        self._next = {"listener": 5.0, "fpm": 8.0, "receiver": 11.0}
        self._right_s: dict[str, float] = {}
        self._up_since_s = time.monotonic()
        self._pid: int | None = None
        self._stopped: dict[str, float] = {}  # when nobody may expect an answer until
        self._shown: set[str] = set()
        self._unsafe = False  # what is not on disk is lost with the process

    # -- the loop ----------------------------------------------------------------------------------

    def run(self, seconds: float) -> None:
        """Let faults happen, then end them all. Raises BrokenLawError."""
        self.answers = {name: PingLoop(self.soak_lab.addresses[name]) for name in FPMS}
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            self._turn()
            time.sleep(LOOK_S / 4)
        self._end_faults()
        self._wait_until_well()
        self._check_alerts()
        self._check_released()

    def _turn(self) -> None:
        now_s = time.monotonic()
        for kind, (at_s, undo) in list(self._undo.items()):
            if at_s <= now_s:
                del self._undo[kind]
                self._record(f"end of {kind}")
                undo()
        for kind, in_s in self._next.items():
            if now_s - self._began_s >= in_s and kind not in self._undo:
                self._next[kind] = now_s - self._began_s + self.random.uniform(4.0, 16.0)
                {"listener": self._break_listener, "fpm": self._break_fpm}.get(
                    kind, self._break_receiver
                )()
        self._check()

    def _record(self, what: str) -> None:
        self._history.append(f"{time.monotonic() - self._began_s:8.2f} {what}")

    def _count(self, fault: str) -> None:
        self.faults[fault] = self.faults.get(fault, 0) + 1
        self._record(fault)

    def _later(self, kind: str, seconds: tuple[float, float], undo: Callable[[], None]) -> None:
        self._undo[kind] = (time.monotonic() + self.random.uniform(*seconds), undo)

    # -- faults ------------------------------------------------------------------------------------

    def _break_listener(self) -> None:
        fault, pid = self.random.choice(LISTENER), self.soak_lab.listener()
        if pid is None or (fault in {"kill", "stop"} and self._unsafe):
            return  # killed now, also by a guard, it would lose what no disk has taken
        self._count(f"listener: {fault}")
        if fault == "kill":
            kill(pid)
        elif fault == "stop":
            kill(pid, signal.SIGSTOP)
            self._later("listener", (1.0, 10.0), lambda: kill(pid, signal.SIGCONT))
        elif fault == "delete":
            self._unsafe = True
            self.soak_lab.delete_state(self.random)
        elif fault == "files":
            limit_files(pid, scarce=True)
            self._later("listener", (2.0, 10.0), lambda: limit_files(pid, scarce=False))
        elif self.soak_lab.small_disk:
            self._unsafe = True
            self.soak_lab.fill_disk()
            self._later("listener", (2.0, 10.0), self.soak_lab.clear_disk)

    def _break_fpm(self) -> None:
        name, fault = self.random.choice(FPMS), self.random.choice(FPM)
        master = self.lab.master(name)
        if master is None:
            return
        self._count(f"{name}: {fault}")
        if fault == "stopped":
            self._stopped[name] = float("inf")
            self.soak_lab.stop(name)
            self._later("fpm", (1.0, 6.0), lambda: self._start(name))
        elif fault == "restart":
            self.soak_lab.stop(name)
            self._start(name)
        else:
            kill(master, signal.Signals[f"SIG{fault}"])

    def _start(self, name: str) -> None:
        self.soak_lab.start(name)
        self._stopped[name] = time.monotonic()

    def _break_receiver(self) -> None:
        fault, webhook = self.random.choice(RECEIVER), self.lab.webhook
        self._count(f"receiver: {fault}")
        if fault == "refuses":
            webhook.stop()
            self._later("receiver", (1.0, 10.0), webhook.start)
            return
        webhook.status, webhook.takes_s = (500, 0.0) if fault == "status 500" else (200, 3.0)
        self._later("receiver", (1.0, 10.0), self._repair_receiver)

    def _repair_receiver(self) -> None:
        self.lab.webhook.status, self.lab.webhook.takes_s = 200, 0.0

    # -- the laws ----------------------------------------------------------------------------------

    def _document(self) -> dict[str, Any] | None:
        with suppress(OSError, HTTPException, ValueError):
            document: dict[str, Any] = json.loads(self.lab.get("/status.json"))
            return document
        return None

    def _check(self) -> None:
        now_s = time.monotonic()
        states = self.soak_lab.states()
        for name, answers in self.answers.items():
            if states[name] in {"FATAL", "EXITED"} and name not in self._stopped:
                self._record(f"supervisord says {states[name]} of {name}")
            since_s = max(answers.last_s, self._stopped.get(name, 0.0))
            if now_s - since_s > SILENT_S:
                self._fail(f"{name} has not answered for {now_s - since_s:.0f} s: {states[name]}")
        if "listener" in self._undo:  # it cannot be expected to know anything
            self._up_since_s = now_s
            return
        pid, document = self.soak_lab.listener(), self._document()
        if pid != self._pid or document is None:
            self._pid, self._up_since_s = pid, now_s
        if document is None:
            return
        if self._unsafe and self._is_persistent(document):
            self._unsafe = False
        for program in document["programs"]:
            self._compare(program, states, now_s)

    def _is_persistent(self, document: dict[str, Any]) -> bool:
        """Return whether the listener reports that everything is on disk, and the file exists."""
        found = list(self.soak_lab.state_dir.rglob("*.sqlite3"))
        return bool(found) and bool(document["listener"]["outbox_persistent"])

    def _compare(self, program: dict[str, Any], states: dict[str, str], now_s: float) -> None:
        name = program["name"].rpartition(":")[2]
        if program["incident"]:
            self._shown.add(name)
        if name not in states:
            return
        if program["state"].upper() == states[name]:
            self._right_s[name] = now_s
        wrong_s = now_s - max(self._right_s.get(name, 0.0), self._up_since_s)
        if wrong_s > WRONG_S:
            self._fail(f"{name} is {states[name]}; the listener says {program['state']}")

    def _end_faults(self) -> None:
        self._record("all faults end")
        for _, undo in self._undo.values():
            undo()
        self._undo.clear()
        self._repair_receiver()
        (self.soak_lab.folder / "well").touch()

    def _wait_until_well(self) -> None:
        """Wait until every program runs, nothing fires, and no alert is pending."""
        end_s = time.monotonic() + SETTLING_S
        while True:
            for name, state in self.soak_lab.states().items():
                if state in {"FATAL", "STOPPED", "EXITED"}:
                    self.soak_lab.start(name)
            self._check()
            document = self._document()
            left = self._unfinished(document) if document else ["the listener does not answer"]
            if not left:
                return
            if time.monotonic() > end_s:
                self._fail(f"all is not well {SETTLING_S:.0f} s after the last fault: {left}")
            time.sleep(LOOK_S)

    @staticmethod
    def _unfinished(document: dict[str, Any]) -> list[str]:
        left = [f"{one['name']} {one['state']}" for one in document["programs"]]
        left = [one for one in left if "fpm-listener" not in one and not one.endswith("unning")]
        left = [one for one in left if not one.endswith("RUNNING")]
        left += [f"{one['name']}: an incident" for one in document["programs"] if one["incident"]]
        return left + [f"{one['name']}: pending" for one in document["receivers"] if one["pending"]]

    def _check_alerts(self) -> None:
        webhook = self.lab.webhook
        sent: dict[str, list[str]] = {}
        named: set[str] = set()
        for key, request in zip(list(webhook.keys), list(webhook.requests), strict=True):
            statuses = sent.setdefault(key.rpartition("-")[0], [])
            for alert in request["alerts"]:
                statuses.append(alert["status"])
                named.add(alert["labels"].get("process", ""))
        for incident, statuses in sent.items():
            if statuses[0] != "firing" or statuses[-1] != "resolved":
                self._fail(f"{incident} was sent as {statuses}")
        if missing := self._shown - named:
            self._fail(f"incidents of {missing} were shown, and no alert of them was sent")

    def _check_released(self) -> None:
        for answers in self.answers.values():
            answers.close()
        for name in FPMS:
            self.soak_lab.stop(name)
        end_s = time.monotonic() + SILENT_S
        while taken := [name for name in FPMS if self.soak_lab.accepts(name)]:
            if time.monotonic() > end_s:
                self._fail(f"the addresses of {taken} are held, though it is stopped")
            time.sleep(LOOK_S)

    def _fail(self, what: str) -> None:
        raise BrokenLawError("\n".join([*self._history, f"BROKEN: {what}"]))


def run(seed: int, seconds: float) -> bool:
    """Run it; print what came of it, and return whether all laws held."""
    soak_lab = SoakLab()
    try:
        if not soak_lab.small_disk:
            print("soak: no small disk can be mounted here, so it is never full")
        soak = Soak(seed, soak_lab)
        soak_lab.lab.start()
        soak.run(seconds)
    except AssertionError as error:
        print(f"{error}\n--- the end of the listener's log ---\n{soak_lab.lab.log()[-4000:]}")
        print(f"soak: real half FAILED, SOAK_SEED={seed}")
        if os.environ.get("SOAK_KEEP"):
            print(f"soak: kept {soak_lab.folder}")
            soak_lab.lab.close()
            return False
        soak_lab.close()
        return False
    figures = {
        "seconds": seconds,
        "faults": sum(soak.faults.values()),
        "of_each": soak.faults,
        "requests": sum(one.requests for one in soak.answers.values()),
        "failed_requests": sum(one.failures for one in soak.answers.values()),
        "longest_silence_s": round(max(one.worst_s for one in soak.answers.values()), 1),
        "alerts": len(soak_lab.lab.webhook.keys),
    }
    soak_lab.close()
    print(f"soak: real half passed {json.dumps(figures)}")
    return True
