"""Lost events leave no wrong state: an answer of supervisord corrects it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fpm_listener.monitor.messages import (
    AskProcesses,
    ChildrenSeen,
    Discover,
    ProcessesSeen,
    SelfHeal,
    WatchPid,
)
from fpm_listener.settings.policy import HealingPolicy, Span
from fpm_listener.supervisor.process import Child, ProcessName, ProcessSeen
from fpm_listener.supervisor.protocol import Event
from fpm_listener.vocabulary import State
from tests.unit.monitor.engine_scenario import EPOCH, FPM, JOB, POLICY, Scenario, moment

DEAD = [State.EXITED, State.FATAL, State.STOPPED, State.BACKOFF]


def lose(scenario: Scenario, at_s: float, count: int = 1) -> list[object]:
    """Let events be lost, as the daemon notices it."""
    scenario.give(at_s, ProcessesSeen((), -1.0))  # ticks that are due
    effects = scenario.engine.missed(moment(at_s), count)
    scenario.effects += effects
    return list(effects)


def answer(
    scenario: Scenario,
    at_s: float,
    state: State,
    *,
    pid: int | None = None,
    asked_at_s: float | None = None,
    name: ProcessName = FPM,
) -> list[object]:
    """Let supervisord answer."""
    seen = ProcessSeen(name=name, state=state, pid=pid, started_at_s=EPOCH + at_s - 5)
    other = JOB if name == FPM else FPM
    rest = ProcessSeen(name=other, state=State.RUNNING, pid=2, started_at_s=EPOCH)
    asked = at_s if asked_at_s is None else asked_at_s
    return list(scenario.give(at_s, ProcessesSeen((seen, rest), asked)))


def children(scenario: Scenario, at_s: float, *found: Child) -> None:
    """Let /proc answer."""
    scenario.give(at_s, ChildrenSeen(found, at_s))


def test_a_gap_makes_the_listener_ask_at_once() -> None:
    """The question follows the gap; one that follows soon waits for a second."""
    scenario = Scenario()

    assert lose(scenario, 1.0) == [AskProcesses()]
    assert lose(scenario, 1.5) == []
    asked = [one for one in scenario.effects if isinstance(one, AskProcesses)]
    scenario.give(2.1, ProcessesSeen((), -1.0))
    assert len([one for one in scenario.effects if isinstance(one, AskProcesses)]) == len(asked) + 1
    assert scenario.engine.counts.missed == 2


def test_a_storm_of_gaps_asks_once_a_second() -> None:
    """Each question wakes supervisord: a buffer that overflows must not make it spin."""
    scenario = Scenario()
    for number in range(300):
        lose(scenario, number / 100)
        scenario.play(f"{number / 100} running job")

    assert sum(isinstance(one, AskProcesses) for one in scenario.effects) <= 4


@pytest.mark.parametrize("state", DEAD)
def test_after_a_gap_an_answer_is_accepted_at_once(state: State) -> None:
    """A process that is dead in truth is not shown as running."""
    scenario = Scenario().play("0 starting", "1 running")
    lose(scenario, 2.0)
    answer(scenario, 2.1, state)

    assert scenario.view().state is state
    assert scenario.view().pid is None


@pytest.mark.parametrize("before", ["crash", "fatal", "stopped", "backoff"])
def test_after_a_gap_what_runs_is_shown_as_running(before: str) -> None:
    """Also with the pid and the start that supervisord reports; its exit is watched."""
    scenario = Scenario().play("0 starting", f"2 {before}")
    lose(scenario, 3.0)
    answer(scenario, 3.1, State.RUNNING, pid=77)

    view = scenario.view()
    assert (view.state, view.pid, view.start_time_s) == (State.RUNNING, 77, EPOCH - 1.9)
    assert WatchPid(FPM, 77) in scenario.effects


def test_a_restart_that_was_lost_shows_the_new_pid() -> None:
    """The state is the same, the process is not."""
    scenario = Scenario().play("0 starting", "1 running")
    lose(scenario, 2.0)
    answer(scenario, 2.1, State.RUNNING, pid=77)

    assert scenario.view().pid == 77
    assert scenario.view().starts == 1


def test_an_event_that_is_received_after_the_question_wins() -> None:
    """The answer is older than the event."""
    scenario = Scenario().play("0 starting", "1 running")
    lose(scenario, 2.0)
    scenario.play("2.05 stopping", "2.1 stopped")
    answer(scenario, 2.2, State.RUNNING, pid=100, asked_at_s=2.01)

    assert scenario.view().state is State.STOPPED


def test_gave_up_waits_for_the_answer_and_is_not_reported_when_it_is_refuted() -> None:
    """The start after FATAL is lost: no alert, and it runs."""
    scenario = Scenario().play("0 starting", "1 fatal")
    lose(scenario, 1.1)
    answer(scenario, 2.0, State.RUNNING, pid=77)
    scenario.play("300 tick")

    assert scenario.sent == []


def test_gave_up_is_reported_when_the_answer_confirms_it() -> None:
    """FATAL before and after the gap."""
    scenario = Scenario().play("0 starting", "1 fatal")
    lose(scenario, 1.1)
    scenario.play("3 tick")
    assert scenario.sent == []
    answer(scenario, 4.0, State.FATAL)

    assert scenario.sent == ["first: gave_up"]


def test_gave_up_is_reported_without_an_answer() -> None:
    """An alert waits for ten seconds, no longer, also while events go on to be lost."""
    scenario = Scenario().play("0 starting", "1 fatal")
    for number in range(120):
        lose(scenario, 1.1 + number / 10)
        scenario.play(f"{1.1 + number / 10} running job")

    assert [f"{alert.reason.value}" for alert in scenario.alerts] == ["first"]
    assert 11.0 < scenario.alerts[0].known_at_s - EPOCH < 11.5


def test_a_fatal_that_was_lost_is_reported() -> None:
    """supervisord gave up on what was shown as running."""
    scenario = Scenario().play("0 starting", "1 running")
    lose(scenario, 2.0)
    answer(scenario, 2.1, State.FATAL)

    assert scenario.sent == ["first: gave_up"]
    assert scenario.view().fatal == 0  # counters count events


def test_an_earlier_exit_does_not_explain_a_fatal_that_was_lost() -> None:
    """It was killed once, long before; how it failed since then is not known."""
    scenario = Scenario(exits=True).play("0 starting", "2 running", "9 crash", "9.1 exits -9")
    scenario.play("10 starting", "11 running")
    lose(scenario, 20.0)
    answer(scenario, 20.1, State.FATAL)

    assert scenario.sent == ["first: gave_up"]
    assert "SIGKILL" not in scenario.alerts[0].annotations["summary"]


def test_what_was_reported_is_resolved_after_a_start_that_was_lost() -> None:
    """The incident ends when it has run for stable_for."""
    scenario = Scenario().play("0 starting", "1 fatal", "2 tick")
    assert scenario.sent == ["first: gave_up"]
    lose(scenario, 3.0)
    answer(scenario, 3.1, State.RUNNING, pid=77)
    scenario.play("124 tick")

    assert scenario.sent == ["first: gave_up", "resolved: gave_up"]


def test_an_fpm_that_exited_and_was_started_again_unseen_is_not_given_up() -> None:
    """EXITED for ten seconds is no proof while events are lost."""
    scenario = Scenario().play("0 starting", "1 running", "2 crash")
    lose(scenario, 11.0)
    scenario.play("12.5 tick")
    assert scenario.sent == []
    answer(scenario, 13.0, State.RUNNING, pid=77)
    scenario.play("40 tick")

    assert scenario.sent == []


def test_without_a_gap_a_difference_is_confirmed_first() -> None:
    """The event may be under way: the second answer, a second later, decides."""
    scenario = Scenario().play("0 starting", "1 running")
    answer(scenario, 30.0, State.FATAL)
    assert scenario.view().state is State.RUNNING
    scenario.play("31.5 tick")
    assert AskProcesses() in scenario.effects
    answer(scenario, 31.6, State.FATAL, asked_at_s=31.1)

    assert scenario.view().state is State.FATAL
    assert scenario.sent == ["first: gave_up"]


def test_without_a_gap_an_event_settles_a_difference() -> None:
    """The exit is counted once, by its event."""
    scenario = Scenario().play("0 starting", "1 running")
    answer(scenario, 30.0, State.EXITED)
    scenario.play("30.01 crash", "30.02 starting")
    answer(scenario, 31.0, State.STARTING)

    view = scenario.view()
    assert (view.state, view.unexpected_exits, view.starts) == (State.STARTING, 1, 2)


def test_differences_do_not_make_the_listener_ask_again_and_again() -> None:
    """A program that exits at once differs in every answer; each question wakes supervisord."""
    scenario = Scenario().play("0 starting", "1 running")
    for number in range(100):
        at_s = 2 + number * 0.5
        scenario.play(f"{at_s} crash", f"{at_s + 0.1} starting", f"{at_s + 0.2} running")
        answer(scenario, at_s + 0.3, State.EXITED)

    assert sum(isinstance(one, AskProcesses) for one in scenario.effects) <= 4


def test_a_process_that_supervisord_no_longer_has() -> None:
    """The event of a removed group was lost."""
    scenario = Scenario().play("0 running", "0 running job")
    lose(scenario, 1.0)
    seen = ProcessSeen(name=JOB, state=State.RUNNING, pid=100, started_at_s=EPOCH)
    scenario.give(1.1, ProcessesSeen((seen,), 1.1))

    assert [view.name for view in scenario.engine.views()] == [JOB]


def test_a_process_that_is_unknown_makes_the_listener_read_the_programs() -> None:
    """The event of an added group was lost: it may be a php-fpm."""
    scenario = Scenario()
    new = ProcessName("new", "new")
    assert Discover() in answer(scenario, 1.0, State.RUNNING, pid=9, name=new)
    assert Discover() not in answer(scenario, 2.0, State.RUNNING, pid=9, name=new)


def test_a_process_that_is_back_is_shown() -> None:
    """It was removed and added again while its incident was open; nothing starts it."""
    scenario = Scenario().play("0 starting", "1 fatal", "2 tick")
    scenario.event_named(3.0, "PROCESS_GROUP_REMOVED", "groupname:php-fpm")
    answer(scenario, 4.0, State.STOPPED)
    answer(scenario, 5.0, State.STOPPED)
    scenario.play("300 tick")

    assert scenario.view().state is State.STOPPED


def test_an_event_without_its_words_counts_as_lost() -> None:
    """Its content is unknown."""
    scenario = Scenario()

    event = Event("lab", "l", 1, 1, "PROCESS_STATE_FATAL", "nonsense")
    assert scenario.give(1.0, event) == [AskProcesses()]


def test_healing_waits_for_the_answer() -> None:
    """supervisord is not ended because of a FATAL that may be over."""
    policy = replace(POLICY, healing=HealingPolicy(shutdown_on_fatal=True))
    scenario = Scenario(policy=policy).fail(0.0, 1.0, 2.0).play("3.0 fatal")
    lose(scenario, 3.1)
    scenario.play("6 tick")
    assert [one for one in scenario.effects if isinstance(one, SelfHeal)] == []
    answer(scenario, 7.0, State.FATAL)
    assert scenario.alerts

    assert len([one for one in scenario.effects if isinstance(one, SelfHeal)]) == 1


def test_a_planned_start_in_a_gap_does_not_spin() -> None:
    """Its moment passes while the answer is awaited; it happens afterwards."""
    policy = replace(POLICY, healing=HealingPolicy(restart_fatal=Span(1.0, 2.0)))
    scenario = Scenario(policy=policy).play("0 starting", "1 fatal")
    lose(scenario, 1.1)
    due_s = scenario.engine.deadline_s()
    assert due_s is not None
    assert due_s > 1.1
    scenario.play("9 tick")
    assert [one for one in scenario.effects if isinstance(one, SelfHeal)] == []
    answer(scenario, 9.0, State.FATAL)
    scenario.play("12 tick")

    assert len([one for one in scenario.effects if isinstance(one, SelfHeal)]) == 1


# -- without XML-RPC -------------------------------------------------------------------------------


def child(at_s: float, *, pid: int = 77, name: ProcessName | None = FPM, title: str = "") -> Child:
    """Return a child that was started ten seconds ago."""
    return Child(pid, name, title, EPOCH + at_s - 10)


@pytest.mark.parametrize("before", ["crash", "fatal", "stopped", "backoff", "starting"])
def test_a_child_of_supervisord_exists(before: str) -> None:
    """By the name in its environment."""
    scenario = Scenario().play("0 starting", f"2 {before}")
    lose(scenario, 3.0)
    children(scenario, 12.9, child(12.9))

    assert (scenario.view().state, scenario.view().pid) == (State.RUNNING, 77)


def test_a_young_child_is_starting() -> None:
    """supervisord has not said RUNNING before startsecs."""
    scenario = Scenario().play("0 starting", "2 backoff")
    lose(scenario, 3.0)
    children(scenario, 3.1, Child(77, FPM, "", EPOCH + 3.0))
    assert scenario.view().state is State.STARTING
    scenario.play("4.5 tick")  # its RUNNING may be lost as well, so /proc is asked again
    children(scenario, 6.0, Child(77, FPM, "", EPOCH + 3.0))

    assert sum(isinstance(one, AskProcesses) for one in scenario.effects) == 2
    assert scenario.view().state is State.RUNNING


def test_without_a_child_the_state_is_unknown() -> None:
    """It does not run; its exit status is unknown, so nothing else is reported."""
    scenario = Scenario().play("0 starting", "1 running")
    lose(scenario, 2.0)
    children(scenario, 2.1)
    scenario.play("60 tick")

    assert (scenario.view().state, scenario.view().pid) == (State.UNKNOWN, None)
    assert scenario.sent == []


def test_without_a_gap_a_dead_process_stays_as_it_is() -> None:
    """No child was to be expected."""
    scenario = Scenario().play("0 starting", "1 running", "2 stopping", "3 stopped")
    children(scenario, 30.0)
    children(scenario, 60.0)

    assert scenario.view().state is State.STOPPED


def test_an_fpm_is_known_by_its_pid_where_its_environment_is_overwritten() -> None:
    """php-fpm's title stands where its environment was."""
    scenario = Scenario().play("0 starting", "1 running")
    lose(scenario, 2.0)
    children(scenario, 2.1, child(2.1, pid=100, name=None))

    assert (scenario.view().state, scenario.view().pid) == (State.RUNNING, 100)


def test_a_pid_that_is_no_child_any_more_is_gone() -> None:
    """Somebody else's child, that cannot be named, proves nothing."""
    scenario = Scenario().play("0 starting", "1 running")
    lose(scenario, 2.0)
    children(scenario, 2.1, child(2.1, pid=55, name=None, title="nginx: master process"))

    assert scenario.view().state is State.UNKNOWN


def test_where_proc_is_hidden_everything_older_is_unknown() -> None:
    """What an event has reported since is known."""
    scenario = Scenario().play("0 starting", "1 running", "1 running job")
    lose(scenario, 2.0)
    scenario.play("2.05 running job")
    scenario.give(2.1, ChildrenSeen(None, 2.1))

    assert scenario.view().state is State.UNKNOWN
    assert scenario.view(JOB).state is State.RUNNING


def test_events_go_on_after_a_state_was_unknown() -> None:
    """The next event corrects it."""
    scenario = Scenario().play("0 starting", "1 running")
    lose(scenario, 2.0)
    children(scenario, 2.1)
    scenario.play("5 starting", "6 running")

    assert scenario.view().state is State.RUNNING
