"""Killed with SIGKILL at any step, the listener loses no incident, and repeats one alert at most.

The end of a program that is given up is told within the transaction of its event, that of one which
fails again and again after it, when its exit was looked up, and that of one which recovers by the
clock: the three ways in which an alert comes to be.

For each kind of step, a listener is killed once, before or after it. With KILL_EVERYWHERE=1 (`make
soak`), listeners are killed before and after every step.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from itertools import count, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from xmlrpc.server import SimpleXMLRPCServer

import pytest

from fpm_listener.delivery.database_files import FILE
from fpm_listener.supervisor.protocol import ACKNOWLEDGED, READY
from tests.receiver_server import PATIENCE_S, ReceiverServer, status
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SCRIPT = Path(__file__).parents[2] / "killable_listener.py"
#: Stories that are played at a time; a listener waits half of its life.
SIDE_BY_SIDE = 4
#: Kinds of steps at which listeners must have been killed, or nothing is proven.
STEPS = {"BEGIN", "INSERT", "DELETE", "COMMIT", "connect", "sendall", "recv"}
SETTINGS = """\
[fpm-listener]
listen = 127.0.0.1:0
state_dir = {folder}/state
loop = 2 in 60s
stable_for = 100ms
instance = here
[fpm-listener:receiver:ops]
url = {url}
"""


class Event(NamedTuple):
    """What supervisord tells, and what a receiver is to have heard before it tells the next."""

    state: str
    program: str
    more: str
    heard: str = ""


GIVEN_UP = (
    Event("BACKOFF", "api", "from_state:STARTING tries:1"),
    Event("FATAL", "api", "from_state:BACKOFF", heard="gave up"),
)
RECOVERS = (
    Event("BACKOFF", "web", "from_state:STARTING tries:1"),
    Event("BACKOFF", "web", "from_state:STARTING tries:2", heard="firing"),
    Event("RUNNING", "web", f"from_state:STARTING pid:{os.getpid()}", heard="resolved"),
)


class Fault(NamedTuple):
    """Where a listener kills itself (killable_listener.py)."""

    since: str
    when: str
    kind: str
    at: int


class Killed(Exception):  # noqa: N818 - no error: it is what is to happen
    """The listener is no more; the text says at which step."""


# -- the receiver ----------------------------------------------------------------------------------


class Receiver(ReceiverServer):
    """A receiver whose callers die."""

    def __enter__(self) -> Receiver:  # noqa: PYI034 - typing has Self from 3.11 on
        super().__enter__()
        return self

    def heard(self, program: str) -> list[str]:
        """Return what it has heard of a program: a status, or that supervisord gave up."""
        found = []
        for request in list(self.requests):
            (alert,) = request.json["alerts"]
            if alert["labels"]["process"] == program:
                gave_up = "supervisord gave up" in alert["annotations"]["summary"]
                found.append("gave up" if gave_up else alert["status"])
        return found


# -- supervisord -----------------------------------------------------------------------------------


class Life:
    """One life of the listener, on pipes."""

    def __init__(self, folder: Path, fault: Fault, supervisord: str) -> None:
        """`supervisord`: the URL of its XML-RPC."""
        self._log = folder / "log"
        with self._log.open("ab") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, str(SCRIPT), str(folder / "fpm_listener.conf")],
                env={
                    **os.environ,
                    "KILL_SINCE": fault.since,
                    "KILL_WHEN": fault.when,
                    "KILL_KIND": fault.kind,
                    "KILL_AT": str(fault.at),
                    "SUPERVISOR_SERVER_URL": supervisord,
                },
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                bufsize=0,
            )

    def say(self, event: bytes) -> None:
        """Tell it of an event. Raises Killed."""
        assert self.process.stdin
        try:
            self.process.stdin.write(event)
        except BrokenPipeError:
            raise self._killed() from None

    def hear(self, words: bytes) -> None:
        """Return when it has said this. Raises Killed."""
        assert self.process.stdout
        heard, end_s = b"", time.monotonic() + PATIENCE_S
        while heard != words:
            left_s = max(0.0, end_s - time.monotonic())
            assert select.select([self.process.stdout], [], [], left_s)[0], "no answer in time"
            piece = self.process.stdout.read(len(words) - len(heard))
            if not piece:
                raise self._killed()
            heard += piece
            assert words.startswith(heard), heard

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Return when `condition` holds. Raises Killed."""
        wait_until(lambda: self.process.poll() is not None or condition(), what)
        if self.process.poll() is not None:
            raise self._killed()

    def close(self) -> None:
        """Leave nothing behind."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe
            pipe.close()

    def _killed(self) -> Killed:
        assert self.process.wait(PATIENCE_S) == -signal.SIGKILL
        said = self._log.read_text().splitlines()
        return Killed([line for line in said if line.startswith("killed ")][-1])


class Supervisord:
    """Tells events, each until it was acknowledged, and answers questions. A context manager."""

    def __init__(
        self, folder: Path, server: Receiver, events: Sequence[Event], told: int = 0
    ) -> None:
        """`told`: how many of the events were acknowledged before."""
        self._folder = folder
        self._server = server
        self._events = events
        self._told = told
        self._states = {event.program: event.state for event in events[:told]}
        self._rpc = SimpleXMLRPCServer(("127.0.0.1", 0), logRequests=False)
        self._rpc.register_function(lambda *_: "", "supervisor.readLog")
        self._rpc.register_function(list, "supervisor.getAllConfigInfo")
        self._rpc.register_function(self._processes, "supervisor.getAllProcessInfo")
        self._thread = threading.Thread(target=self._rpc.serve_forever, args=(0.02,))
        (folder / "fpm_listener.conf").write_text(SETTINGS.format(folder=folder, url=server.url))

    def __enter__(self) -> Supervisord:  # noqa: PYI034 - typing has Self from 3.11 on
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._rpc.shutdown()
        self._thread.join()
        self._rpc.server_close()

    def start(self, fault: Fault) -> Life:
        """Start the listener."""
        return Life(self._folder, fault, f"http://127.0.0.1:{self._rpc.server_address[1]}")

    def tell(self, life: Life) -> None:
        """Tell what was not acknowledged yet, each when the one before is known. Raises Killed."""
        life.hear(READY)
        for number, event in enumerate(self._events):
            if number == self._told:
                self._states[event.program] = event.state
                life.say(self._envelope(event))
                life.hear(ACKNOWLEDGED)
                self._told += 1
                life.hear(READY)
            if event.heard:
                life.wait_until(partial(self._is_known, event), f"{event} in {self._folder}")

    def play(self, fault: Fault) -> str:
        """Tell all to a listener that is killed, and then to one that is not; return where."""
        place = ""
        none = fault._replace(at=0)
        for one in (fault, none):
            with closing(self.start(one)) as life:
                try:
                    self.tell(life)
                except Killed as killed:
                    place = str(killed)
                    assert one is not none, place
                else:
                    break
        return place

    def _envelope(self, event: Event) -> bytes:
        payload = f"processname:{event.program} groupname:{event.program} {event.more}"
        header = (
            f"ver:3.0 server:supervisor serial:{self._told + 21} pool:fpm-listener"
            f" poolserial:{self._told} eventname:PROCESS_STATE_{event.state} len:{len(payload)}"
        )
        return f"{header}\n{payload}".encode()

    def _is_known(self, event: Event) -> bool:
        """Return whether the receiver has heard of it, and is owed nothing."""
        if event.heard not in self._server.heard(event.program):
            return False
        file = f"file:{self._folder}/state/{FILE}?mode=ro"
        with closing(sqlite3.connect(file, uri=True, timeout=PATIENCE_S)) as database:
            return database.execute("SELECT * FROM outbox").fetchone() is None

    def _processes(self) -> list[dict[str, Any]]:
        """Answer as supervisor.getAllProcessInfo does."""
        numbers = {"start": 0, "stop": 0, "now": int(time.time()), "exitstatus": 0}
        files = {"stdout_logfile": "", "stderr_logfile": ""}
        return [
            {
                "group": name,
                "name": name,
                "statename": state,
                "pid": os.getpid() if state == "RUNNING" else 0,
                **numbers,
                **files,
            }
            for name, state in dict(self._states).items()
        ]


# -- the proof -------------------------------------------------------------------------------------


def judge(server: Receiver, events: Sequence[Event]) -> None:
    """Every incident was told, under one id; at most one alert twice, and that word for word."""
    bodies: dict[str, list[bytes]] = defaultdict(list)
    for request in server.requests:
        bodies[request.headers["idempotency-key"]].append(request.body)
    assert all(len(set(same)) == 1 for same in bodies.values()), bodies
    times = Counter(map(len, bodies.values()))
    assert set(times) <= {1, 2}, bodies
    assert times[2] <= 1, bodies
    incidents = {identity.rpartition("-")[0] for identity in bodies}
    programs = {event.program for event in events}
    assert sorted(one.split("/")[2] for one in incidents) == sorted(
        f"{program}:{program}" for program in programs
    )
    for program in programs:
        heard = server.heard(program)
        wanted = [event.heard for event in events if event.program == program and event.heard]
        assert list(dict.fromkeys(heard)) == wanted


def steps_of(folder: Path) -> Counter[str]:
    """Return how many steps of each kind the listener of a story counted."""
    lines = (folder / "log").read_text().splitlines()
    return Counter(line.partition(" ")[2] for line in lines if line.startswith("step "))


def number_of(when: str, steps: int) -> int:
    """Return at which step of a kind to kill, of those that a story without a kill has.

    Not the last one: another run can have fewer.
    """
    return 1 if when == "before" else (steps + 1) // 2


def play_all(
    tmp_path: Path, when: str, play: Callable[[Path, str, int], str], least: set[str]
) -> None:
    """Play a story with faults at each kind of step that it has; these include `least`."""
    everywhere = bool(os.environ.get("KILL_EVERYWHERE"))

    def play_at(kind: str, number: int) -> str:
        return play(tmp_path / f"{kind}-{number}", kind, number)

    def play_kind(kind: str) -> list[str]:
        """Return where listeners were killed; a story without a kill has no such step."""
        if everywhere:
            return list(takewhile(bool, (play_at(kind, number) for number in count(1))))
        return list(filter(None, [play_at(kind, number_of(when, steps[kind]))]))

    assert not play_at("none", 0)
    steps = steps_of(tmp_path / "none-0")
    assert set(steps) >= least
    kinds = sorted(steps) if everywhere else sorted(steps)[when == "after" :: 2]
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        places = dict(zip(kinds, pool.map(play_kind, kinds), strict=True))
    for kind in kinds:
        assert places[kind], f"no listener was killed at {kind}"
        assert set(places[kind]) == {f"killed {when} {kind}"}
    assert not everywhere or sum(map(len, places.values())) > 20


@pytest.mark.timeout(600)
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_after_an_event(tmp_path: Path, when: str) -> None:
    """At no step from an event to the settlement of its alert is an incident lost."""
    events = [*GIVEN_UP, *RECOVERS]

    def play(folder: Path, kind: str, number: int) -> str:
        folder.mkdir()
        with Receiver() as server, Supervisord(folder, server, events) as supervisord:
            place = supervisord.play(Fault("event", when, kind, number))
        judge(server, events)
        return place

    play_all(tmp_path, when, play, {*STEPS, "acknowledge"})


@pytest.mark.timeout(600)
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_again_while_an_alert_is_pending(tmp_path: Path, when: str) -> None:
    """Nor is one at a step of the next start, which takes up what is owed."""
    first = tmp_path / "first"
    first.mkdir()
    events = RECOVERS[:2]
    unheard = [event._replace(heard="") for event in events]
    with Receiver() as server, Supervisord(first, server, unheard) as supervisord:
        server.otherwise = status(503)
        with closing(supervisord.start(Fault("start", when, "none", 0))) as life:
            supervisord.tell(life)
            server.wait_for(1)
    (first / "log").unlink()

    def play(folder: Path, kind: str, number: int) -> str:
        shutil.copytree(first, folder, ignore=shutil.ignore_patterns("*.sock"))
        with Receiver() as server, Supervisord(folder, server, events, len(events)) as supervisord:
            place = supervisord.play(Fault("start", when, kind, number))
        judge(server, events)
        return place

    play_all(tmp_path, when, play, {*STEPS, "PRAGMA", "CREATE", "SELECT"})
