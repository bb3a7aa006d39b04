"""Plays scenes to the engine: a moment and a few words a line, instead of supervisord."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from fpm_listener.delivery.alert_texts import with_texts
from fpm_listener.host.address_holders import Holder, HolderKind, HolderReport
from fpm_listener.incidents.effects import (
    ExamineExit,
    ExitExamined,
    FindHolder,
    HolderFound,
    Notify,
)
from fpm_listener.incidents.post_mortem import PostMortem
from fpm_listener.monitor.engine import Engine
from fpm_listener.monitor.known_programs import ProgramsKnown
from fpm_listener.monitor.messages import (
    ExitsRead,
    Identity,
    LogLines,
    ReadExits,
    Tick,
)
from fpm_listener.monitor.supervision import EngineSettings
from fpm_listener.phpfpm.config import FpmSite
from fpm_listener.phpfpm.log_parser import classify
from fpm_listener.settings.policy import LoopPolicy, Policy
from fpm_listener.supervisor.exit_log import ExitNote, ExitReason
from fpm_listener.supervisor.process import ProcessName, Program
from fpm_listener.supervisor.protocol import Event
from fpm_listener.values import Instant
from fpm_listener.vocabulary import Tier

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm_listener.incidents.alert import Alert
    from fpm_listener.monitor.engine import Input
    from fpm_listener.monitor.messages import Effect
    from fpm_listener.monitor.process_view import ProcessView

FPM = ProcessName("php-fpm", "php-fpm")
JOB = ProcessName("job", "job")
LOG = "/var/log/php-fpm.log"
ADDRESS = "127.0.0.1:9000"
ID_TOKEN = "made once for a start"
#: The wall clock at monotonic 0.
EPOCH = 1_700_000_000.0

POLICY = Policy(
    loops={
        Tier.FAST: LoopPolicy(threshold=3, window_s=60.0),
        Tier.SLOW: LoopPolicy(threshold=5, window_s=900.0),
    },
    stable_for_s=120.0,
    repeat_interval_s=4 * 3600.0,
    exit_loop=LoopPolicy(threshold=10, window_s=60.0),
)

PAYLOADS = {
    "starting": ("STARTING", "from_state:{before} tries:0"),
    "running": ("RUNNING", "from_state:STARTING pid:{pid}"),
    "backoff": ("BACKOFF", "from_state:STARTING tries:1"),
    "crash": ("EXITED", "from_state:RUNNING expected:0 pid:{pid}"),
    "exit": ("EXITED", "from_state:RUNNING expected:1 pid:{pid}"),
    "stopping": ("STOPPING", "from_state:RUNNING pid:{pid}"),
    "stopped": ("STOPPED", "from_state:STOPPING pid:{pid}"),
    "fatal": ("FATAL", "from_state:BACKOFF"),
}

LINES = {
    "bind": f"ERROR: unable to bind listening socket for address '{ADDRESS}': "
    "Address already in use (98)",
    "failed": "ERROR: FPM initialization failed",
    "config": "ERROR: [/etc/php-fpm.conf:4] unknown entry 'nonsense'",
    "ready": "NOTICE: fpm is running, pid 100",
    "reload": 'NOTICE: reloading: execvp("php-fpm", {"php-fpm"})',
    "segv": "WARNING: [pool www] child 4 exited on signal 11 (SIGSEGV) after 1.0 seconds",
}


def moment(at_s: float) -> Instant:
    """Return the moment at `at_s` seconds of a scene."""
    return Instant(at_s, EPOCH + at_s)


class RecordedEngine(Engine):
    """An engine that notes what no log contains."""

    def __init__(self, settings: EngineSettings, id_token: str) -> None:
        super().__init__(settings, id_token)
        self.unlogged: set[str] = set()
        self.given: list[tuple[float, object]] = []  #: all inputs but Tick
        self.effects: list[Effect] = []

    def step(self, now: Instant, given: Input) -> list[Effect]:
        """Note the input."""
        if not isinstance(given, Tick):
            self.given.append((now.monotonic_s, given))
        effects = super().step(now, given)
        self.effects += effects
        return effects

    def missed(self, now: Instant, count: int = 0) -> list[Effect]:
        """Note that events were lost."""
        self.unlogged.add("missed")
        return super().missed(now, count)

    def reconfigure(self, settings: EngineSettings) -> None:
        """Note that the settings have changed."""
        self.unlogged.add("reconfigure")
        super().reconfigure(settings)

    def restore(
        self, now: Instant, memory: Mapping[ProcessName, Mapping[str, Any]]
    ) -> list[Effect]:
        """Note that the listener has started again."""
        self.unlogged.add("restore")
        return super().restore(now, memory)


class Scenario:
    """An engine that knows one php-fpm and one job, and what came of each step."""

    #: All scenarios, with their policy, while a test replays them; None = they are not kept.
    played: ClassVar[list[Scenario] | None] = None

    def __init__(
        self,
        *,
        exits: bool = False,
        policy: Policy = POLICY,
        instance: str = "host",
        id_token: str = ID_TOKEN,
    ) -> None:
        settings = EngineSettings(policy=policy, identity=Identity(instance=instance))
        self.policy = policy
        if self.played is not None:
            self.played.append(self)
        self.engine = RecordedEngine(settings, id_token)
        self.engine.set_log_readable(readable=exits)
        self.effects: list[Effect] = []
        self.now_s = 0.0
        self.answered: set[float] = set()  # exits for which the machine was examined
        self._serial = 0
        site = FpmSite(addresses=(ADDRESS,), pools=("www",), error_logs=(LOG,))
        job = Program(name=JOB, command="job", autorestart="true")
        programs = (Program(name=FPM, command="php-fpm -F"), job)
        self.give(0.0, ProgramsKnown(programs=programs, sites={FPM: site}))

    def give(self, at_s: float, given: object) -> list[Effect]:
        """Step at `at_s`, after all that was due before."""
        while (due := self.engine.deadline_s()) is not None and due <= at_s:
            self.now_s = max(self.now_s, due)
            self.effects += self.engine.step(moment(self.now_s), Tick())
        self.now_s = at_s
        if isinstance(given, ExitExamined):
            self.answered.add(given.exited_at_s)
        new = self.engine.step(moment(at_s), given)  # type: ignore[arg-type] # scenes are short
        self.effects += new
        return new

    def play(self, *lines: str) -> Scenario:
        """Play lines such as `3.0 backoff`, `3.1 log bind`, `4.0 crash job`, `9 exits 78`."""
        for line in lines:
            at, word, *rest = line.split()
            at_s = float(at)
            if word == "log":
                stamp = f"[23-Nov-2026 10:{int(at_s) // 60 % 60:02d}:{int(at_s) % 60:02d}] "
                self.log(at_s, *(stamp + LINES[name] for name in rest))
            elif word == "tick":
                self.give(at_s, Tick())
            elif word == "exits":
                self.give(at_s, ExitsRead(tuple(note(text) for text in rest), at_s))
            elif word == "holder":
                self.give(at_s, HolderFound(FPM, HOLDER))
            else:
                self.event(at_s, word, JOB if rest[:1] == ["job"] else FPM)
        return self

    def log(self, at_s: float, *lines: str) -> list[Effect]:
        """Let the follower bring lines of php-fpm's log."""
        facts = tuple(fact for line in lines if (fact := classify(line)) is not None)
        return self.give(at_s, LogLines(path=LOG, facts=facts))

    def event(
        self, at_s: float, word: str, name: ProcessName = FPM, pid: int = 100
    ) -> list[Effect]:
        """Let supervisord send an event."""
        state, rest = PAYLOADS[word]
        payload = f"processname:{name.process} groupname:{name.group} {rest}"
        self._serial += 1
        text = payload.format(before="STOPPED", pid=pid)
        event = Event("lab", "l", self._serial, self._serial, f"PROCESS_STATE_{state}", text)
        return self.give(at_s, event)

    def event_named(self, at_s: float, name: str, payload: str = "") -> list[Effect]:
        """Let supervisord send an event by its whole name."""
        self._serial += 1
        return self.give(at_s, Event("lab", "l", self._serial, self._serial, name, payload))

    def fail(self, *at_s: float) -> Scenario:
        """Play failed starts."""
        for at in at_s:
            self.play(f"{at} starting", f"{at + 0.5} backoff")
        return self

    @property
    def alerts(self) -> list[Alert]:
        """Return the alerts so far, those included that wait a moment for what is looked up.

        The machine shows nothing, unless a test has answered.
        """
        self.give(self.now_s + 0.25, Tick())
        if asked := [one for one in self.effects if isinstance(one, ExamineExit)]:
            request = asked[-1]
            if request.exited_at_s not in self.answered:
                self.give(
                    self.now_s, ExitExamined(request.process, request.exited_at_s, PostMortem())
                )
        return self.alerts_now

    @property
    def alerts_now(self) -> list[Alert]:
        """Return the alerts so far."""
        return [
            with_texts(effect.alert, effect.facts, ("zh",))
            for effect in self.effects
            if isinstance(effect, Notify)
        ]

    @property
    def sent(self) -> list[str]:
        """Return reason and cause of each alert so far."""
        return [f"{alert.reason.value}: {alert.annotations['cause']}" for alert in self.alerts]

    @property
    def looks(self) -> list[FindHolder]:
        """Return the questions for a holder so far."""
        return [effect for effect in self.effects if isinstance(effect, FindHolder)]

    @property
    def reads(self) -> int:
        """Return how often supervisord's log was asked for."""
        return sum(isinstance(effect, ReadExits) for effect in self.effects)

    def view(self, name: ProcessName = FPM) -> ProcessView:
        """Return what is shown of a process."""
        return next(view for view in self.engine.views() if view.name == name)


HOLDER = HolderReport(
    address=ADDRESS,
    holders=(
        Holder(
            kind=HolderKind.ORPHAN,
            pid=812,
            command="php-fpm: pool www",
            user="www-data",
            master_pid=100,
            ours=True,
        ),
    ),
)


def note(text: str) -> ExitNote:
    """Return the note of `78`, `-9` or `78/job`."""
    number, _, process = text.partition("/")
    value = int(number)
    reason = ExitReason(status=value) if value >= 0 else ExitReason(signal=-value)
    return ExitNote(process=process or "php-fpm", reason=reason, line=f"exited: php-fpm ({text})")
