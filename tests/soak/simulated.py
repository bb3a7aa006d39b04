"""24 simulated hours: an engine and an outbox, programs that fail, and faults of the listener.

Everything follows from the seed. Laws that are checked:

1. A state is wrong for at most a minute of a listener that runs.
2. What supervisord has given up on is reported as such within that minute.
3. Each incident reaches its receiver as firing, then as resolved, in this order.
4. When all is well again, no incident is open and no alert is left.
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections import deque
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from fpm_listener.incidents.alert import Status
from fpm_listener.supervisor.process import ProcessName
from fpm_listener.values import Instant
from fpm_listener.vocabulary import State
from tests.fakes import FakeProgram, FakeReceiver, FakeSupervisord, process_info
from tests.soak.listener import KilledError, Listener

if TYPE_CHECKING:
    from fpm_listener.incidents.alert import Alert
    from fpm_listener.supervisor.process import ProcessSeen

#: Seconds for which a state may be wrong.
WRONG_S = 60.0
#: Seconds between two looks at all states.
LOOK_S = 10.0
#: Seconds after which all must be well: programs are called stable after twice the usual distance
#: between their failures, up to half an hour.
SETTLING_S = 3 * 3600.0
#: Mean seconds between two faults of a kind.
FAULTS_S = {
    "kill": 400.0,
    "hang": 1200.0,
    "clock": 3600.0,
    "ops": 3600.0,
    "am": 3600.0,
    "reboot": 4 * 3600.0,
}
_HISTORY = 400


class BrokenLawError(AssertionError):
    """A law does not hold; the message has the history."""


class Simulation:
    """The simulated supervisord and receivers, and the listener."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.random = Random(seed)  # noqa: S311 - a simulation
        self.now_s, self._offset_s = 1000.0, 1_795_000_000.0
        self._booted_s = 0.0  # when the monotonic clock was 0
        self.supervisord = FakeSupervisord()
        self.programs = [
            FakeProgram(ProcessName(name, name), Random(f"{seed} {name}"), self._emit)  # noqa: S311
            for name in ("php-fpm", "worker", "queue", "cron")
        ]
        self.receivers = {name: FakeReceiver(Random(f"{seed} {name}")) for name in ("ops", "am")}  # noqa: S311
        self.notified: list[Alert] = []  #: what was committed
        self.kills = 0
        self._folder = folder
        self._history: deque[str] = deque(maxlen=_HISTORY)
        self._listener: Listener | None = None
        self._begins_s = self.now_s  # when the listener is started (again)
        self._hangs_until_s = 0.0
        self._faults = {kind: self._later(mean_s) for kind, mean_s in FAULTS_S.items()}
        self._look_at_s = self.now_s
        self._wrong_since_s: dict[ProcessName, float] = {}
        self._up_since_s = self.now_s

    @property
    def now(self) -> Instant:
        """Return the present time on both clocks."""
        return Instant(self.now_s - self._booted_s, self.now_s + self._offset_s)

    # -- the loop ----------------------------------------------------------------------------------

    def run(self, hours: float) -> None:
        """Let hours pass, then heal everything, and check the laws. Raises BrokenLawError."""
        self._until(self.now_s + hours * 3600.0)
        self._record("all faults end")
        self._faults.clear()
        for receiver in self.receivers.values():
            receiver.healed = True
        for program in self.programs:
            program.heal(self.now_s)
        self._until(self.now_s + SETTLING_S)
        self._check_end()

    def _until(self, end_s: float) -> None:
        while True:
            moments = [program.due_s for program in self.programs]
            moments += [*self._faults.values(), self._look_at_s, end_s]
            if self._listener is None:
                moments.append(self._begins_s)
            elif self.now_s < self._hangs_until_s:
                moments.append(self._hangs_until_s)
            else:
                # A millisecond more: the sum may be rounded to a moment that is not due yet.
                moments.append(self._listener.due_s() + self._booted_s + 0.001)
            self.now_s = max(self.now_s, min(moments))
            if self.now_s >= end_s:
                return
            self._turn()

    def _turn(self) -> None:
        for kind in [kind for kind, at_s in self._faults.items() if at_s <= self.now_s]:
            self._faults[kind] = self._later(FAULTS_S[kind])
            self._fault(kind)
        for program in self.programs:
            if program.due_s <= self.now_s:
                program.turn(self.now_s)
        if self._listener is None and self._begins_s <= self.now_s:
            self._record("the listener starts")
            self._listener = Listener(self._folder, self, self.supervisord.pid)
            self._up_since_s = self.now_s
        if self._listener is not None and self.now_s >= self._hangs_until_s:
            try:
                self._serve(self._listener)
            except KilledError:
                self._kill()
        if self._look_at_s <= self.now_s:
            self._look_at_s = self.now_s + LOOK_S
            self._check()

    def _serve(self, listener: Listener) -> None:
        waiting = self.supervisord.waiting
        while waiting:
            listener.event(waiting[0])  # killed in here, it is sent again
            waiting.popleft()
        listener.turn()

    # -- faults ------------------------------------------------------------------------------------

    def _later(self, mean_s: float) -> float:
        return self.now_s + self.random.expovariate(1 / mean_s)

    def _fault(self, kind: str) -> None:
        random = self.random
        if kind == "kill" and self._listener is not None:
            if random.random() < 0.5:
                self._listener.kill_at_step = random.randint(1, 6)
                self._record("the listener is to be killed at one of its next steps")
            else:
                self._kill()
        elif kind == "hang":
            self._hangs_until_s = self.now_s + random.choice((3.0, 30.0, 120.0))
            self._record(f"the listener hangs until {self._hangs_until_s:.0f}")
            self._up_since_s = self._hangs_until_s
        elif kind == "clock":
            jump_s = random.choice((-86400.0, -3600.0, 1800.0, 7200.0))
            self._offset_s += jump_s
            self._record(f"the clock jumps by {jump_s:.0f} s")
        elif kind in self.receivers:
            self.receivers[kind].away = not self.receivers[kind].away
            self._record(f"receiver {kind}: away = {self.receivers[kind].away}")
        elif kind == "reboot":
            self._record("the machine is restarted")
            self._kill()
            self._booted_s = self.now_s - 5.0
            self.supervisord = FakeSupervisord(self.supervisord.pid + 1, lost=self.supervisord.lost)
            for program in self.programs:
                program.reboot(self.now_s)

    def _kill(self) -> None:
        self.kills += 1
        self._record("the listener is killed")
        if self._listener is not None:
            self._listener.close()
        self._listener = None
        self._hangs_until_s = 0.0
        self._begins_s = self.now_s + self.random.choice((0.1, 1.0, 20.0))

    # -- the laws ----------------------------------------------------------------------------------

    def _check(self) -> None:
        listener = self._listener
        if listener is None or self.now_s < self._hangs_until_s:
            self._wrong_since_s.clear()
            return
        views = {view.name: view for view in listener.engine.views()}
        for program in self.programs:
            view = views.get(program.name)
            wrong = view is None or view.state is not program.state
            if view is not None and program.state is State.FATAL:
                wrong |= view.incident is None or not view.incident.facts.gave_up
            if not wrong:
                self._wrong_since_s.pop(program.name, None)
                continue
            since_s = self._wrong_since_s.setdefault(program.name, self.now_s)
            since_s = max(since_s, program.since_s, self._up_since_s)
            if self.now_s - since_s > WRONG_S:
                seen = view and (view.state.name, view.incident and view.incident.facts.cause.name)
                self._fail(f"{program.name} is {program.state.name}; the listener says {seen}")

    def _check_end(self) -> None:
        listener = self._listener
        if listener is None:
            self._fail("the listener does not run at the end")
            return
        for view in listener.engine.views():
            if view.state is not State.RUNNING or view.incident is not None:
                self._fail(f"{view.name} is {view.state.name} at the end, {view.incident}")
        for name, receiver in self.receivers.items():
            alerts = listener.outbox.list_alerts(self.now)
            if left := [one["alert"] for one in alerts if one["receiver"] == name]:
                self._fail(f"alerts are left for {name}: {left}")
            self._check_receiver(receiver, states_only=name == "am")

    def _check_receiver(self, receiver: FakeReceiver, *, states_only: bool) -> None:
        """Check the alerts of a receiver.

        states_only: an incident that opened and was resolved while it was away need not reach it.
        """
        took: dict[str, list[Status]] = {}
        for alert in receiver.took:
            took.setdefault(alert.incident_id, []).append(alert.status)
        for incident in {alert.incident_id for alert in self.notified}:
            statuses = took.get(incident, [])
            if states_only and not statuses:
                continue
            if not statuses or statuses[0] is not Status.FIRING:
                self._fail(f"{incident}: no firing alert came first: {statuses}")
            if statuses[-1] is not Status.RESOLVED:
                self._fail(f"{incident}: it was never reported as resolved: {statuses}")
            if Status.FIRING in statuses[statuses.index(Status.RESOLVED) :]:
                self._fail(f"{incident}: it fires after it was resolved: {statuses}")

    def _emit(self, program: FakeProgram, words: str) -> None:
        self._record(f"{program.name.process} {program.state.name} {words}")
        self.supervisord.emit(program, words)

    @property
    def names(self) -> list[ProcessName]:
        """Return the programs of supervisord's configuration."""
        return [program.name for program in self.programs]

    def seen(self) -> tuple[ProcessSeen, ...]:
        """Return the answer of supervisord."""
        return process_info(self.programs, self.now.wall_s, self.now_s)

    def _record(self, what: str) -> None:
        self._history.append(f"{self.now_s:12.3f} {what}")

    def _fail(self, what: str) -> None:
        raise BrokenLawError("\n".join([*self._history, f"{self.now_s:12.3f} BROKEN: {what}"]))


def run(seed: int, hours: float) -> bool:
    """Simulate; print what came of it, and return whether all laws held."""
    logging.disable()
    # In memory, where there is such a place: years of commits would wait for a disk.
    place = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="soak-", dir=place) as folder:
        simulation = Simulation(seed, Path(folder))
        try:
            simulation.run(hours)
        except Exception as error:
            if not isinstance(error, BrokenLawError):
                with suppress(TypeError):
                    print("\n".join(simulation._history))
                logging.disable(logging.NOTSET)
                logging.getLogger(__name__).exception("the simulated listener failed")
            print(f"{error}\nsoak: simulated half FAILED, SOAK_SEED={seed}")
            return False
    incidents = len({alert.incident_id for alert in simulation.notified})
    figures = {
        "hours": hours,
        "kills": simulation.kills,
        "events_lost": simulation.supervisord.lost,
        "incidents": incidents,
        "alerts": {name: len(one.took) for name, one in simulation.receivers.items()},
    }
    print(f"soak: simulated half passed {json.dumps(figures)}")
    return True
