"""Any order of all inputs: nothing raises, nothing spins, alerts stay in order, memory is good."""

from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from fpm_listener.host.obstacles import Obstacle
from fpm_listener.host.oom_kills import OomKill
from fpm_listener.incidents.alert import Status
from fpm_listener.incidents.effects import (
    CheckGone,
    ExamineExit,
    ExitExamined,
    Gone,
    HolderFound,
    Notify,
)
from fpm_listener.incidents.post_mortem import PostMortem
from fpm_listener.monitor.messages import (
    ChildrenSeen,
    ExitsRead,
    LeaveProgram,
    LogLines,
    PoolsSeen,
    ProcessesSeen,
    SaveState,
    SelfHeal,
    SocketsHeld,
    StopFailed,
    Tick,
)
from fpm_listener.phpfpm.log_parser import classify
from fpm_listener.phpfpm.status_page import PoolView
from fpm_listener.settings.policy import HealingPolicy, Span
from fpm_listener.supervisor.process import Child, ProcessSeen
from fpm_listener.vocabulary import Cause, Fault, State
from tests.unit.monitor.engine_scenario import (
    EPOCH,
    FPM,
    HOLDER,
    LINES,
    LOG,
    PAYLOADS,
    POLICY,
    Scenario,
    moment,
    note,
)

OOM = OomKill(kills=1, where="cgroup /", limit=1 << 27, peak=None)
POST_MORTEMS = (
    PostMortem(),
    PostMortem(oom=OOM, looked_for=(Cause.OUT_OF_MEMORY,)),
    PostMortem(
        obstacles=(
            Obstacle(Cause.MISSING_PATH, "/usr/sbin/php-fpm8.1", "seen: …", Fault.NO_PROGRAM),
            Obstacle(Cause.MISSING_PATH, "/run/php/", "seen: …"),
        )
    ),
    PostMortem(obstacles=(Obstacle(Cause.BIND_CONFLICT, "9000", "seen: …", None, (78,)),)),
    PostMortem(obstacles=(Obstacle(Cause.UNKNOWN_USER, "user x", "seen: …"),)),
)
SPAN = Span(10.0, 300.0)
POLICIES = (
    HealingPolicy(),
    HealingPolicy(restart_fatal=SPAN, loop_delay=SPAN),
    HealingPolicy(loop_delay=Span(1.0, 2.0), shutdown_on_fatal=True),
)
WORDS = (
    *PAYLOADS,
    *(f"log {name}" for name in LINES),
    *(
        "exits 78",
        "exits -9",
        "exits 0",
        "post-mortem 0",
        "post-mortem 1",
        "post-mortem 2",
        "post-mortem 3",
    ),
    *("holder", "gone", "silent", "answers", "leave", "halt failed", "held", "let go", "tick"),
    *("seen RUNNING", "seen STOPPED", "seen FATAL", "seen EXITED", "again"),
    *("seen STARTING", "seen STOPPING", "seen BACKOFF", "seen UNKNOWN", "late RUNNING"),
    *("late FATAL", "lost", "children one", "children none", "children hidden", "children other"),
)
KNOWN = HOLDER._replace(holders=(HOLDER.holders[0]._replace(started=4711),))
#: A tick that finds nothing to do any more; a moment may have several things due.
_MOST_TICKS = 40


class Story:
    """Plays words to an engine, tick by tick, and sees that its deadlines move on."""

    def __init__(self, healing: HealingPolicy) -> None:
        self._policy = replace(POLICY, healing=healing)
        self.scenario = Scenario(exits=True, policy=self._policy)
        self.at_s = 0.0
        self._line = 0

    def wait(self, until_s: float) -> None:
        """Let time pass, with every tick that is due."""
        engine, ticks, last_s = self.scenario.engine, 0, -1.0
        while (due_s := engine.deadline_s()) is not None and due_s <= until_s:
            now_s = max(self.at_s, due_s)
            ticks = ticks + 1 if now_s == last_s else 0
            assert ticks < _MOST_TICKS, "it spins"
            self.at_s = last_s = now_s
            self.scenario.effects += engine.step(moment(now_s), Tick())
        self.at_s = until_s

    def play(self, word: str) -> None:
        """Play one word now."""
        scenario, at_s = self.scenario, self.at_s
        kind, _, rest = word.partition(" ")
        if word in PAYLOADS:
            scenario.event(at_s, word, pid=100 + self._line % 7)
        elif kind == "log":
            self._line += 1
            text = LINES[rest].replace("child 4 ", f"child {self._line} ")
            stamp = f"[23-Nov-2026 10:{self._line // 60 % 60:02d}:{self._line % 60:02d}] "
            facts = tuple(fact for fact in [classify(stamp + text)] if fact)
            scenario.give(at_s, LogLines(path=LOG, facts=facts))
        elif kind == "exits":
            scenario.give(at_s, ExitsRead((note(rest),), at_s))
        elif kind == "post-mortem":
            asked = [one for one in scenario.effects if isinstance(one, ExamineExit)]
            exited_at_s = asked[-1].exited_at_s if asked else 1.0
            scenario.give(at_s, ExitExamined(FPM, exited_at_s, POST_MORTEMS[int(rest)]))
        elif kind in {"seen", "late", "children", "lost"}:
            self._answer(kind, rest)
        elif word == "again":
            self._begin_anew()
        elif word != "tick":
            scenario.give(at_s, self._given(word))

    def _answer(self, kind: str, rest: str) -> None:
        """Let events be lost, or supervisord or /proc answer."""
        scenario, at_s = self.scenario, self.at_s
        if kind == "lost":
            scenario.effects += scenario.engine.missed(moment(at_s), 3)
        elif kind == "children":
            found = (Child(5, FPM, "php-fpm", EPOCH + at_s - 3.0), Child(6, None, "x", None))
            known = {"one": found, "none": (), "hidden": None, "other": found[1:]}
            scenario.give(at_s, ChildrenSeen(known[rest], at_s))
        else:  # late: the question was asked before the latest events
            pid = 5 if rest in {"RUNNING", "STOPPING"} else None
            seen = ProcessSeen(name=FPM, state=State[rest], pid=pid, started_at_s=1.0)
            asked_at_s = at_s if kind == "seen" else at_s - 1.0
            scenario.give(at_s, ProcessesSeen((seen,) if rest != "UNKNOWN" else (), asked_at_s))

    def _given(self, word: str) -> object:
        gone = [one for one in self.scenario.effects if isinstance(one, CheckGone)]
        pool = PoolView(pool="www", up=word == "answers", silent=word == "silent", detail="x")
        return {
            "gone": Gone(FPM, (gone[-1].pids if gone else frozenset()) | {1, 812}),
            "holder": HolderFound(FPM, KNOWN),
            "silent": PoolsSeen(FPM, (pool,)),
            "answers": PoolsSeen(FPM, (pool,)),
            "leave": LeaveProgram(FPM),
            "halt failed": StopFailed(FPM),
            "held": SocketsHeld(FPM, ("127.0.0.1:9000",)),
            "let go": SocketsHeld(FPM, ()),
        }[word]

    def _begin_anew(self) -> None:
        """Let the next listener take up what this one has had committed."""
        memory = {
            one.process: json.loads(json.dumps(one.memory))
            for one in self.scenario.effects
            if isinstance(one, SaveState)
        }
        before, self.scenario = self.scenario, Scenario(exits=True, policy=self._policy)
        self.scenario.now_s = self.at_s
        known = {name: saved for name, saved in memory.items() if saved}
        restored = self.scenario.engine.restore(moment(self.at_s), known)
        refused = [one for one in restored if isinstance(one, SaveState) and one.memory is None]
        assert [one.process for one in refused if one.process in known] == []
        self.scenario.effects = [*before.effects, *self.scenario.effects, *restored]


@given(
    policy=st.sampled_from(POLICIES),
    words=st.lists(
        st.tuples(st.sampled_from(WORDS), st.sampled_from([0.0, 0.01, 0.3, 2.0, 20.0, 130.0])),
        max_size=60,
    ),
)
@settings(max_examples=60, deadline=None)
def test_whatever_happens(policy: HealingPolicy, words: list[tuple[str, float]]) -> None:
    """Nothing raises, no deadline stays in the past, and alerts are in order."""
    story = Story(policy)
    for word, gap_s in words:
        story.play(word)
        story.wait(story.at_s + gap_s)
    story.wait(story.at_s + 20_000)

    firing: set[str] = set()
    over: set[str] = set()
    for effect in story.scenario.effects:
        if isinstance(effect, Notify):
            alert = effect.alert
            assert alert.incident_id not in over
            if alert.status is Status.RESOLVED:
                assert alert.incident_id in firing
                over.add(alert.incident_id)
            else:
                assert not firing - over - {alert.incident_id}, "two at once"
                firing.add(alert.incident_id)
    acts = [effect for effect in story.scenario.effects if isinstance(effect, SelfHeal)]
    assert policy != HealingPolicy() or acts == []
    json.dumps([one.memory for one in story.scenario.effects if isinstance(one, SaveState)])
