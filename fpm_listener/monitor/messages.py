"""What the engine takes in besides events, and what it asks the shell to do."""

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
    Notify,
)
from fpm_listener.supervisor.events import ProcessLog, ProcessState
from fpm_listener.supervisor.process import ProcessSeen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm_listener.incidents.post_mortem import Needs
    from fpm_listener.incidents.process_news import ProcessExit
    from fpm_listener.monitor.self_healing import Act
    from fpm_listener.phpfpm.config import FpmSite
    from fpm_listener.phpfpm.log_facts import LogFact
    from fpm_listener.phpfpm.status_page import PoolView
    from fpm_listener.supervisor.exit_log import ExitNote
    from fpm_listener.supervisor.process import ProcessName, ProcessSeen, Program


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLines:
    """Input of the engine: facts that were read from a file, in order."""

    path: str
    facts: tuple[LogFact, ...]


@dataclass(frozen=True, slots=True)
class Tick:
    """Input: the moment that `deadline_s` named has come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramsKnown:
    """Input: the programs of supervisord, and the php-fpm among them."""

    programs: tuple[Program, ...]
    sites: Mapping[ProcessName, FpmSite]  #: a key for each php-fpm
    needs: Mapping[ProcessName, Needs] = field(default_factory=dict)


class ProcessesSeen(NamedTuple):
    """Input: the answer to `getAllProcessInfo`."""

    processes: tuple[ProcessSeen, ...]
    asked_at_s: float  #: monotonic, just before the call; an event that is received later wins


class Child(NamedTuple):
    """One child of supervisord, as /proc shows it."""

    pid: int
    name: ProcessName | None  #: from its environment; None where that is blank or unreadable
    title: str  #: its command line
    started_at_s: float | None  #: wall seconds


class ChildrenSeen(NamedTuple):
    """Input: the children of supervisord, where it answers no XML-RPC; None = not readable."""

    children: tuple[Child, ...] | None
    asked_at_s: float  #: monotonic; as in ProcessesSeen


class ExitsRead(NamedTuple):
    """Input: the deaths that supervisord's log tells and that were not read before."""

    notes: tuple[ExitNote, ...]
    asked_at_s: float  #: monotonic seconds; deaths up to then have no other line to wait for


class ExitsKnown(NamedTuple):
    """Input of one process: how it ended; None = that stays unknown."""

    exits: list[tuple[ProcessExit, ExitNote | None]]


class LogFacts(NamedTuple):
    """Input of one process: facts from its log, in order."""

    facts: tuple[LogFact, ...]


class StateAnswer(NamedTuple):
    """Input of one process: its state, from supervisord or /proc; None = it does not exist."""

    seen: ProcessSeen | None
    asked_at_s: float  #: monotonic


class ProgramKnown(NamedTuple):
    """Input of one process: what its program is."""

    site: FpmSite | None  #: None = no php-fpm
    needs: Needs


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
    """Input: the kernel says that a process has ended; supervisord may not know it yet."""

    process: ProcessName
    pid: int


class GuardAsks(NamedTuple):
    """Input: a guard is about to become php-fpm; answer it with AnswerGuard."""

    process: ProcessName
    pid: int  #: of the guard, and soon of php-fpm; 0 = not known
    hold: bool  #: whether it wants its listening sockets held
    ticket: int
    started: int = 0  #: of the guard, in ticks since boot; 0 = not known


class SocketsHeld(NamedTuple):
    """Input: these listen addresses are held for a process, and no others."""

    process: ProcessName
    addresses: tuple[str, ...]


class HoldFailed(NamedTuple):
    """Input: php-fpm does not serve on the sockets that were held for it."""

    process: ProcessName


class StopFailed(NamedTuple):
    """Input: supervisord has refused to stop a process that loops."""

    process: ProcessName


class LeaveProgram(NamedTuple):
    """Input: its operator wants nothing done to a process until somebody starts it."""

    process: ProcessName


class AnswerGuard(NamedTuple):
    """Effect: give a guard what is held for it; `refused` = let go of it, and why."""

    ticket: int
    refused: str | None


class ReleaseSockets(NamedTuple):
    """Effect: hold these addresses no longer."""

    process: ProcessName
    addresses: tuple[str, ...]


class SaveState(NamedTuple):
    """Effect: this must outlive the listener; None = nothing is to be remembered any more."""

    process: ProcessName
    memory: dict[str, Any] | None


class PoolsSeen(NamedTuple):
    """Input: what the pools of a php-fpm have said of themselves."""

    process: ProcessName
    pools: tuple[PoolView, ...]


class ReadExits(NamedTuple):
    """Effect: read supervisord's log; answer with ExitsRead."""

    asked_at_s: float  #: monotonic seconds
    deaths: int = 1  #: as many have no line yet


class AskProcesses(NamedTuple):
    """Effect: ask how all processes are; answer with ProcessesSeen or ChildrenSeen."""


class SelfHeal(NamedTuple):
    """Effect: have supervisord start or stop a process, or end.

    A stop that is refused is answered with HaltFailed.
    """

    process: ProcessName
    act: Act


class WatchPid(NamedTuple):
    """Effect: wait for the end of this process; answer with ProcessDied."""

    process: ProcessName
    pid: int


class WakeSupervisord(NamedTuple):
    """Effect: end supervisord's poll, so that it sees who has died."""

    process: ProcessName


class ReadLogsNow(NamedTuple):
    """Effect: a process has changed its state: its log will speak soon."""


class Discover(NamedTuple):
    """Effect: read the configurations; answer with ProgramsKnown."""

    anew: bool = True  #: supervisord's too; False: php-fpm's only


#: Inputs about one process that the engine passes on unchanged.
AboutOne = (
    HolderFound
    | ExitExamined
    | Gone
    | PoolsSeen
    | ProcessExited
    | SocketsHeld
    | HoldFailed
    | StopFailed
    | LeaveProgram
)

#: All inputs of one process.
ProcessInput = (
    ProcessState
    | ProcessLog
    | LogFacts
    | ExitsKnown
    | StateAnswer
    | ProgramKnown
    | Removed
    | GuardAsks
    | AboutOne
    | Tick
)

Effect = (
    Notify
    | SaveState
    | FindHolder
    | ExamineExit
    | CheckGone
    | ReadExits
    | AskProcesses
    | SelfHeal
    | WatchPid
    | WakeSupervisord
    | AnswerGuard
    | ReleaseSockets
    | ReadLogsNow
    | Discover
    | RunStarted
    | RunEnded
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What tells this supervisord from others, in labels."""

    instance: str
    supervisor: str = field(default="supervisor")
