"""Starting again what supervisord gave up on, where the operator wants it."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fpm_listener.incidents.alert import Reason
from fpm_listener.incidents.effects import Notify
from fpm_listener.monitor.messages import (
    LeaveProgram,
    ProcessesSeen,
    SaveState,
    SelfHeal,
    StopFailed,
    Tick,
)
from fpm_listener.monitor.self_healing import Act, SelfHealing
from fpm_listener.settings.policy import MOST_A_DAY, HealingPolicy, Span
from fpm_listener.supervisor.process import ProcessSeen
from fpm_listener.vocabulary import State
from tests.unit.monitor.engine_scenario import EPOCH, FPM, POLICY, Scenario, moment

SPAN = Span(10.0, 300.0)
PAUSES = HealingPolicy(loop_delay=SPAN)


def scenario() -> Scenario:
    """Return a scene in which php-fpm is FATAL from second 2 on, and is to be started again."""
    made = Scenario(policy=replace(POLICY, healing=HealingPolicy(restart_fatal=SPAN)))
    return made.play("0 starting", "1 backoff", "2 fatal")


def starts(played: Scenario) -> int:
    """Return how often it was to be started again so far."""
    return sum(
        isinstance(effect, SelfHeal) and effect.act is Act.START for effect in played.effects
    )


def test_by_default_nothing_is_started() -> None:
    """It stays down until the operator acts."""
    played = Scenario().play("0 starting", "1 backoff", "2 fatal", "9000 tick")

    assert starts(played) == 0


def test_it_is_started_after_the_delay() -> None:
    """Once, in the last quarter of the first delay; the next start counts as one."""
    played = scenario().play("9 tick")
    assert starts(played) == 0

    played.play("13 tick")
    assert starts(played) == 1
    played.play("13.1 starting", "16 running")
    assert starts(played) == 1
    assert played.view().healed == 1


def test_each_start_that_does_not_last_doubles_the_delay() -> None:
    """Up to the longest."""
    played, at_s, waits = scenario(), 2.0, []
    for count in range(1, 9):
        while starts(played) < count:
            played.play(f"{played.now_s + 1} tick")
        waits.append(played.now_s - at_s)
        at_s = played.now_s + 2
        played.play(f"{played.now_s} starting", f"{played.now_s + 1} backoff", f"{at_s} fatal")

    for wait, longest in zip(waits, (10, 20, 40, 80, 160, 300, 300, 300), strict=True):
        assert 0.75 * longest <= wait <= longest + 2


def test_an_operators_start_wins() -> None:
    """What was planned is forgotten."""
    played = scenario().play("5 starting", "8 running", "100 tick")

    assert starts(played) == 0


def test_an_operators_stop_wins() -> None:
    """Until a start: a program that is stopped is left alone."""
    played = scenario().play("5 starting", "6 stopping", "7 stopped", "9000 tick")

    assert starts(played) == 0


def test_a_shutdown_wins() -> None:
    """Nothing is started while supervisord ends."""
    played = scenario()
    played.event_named(5, "SUPERVISOR_STATE_CHANGE_STOPPING")
    played.play("9000 tick")

    assert starts(played) == 0


def test_a_program_that_lasts_is_forgiven() -> None:
    """The next time begins with the first delay."""
    played = scenario().play("13 tick", "13.1 starting", "14 backoff", "15 fatal", "40 tick")
    assert starts(played) == 2
    played.play("40.1 starting", "43 running", "900 tick")
    assert played.view().incident is None
    played.play("901 stopping", "902 stopped", "903 starting", "904 backoff", "905 fatal")
    played.play("916 tick")

    assert starts(played) == 3


def test_after_a_restart_of_the_listener() -> None:
    """What supervisord says is FATAL is started by the next one as well."""
    played = Scenario(policy=replace(POLICY, healing=HealingPolicy(restart_fatal=SPAN)))
    seen = ProcessSeen(name=FPM, state=State.FATAL, pid=None, started_at_s=None)
    played.give(1.0, ProcessesSeen((seen,), 1.0))
    played.play("12 tick")

    assert starts(played) == 1


def test_settings_that_change() -> None:
    """Without the setting, what was planned is forgotten."""
    played = scenario()
    settings = replace(played.engine._shared.settings, policy=POLICY)
    played.engine.reconfigure(settings)
    played.play("9000 tick")

    assert starts(played) == 0


def fatal(healing: SelfHealing, now_s: float, span: Span) -> Act | None:
    policy = HealingPolicy(restart_fatal=span)
    return healing.step(moment(now_s), policy, State.FATAL, over=False)


@given(waits=st.lists(st.floats(0, 4000), min_size=100, max_size=300))
def test_it_is_bounded(waits: list[float]) -> None:
    """No day has more than so many starts, and none follows another before the delay is over."""
    healing, now_s, begun = SelfHealing("here:php-fpm"), 0.0, []
    for wait in waits:
        now_s += wait
        if fatal(healing, now_s, Span(1.0, 2.0)):
            begun.append(now_s)

    for index in range(len(begun) - MOST_A_DAY):
        assert begun[index + MOST_A_DAY] - begun[index] >= 86400.0
    assert all(later - earlier >= 0.75 for earlier, later in itertools.pairwise(begun))


def test_that_the_day_is_used_up_is_known() -> None:
    """It is shown, and the next day's first start is planned."""
    healing = SelfHealing("x")
    for second in range(1000):
        fatal(healing, float(second), Span(1.0, 1.0))

    assert healing.starts == MOST_A_DAY
    assert healing.exhausted
    assert (healing.due_s or 0) > 80_000


@pytest.mark.parametrize("seed", ["a:b", "www:php-fpm", "x"])
def test_a_fleet_does_not_start_in_step(seed: str) -> None:
    """Delays differ by the name, within a quarter."""
    one, other = SelfHealing(f"host1/{seed}"), SelfHealing(f"host2/{seed}")
    for healing in (one, other):
        fatal(healing, 0.0, Span(100.0, 100.0))

    assert one.due_s != other.due_s
    assert 75.0 <= (one.due_s or 0) <= 100.0


# -- loop_delay ------------------------------------------------------------------------------------


def acts(played: Scenario) -> list[Act]:
    """Return what was done so far."""
    return [effect.act for effect in played.effects if isinstance(effect, SelfHeal)]


def looping() -> Scenario:
    """Return a scene in which php-fpm has just failed for the third time."""
    policy = replace(POLICY, healing=HealingPolicy(loop_delay=SPAN))
    return Scenario(policy=policy).fail(0, 2, 4)


def test_what_loops_is_stopped_for_a_while() -> None:
    """It is started again after the delay, and supervisord hammers it no more."""
    played = looping()
    assert acts(played) == [Act.HALT]
    played.play("4.6 stopped", "11 tick")
    assert acts(played) == [Act.HALT]
    assert played.view().paused
    assert played.view().next_start_s is not None

    played.play("15 tick")
    assert acts(played) == [Act.HALT, Act.START]
    assert not played.play("15.1 starting").view().paused


def test_it_is_remembered_before_it_is_done() -> None:
    """A listener that is killed in between must know that the stop was its own."""
    played = looping()
    order = next(at for at, effect in enumerate(played.effects) if isinstance(effect, SelfHeal))
    saved = [effect for effect in played.effects if isinstance(effect, SaveState)]

    assert saved[-1].memory is not None
    assert saved[-1].memory["healing"]["stopped_by_us"] is True
    assert any(isinstance(effect, SaveState) for effect in played.effects[order - 3 : order + 3])


def test_the_next_pause_is_longer() -> None:
    """It doubles while the starts do not last, and our own stop ends no incident."""
    played, at_s, waits = looping(), 4.6, []
    for count in range(1, 7):
        played.play(f"{at_s} stopped")
        while acts(played).count(Act.START) < count:
            played.play(f"{played.now_s + 1} tick")
        waits.append(played.now_s - at_s)
        at_s = played.now_s + 1
        played.play(f"{played.now_s} starting", f"{at_s} backoff")
        assert acts(played)[-1] is Act.HALT

    for wait, longest in zip(waits, (10, 20, 40, 80, 160, 300), strict=True):
        assert 0.75 * longest <= wait <= longest + 2
    assert not any(one.startswith("resolved") for one in played.sent)


def test_a_crash_that_supervisord_restarts_at_once() -> None:
    """It cannot be stopped while it is dead: the next start is."""
    policy = replace(POLICY, healing=HealingPolicy(loop_delay=SPAN))
    played = Scenario(policy=policy)
    for at in (0, 10, 20):
        played.play(f"{at} starting", f"{at + 1} running", f"{at + 5} crash")
    assert acts(played) == []
    played.play("25.1 starting")

    assert acts(played) == [Act.HALT]
    played.play("25.2 stopping", "25.3 stopped", "36 tick")
    assert acts(played) == [Act.HALT, Act.START]


def test_an_operators_start_ends_the_pause() -> None:
    """What was planned is forgotten, and a stop that follows is the operator's own."""
    played = looping().play("4.6 stopped", "6 starting", "9 running", "10 stopping", "11 stopped")
    played.play("900 tick")

    assert acts(played) == [Act.HALT]
    assert played.sent[-1].startswith("resolved")


def test_an_operator_who_says_so_wins() -> None:
    """supervisord refuses to stop what is stopped, so that there is a word for it."""
    played = looping().play("4.6 stopped")
    played.give(6, LeaveProgram(FPM))
    played.play("900 tick")

    assert acts(played) == [Act.HALT]
    assert not played.view().paused
    assert played.sent[-1].startswith("resolved")
    given_up = scenario()
    given_up.give(3, LeaveProgram(FPM))
    assert starts(given_up.play("900 tick")) == 0


def test_a_stop_that_is_refused() -> None:
    """The operator's next stop is no pause by self-healing; the next failure is tried again."""
    played = looping()
    played.give(4.55, StopFailed(FPM))
    played.play("5 starting", "6 stopping", "7 stopped", "900 tick")
    assert acts(played) == [Act.HALT]

    played = looping()
    played.give(4.55, StopFailed(FPM))
    played.play("6 starting", "7 backoff")
    assert acts(played) == [Act.HALT, Act.HALT]


def test_supervisord_starts_it_just_before_it_obeys() -> None:
    """The next stop is the listener's; as the operator's it would stay down without end."""
    played = looping().play("5.5 starting", "5.6 stopping", "5.7 stopped")
    assert played.view().paused

    assert acts(played.play("17 tick")) == [Act.HALT, Act.START]


def test_a_stop_that_is_never_carried_out() -> None:
    """Without an answer it is ordered again, and a later stop is the operator's."""
    played = looping().play("30 starting", "31 backoff")
    assert acts(played) == [Act.HALT, Act.HALT]
    played.play("60 starting", "63 running", "64 stopping", "65 stopped", "900 tick")

    assert acts(played) == [Act.HALT, Act.HALT]


def test_switched_off_in_a_pause() -> None:
    """A paused program is started at once."""
    played = looping().play("4.6 stopped")
    played.engine.reconfigure(replace(played.engine._shared.settings, policy=POLICY))
    played.play("5.7 tick")

    assert acts(played) == [Act.HALT, Act.START]


def exhausted() -> Scenario:
    """Return a scene in which the starts of a day were used up in this very step."""
    played, at_s = looping(), 4.6
    for count in range(1, MOST_A_DAY + 1):
        played.play(f"{at_s} stopped")
        while acts(played).count(Act.START) < count:
            played.play(f"{played.now_s + 50} tick")
        played.play(f"{played.now_s} starting", f"{played.now_s + 1} backoff")
        at_s = played.now_s + 0.1
    played.play(f"{at_s} stopped")
    while not played.view().exhausted:
        played.play(f"{played.now_s + 1} tick")
    return played


def test_switched_off_when_it_is_exhausted() -> None:
    """A pause ends with a start, also without self-healing in the settings."""
    played = exhausted()
    played.engine.reconfigure(replace(played.engine._shared.settings, policy=POLICY))
    done = acts(played).count(Act.START)
    played.play(f"{played.now_s + 1.1} tick", f"{played.now_s + 2} tick")

    assert acts(played).count(Act.START) == done + 1
    assert not played.view().exhausted


@pytest.mark.parametrize("order", ["the event first", "the refusal first"])
def test_an_operators_stop_between_the_stop_request_and_its_refusal(order: str) -> None:
    """supervisord refuses to stop what is stopped: then it was the operator's stop, and wins."""
    played = looping()
    if order == "the event first":
        played.play("4.6 stopped")
        played.give(4.7, StopFailed(FPM))
    else:
        played.give(4.6, StopFailed(FPM))
        played.play("4.7 stopped")
    played.play("900 tick")

    assert acts(played) == [Act.HALT]
    assert played.sent[-1].startswith("resolved")


def restored(played: Scenario, at_s: float, policy: HealingPolicy = PAUSES) -> Scenario:
    """Return a scene of the next listener, that knows what this one has committed."""
    memory = {
        effect.process: effect.memory
        for effect in played.effects
        if isinstance(effect, SaveState) and effect.memory
    }
    after = Scenario(policy=replace(POLICY, healing=policy))
    after.now_s = at_s
    after.effects += after.engine.restore(moment(at_s), memory)
    return after


@pytest.mark.parametrize("told", ["by the event that is sent again", "when asked"])
def test_the_listener_is_killed_in_a_pause(told: str) -> None:
    """The next one starts what this one has stopped."""
    if told == "when asked":
        after = restored(looping().play("4.6 stopped"), 5)
        seen = ProcessSeen(name=FPM, state=State.STOPPED, pid=None, started_at_s=None)
        after.give(6.0, ProcessesSeen((seen,), 6.0))
    else:
        after = restored(looping(), 4.58).play("4.6 stopped")
    assert after.view().paused
    after.play("17 tick")

    assert acts(after) == [Act.START]


@pytest.mark.parametrize("started", [False, True])
def test_the_operators_stop_is_known_after_a_restart(*, started: bool) -> None:
    """Until it is started by hand, whether or not a listener was there to see that."""
    played, policy = scenario(), HealingPolicy(restart_fatal=SPAN)
    played.give(3, LeaveProgram(FPM))
    after = restored(played, 20, policy)
    state = State.BACKOFF if started else State.FATAL
    seen = ProcessSeen(name=FPM, state=state, pid=None, started_at_s=None)
    after.give(21, ProcessesSeen((seen,), 21))
    if started:
        after.play("22 fatal")
    after.play("40 tick")

    assert starts(after) == started


def test_a_start_without_a_listener() -> None:
    """The stop that follows is the operator's for the listener after the next one as well."""
    after = restored(looping().play("4.6 stopped"), 5)
    seen = ProcessSeen(name=FPM, state=State.RUNNING, pid=7, started_at_s=1.0)
    after.give(6.0, ProcessesSeen((seen,), 6.0))
    third = restored(after, 8)
    seen = ProcessSeen(name=FPM, state=State.STOPPED, pid=None, started_at_s=None)
    third.give(9.0, ProcessesSeen((seen,), 9.0))
    third.play("60 tick")

    assert acts(third) == []


def test_supervisord_is_restarted_in_a_pause() -> None:
    """It has started the program itself: nothing is to be done."""
    after = restored(looping().play("4.6 stopped"), 5)
    seen = ProcessSeen(name=FPM, state=State.RUNNING, pid=7, started_at_s=1.0)
    after.give(6.0, ProcessesSeen((seen,), 6.0))
    after.play("60 tick")

    assert acts(after) == []
    assert not after.view().paused


def test_that_it_is_exhausted_is_reported() -> None:
    """At once and once, as something that has got worse: there is no other news for a day."""
    played = exhausted()
    exhausted_at_s = played.now_s
    played.play(f"{played.now_s + 1000} tick", f"{played.now_s + 20000} tick")

    worse = [alert for alert in played.alerts if alert.reason is Reason.WORSE]
    assert len(worse) == 1
    assert worse[0].known_at_s - EPOCH <= exhausted_at_s
    assert "50 times in one day" in worse[0].annotations["description"]


# -- on_fatal --------------------------------------------------------------------------------------


def test_supervisord_is_ended_after_the_alert() -> None:
    """The alert first: afterwards there is no one to send it."""
    policy = replace(POLICY, healing=HealingPolicy(shutdown_on_fatal=True))
    played = Scenario(policy=policy).play("0 starting", "1 backoff", "2 fatal")
    assert acts(played) == []
    played.play("2.5 tick", "60 tick")

    assert acts(played) == [Act.SHUT_DOWN]
    kinds = [type(effect) for effect in played.effects]
    assert kinds.index(Notify) < kinds.index(SelfHeal)


@example(  # given up before our stop reached supervisord, which then had nothing to stop
    steps=[(1.0, "backoff")] * 3
    + [(1.0, "fatal"), (10.0, "backoff"), (1.0, "stopped"), (19.0, "starting")]
)
@given(
    steps=st.lists(
        st.tuples(
            st.floats(0.01, 400),
            st.sampled_from(
                ["starting", "running", "backoff", "crash", "stopping", "stopped", "fatal", "tick"]
            ),
        ),
        max_size=60,
    )
)
def test_whatever_happens_a_stop_of_the_operators_is_obeyed(
    steps: list[tuple[float, str]],
) -> None:
    """Nothing is started between a stop by the operator and the next start."""
    policy = HealingPolicy(loop_delay=SPAN, restart_fatal=SPAN)
    played, at_s, rests = Scenario(policy=replace(POLICY, healing=policy)), 0.0, False
    for wait, word in steps:
        at_s += wait
        done = len(acts(played))
        halted = played.view().paused or Act.HALT in acts(played)[-1:]
        if rests:
            played.give(at_s, Tick())
            assert Act.START not in acts(played)[done:]
        played.play(f"{at_s} {word}")
        rests = (word == "stopped" and not halted) or (rests and word in {"tick", "stopping"})
