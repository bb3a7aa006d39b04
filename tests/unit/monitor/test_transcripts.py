"""What the engine does about each input of some scenes, as golden files.

A test fails when an effect, a state that is shown, or a deadline changes. If the change is
intended: set FPM_LISTENER_WRITE_GOLDEN=1, run this file, and read the difference.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fpm_listener.host.obstacles import Obstacle
from fpm_listener.incidents.effects import CheckGone, ExitExamined, Gone
from fpm_listener.incidents.incident import IncidentView
from fpm_listener.incidents.incident_facts import IncidentFacts
from fpm_listener.incidents.post_mortem import Needs, PostMortem
from fpm_listener.monitor.known_programs import ProgramsKnown
from fpm_listener.monitor.messages import (
    ChildrenSeen,
    GuardAsks,
    HoldFailed,
    Identity,
    LeaveProgram,
    PoolsSeen,
    ProcessesSeen,
    ProcessExited,
    SaveState,
    SocketsHeld,
    StopFailed,
    Tick,
)
from fpm_listener.monitor.pid_search import FindPid
from fpm_listener.monitor.process_view import ProcessView
from fpm_listener.monitor.supervision import EngineSettings
from fpm_listener.phpfpm.config import FpmSite
from fpm_listener.phpfpm.pool_life import Life
from fpm_listener.phpfpm.status_page import PoolView
from fpm_listener.settings.policy import HealingPolicy, Span
from fpm_listener.supervisor.process import Child, ProcessName, ProcessSeen, Program
from fpm_listener.values import Instant
from fpm_listener.vocabulary import Cause, State
from tests.unit.monitor.engine_scenario import ADDRESS, EPOCH, FPM, JOB, LOG, POLICY, Scenario
from tests.unit.monitor.engine_scenario import moment as at

if TYPE_CHECKING:
    from fpm_listener.monitor.messages import Effect

GOLDEN = Path(__file__).parents[2] / "data" / "transcripts"
CONFIG = "/etc/php/8.2/fpm/php-fpm.conf"
SITE = FpmSite(addresses=(ADDRESS,), pools=("www",), error_logs=(LOG,), config=CONFIG)
NEEDS = Needs(program="/usr/sbin/php-fpm", files=("/run/php/www.sock",), users=("www-data",))
MISSING = "seen: /usr/sbin/php-fpm does not exist"
OTHER = ProcessName("web", "php-fpm")
HEALING = HealingPolicy(restart_fatal=Span(10.0, 300.0), loop_delay=Span(20.0, 300.0))

#: Texts have a golden file of their own; the rest is shown at the end.
LEFT_OUT = {"site", "needs", "restart_seconds"}


def shown(value: object) -> str:
    """Return a value as one line; what has its default is left out."""
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, Mapping):
        return json.dumps({str(key): one for key, one in value.items()}, default=shown)
    if isinstance(value, frozenset):
        return "{" + ", ".join(sorted(map(shown, value))) + "}"
    if isinstance(value, ProcessName | str | float):
        return repr(round(value, 6)) if isinstance(value, float) else repr(str(value))
    if dataclasses.is_dataclass(value):
        pairs = [(field.name, field.default) for field in dataclasses.fields(value)]
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        defaults = getattr(value, "_field_defaults", {})
        pairs = [(name, defaults.get(name, dataclasses.MISSING)) for name in value._fields]
    elif isinstance(value, tuple):
        return "(" + ", ".join(map(shown, value)) + ")"
    else:
        return repr(value)
    found = [(name, getattr(value, name)) for name, default in pairs]
    given = [
        f"{name}={shown(mine)}"
        for (name, mine), (_, default) in zip(found, pairs, strict=True)
        if mine not in (default, {}) and name not in LEFT_OUT
    ]
    return f"{type(value).__name__}({', '.join(given)})"


class Transcript(Scenario):
    """A scene that writes down each step, and what it changes."""

    def __init__(self, name: str, **options: Any) -> None:  # noqa: ANN401 - those of Scene
        self.lines = [f"== {name}"]
        self._shown: dict[str, str] = {}
        self._last_tick: list[str] = []  # what it changed
        super().__init__(**options)

    def write(self, at_s: float, given: object, effects: list[Effect]) -> None:
        """Write a step down; a tick that changes what the one before did is only counted.

        The looks for a pid have their own tests.
        """
        looks = [one for one in effects if isinstance(one, FindPid)]
        if looks and isinstance(given, Tick) and looks == effects:
            return
        effects = [one for one in effects if one not in looks]
        new = [line for effect in effects for line in self._effect(effect)]
        new += [line for view in self.engine.views() for line in self._news(str(view.name), view)]
        is_tick = isinstance(given, Tick)
        if is_tick and new == self._last_tick:
            self.lines[-len(new) - 1] += f", {at_s:g}"
            return
        self._last_tick = new if is_tick else [""]
        words = "programs" if isinstance(given, ProgramsKnown) else shown(given)
        self.lines += [f"{words} at {at_s:g}", *new]

    def _effect(self, effect: Effect) -> list[str]:
        if isinstance(effect, SaveState) and effect.memory is not None:
            return [f"    SaveState {effect.process}", *self._news("memory", effect.memory)]
        return [f"    {shown(effect)}"]

    def _news(self, name: str, value: object) -> list[str]:
        """Return the parts of a value that are not what they were."""
        if isinstance(value, ProcessView | IncidentView | IncidentFacts):
            parts = {one.name: getattr(value, one.name) for one in dataclasses.fields(value)}
            if isinstance(value, ProcessView):
                del parts["facts"]  # counts, shown at the end
        elif isinstance(value, Mapping):
            parts = dict(value)
        else:
            before, self._shown[name] = self._shown.get(name), shown(value)
            usual = before is None and not value
            return [] if usual or before == shown(value) else [f"    {name}: {shown(value)}"]
        return [
            line
            for key, one in parts.items()
            if key not in LEFT_OUT
            for line in self._news(f"{name}.{key}", one)
        ]

    def give(self, at_s: float, given: object) -> list[Effect]:
        """Write down the step, and those before it that were due; crashed workers are gone."""
        engine = self.engine
        step = engine.step

        def noted(now: Instant, one: Any) -> list[Effect]:  # noqa: ANN401 - as the engine has it
            effects = step(now, one)
            self.write(now.monotonic_s, one, effects)
            for effect in effects:
                if isinstance(effect, CheckGone):
                    effects = [*effects, *noted(now, Gone(effect.process, effect.pids))]
            return effects

        engine.step = noted  # type: ignore[assignment, method-assign]
        try:
            return super().give(at_s, given)
        finally:
            engine.step = step  # type: ignore[method-assign]

    def lose(self, at_s: float, count: int) -> None:
        """Let events be lost."""
        self.give(at_s, ProcessesSeen((), -1.0))
        self.write(at_s, f"{count} events are lost", self.engine.missed(at(at_s), count))

    def guard(self, at_s: float, pid: int = 100, *, hold: bool = True) -> None:
        """Let a guard ask."""
        self.give(at_s, GuardAsks(FPM, pid, hold, int(at_s)))

    def answer(self, at_s: float, *states: tuple[ProcessName, State, int | None]) -> None:
        """Let supervisord answer how its processes are."""
        seen = tuple(
            ProcessSeen(name=name, state=state, pid=pid, started_at_s=EPOCH + at_s - 40)
            for name, state, pid in states
        )
        self.give(at_s, ProcessesSeen(seen, at_s))

    def know(self, at_s: float, *names: ProcessName, address: str = ADDRESS) -> None:
        """Let php-fpm's configurations be read."""
        programs = tuple(Program(name=one, command="php-fpm -F", startsecs=3.0) for one in names)
        sites = {name: SITE._replace(addresses=(address,)) for name in names}
        known = ProgramsKnown(programs=programs, sites=sites, needs=dict.fromkeys(names, NEEDS))
        self.give(at_s, known)

    def finish(self, at_s: float) -> str:
        """Return the lines, with what is counted and remembered in the end."""
        self.play(f"{at_s} tick")
        for view in self.engine.views():
            facts = {fact.name: count for fact, count in view.facts.items() if count}
            seconds = view.restart_seconds and (
                view.restart_seconds.total,
                view.restart_seconds.counts,
            )
            self.lines.append(f"{view.name}: lines {facts}, restarts {shown(seconds)}")
        counts = self.engine.counts
        events = {name: count for name, count in sorted(counts.events.items()) if count}
        self.lines.append(f"events {events}, missed {counts.missed}, last {counts.last_event_s}")
        self.lines += [shown(tuple(row)) for row in self.engine.timeline.memory()]
        failures = self.engine.timeline.failures()
        return "\n".join([*self.lines, f"failures {shown(failures)}", ""])


def bind_conflict() -> str:
    """A loop whose cause and holder become known, its end, and its second time."""
    scenario = Transcript("an address that is taken", exits=True)
    scenario.know(0.0, FPM)
    for start in (1.0, 3.0, 6.0):
        scenario.play(f"{start} starting", f"{start + 0.1} log bind failed")
        scenario.play(f"{start + 0.5} backoff", f"{start + 0.6} exits 78", f"{start + 0.7} holder")
    scenario.give(7.0, Gone(FPM, frozenset({812})))
    scenario.play("9 starting", "9.1 log ready", "12 running", "20 log segv", "60 tick", "200 tick")
    scenario.fail(300.0, 302.0, 305.0, 309.0)
    scenario.play("314 fatal", "320 stopping", "321 stopped")
    return scenario.finish(20000.0)


def crashes() -> str:
    """Exits with every kind of exit, some of them reported late, and what the machine shows."""
    scenario = Transcript("it dies again and again", exits=True)
    scenario.know(0.0, FPM)
    for start, code in ((1.0, "-11"), (10.0, "137"), (20.0, "0"), (30.0, "255"), (40.0, "-9")):
        scenario.play(f"{start} starting", f"{start + 0.1} log ready", f"{start + 3} running")
        scenario.give(start + 5.0, ProcessExited(FPM, 100))
        scenario.play(f"{start + 5.05} crash", f"{start + 5.3} exits {code}")
        missing = Obstacle(Cause.MISSING_PATH, "/usr/sbin/php-fpm", MISSING)
        found = PostMortem(obstacles=(missing,), looked_for=(Cause.MISSING_PATH,))
        scenario.give(start + 5.4, ExitExamined(FPM, start + 5.05, found))
    scenario.play("50 starting job", "51 running job", "52 exit job", "52.2 exits 0/job")
    scenario.play("53 starting job", "54 running job", "55 crash job", "70 exits")
    return scenario.finish(400.0)


def held_sockets() -> str:
    """A guard asks, sockets are held, over a restart, a reload, a stop and another address."""
    scenario = Transcript("its sockets are held", exits=True)
    scenario.know(0.0, FPM)
    scenario.play("1 starting")
    scenario.guard(1.1)
    scenario.give(1.2, SocketsHeld(FPM, (ADDRESS, "/run/php/www.sock")))
    scenario.play("1.3 log ready", "4 running", "50 crash", "50.1 starting")
    scenario.guard(50.2)
    scenario.play("50.3 log ready", "53 running", "60 log reload", "60.1 log ready")
    scenario.know(60.2, FPM, address="127.0.0.1:9001")
    scenario.play("70 stopping", "70.5 stopped", "80 starting")
    scenario.guard(80.1)
    scenario.give(80.2, SocketsHeld(FPM, ("127.0.0.1:9001",)))
    scenario.give(80.3, HoldFailed(FPM))
    scenario.play("80.5 backoff", "81.5 starting")
    scenario.guard(81.6, hold=False)
    scenario.give(82.0, SocketsHeld(JOB, ("/run/job.sock",)))
    scenario.give(83.0, SocketsHeld(OTHER, ("/run/other.sock",)))
    scenario.event_named(90.0, "PROCESS_GROUP_REMOVED", "groupname:php-fpm\n")
    scenario.give(90.5, SocketsHeld(FPM, (ADDRESS,)))
    scenario.event_named(91.0, "PROCESS_GROUP_ADDED", "groupname:php-fpm\n")
    scenario.event_named(99.0, "SUPERVISOR_STATE_CHANGE_STOPPING")
    scenario.guard(99.5)
    return scenario.finish(200.0)


def lost_events() -> str:
    """Answers of supervisord and of /proc instead of events."""
    scenario = Transcript("events are lost")
    scenario.know(0.0, FPM, OTHER)
    scenario.play("1 starting", "4 running", "5 starting job", "6 running job")
    scenario.lose(10.0, 3)
    run = State.RUNNING
    scenario.answer(10.2, (FPM, run, 100), (JOB, State.FATAL, None), (OTHER, State.STARTING, None))
    scenario.answer(11.3, (FPM, run, 177), (JOB, State.FATAL, None), (OTHER, State.BACKOFF, None))
    scenario.lose(30.0, 0)
    scenario.answer(30.2, (FPM, State.STOPPED, None), (JOB, State.EXITED, None), (OTHER, run, 9))
    scenario.lose(50.0, 1)
    scenario.give(50.3, ChildrenSeen((Child(8, FPM, "php-fpm", EPOCH + 49.0),), 50.1))
    master = f"php-fpm: master process ({CONFIG})"
    scenario.give(
        52.0, ChildrenSeen((Child(8, None, master, None), Child(9, None, "x", None)), 52.0)
    )
    scenario.give(60.0, ChildrenSeen(None, 60.0))
    scenario.lose(70.0, 1)
    scenario.answer(71.0, (FPM, run, 8), (ProcessName("new", "new"), run, 12))
    scenario.answer(72.5, (FPM, run, 8), (ProcessName("new", "new"), run, 12))
    scenario.event_named(80.0, "PROCESS_STATE_RUNNING", "nonsense")
    scenario.lose(90.0, 1)
    return scenario.finish(200.0)


def healing() -> str:
    """What is given up is started again, what loops is paused, and an operator ends it."""
    scenario = Transcript("it is healed", policy=replace(POLICY, healing=HEALING))
    scenario.know(0.0, FPM)
    scenario.fail(1.0, 2.0)
    scenario.play("3 fatal", "40 starting", "43 running", "400 tick")
    scenario.fail(500.0, 502.0, 505.0, 509.0)
    scenario.play("510 starting", "510.2 stopping", "510.3 stopped", "600 starting", "603 running")
    scenario.fail(700.0, 702.0, 705.0)
    scenario.give(706.0, StopFailed(FPM))
    scenario.fail(709.0, 714.0)
    scenario.give(720.0, LeaveProgram(FPM))
    scenario.play("721 fatal", "800 tick")
    scenario.engine.reconfigure(
        EngineSettings(
            policy=replace(POLICY, healing=HealingPolicy(shutdown_on_fatal=True)),
            identity=Identity(instance="renamed"),
        )
    )
    scenario.play("801 tick", "810 starting", "811 backoff", "812 fatal", "900 tick")
    return scenario.finish(1000.0)


def sick_pools() -> str:
    """Workers crash, and pools are silent, while the master runs."""
    scenario = Transcript("it runs, but it is not well")
    scenario.know(0.0, FPM)
    scenario.play("1 starting", "1.1 log ready", "4 running")
    for second in range(10, 16):
        scenario.play(f"{second} log segv")
    scenario.play("200 tick")
    silent = PoolView(
        pool="www", up=False, failures=1, silent=True, detail="no answer", life=Life.STOPPED
    )
    for at_s in (210.0, 220.0, 231.0, 250.0):
        scenario.give(at_s, PoolsSeen(FPM, (silent, replace(silent, pool="api"))))
    scenario.give(300.0, PoolsSeen(FPM, (PoolView(pool="www", up=True, numbers={"x": 1.0}),)))
    return scenario.finish(700.0)


def configuration() -> str:
    """A log on stderr, a shared log, lines that come before their event, and a refuted line."""
    scenario = Transcript("its configuration is wrong", exits=True)
    scenario.know(0.0, FPM, OTHER)
    for start in (1.0, 3.0, 6.0):
        scenario.play(f"{start} log config failed", f"{start + 0.05} starting")
        scenario.play(f"{start + 0.5} backoff", f"{start + 0.9} exits 78")
    scenario.event_named(
        7.0, "PROCESS_LOG_STDERR", "processname:php-fpm groupname:web pid:5\nERROR: FPM initia"
    )
    scenario.event_named(
        7.1, "PROCESS_LOG_STDERR", "processname:php-fpm groupname:web pid:5\nlization failed\n"
    )
    scenario.play("9 log bind", "10 starting", "10.1 log config", "10.4 backoff", "10.9 exits -9")
    return scenario.finish(30.0)


def restored() -> str:
    """What was remembered by one listener is taken up by the next, under another clock."""
    first = Scenario(exits=True, policy=replace(POLICY, healing=HEALING)).fail(0.0, 2.0, 5.0)
    first.play("5.6 log bind", "5.7 holder", "5.8 exits 78", "8 fatal", "9 tick")
    saved = [one.memory for one in first.effects if isinstance(one, SaveState)][-1]
    scenario = Transcript("the listener is started again", policy=replace(POLICY, healing=HEALING))
    memory = {FPM: json.loads(json.dumps(saved)), OTHER: {"incident": 5}}
    now = Instant(30.0, EPOCH + 50.0)  # after a restart of the machine
    scenario.write(30.0, "restored", scenario.engine.restore(now, memory))
    scenario.lose(31.5, 0)
    scenario.answer(31.8, (FPM, State.FATAL, None), (JOB, State.RUNNING, 7))
    scenario.play("60 starting", "63 running", "100 tick")
    return scenario.finish(900.0)


WORDS = ("starting", "running", "backoff", "crash", "exit", "stopping", "stopped", "fatal")


def outcome(scenario: Scenario, name: ProcessName = FPM) -> str:
    """Return what is known of a process, as one line."""
    found = [view for view in scenario.engine.views() if view.name == name]
    if not found:
        return "not known"
    (view,) = found
    left_out = {"ReadLogsNow", "FindPid"}
    effects = [type(one).__name__ for one in scenario.effects if not isinstance(one, SaveState)]
    named = {one: effects.count(one) for one in sorted({*effects}) if one not in left_out}
    counts = (view.starts, view.exits, view.unexpected_exits, view.failed_starts, view.fatal)
    cause = view.incident.facts.cause.value if view.incident else "well"
    due_s = scenario.engine.deadline_s()
    due = "never" if due_s is None else f"{due_s:g}"
    return f"{view.state.name} pid {view.pid}, {counts}, {view.restarts}, {cause}, {due}, {named}"


def pairs() -> str:
    """Two events after each other, of a php-fpm and of a job; events may be lost before them."""
    lines = ["== two events (starts, exits, unexpected exits, failed starts, given up), restarts"]
    for first in WORDS:
        for second in WORDS:
            for name, of in (("php-fpm", ""), ("job", " job")):
                scenario = Scenario().play(
                    f"1 {first}{of}", f"5 {second}{of}", "20 tick", "30 tick"
                )
                found = outcome(scenario, JOB if of else FPM)
                lines.append(f"{name}: {first}, {second}: {found}")
    return "\n".join([*lines, ""])


def answers() -> str:
    """An answer of supervisord after an event, once, again, after lost events, and too late."""
    lines = ["== an event and an answer"]
    for word in WORDS:
        for state in (*State, None):
            for kind in ("once", "again", "lost", "late", "removed"):
                scenario = Scenario().play("1 starting", f"3 {word}")
                if kind == "lost":
                    scenario.effects += scenario.engine.missed(at(9.0), 1)
                if kind == "removed":
                    scenario.event_named(9.0, "PROCESS_GROUP_REMOVED", "groupname:php-fpm\n")
                seen = tuple(
                    ProcessSeen(name=name, state=shown_state, pid=pid, started_at_s=EPOCH + 2.0)
                    for name, shown_state, pid in ((FPM, state, 7), (JOB, State.RUNNING, 8))
                    if shown_state is not None
                )
                asked_s = 2.0 if kind == "late" else 10.0
                scenario.give(10.0, ProcessesSeen(seen, asked_s))
                if kind == "again":
                    scenario.give(11.5, ProcessesSeen(seen, 11.5))
                said = state.name if state else "absent"
                lines.append(f"{word}, {said} {kind}: {outcome(scenario)}")
    return "\n".join([*lines, ""])


SCENES: tuple[Callable[[], str], ...] = (
    *(bind_conflict, crashes, held_sockets, lost_events),
    *(healing, sick_pools, configuration, restored, pairs, answers),
)


@pytest.mark.parametrize("scenario", SCENES)
def test_a_scene(scenario: Callable[[], str]) -> None:
    """Each step has the effects that the file shows."""
    text, golden = scenario(), GOLDEN / f"{scenario.__name__}.txt"
    if os.environ.get("FPM_LISTENER_WRITE_GOLDEN"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text, encoding="utf-8")
    assert text.splitlines() == golden.read_text(encoding="utf-8").splitlines()
