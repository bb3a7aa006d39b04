"""Turns supervisord's log into the inputs that the engine had, or would have had.

Laws:
1. An input states only what a line states. What the log leaves out is an assumption, and
   `is_assumed` marks it.
2. A log can begin and end anywhere: each line is understood without the lines before it.
3. supervisord's log has no groups. A name that the configuration does not contain is its own group.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.monitor.liveness import LIVING
from fpm_listener.monitor.messages import ExitsRead, ProcessesSeen
from fpm_listener.replay.supervisord_lines import (
    Ended,
    EnteredRunning,
    GaveUp,
    Spawned,
    SpawnError,
    SupervisordEnds,
    SupervisordStarted,
    Waiting,
)
from fpm_listener.supervisor.exit_log import KillNote
from fpm_listener.supervisor.process import ProcessName, ProcessSeen
from fpm_listener.supervisor.protocol import Event
from fpm_listener.vocabulary import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from fpm_listener.monitor.engine import Input
    from fpm_listener.replay.supervisord_lines import SupervisordFact

#: Processes that are known at once: a forged log must not fill the memory, and each costs time.
_MOST_PROCESSES = 1000
#: Failed starts without a name that wait for it.
_MOST_UNNAMED = 64
#: Seconds from a failed start to the line that supervisord gave up: its next poll.
_GIVES_UP_S = 3.0


class Step(NamedTuple):
    """One input of the engine."""

    given: Input
    at_s: float | None = None  #: wall seconds; None = the time of the line


@dataclass(slots=True)
class Seen:
    """What the logs have shown about one process."""

    state: State = State.UNKNOWN
    pid: int | None = None
    since_s: float = 0.0  #: wall seconds of the last change
    is_assumed: bool = False  #: its starts are assumed, because the log does not show starts
    refused: deque[str] = field(default_factory=lambda: deque(maxlen=2))  #: spawnerr, the last ones


class Reconstruction:
    """The processes of one supervisord, as its log shows them."""

    def __init__(self, names: Iterable[ProcessName] = ()) -> None:
        """`names`: of the configuration, if it is known."""
        self._names = {name.process: name for name in names}
        self.seen: dict[ProcessName, Seen] = {}
        self.shows_starts = False  #: its level is INFO, so that it shows starts
        self.is_used = False  #: the logs have a line of supervisord about a process
        self.left_out = 0  #: lines about more processes than can be known at once
        self.nameless = 0  #: failed starts whose program is not known
        self._unnamed: deque[tuple[float, str]] = deque(maxlen=_MOST_UNNAMED)
        self._serial = 0

    def take(self, at_s: float, fact: SupervisordFact) -> list[Step]:
        """Return the inputs that a line of supervisord's log stands for; at_s: wall seconds."""
        if isinstance(fact, SupervisordStarted):
            return self._supervisord_started()
        if isinstance(fact, SupervisordEnds):
            return [self._event("SUPERVISOR_STATE_CHANGE_STOPPING")]
        if isinstance(fact, SpawnError) and fact.process is None:
            if len(self._unnamed) == _MOST_UNNAMED:
                self.nameless += 1
            self._unnamed.append((at_s, fact.line))
            return []
        take = self._TAKE[type(fact)]
        steps: list[Step] = []
        for word in fact.processes if isinstance(fact, Waiting) else (fact.process,):
            name = self.name_of(word or "")
            seen = self.find(name)
            if seen is not None:
                self.is_used = True
                steps += take(self, at_s, name, seen, fact)
        return steps

    def name_of(self, process: str) -> ProcessName:
        """Return the whole name of a process."""
        return self._names.get(process) or ProcessName(process, process)

    def find(self, name: ProcessName) -> Seen | None:
        """Return what is known of a process; None = there are too many."""
        if name not in self.seen and len(self.seen) >= _MOST_PROCESSES:
            self.left_out += 1
            return None
        return self.seen.setdefault(name, Seen())

    # -- lines -------------------------------------------------------------------------------------

    def _spawned(self, at_s: float, name: ProcessName, seen: Seen, fact: Spawned) -> list[Step]:
        seen.is_assumed = False
        return [self.change(at_s, name, State.STARTING, pid=fact.pid)]

    def _running(self, at_s: float, name: ProcessName, seen: Seen, _: EnteredRunning) -> list[Step]:
        return [self.change(at_s, name, State.RUNNING, pid=seen.pid)]

    def _ended(self, at_s: float, name: ProcessName, seen: Seen, fact: Ended) -> list[Step]:
        note = [Step(ExitsRead((fact.note,), float("-inf")))]
        if fact.stopped:
            asked = self._stopping(at_s, name, seen)
            return [*asked, *note, self.change(at_s, name, State.STOPPED, pid=seen.pid)]
        if seen.state is State.STARTING:
            return [*note, self.change(at_s, name, State.BACKOFF)]
        exited = self.change(
            at_s, name, State.EXITED, pid=seen.pid, expected="1" if fact.expected else "0"
        )
        if self.shows_starts:
            return [*note, exited]
        # The level of this log hides starts, and nothing shows that the program stays down.
        seen.is_assumed = True
        again = [self.change(at_s, name, state) for state in (State.STARTING, State.RUNNING)]
        return [*note, exited, *again]

    def _gave_up(self, at_s: float, name: ProcessName, seen: Seen, _: GaveUp) -> list[Step]:
        steps = []
        for failed_at_s in self._take_unnamed(at_s, seen):
            steps += self._failed_start(failed_at_s, name)
        return [*steps, self.change(at_s, name, State.FATAL)]

    def _refused(self, at_s: float, name: ProcessName, seen: Seen, fact: SpawnError) -> list[Step]:
        seen.refused.append(fact.line)
        return self._failed_start(at_s, name)

    def _failed_start(self, at_s: float, name: ProcessName) -> list[Step]:
        starting = self.change(at_s, name, State.STARTING)
        backoff = self.change(at_s, name, State.BACKOFF)
        return [starting._replace(at_s=at_s), backoff._replace(at_s=at_s)]

    def _take_unnamed(self, at_s: float, seen: Seen) -> list[float]:
        """Return the failed starts whose program is known now: supervisord gives up on it.

        supervisord's reason names the command, and only the last line names the program.
        """
        if not self._unnamed or seen.state in LIVING:
            return []
        last_s, line = self._unnamed[-1]
        if at_s - last_s > _GIVES_UP_S:
            return []
        reason = _reason(line)
        own = [one for one in self._unnamed if _reason(one[1]) == reason and one[0] >= seen.since_s]
        self._unnamed = deque((one for one in self._unnamed if one not in own), _MOST_UNNAMED)
        seen.refused.append(line)
        return [failed_at_s for failed_at_s, _ in own]

    def _asked(self, at_s: float, name: ProcessName, seen: Seen, _: Waiting) -> list[Step]:
        if seen.state is State.BACKOFF:  # there is no process to wait for
            return [self.change(at_s, name, State.STOPPED)]
        return self._stopping(at_s, name, seen)

    def _killed(self, at_s: float, name: ProcessName, seen: Seen, fact: KillNote) -> list[Step]:
        is_other = seen.pid not in {None, fact.pid}  # in another group, with the same name
        if not is_other:
            seen.pid = fact.pid
        asked = [] if is_other else self._stopping(at_s, name, seen)
        return [*asked, Step(ExitsRead((), float("-inf"), (fact,)))]

    def _stopping(self, at_s: float, name: ProcessName, seen: Seen) -> list[Step]:
        if seen.state is State.STOPPING:
            return []
        return [self.change(at_s, name, State.STOPPING, pid=seen.pid)]

    def _supervisord_started(self) -> list[Step]:
        """In a new supervisord, each process is stopped at first; it is well from now on, if so.

        A stop before is forgotten: the shutdown of supervisord ends no incident.
        """
        states = []
        for state in (State.UNKNOWN, State.STOPPED):
            for seen in self.seen.values():
                seen.state, seen.pid, seen.is_assumed = state, None, False
            states += [Step(self.states())] if self.seen else []
        return [*states, self._event("SUPERVISOR_STATE_CHANGE_RUNNING")]

    # -- inputs ------------------------------------------------------------------------------------

    def states(self) -> ProcessesSeen:
        """Return the state of each process, as an answer of supervisord; asked at any time."""
        return ProcessesSeen(
            tuple(
                ProcessSeen(name, seen.state, seen.pid, None) for name, seen in self.seen.items()
            ),
            float("inf"),
        )

    def change(
        self, at_s: float, name: ProcessName, state: State, *, pid: int | None = None, **words: str
    ) -> Step:
        """Change the state of a process, and return the event."""
        seen = self.seen[name]
        before = seen.state
        seen.state, seen.since_s = state, at_s
        seen.pid = pid if state in LIVING else None
        texts = {
            "processname": name.process,
            "groupname": name.group,
            "from_state": before.value,
            **words,
            **({"pid": str(pid)} if pid else {}),
        }
        payload = " ".join(f"{key}:{value}" for key, value in texts.items())
        return self._event(f"PROCESS_STATE_{state.name}", payload)

    def output(self, name: ProcessName, line: str) -> Step:
        """Return the event of a line that a process has written."""
        head = f"processname:{name.process} groupname:{name.group} channel:stderr"
        return self._event("PROCESS_LOG_STDERR", f"{head}\n{line}\n")

    def _event(self, name: str, payload: str = "") -> Step:
        self._serial += 1
        return Step(Event("", "replay", self._serial, self._serial, name, payload))

    _TAKE: dict[type, Callable[[Any, float, ProcessName, Seen, Any], list[Step]]] = {  # noqa: RUF012
        Spawned: _spawned,
        EnteredRunning: _running,
        Ended: _ended,
        GaveUp: _gave_up,
        SpawnError: _refused,
        Waiting: _asked,
        KillNote: _killed,
    }


def _reason(line: str) -> str:
    return line.partition("spawnerr: ")[2]
