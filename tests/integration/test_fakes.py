"""The contract tests of tests/fakes.py: the same assertions hold for a fake and the real thing."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections import defaultdict
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from fpm_listener.delivery.attempt import Delivered, RetryLater
from fpm_listener.delivery.sender import make_receiver
from fpm_listener.doctor.host_facts import Host
from fpm_listener.phpfpm.config_files import DiskFiles
from fpm_listener.settings.receivers import ReceiverSettings
from fpm_listener.supervisor.process import ProcessName, Program
from fpm_listener.supervisor.rpc import RpcFailed, SupervisorRpc
from fpm_listener.vocabulary import State
from tests.fakes import (
    FakeFiles,
    FakeHost,
    FakeProgram,
    FakeReceiver,
    FakeRpc,
    FakeSupervisord,
    process_info,
)
from tests.ports import free_port
from tests.receiver_server import ReceiverServer, silent_close
from tests.samples import fires
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fpm_listener.delivery.attempt import Outcome
    from fpm_listener.doctor.machine import Machine
    from fpm_listener.incidents.alert import Alert
    from fpm_listener.phpfpm.config_reader import Files

both = pytest.mark.parametrize("real", [False, True], ids=["fake", "real"])


# -- files -----------------------------------------------------------------------------------------


def files(folder: Path, *, real: bool) -> Files:
    """Return three files, a hidden one, and two directories."""
    names = ("b.conf", "a.conf", "sub/c.conf", ".hidden.conf")
    if not real:
        texts: dict[str, str | None] = {f"{folder}/{name}": f"text of {name}" for name in names}
        return FakeFiles({**texts, f"{folder}/sub": None, f"{folder}/dir.conf": None})
    (folder / "sub").mkdir()
    (folder / "dir.conf").mkdir()
    for name in names:
        (folder / name).write_text(f"text of {name}")
    return DiskFiles("/")


@both
def test_files(tmp_path: Path, *, real: bool) -> None:
    """A text is read; a missing file and a directory raise the errors of the system."""
    found = files(tmp_path, real=real)

    assert found.read(f"{tmp_path}/a.conf") == "text of a.conf"
    with pytest.raises(FileNotFoundError) as missing:
        found.read(f"{tmp_path}/none.conf")
    assert missing.value.strerror == os.strerror(errno.ENOENT)
    with pytest.raises(OSError, match="directory") as directory:
        found.read(f"{tmp_path}/sub")
    assert directory.value.strerror == "is a directory"


@both
@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.conf", ["a.conf", "b.conf", "dir.conf"]),
        ("*/*.conf", ["sub/c.conf"]),
        (".*.conf", [".hidden.conf"]),
        ("[ab].conf", ["a.conf", "b.conf"]),
        ("A.conf", []),
        ("sub", ["sub"]),
        ("none/*.conf", []),
    ],
)
def test_patterns(tmp_path: Path, pattern: str, names: list[str], *, real: bool) -> None:
    """`*` matches no `/` and no hidden name; the paths are sorted."""
    found = files(tmp_path, real=real)

    assert found.glob(f"{tmp_path}/{pattern}") == [f"{tmp_path}/{name}" for name in names]


# -- the host --------------------------------------------------------------------------------------


def host(root: Path, *, real: bool) -> Machine:
    """Return a container with systemd, a php-fpm and its unit, and 64 MiB."""
    if not real:
        return FakeHost(
            missing=frozenset({"/none"}),
            units=("php8.2-fpm.service",),
            installed=("/usr/sbin/php-fpm8.2",),
            scripts=("/etc/init.d/php8.2-fpm",),
            ports=(40000, 50000),
            memory=64 << 20,
            container=True,
        )
    texts = {
        "etc/init.d/php8.2-fpm": "",
        "usr/sbin/php-fpm8.2": "",
        "etc/systemd/system/multi-user.target.wants/php8.2-fpm.service": "",
        "run/systemd/system/x": "",
        "proc/sys/net/ipv4/ip_local_port_range": "40000\t50000\n",
        "proc/self/cgroup": "0::/\n",
        "proc/self/mountinfo": "30 23 0:26 / /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n",
        "sys/fs/cgroup/cgroup.procs": "",
        "sys/fs/cgroup/memory.max": f"{64 << 20}\n",
        ".dockerenv": "",
    }
    for name, text in texts.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    return Host(str(root))


@both
def test_host(tmp_path: Path, *, real: bool) -> None:
    """Each fact of the host is found."""
    found = host(tmp_path, real=real)

    assert found.exists("/usr/sbin/php-fpm8.2")
    assert found.is_folder("/etc/init.d")
    assert not found.exists("/none")
    assert not found.is_folder("/none")
    assert found.user("root")
    assert found.group("root")
    assert not found.user("no-such-name")
    assert not found.group("no-such-name")
    assert found.enabled_units() == ("php8.2-fpm.service",)
    assert found.php_fpms() == ("/usr/sbin/php-fpm8.2",)
    assert found.init_scripts() == ("/etc/init.d/php8.2-fpm",)
    assert found.port_range() == (40000, 50000)
    assert found.memory_limit() == 64 << 20
    assert found.in_container()


# -- a receiver ------------------------------------------------------------------------------------


class Scripted(Random):
    """A random generator that returns these numbers in turn."""

    def __init__(self, numbers: tuple[float, ...]) -> None:  # Python 3.10: only one argument
        super().__init__()
        self.numbers = list(numbers)

    def random(self) -> float:
        """Return the next number."""
        return self.numbers.pop(0)


Send = tuple["Callable[[Alert], Outcome]", "Callable[[], int]"]


@pytest.fixture
def server() -> Iterator[ReceiverServer]:
    """Return a webhook receiver."""
    with ReceiverServer() as made:
        yield made


def receiver(server: ReceiverServer, state: str, *, real: bool) -> Send:
    """Return how to send one alert to a receiver in this state, and the number that it got."""
    if not real:
        numbers = {"up": (0.9, 0.9), "answer lost": (0.9, 0.0), "away": (0.9,)}[state]
        fake = FakeReceiver(Scripted(numbers), away=state == "away")
        return lambda alert: fake.send((alert,)), lambda: len(fake.took)
    url = f"http://127.0.0.1:{free_port()}/" if state == "away" else server.url
    server.script = [silent_close] if state == "answer lost" else []
    webhook = make_receiver(ReceiverSettings(name="ops", url=url, timeout_s=20.0))
    return lambda alert: webhook.send([alert]), lambda: len(server.requests)


@both
@pytest.mark.parametrize(
    ("state", "outcome", "count"),
    [("up", Delivered, 1), ("answer lost", RetryLater, 1), ("away", RetryLater, 0)],
)
def test_receiver(
    server: ReceiverServer, state: str, outcome: type, count: int, *, real: bool
) -> None:
    """A lost answer is a failure, although the alert has arrived."""
    send, received = receiver(server, state, real=real)

    assert isinstance(send(fires("a")), outcome)
    assert received() == count


# -- supervisord -----------------------------------------------------------------------------------

CONF = """\
[supervisord]
nodaemon=true
{user}
logfile={folder}/supervisord.log
pidfile={folder}/supervisord.pid
[unix_http_server]
file={folder}/s.sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[eventlistener:fpm-listener]
command={python} {folder}/record.py {folder}/events
events=PROCESS_STATE
buffer_size=100
priority=1
[program:failing]
command=/bin/false
startretries=1
[program:crashing]
command=/bin/sh -c 'sleep 1.5; exit 3'
[program:stopped]
command=/bin/sleep 1000
startsecs=2
"""
#: An event listener that writes each event into a file as a line of JSON.
RECORD = """\
import json, os, sys
with open(sys.argv[1], "a", buffering=1) as events:
    while True:
        os.write(1, b"READY\\n")
        header = dict(word.split(":") for word in sys.stdin.readline().split())
        payload = sys.stdin.read(int(header["len"]))
        events.write(json.dumps([header, payload]) + "\\n")
        os.write(1, b"RESULT 2\\nOK")
"""
#: The events of each program until now or until it starts again; `N` stands for a pid.
EXPECTED = {
    "failing": [
        "PROCESS_STATE_STARTING from_state:STOPPED tries:0",
        "PROCESS_STATE_BACKOFF from_state:STARTING tries:1",
        "PROCESS_STATE_STARTING from_state:BACKOFF tries:1",
        "PROCESS_STATE_BACKOFF from_state:STARTING tries:2",
        "PROCESS_STATE_FATAL from_state:BACKOFF",
    ],
    "crashing": [
        "PROCESS_STATE_STARTING from_state:STOPPED tries:0",
        "PROCESS_STATE_RUNNING from_state:STARTING pid:N",
        "PROCESS_STATE_EXITED from_state:RUNNING expected:0 pid:N",
        "PROCESS_STATE_STARTING from_state:EXITED tries:0",
    ],
    "stopped": [
        "PROCESS_STATE_STARTING from_state:STOPPED tries:0",
        "PROCESS_STATE_RUNNING from_state:STARTING pid:N",
        "PROCESS_STATE_STOPPING from_state:RUNNING pid:N",
        "PROCESS_STATE_STOPPED from_state:STOPPING pid:N",
    ],
}


class RealSupervisord:
    """A supervisord with three programs; it stops one of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        user = "user=root" if os.geteuid() == 0 else ""
        (folder / "record.py").write_text(RECORD)
        (folder / "supervisord.conf").write_text(
            CONF.format(folder=folder, user=user, python=sys.executable)
        )
        self.process = subprocess.Popen(
            [sys.executable, "-m", "supervisor.supervisord", "-c", folder / "supervisord.conf"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.rpc = SupervisorRpc(f"unix://{folder}/s.sock", timeout_s=20.0)

    def states(self) -> dict[str, State]:
        """Return the states of the programs."""
        processes = self.rpc.processes()
        return (
            {}
            if isinstance(processes, RpcFailed)
            else {one.name.process: one.state for one in processes}
        )

    def events(self) -> list[tuple[dict[str, str], str]]:
        """Return header and payload of the events so far."""
        path = self.folder / "events"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(header, payload) for header, payload in map(json.loads, lines)]

    def run(self) -> None:
        """Stop a program once it runs, and wait for the events."""
        wait_until(lambda: self.states().get("stopped") is State.RUNNING, "RUNNING")
        self.rpc.stop(ProcessName("stopped", "stopped"))
        wait_until(
            lambda: all(
                len(by_program(self.events())[name]) >= len(EXPECTED[name]) for name in EXPECTED
            ),
            "the events",
        )

    def close(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(60)


@pytest.fixture(scope="module")
def supervisord(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealSupervisord]:
    """Return a real supervisord after the events of its programs."""
    made = RealSupervisord(tmp_path_factory.mktemp("s"))
    try:
        made.run()
        yield made
    finally:
        made.close()


class Chosen(Random):
    """A random generator that decides how a program behaves, and whether its operator stops it."""

    def __init__(self, behaviour: str, *, stops: bool) -> None:
        super().__init__()
        self.behaviour, self.stops = behaviour, stops

    def choice(self, _: Any) -> Any:  # noqa: ANN401 - as Random's
        """Return the behaviour."""
        return self.behaviour

    def uniform(self, low: float, _: float) -> float:
        """Return the shortest time."""
        return low

    def random(self) -> float:
        """Return a number that lets the operator stop a program, or not."""
        return 0.0 if self.stops else 0.99


def fake_events() -> tuple[list[tuple[dict[str, str], str]], list[FakeProgram]]:
    """Return the events of a fake supervisord, in the form of real ones, and its programs."""
    fake = FakeSupervisord()
    programs = [
        FakeProgram(
            ProcessName(name, name), Chosen(behaviour, stops=stops), fake.emit, startretries=1
        )
        for name, behaviour, stops in (
            ("failing", "failing", False),
            ("crashing", "crashing", False),
            ("stopped", "crashing", True),
        )
    ]
    found: list[tuple[dict[str, str], str]] = []
    now_s = 0.0
    for program in programs:
        name = program.name.process
        while len(by_program(found)[name]) < len(EXPECTED[name]):
            now_s = max(now_s, program.due_s)
            program.turn(now_s)
            for event in fake.waiting:
                numbers = {"serial": str(event.serial), "poolserial": str(event.poolserial)}
                found.append(({"eventname": event.name, **numbers}, event.payload))
            fake.waiting.clear()
    return found, programs


def by_program(events: list[tuple[dict[str, str], str]]) -> dict[str, list[str]]:
    """Return name and words of the events of each program."""
    found: dict[str, list[str]] = defaultdict(list)
    for header, payload in events:
        words = payload.split()
        name = words[0].removeprefix("processname:")
        assert words[1].startswith("groupname:")
        rest = ["pid:N" if word.startswith("pid:") else word for word in words[2:]]
        found[name].append(" ".join([header["eventname"], *rest]))
    return found


@both
def test_events_of_supervisord(request: pytest.FixtureRequest, *, real: bool) -> None:
    """A failing, a crashing and a stopped program have these events, numbered without gaps."""
    events = request.getfixturevalue("supervisord").events() if real else fake_events()[0]
    found = by_program(events)

    for name, expected in EXPECTED.items():
        assert found[name][: len(expected)] == expected
    numbers = [int(header["poolserial"]) for header, _ in events]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


@both
def test_process_info(request: pytest.FixtureRequest, *, real: bool) -> None:
    """A program without a process has neither pid nor start; a process has both."""
    if real:
        answer = request.getfixturevalue("supervisord").rpc.processes()
    else:
        programs = fake_events()[1]
        programs[2].turn(programs[2].due_s)  # it starts again
        answer = process_info(programs, wall_s=1e9, now_s=1e3)
    found = {one.name.process: one for one in answer}

    assert (found["failing"].state, found["failing"].pid) == (State.FATAL, None)
    running = [one for one in answer if one.state in {State.STARTING, State.RUNNING}]
    assert running
    assert all(one.pid and one.started_at_s for one in running)


@both
def test_programs_over_rpc(request: pytest.FixtureRequest, *, real: bool) -> None:
    """Each program has its command and startsecs; a supervisord that is away is a value."""
    rpc: SupervisorRpc
    if real:
        rpc = request.getfixturevalue("supervisord").rpc
        away: SupervisorRpc = SupervisorRpc("unix:///none/s.sock")
    else:
        name = ProcessName("stopped", "stopped")
        rpc = FakeRpc((Program(name=name, command="/bin/sleep 1000", startsecs=2.0),))
        away = FakeRpc(RpcFailed(why="it is away"))
    answer = rpc.programs()
    assert not isinstance(answer, RpcFailed)
    (found,) = [one for one in answer if one.name.process == "stopped"]

    assert (found.name.group, found.command) == ("stopped", "/bin/sleep 1000")
    assert (found.directory, found.startsecs) == (None, 2.0)
    assert isinstance(away.programs(), RpcFailed)
