"""A listener without threads, sockets or clocks: the work of the daemon in simulated time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from fpm_listener.daemon.persistence import StateStore
from fpm_listener.delivery.attempt import AttemptResult
from fpm_listener.delivery.database import Database
from fpm_listener.delivery.outbox import Outbox
from fpm_listener.host.address_holders import HolderReport
from fpm_listener.host.fallback_directory import StateDirectory
from fpm_listener.incidents.effects import (
    CheckGone,
    ExamineExit,
    ExitExamined,
    FindHolder,
    Gone,
    HolderFound,
    Notify,
)
from fpm_listener.incidents.post_mortem import PostMortem
from fpm_listener.monitor.engine import Engine
from fpm_listener.monitor.known_programs import ProgramsKnown
from fpm_listener.monitor.messages import (
    AskProcesses,
    Discover,
    ExitsRead,
    Identity,
    ProcessesSeen,
    ReadExits,
    SaveState,
    Tick,
)
from fpm_listener.monitor.supervision import EngineSettings
from fpm_listener.settings.receivers import ReceiverSettings
from fpm_listener.supervisor.deduplication import EventDeduplicator
from fpm_listener.supervisor.process import ProcessName, Program
from tests.fuzz.saved import POLICY
from tests.samples import LIMITS

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

    from fpm_listener.incidents.alert import Alert
    from fpm_listener.monitor.engine import Input
    from fpm_listener.monitor.messages import Effect
    from fpm_listener.supervisor.process import ProcessSeen
    from fpm_listener.supervisor.protocol import Event
    from fpm_listener.values import Instant
    from tests.fakes import FakeReceiver

UPKEEP_S = 30.0
#: One of each kind: alerts one by one, and incidents that are told again and again.
RECEIVERS = (
    ReceiverSettings(name="ops", url="http://127.0.0.1/hook"),
    ReceiverSettings(name="am", kind="alertmanager", urls=("http://127.0.0.1/api",)),
)
#: Ticks in a row at one moment; more is a loop without end.
_MOST_TICKS = 100


class KilledError(Exception):
    """The listener is killed at this step."""


class Surroundings(Protocol):
    """The interface of the simulation to the listener."""

    random: Random
    receivers: dict[str, FakeReceiver]
    notified: list[Alert]

    @property
    def now(self) -> Instant:
        """Return the present time on both clocks."""

    def seen(self) -> tuple[ProcessSeen, ...]:
        """Return the answer of supervisord."""

    @property
    def names(self) -> list[ProcessName]:
        """Return the programs of supervisord's configuration."""


class Listener:
    """One run of the listener. Each method may raise KilledError."""

    def __init__(self, folder: Path, around: Surroundings, supervisord_pid: int) -> None:
        self._around = around
        self.kill_at_step = 0  #: the step at which it is killed; 0 = none
        now = around.now
        self._database = Database(StateDirectory(folder / "state"))
        self._memory = StateStore(self._database)
        self.outbox = Outbox(
            self._database, RECEIVERS, LIMITS, instance="host", random=around.random.random
        )
        self._database.open(now)
        stamp = self._memory.values.get("stamp") or []
        self._ledger = EventDeduplicator(folder / "state" / "ledger", (supervisord_pid, 1), stamp)
        self.engine = Engine(
            EngineSettings(policy=POLICY, identity=Identity(instance="host")),
            f"{around.random.random()}",
        )
        self.engine.set_log_readable(readable=True)
        self.engine.timeline.began(now)
        self._upkeep_at_s = now.monotonic_s + UPKEEP_S
        known = {
            ProcessName(*name.split(":")): value
            for name, value in self._memory.values.items()
            if name != "stamp"
        }
        effects = self.engine.restore(now, known)
        effects += self.engine.missed(now)
        self._commit(effects, None)
        self._perform(effects)
        self._take(self._programs())
        self._take_answer()

    def close(self) -> None:
        """Close the database; the files stay."""
        self._database.close()

    def due_s(self) -> float:
        """Return the monotonic time at which `turn` has work to do."""
        moments = [self.engine.deadline_s(), self.outbox.next_due_s(self._around.now)]
        return min([self._upkeep_at_s, *(moment for moment in moments if moment is not None)])

    def event(self, event: Event) -> None:
        """Process an event; when it returns, the event is acknowledged."""
        verdict = self._ledger.judge(event)
        effects: list[Effect] = []
        if verdict.missed:
            effects = self.engine.missed(self._around.now, verdict.missed)
        self._step()
        if not verdict.repeated:
            effects += self.engine.step(self._around.now, event)
        self._step()
        self._commit(effects, self._ledger.stamp(event))
        self._step()
        self._ledger.mark(event)
        self._step()
        self._perform(effects)

    def turn(self) -> None:
        """Do all work that is due."""
        now = self._around.now
        for _ in range(_MOST_TICKS):
            due_s = self.engine.deadline_s()
            if due_s is None or due_s > now.monotonic_s:
                break
            self._take(Tick())
        else:
            raise AssertionError("the engine's deadline stays in the past")
        if now.monotonic_s >= self._upkeep_at_s:
            self._upkeep_at_s = now.monotonic_s + UPKEEP_S
            self._database.open(now)
            self._take_answer()
        for attempt in self.outbox.start_attempts(now):
            outcome = self._around.receivers[attempt.queue].send(attempt.alerts)
            self._step()
            self.outbox.record_result(AttemptResult(attempt=attempt, outcome=outcome), now)

    # -- details -----------------------------------------------------------------------------------

    def _step(self) -> None:
        if self.kill_at_step:
            self.kill_at_step -= 1
            if not self.kill_at_step:
                raise KilledError

    def _programs(self) -> ProgramsKnown:
        programs = tuple(Program(name=name, command=name.process) for name in self._around.names)
        return ProgramsKnown(programs=programs, sites={})

    def _take_answer(self) -> None:
        self._take(ProcessesSeen(self._around.seen(), self._around.now.monotonic_s))

    def _take(self, given: Input) -> None:
        effects = self.engine.step(self._around.now, given)
        self._commit(effects, None)
        self._perform(effects)

    def _commit(self, effects: list[Effect], stamp: list[int] | None) -> None:
        now, statements = self._around.now, []
        lasting = [effect for effect in effects if isinstance(effect, Notify | SaveState)]
        for effect in lasting:
            if isinstance(effect, Notify):
                statements += self.outbox.notify(effect, now)
            else:
                statements.append(self._memory.put(str(effect.process), effect.memory))
        if not lasting:
            return
        if stamp is not None:
            statements.append(self._memory.put("stamp", stamp))
        if not self._database.write(statements, durable=False):
            raise AssertionError("the database cannot be written")
        self._around.notified += [one.alert for one in effects if isinstance(one, Notify)]

    def _perform(self, effects: list[Effect]) -> None:
        """Answer at once the questions that threads answer in the daemon."""
        for effect in effects:
            match effect:
                case FindHolder(process, address, _):
                    report = HolderReport(address=address, holders=())
                    self._take(HolderFound(process, report))
                case ExamineExit(process, exited_at_s, _):
                    self._take(ExitExamined(process, exited_at_s, PostMortem()))
                case CheckGone(process, pids):
                    self._take(Gone(process, pids))
                case ReadExits(asked_at_s):
                    self._take(ExitsRead((), asked_at_s))
                case AskProcesses():
                    self._take_answer()
                case Discover():
                    self._take(self._programs())
                case _:
                    pass
