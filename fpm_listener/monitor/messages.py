"""The inputs of the engine besides events, and its effects: the requests to the daemon."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from fpm_listener.incidents.effects import (
    CheckGone,
    ExamineExit,
    ExitExamined,
    FindHolder,
    Gone,
    HolderFound,
    MarkOutput,
    Notify,
    OutputRead,
    ReadOutput,
)
from fpm_listener.incidents.program_known import ProgramKnown
from fpm_listener.monitor.opcache_seen import OpcacheSeen
from fpm_listener.monitor.pid_search import FindPid, PidFound
from fpm_listener.supervisor.events import ProcessLog, ProcessState
from fpm_listener.supervisor.process import ProcessSeen

if TYPE_CHECKING:
    from fpm_listener.incidents.process_news import ProcessExit
    from fpm_listener.monitor.self_healing import Act
    from fpm_listener.phpfpm.log_facts import LogFact
    from fpm_listener.phpfpm.status_page import PoolView
    from fpm_listener.phpfpm.worker_requests import PoolRequests
    from fpm_listener.supervisor.exit_log import ExitNote, ExitReason, KillNote
    from fpm_listener.supervisor.process import Child, ProcessName, ProcessSeen


class LogLines(NamedTuple):
    """Input: facts from a log file, in order."""

    path: str
    facts: tuple[LogFact, ...]


@dataclass(frozen=True, slots=True)
class Tick:
    """Input: the moment of `Engine.deadline_s` has come."""


class ProcessesSeen(NamedTuple):
    """Input: the answer to `getAllProcessInfo`."""

    processes: tuple[ProcessSeen, ...]
    asked_at_s: float  #: monotonic, just before the call; a later event is newer


class ChildrenSeen(NamedTuple):
    """Input: the children of supervisord if XML-RPC is unavailable; None = not readable."""

    children: tuple[Child, ...] | None
    asked_at_s: float  #: monotonic; as in ProcessesSeen


class ExitsRead(NamedTuple):
    """Input: the exits in supervisord's log that were not read before."""

    notes: tuple[ExitNote, ...]
    asked_at_s: float  #: monotonic seconds; earlier exits have no line
    kills: tuple[KillNote, ...] = ()


class ExitsKnown(NamedTuple):
    """Input of one process: how it ended; None = that stays unknown."""

    exits: list[tuple[ProcessExit, ExitNote | None]]


class StopTimedOut(NamedTuple):
    """Input of one process: supervisord killed it, because it did not stop in time."""

    pid: int
    line: str  #: of supervisord's log


class LogFacts(NamedTuple):
    """Input of one process: facts from its log, in order."""

    facts: tuple[LogFact, ...]


class StateAnswer(NamedTuple):
    """Input of one process: its state, from supervisord or /proc; None = it does not exist."""

    seen: ProcessSeen | None
    asked_at_s: float  #: monotonic
    is_exact: bool = True  #: supervisord said so; /proc can be read wrongly


class Removed(NamedTuple):
    """Input of one process: supervisord does not know it any more."""


class RunStarted(NamedTuple):
    """Record for the timeline: a process was started after an exit."""

    process: ProcessName
    down_s: float  #: seconds since the exit


class RunEnded(NamedTuple):
    """Record for the timeline: a process has ended, and how."""

    process: ProcessName
    ended: ProcessExit
    note: ExitNote | None


class ProcessExited(NamedTuple):
    """Input: the kernel reports the end of a process; again, when it reports the reason later."""

    process: ProcessName
    pid: int
    reason: ExitReason | None = None  #: None = not known, or not yet


class GuardAsks(NamedTuple):
    """Input: a guard is about to start php-fpm. The answer is AnswerGuard."""

    process: ProcessName
    pid: int  #: of the guard, and then of php-fpm; 0 = unknown
    hold: bool  #: it wants its listening sockets held
    ticket: int
    started: int = 0  #: start of the guard in ticks since boot; 0 = unknown


class SocketsHeld(NamedTuple):
    """Input: the sockets of these listen addresses are held for a process, and no others."""

    process: ProcessName
    addresses: tuple[str, ...]


class HoldFailed(NamedTuple):
    """Input: php-fpm does not work on the held sockets."""

    process: ProcessName


class StopFailed(NamedTuple):
    """Input: supervisord has refused to stop a process in a restart loop."""

    process: ProcessName


class LeaveProgram(NamedTuple):
    """Input: the operator wants no self-healing of a process until it is started by hand."""

    process: ProcessName


class AnswerGuard(NamedTuple):
    """Effect: answer a guard; `refused` = why it gets no held sockets, which are released."""

    ticket: int
    refused: str | None


class ReleaseSockets(NamedTuple):
    """Effect: release the held sockets of these addresses."""

    process: ProcessName
    addresses: tuple[str, ...]


class SaveState(NamedTuple):
    """Effect: save the state of a process; None = delete it."""

    process: ProcessName
    memory: dict[str, Any] | None


class PoolsSeen(NamedTuple):
    """Input: the state of the pools of a php-fpm."""

    process: ProcessName
    pools: tuple[PoolView, ...]
    requests: tuple[PoolRequests, ...] = ()  #: new answers about their requests


class ReadExits(NamedTuple):
    """Effect: read supervisord's log. The answer is ExitsRead."""

    asked_at_s: float  #: monotonic seconds
    exits: int = 1  #: that wait for a line


class AskProcesses(NamedTuple):
    """Effect: ask for all states. The answer is ProcessesSeen or ChildrenSeen."""


class SelfHeal(NamedTuple):
    """Effect: let supervisord start or stop a process, or end. A refused stop is StopFailed."""

    process: ProcessName
    act: Act


class WatchPid(NamedTuple):
    """Effect: wait for the end of this process. The answer is ProcessExited."""

    process: ProcessName
    pid: int


class WakeSupervisord(NamedTuple):
    """Effect: end supervisord's poll, so that it sees the exit."""

    process: ProcessName


class ReadLogsNow(NamedTuple):
    """Effect: read the logs at once: a process has changed its state."""


class MuchOutput(NamedTuple):
    """Effect: warn that the output of a program arrives in too many events."""

    section: str  #: of the program, in supervisord.conf
    channel: str  #: stdout or stderr
    rate: float  #: its events in a second


class Discover(NamedTuple):
    """Effect: read the configurations. The answer is ProgramsKnown."""

    all_configs: bool = True  #: supervisord's too; False: only those of php-fpm


#: Inputs about one process that the engine passes on unchanged.
AboutOne = (
    HolderFound
    | ExitExamined
    | OutputRead
    | Gone
    | PoolsSeen
    | OpcacheSeen
    | ProcessExited
    | SocketsHeld
    | HoldFailed
    | StopFailed
    | LeaveProgram
)

ProcessInput = (
    ProcessState
    | ProcessLog
    | LogFacts
    | ExitsKnown
    | StopTimedOut
    | StateAnswer
    | ProgramKnown
    | Removed
    | GuardAsks
    | PidFound
    | AboutOne
    | Tick
)

Effect = (
    Notify
    | SaveState
    | FindHolder
    | ExamineExit
    | MarkOutput
    | ReadOutput
    | CheckGone
    | ReadExits
    | AskProcesses
    | SelfHeal
    | FindPid
    | WatchPid
    | WakeSupervisord
    | AnswerGuard
    | ReleaseSockets
    | ReadLogsNow
    | Discover
    | MuchOutput
    | RunStarted
    | RunEnded
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The labels that identify this supervisord."""

    instance: str
    supervisor: str = field(default="supervisor")
