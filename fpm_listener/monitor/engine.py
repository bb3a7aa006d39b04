"""The router: passes each input to the processes that it is about.

Laws:
1. The engine reads no clock: the caller reads it once for each step and passes it in.
2. State that must be saved is an effect (`Notify`, `SaveState`) of the step that changes it. So the
   caller can commit it before it acknowledges the event.
3. No input raises, however malformed it is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fpm_listener.incidents.pending_lookups import Lookup
from fpm_listener.monitor import messages
from fpm_listener.monitor.children import find_starting, identify
from fpm_listener.monitor.known_programs import ProgramsKnown
from fpm_listener.monitor.log_routing import assign, find_killed
from fpm_listener.monitor.pid_search import StartsSeen
from fpm_listener.monitor.process_monitor import ProcessMonitor
from fpm_listener.monitor.supervision import Supervision
from fpm_listener.monitor.timeline import Timeline
from fpm_listener.supervisor.events import (
    EVENT_NAMES,
    Counts,
    GroupChange,
    Malformed,
    ProcessLog,
    ProcessState,
    SupervisorChange,
    read,
)
from fpm_listener.supervisor.protocol import Event
from fpm_listener.vocabulary import State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm_listener.monitor.messages import Effect, ProcessInput
    from fpm_listener.monitor.process_view import ProcessView
    from fpm_listener.monitor.supervision import EngineSettings
    from fpm_listener.supervisor.process import ProcessName, Program
    from fpm_listener.values import Instant

#: All inputs of the engine.
Input = (
    Event
    | messages.LogLines
    | messages.ExitsRead
    | ProgramsKnown
    | messages.ProcessesSeen
    | messages.ChildrenSeen
    | StartsSeen
    | messages.GuardAsks
    | messages.AboutOne
    | messages.Tick
)


class Engine:
    """All processes of one supervisord."""

    def __init__(self, settings: EngineSettings, id_token: str) -> None:
        """`id_token`: random, new for each start of the listener; makes ids of incidents unique."""
        self.counts = Counts()
        self.timeline = Timeline()
        self._shared = Supervision(settings, id_token)
        self._processes: dict[ProcessName, ProcessMonitor] = {}
        self._programs: dict[ProcessName, Program] = {}  # in the configuration

    # -- inputs ------------------------------------------------------------------------------------

    def step(self, now: Instant, given: Input) -> list[Effect]:
        """Take one input and return what to do."""
        effects = self._route(now, given)
        self.timeline.take(now, effects)
        return [
            one for one in effects if not isinstance(one, messages.RunStarted | messages.RunEnded)
        ]

    def missed(self, now: Instant, count: int = 0) -> list[Effect]:
        """Open a gap: events were lost or could not be read, or the listener starts.

        count: of the lost events, as far as it is known.
        """
        self.counts.missed += count
        self._shared.gap.open(now.monotonic_s)
        return self._ask(now)

    def _route(self, now: Instant, given: Input) -> list[Effect]:
        match given:
            case Event():
                return self._event(now, given)
            case messages.LogLines():
                extra_logs = self._shared.settings.extra_logs
                return self._pass(now, assign(given, self._processes.values(), extra_logs))
            case messages.Tick():
                return self._tick(now)
            case messages.ExitsRead():
                exits = self._shared.exits.take_lines(now.monotonic_s, given)
                kills = find_killed(given.kills, self._processes.values())
                return [*self._pass(now, kills), *self._pass(now, exits)]
            case ProgramsKnown():
                return self._programs_known(now, given)
            case messages.GuardAsks():
                return self._guard_asks(now, given)
            case messages.ProcessesSeen() | messages.ChildrenSeen():
                return self._seen(now, given)
            case StartsSeen(children):
                found = find_starting(now, children, self._processes.values(), self._programs)
                return self._pass(now, found)
            case messages.SocketsHeld() if given.process not in self._processes:
                return [messages.ReleaseSockets(*given)]
            case _:
                return self._pass(now, {given.process: given})

    def _event(self, now: Instant, event: Event) -> list[Effect]:
        counts, identity = self.counts, self._shared.settings.identity
        counts.events[event.name if event.name in EVENT_NAMES else "other"] += 1
        counts.last_event_s = now.wall_s
        if event.server and event.server != identity.supervisor:
            self._identify(event.server)
        content = read(event.name, event.payload)
        match content:
            case ProcessState():
                self._find(content.process)
                return self._pass(now, {content.process: content})
            case ProcessLog():
                effects = self._pass(now, {content.process: content})
                return [*effects, *self._shared.output_rate.take(now.monotonic_s, content)]
            case GroupChange(group, added):
                if added:
                    return [messages.Discover(), messages.AskProcesses()]
                members = [name for name in self._processes if name.group == group]
                return self._pass(now, {name: messages.Removed() for name in members})
            case SupervisorChange(running):
                self._shared.is_stopping = not running
                return self._pass_all(now)
            case Malformed():
                return self.missed(now)
        return []

    def expect_programs(self) -> None:
        """Let alerts wait for ProgramsKnown: the listener starts."""
        self._shared.awaited = frozenset({Lookup.PROGRAMS})

    def _programs_known(self, now: Instant, known: ProgramsKnown) -> list[Effect]:
        waited = self._processes if self._shared.awaited else ()
        self._shared.awaited = frozenset()
        self._programs = {program.name: program for program in known.programs}
        inputs: dict[ProcessName, ProcessInput] = dict.fromkeys(waited, messages.Tick())
        for program in known.programs:
            if self._find(program.name) is not None:
                inputs[program.name] = known.about(program)
        return self._pass(now, inputs)

    def _guard_asks(self, now: Instant, asked: messages.GuardAsks) -> list[Effect]:
        if self._shared.is_stopping:
            return [messages.AnswerGuard(asked.ticket, "supervisord is shutting down")]
        if self._find(asked.process) is None:
            return [
                messages.AnswerGuard(asked.ticket, "the listener's settings exclude this program")
            ]
        return self._pass(now, {asked.process: asked})

    # -- answers about states, and gaps ------------------------------------------------------------

    def _seen(
        self, now: Instant, given: messages.ProcessesSeen | messages.ChildrenSeen
    ) -> list[Effect]:
        known, asked_at_s = set(self._processes), given.asked_at_s
        if isinstance(given, messages.ChildrenSeen):
            processes = self._processes.values()
            seen = tuple(identify(now, given.children, processes, self._programs))
            absent: set[ProcessName] = set()
            again = any(one.state is State.STARTING for one in seen)  # its RUNNING may be lost
        else:
            seen, again = given.processes, False
            absent = known - {one.name for one in seen} if seen else set()
        answers = {name: messages.StateAnswer(None, asked_at_s) for name in known if name in absent}
        is_exact = isinstance(given, messages.ProcessesSeen)
        for one in seen:
            if self._find(one.name) is not None:
                answers[one.name] = messages.StateAnswer(one, asked_at_s, is_exact)
        effects = self._pass(now, answers)
        asked = [self._processes[name] for name in answers if name in self._processes]
        if again or any(process.is_disputed for process in asked):
            self._shared.gap.recheck(now.monotonic_s)
        else:
            self._shared.gap.close(asked_at_s)
        rest = [
            name
            for name, process in self._processes.items()
            if name not in answers or process.liveness.held_back
        ]
        effects += [*self._pass(now, dict.fromkeys(rest, messages.Tick())), *self._ask(now)]
        is_new = self._programs and not known.issuperset(answers)
        if is_new and isinstance(given, messages.ProcessesSeen):
            effects.append(messages.Discover())  # the event of a new group is lost
        return effects

    def _ask(self, now: Instant) -> list[Effect]:
        is_due = self._shared.gap.is_question_due(now.monotonic_s)
        return [messages.AskProcesses()] if is_due else []

    def _tick(self, now: Instant) -> list[Effect]:
        exits = self._shared.exits
        if self._shared.gap.expires(now.monotonic_s):
            for process in self._processes.values():
                process.liveness.confirm()
            return [*self._pass_all(now), *self._ask(now)]
        due = [
            name
            for name, process in self._processes.items()
            if process.deadline_s is not None and process.deadline_s <= now.monotonic_s
        ]
        effects = [*self._pass(now, dict.fromkeys(due, messages.Tick())), *self._ask(now)]
        if exits.read_at_s is not None and now.monotonic_s >= exits.read_at_s:
            effects.append(exits.read(now.monotonic_s))
        return effects

    def deadline_s(self) -> float | None:
        """Return the monotonic moment at which `Tick` is due."""
        moments = [process.deadline_s for process in self._processes.values()]
        moments += [self._shared.gap.deadline_s(), self._shared.exits.read_at_s]
        return min((at for at in moments if at is not None), default=None)

    # -- processes ---------------------------------------------------------------------------------

    def _pass(self, now: Instant, inputs: Mapping[ProcessName, ProcessInput]) -> list[Effect]:
        """Pass inputs to their processes; an unknown process gets none."""
        effects: list[Effect] = []
        for name, given in inputs.items():
            process = self._processes.get(name)
            if process is not None:
                effects += process.take(now, given)
                if process.is_over:
                    self._forget(name)
        return effects

    def _pass_all(self, now: Instant) -> list[Effect]:
        return self._pass(now, dict.fromkeys(self._processes, messages.Tick()))

    def _find(self, name: ProcessName) -> ProcessMonitor | None:
        """Return the process; create it if it is chosen in the settings."""
        if name not in self._processes and self._shared.settings.choose(name):
            self._processes[name] = ProcessMonitor(name, self._shared)
        return self._processes.get(name)

    def _forget(self, name: ProcessName) -> None:
        del self._processes[name]
        self._shared.exits.forget(name)

    def views(self) -> tuple[ProcessView, ...]:
        """Return all processes, for other threads."""
        return tuple(process.view() for process in self._processes.values())

    # -- settings and saved state ------------------------------------------------------------------

    @property
    def supervisor(self) -> str:
        """Return supervisord's identifier."""
        return self._shared.settings.identity.supervisor

    def _identify(self, supervisor: str) -> None:
        settings = self._shared.settings
        identity = replace(settings.identity, supervisor=supervisor)
        self._shared.settings = replace(settings, identity=identity)

    def set_log_readable(self, *, readable: bool) -> None:
        """Set whether supervisord's log can be read."""
        self._shared.exits.is_readable = readable

    def reconfigure(self, settings: EngineSettings) -> None:
        """Use new settings, and forget the programs that they do not choose."""
        supervisor = self.supervisor
        self._shared.settings = settings
        self._identify(supervisor)
        for name in [name for name in self._processes if not self._shared.settings.choose(name)]:
            self._forget(name)
        for process in self._processes.values():
            process.reconfigure()

    def restore(
        self, now: Instant, memory: Mapping[ProcessName, Mapping[str, Any]]
    ) -> list[Effect]:
        """Restore what `SaveState` contained; a damaged state is deleted."""
        effects: list[Effect] = []
        for name, saved in memory.items():
            process = self._find(name)
            try:
                if process is not None:
                    process.restore(now, saved)
            except (KeyError, ValueError, TypeError, AttributeError, OverflowError):
                del self._processes[name]
            effects += self._pass(now, {name: messages.Tick()})
            if name not in self._processes:
                effects.append(messages.SaveState(name, None))
        return effects
