"""Fakes of files, the host, supervisord and a receiver.

tests/integration/test_fakes.py runs the same assertions against each fake and the real thing.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from fpm_listener.delivery.attempt import Delivered, FailureReason, RetryLater
from fpm_listener.supervisor.process import ProcessSeen
from fpm_listener.supervisor.protocol import Event
from fpm_listener.supervisor.rpc import SupervisorRpc
from fpm_listener.vocabulary import State

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random

    from fpm_listener.delivery.attempt import Outcome
    from fpm_listener.incidents.alert import Alert
    from fpm_listener.supervisor.process import ProcessName, Program
    from fpm_listener.supervisor.rpc import RpcFailed

#: supervisord's `startsecs`, and the number of events that it keeps for a busy listener.
STARTSECS_S, BUFFER = 1.0, 10
#: Seconds of one way in which a program behaves: from, to.
REGIME_S = (600.0, 10_000.0)
#: How long a run lasts, by what is the matter with the program: from, to.
RUN_S = {
    "healthy": (40_000.0, 200_000.0),
    "crashing": (2.0, 40.0),
    "slow crashes": (90.0, 400.0),
    "failing": (0.01, 0.9),
}


class FakeFiles:
    """Files of php-fpm's configuration in a dict; a text of None is a directory."""

    def __init__(self, texts: Mapping[str, str | None]) -> None:
        self.texts = texts

    def read(self, path: str) -> str:
        """Return a file's text. Raises OSError."""
        if path not in self.texts:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        text = self.texts[path]
        if text is None:
            raise IsADirectoryError(errno.EISDIR, "is a directory", path)
        return text

    def glob(self, pattern: str) -> list[str]:
        """Return the paths that match, sorted."""
        return sorted(path for path in self.texts if _matches(path, pattern))

    def exists(self, path: str) -> bool:
        """Return whether a file or directory exists."""
        return any(f"{one}/".startswith(f"{path.rstrip('/')}/") for one in self.texts)


def _matches(path: str, pattern: str) -> bool:
    """Return whether a path matches as in the shell: `*` matches no `/` and no hidden name."""
    names, patterns = path.split("/"), pattern.split("/")
    return len(names) == len(patterns) and all(
        fnmatchcase(name, part) and not (name.startswith(".") and not part.startswith("."))
        for name, part in zip(names, patterns, strict=True)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeHost:
    """A `Machine`: every path exists, and every user and group, except the named ones."""

    missing: frozenset[str] = frozenset()
    unknown: frozenset[str] = frozenset({"no-such-name", "nobody-here"})
    unreadable: frozenset[str] = frozenset()
    unwritable: frozenset[str] = frozenset()
    files: int = 0
    units: tuple[str, ...] = ()
    installed: tuple[str, ...] = ()
    folders: frozenset[str] = frozenset()
    ours: str = "/opt/bin/fpm-listener"
    scripts: tuple[str, ...] = ()
    ports: tuple[int, int] = (32768, 60999)
    memory: int | None = 8 << 30
    container: bool = False
    foreign: frozenset[str] = frozenset()  #: files of another user
    sh: str = "dash"

    def is_elsewhere(self, path: str) -> bool:  # noqa: ARG002 - as Machine
        """As Machine."""
        return False

    def exists(self, path: str) -> bool:
        """As Machine."""
        return path not in self.missing

    def is_folder(self, path: str) -> bool:
        """As Machine."""
        return path not in self.missing

    def command_fault(self, path: str) -> str:
        """As Machine."""
        return "does not exist" if path in self.missing else ""

    def may_read(self, uid: int, path: str) -> bool:  # noqa: ARG002 - as Machine
        """As Machine."""
        return path not in self.unreadable

    def may_write(self, uid: int, path: str) -> bool:  # noqa: ARG002 - as Machine
        """As Machine."""
        return path not in self.unwritable

    def may_give(self, uid: int, key: str, name: str) -> bool:  # noqa: ARG002 - as Machine
        """As Machine."""
        return False

    def open_files(self) -> int:
        """As Machine."""
        return self.files

    def file_fault(self, path: str) -> str:
        """As Machine."""
        if path in self.folders:
            return f"{path} is a directory"
        folder = path.rpartition("/")[0] or "/"
        return "" if self.is_folder(folder) else f"{folder} is not an existing directory"

    def is_root(self) -> bool:
        """As Machine."""
        return True

    def user(self, name: str) -> bool:
        """As Machine."""
        return name not in self.unknown

    def uid(self, name: str) -> int | None:
        """As Machine; every name has its own number."""
        return (
            None
            if name in self.unknown
            else int(name)
            if name.isdigit()
            else 0
            if name == "root"
            else 33
        )

    def owner(self, path: str) -> int | None:
        """As Machine; root owns the other files."""
        return 1000 if path in self.foreign else 0

    def named_user(self, uid: int) -> str:
        """As Machine; a test may use a name in the place of a number."""
        return f"nobody ({uid})" if str(uid).isdigit() else str(uid)

    def group(self, name: str) -> bool:
        """As Machine."""
        return name not in self.unknown

    def shell(self) -> str:
        """As Machine."""
        return self.sh

    def init_scripts(self) -> tuple[str, ...]:
        """As Machine."""
        return self.scripts

    def php_fpms(self) -> tuple[str, ...]:
        """As Machine."""
        return self.installed

    def fpm_listener(self) -> str:
        """As Machine."""
        return self.ours

    def enabled_units(self) -> tuple[str, ...]:
        """As Machine."""
        return self.units

    def port_range(self) -> tuple[int, int]:
        """As Machine."""
        return self.ports

    def memory_limit(self) -> int | None:
        """As Machine."""
        return self.memory

    def in_container(self) -> bool:
        """As Machine."""
        return self.container


class FakeRpc(SupervisorRpc):
    """The XML-RPC of a supervisord with these programs, or of one that does not answer."""

    def __init__(self, answer: tuple[Program, ...] | RpcFailed) -> None:
        super().__init__("unix:///none")
        self.answer = answer
        self.asked = 0

    def programs(self) -> tuple[Program, ...] | RpcFailed:
        """Return the programs, or why they are unknown."""
        self.asked += 1
        return self.answer


@dataclass(slots=True)
class FakeProgram:
    """One program of a simulated supervisord; `emit` is given each event."""

    name: ProcessName
    random: Random
    emit: Callable[[FakeProgram, str], None]
    state: State = State.STOPPED
    pid: int = 0
    since_s: float = 0.0  #: monotonic; when it entered its state
    due_s: float = 0.0  #: monotonic; when something happens next
    healed: bool = False  #: nothing fails any more
    startretries: int = 3
    _regime: str = "healthy"
    _regime_ends_s: float = 0.0
    _ends_s: float = 0.0
    _tries: int = 0

    def turn(self, now_s: float) -> None:
        """Do what is due."""
        match self.state:
            case State.STOPPED | State.FATAL | State.EXITED | State.BACKOFF:
                self._start(now_s)
            case State.STARTING if self._ends_s < now_s:
                self._failed(now_s)
            case State.STARTING:
                self._enter(now_s, State.RUNNING, f"pid:{self.pid}", self._ends_s)
            case State.STOPPING:
                away_s = 5.0 if self.healed else self.random.uniform(5.0, 600.0)
                self._enter(now_s, State.STOPPED, f"pid:{self.pid}", now_s + away_s)
            case _ if self.random.random() < 0.1:  # its operator
                self._enter(now_s, State.STOPPING, f"pid:{self.pid}", now_s + 0.1)
            case _:
                self._enter(now_s, State.EXITED, f"expected:0 pid:{self.pid}", now_s + 0.01)

    def heal(self, now_s: float) -> None:
        """Stop all failures, and start the program if it does not run."""
        self.healed = True
        self.due_s = min(self.due_s, now_s + 5.0)
        if self.state is State.RUNNING:
            self.due_s = self._ends_s = float("inf")

    def reboot(self, now_s: float) -> None:
        """Stop without an event, and start soon."""
        self.state, self.due_s, self._regime_ends_s = State.STOPPED, now_s + 30.0, 0.0

    def _start(self, now_s: float) -> None:
        if now_s >= self._regime_ends_s:
            self._regime = self.random.choice((*RUN_S, "healthy"))
            self._regime_ends_s = now_s + self.random.uniform(*REGIME_S)
        if self.state is not State.BACKOFF:
            self._tries = 0
        self.pid += 1
        lasts_s = self.random.uniform(*RUN_S["healthy" if self.healed else self._regime])
        self._ends_s = (
            float("inf")
            if self.healed
            else now_s + min(lasts_s, max(60.0, self._regime_ends_s - now_s))
        )
        starts_s = min(now_s + STARTSECS_S, self._ends_s) + 0.001
        self._enter(now_s, State.STARTING, f"tries:{self._tries}", starts_s)

    def _failed(self, now_s: float) -> None:
        self._tries += 1
        waits_s = now_s + self._tries
        self._enter(now_s, State.BACKOFF, f"tries:{self._tries}", waits_s)
        if self._tries > self.startretries:
            away_s = 5.0 if self.healed else self.random.uniform(60.0, 5000.0)
            self._enter(now_s, State.FATAL, "", now_s + away_s)

    def _enter(self, now_s: float, state: State, words: str, due_s: float) -> None:
        before, self.state, self.since_s, self.due_s = self.state, state, now_s, due_s
        self.emit(self, f"from_state:{before.name} {words}".strip())

    @property
    def runs(self) -> bool:
        """Return whether it has a process."""
        return self.state in {State.STARTING, State.RUNNING, State.STOPPING}


@dataclass(slots=True)
class FakeSupervisord:
    """Numbers events, keeps some for a busy listener, and counts the discarded ones."""

    pid: int = 640
    waiting: deque[Event] = field(default_factory=deque)
    lost: int = 0
    _serial: int = 0
    _poolserial: int = 0

    def emit(self, program: FakeProgram, words: str) -> None:
        """Send an event; discard the oldest one if there are too many (supervisor/process.py)."""
        name = program.name
        payload = f"processname:{name.process} groupname:{name.group} {words}"
        event = f"PROCESS_STATE_{program.state.name}"
        self.waiting.append(
            Event("sim", "fpm-listener", self._serial, self._poolserial, event, payload)
        )
        self._serial += 1
        self._poolserial += 1
        if len(self.waiting) > BUFFER:
            self.waiting.popleft()
            self.lost += 1


def process_info(
    programs: list[FakeProgram], wall_s: float, now_s: float
) -> tuple[ProcessSeen, ...]:
    """Return the answer of getAllProcessInfo."""
    return tuple(
        ProcessSeen(
            name=one.name,
            state=one.state,
            pid=one.pid if one.runs else None,
            started_at_s=wall_s - (now_s - one.since_s) if one.runs else None,
        )
        for one in programs
    )


@dataclass(slots=True)
class FakeReceiver:
    """A receiver that is sometimes away, and whose answers are sometimes lost."""

    random: Random
    away: bool = False
    healed: bool = False
    took: list[Alert] = field(default_factory=list)

    def send(self, alerts: tuple[Alert, ...]) -> Outcome:
        """Receive the alerts, or not."""
        lost = RetryLater(reason=FailureReason.TIMEOUT, detail="timeout")
        if self.healed:
            self.took += alerts
            return Delivered()
        if self.away or self.random.random() < 0.1:
            return lost
        self.took += alerts
        return lost if self.random.random() < 0.05 else Delivered()
