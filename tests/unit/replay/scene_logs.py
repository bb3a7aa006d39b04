"""Writes the logs that supervisord and php-fpm would have written in a scene of the engine's tests.

Not every scene has logs that show it: `Unlike` says why.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from enum import Enum
from typing import TYPE_CHECKING, Any

from fpm_listener.incidents.effects import CheckGone, ExitExamined, Gone, OutputRead
from fpm_listener.incidents.post_mortem import PostMortem
from fpm_listener.monitor import messages
from fpm_listener.monitor.known_programs import ProgramsKnown
from fpm_listener.monitor.opcache_seen import OpcacheSeen
from fpm_listener.monitor.pid_search import StartsSeen
from fpm_listener.replay.log_lines import LogLine, Source
from fpm_listener.settings.policy import NO_HEALING
from fpm_listener.supervisor.events import ProcessState, read
from fpm_listener.supervisor.exit_log import ExitReason, signal_name
from fpm_listener.supervisor.protocol import Event
from fpm_listener.vocabulary import State
from tests.unit.monitor.engine_scenario import EPOCH, Scenario

if TYPE_CHECKING:
    from fpm_listener.supervisor.exit_log import KillNote
    from fpm_listener.supervisor.process import ProcessName

SUPERVISORD, FPM_LOG = "/supervisord.log", "/php-fpm.log"

#: What supervisord can do: the states before each state; None = at the beginning of the log.
BEFORE: dict[State, set[State | None]] = {
    State.STARTING: {None, State.STOPPED, State.EXITED, State.BACKOFF, State.FATAL},
    State.RUNNING: {State.STARTING, None},
    State.BACKOFF: {State.STARTING},
    State.EXITED: {State.RUNNING},  # without a start, the level of the log is not known
    State.STOPPING: {State.RUNNING, State.STARTING, None},
    State.STOPPED: {State.STOPPING},
    State.FATAL: {State.BACKOFF},
    State.UNKNOWN: set(),
}


class Unlike(Enum):
    """Why no log shows what happens in a scene."""

    HEALING = "self-healing acts: the logs show only the starts and stops that follow"
    RESTARTED = "the listener starts again, and remembers its incident"
    SETTINGS = "the settings of the listener change"
    LOST = "supervisord's events are lost, or arrive too late; its log has all of them"
    NOT_LOGGED = "supervisord does not log a stop between two failed starts"
    MACHINE = "the machine shows more than the logs: a missing file, a killer, a worker that lives"
    OUTPUT = "the output of a program is in another file, which has no times"
    GUARD = "a guard asks for sockets"
    POOLS = "the pools of php-fpm are asked"
    CONFIGURATION = "the configuration of the programs changes"
    UNANSWERED = "the scene ends before supervisord's log is read; a replay has read it"
    LONG = "the scene is too long to replay it in a test"


class HasNoLogs(Exception):  # noqa: N818 - it is an outcome
    """No log shows a scene."""

    def __init__(self, why: Unlike) -> None:
        super().__init__(why.value)
        self.why = why


_NOT_IN_LOGS: dict[type, Unlike] = {
    messages.ProcessesSeen: Unlike.LOST,
    messages.ChildrenSeen: Unlike.LOST,
    StartsSeen: Unlike.LOST,
    messages.GuardAsks: Unlike.GUARD,
    messages.SocketsHeld: Unlike.GUARD,
    messages.HoldFailed: Unlike.GUARD,
    messages.StopFailed: Unlike.HEALING,
    messages.LeaveProgram: Unlike.HEALING,
    messages.PoolsSeen: Unlike.POOLS,
    OpcacheSeen: Unlike.POOLS,
    OutputRead: Unlike.OUTPUT,
}
_UNLOGGED = {
    "restore": Unlike.RESTARTED,
    "reconfigure": Unlike.SETTINGS,
    "missed": Unlike.LOST,
}
_MOST_INPUTS = 1000
_STOPPING = State.STOPPING


class SceneLogs:
    """The logs of one scene."""

    def __init__(self, scenario: Scenario) -> None:
        """Raises HasNoLogs."""
        self.lines: list[LogLine] = []
        self.known: ProgramsKnown | None = None
        self._states: dict[ProcessName, State] = {}
        self._given = list(scenario.engine.given)
        if scenario.policy.healing != NO_HEALING:
            raise HasNoLogs(Unlike.HEALING)
        for word in sorted(scenario.engine.unlogged):
            raise HasNoLogs(_UNLOGGED[word])
        if len(self._given) > _MOST_INPUTS:
            raise HasNoLogs(Unlike.LONG)
        asked = {
            pid for one in scenario.engine.effects if isinstance(one, CheckGone) for pid in one.pids
        }
        gone = {pid for _, one in self._given if isinstance(one, Gone) for pid in one.pids}
        if asked - gone:
            raise HasNoLogs(Unlike.MACHINE)
        effects = scenario.engine.effects
        reads = [one.asked_at_s for one in effects if isinstance(one, messages.ReadExits)]
        exits = [at_s for at_s, one in self._given if isinstance(one, messages.ExitsRead)]
        if max(reads, default=-1.0) > max(exits, default=-1.0):
            raise HasNoLogs(Unlike.UNANSWERED)
        for index, (at_s, given) in enumerate(self._given):
            self._write(index, at_s, given)

    def _write(self, index: int, at_s: float, given: object) -> None:  # noqa: C901 - a table
        if type(given) in _NOT_IN_LOGS:
            raise HasNoLogs(_NOT_IN_LOGS[type(given)])
        if isinstance(given, ProgramsKnown):
            if self.lines and given != self.known:
                raise HasNoLogs(Unlike.CONFIGURATION)
            self.known = given if self.known is None else _both(self.known, given)
        elif isinstance(given, Event):
            content = read(given.name, given.payload)
            if not isinstance(content, ProcessState):
                is_output = given.name.startswith("PROCESS_LOG")
                raise HasNoLogs(Unlike.OUTPUT if is_output else Unlike.LOST)
            self._event(index, at_s, content)
        elif isinstance(given, messages.LogLines):
            for fact in given.facts:
                self._add(at_s, Source.FPM, fact.line)
        elif isinstance(given, ExitExamined) and given.post_mortem != PostMortem():
            raise HasNoLogs(Unlike.MACHINE)
        elif isinstance(given, messages.ExitsRead):
            stopping = [one.process for one, state in self._states.items() if state is _STOPPING]
            for kill in (one for one in given.kills if one.process in stopping):
                self._kill(at_s, kill)

    def _event(self, index: int, at_s: float, event: ProcessState) -> None:
        name, state = event.process, event.state
        before = self._states.get(name)
        if before not in BEFORE[state]:
            is_unlogged = (before, state) == (State.BACKOFF, State.STOPPED)
            raise HasNoLogs(Unlike.NOT_LOGGED if is_unlogged else Unlike.LOST)
        self._states[name] = state
        text = {
            State.STARTING: f"INFO spawned: '{name.process}' with pid {self._pid_of(index, event)}",
            State.RUNNING: f"INFO success: {name.process} entered RUNNING state, process has",
            State.FATAL: f"INFO gave up: {name.process} entered FATAL state, too many",
            State.STOPPING: f"INFO waiting for {name.process} to stop",
        }.get(state)
        if text is None:
            if state is State.STOPPED and (kill := self._kill_of(index, event)) is not None:
                self._kill(at_s, kill)
            expected = "; expected" if event.expected else "; not expected"
            word, end = ("stopped", "") if state is State.STOPPED else ("exited", expected)
            text = f"WARN {word}: {name.process} ({self._reason(index, event)}{end})"
        self._log(at_s, text)

    def _log(self, at_s: float, text: str) -> None:
        stamp = datetime.fromtimestamp(EPOCH + at_s, timezone.utc).strftime("%Y-%m-%d %H:%M:%S,%f")
        self._add(at_s, Source.SUPERVISORD, f"{stamp[:-3]} {text}")

    def _kill(self, at_s: float, kill: KillNote) -> None:
        self._log(at_s, f"WARN killing '{kill.process}' ({kill.pid}) with SIGKILL")

    def _kill_of(self, index: int, event: ProcessState) -> KillNote | None:
        """Return what a later input reports: supervisord has killed the process."""
        for _, given in self._given[index + 1 :]:
            if isinstance(given, Event):
                content = read(given.name, given.payload)
                if isinstance(content, ProcessState) and content.state is State.STOPPING:
                    return None
            kills = given.kills if isinstance(given, messages.ExitsRead) else ()
            if kill := next((one for one in kills if one.process == event.process.process), None):
                return kill
        return None

    def _pid_of(self, index: int, event: ProcessState) -> int:
        """Return the pid of a run that starts, from its next event."""
        for _, given in self._given[index + 1 :]:
            content = read(given.name, given.payload) if isinstance(given, Event) else None
            if isinstance(content, ProcessState) and content.process == event.process:
                return content.pid or _pid(event.process)
        return _pid(event.process)

    def _reason(self, index: int, event: ProcessState) -> str:
        """Return how a process exited, as a later input of the scene reports it."""
        reason = ExitReason(status=0 if event.expected or event.state is State.STOPPED else 1)
        for _, given in self._given[index + 1 :]:
            if isinstance(given, Event) and isinstance(
                content := read(given.name, given.payload), ProcessState
            ):
                if content.process == event.process and content.state in {
                    *(State.BACKOFF, State.EXITED, State.STOPPED)
                }:
                    break
            elif isinstance(given, messages.ProcessExited) and given.process == event.process:
                reason = given.reason or reason
            elif isinstance(given, messages.ExitsRead):
                notes = [one for one in given.notes if one.process == event.process.process]
                reason = notes[0].reason if notes else reason
        if reason.signal is not None:
            return f"terminated by {signal_name(reason.signal)}"
        return f"exit status {reason.status}"

    def _add(self, at_s: float, source: Source, text: str) -> None:
        path = SUPERVISORD if source is Source.SUPERVISORD else FPM_LOG
        self.lines.append(LogLine(EPOCH + at_s, source, path, "", text.encode()))


def _pid(name: ProcessName) -> int:
    return 100 if "fpm" in name.process else 200


def _both(known: ProgramsKnown, given: ProgramsKnown) -> ProgramsKnown:
    programs = {one.name: one for one in (*known.programs, *given.programs)}
    fields: dict[str, Any] = {
        key: {**getattr(known, key), **getattr(given, key)} for key in ("sites", "needs", "outputs")
    }
    return replace(given, programs=tuple(programs.values()), **fields)
