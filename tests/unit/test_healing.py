"""Starting again what supervisord gave up on, where the operator wants it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import FPM, POLICY, Scene

from fpm_listener.core.effects import ProcessesSeen, ProcessSeen, StartAgain
from fpm_listener.core.healing import MOST_A_DAY, Healing, Span
from fpm_listener.core.snapshot import State

SPAN = Span(10.0, 300.0)


def scene() -> Scene:
    """Return a scene in which php-fpm is FATAL from second 2 on, and is to be started again."""
    made = Scene(policy=replace(POLICY, restart_fatal=SPAN))
    return made.play("0 starting", "1 backoff", "2 fatal")


def starts(played: Scene) -> int:
    """Return how often it was to be started again so far."""
    return sum(isinstance(effect, StartAgain) for effect in played.effects)


def test_by_default_nothing_is_started() -> None:
    """It stays down until somebody comes."""
    played = Scene().play("0 starting", "1 backoff", "2 fatal", "9000 tick")

    assert starts(played) == 0


def test_it_is_started_after_the_delay() -> None:
    """Once, in the last quarter of the first delay; the next start counts as one."""
    played = scene().play("9 tick")
    assert starts(played) == 0

    played.play("13 tick")
    assert starts(played) == 1
    played.play("13.1 starting", "16 running")
    assert starts(played) == 1
    assert played.view().healed == 1


def test_each_start_that_does_not_last_doubles_the_delay() -> None:
    """Up to the longest."""
    played, at_s, waits = scene(), 2.0, []
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
    played = scene().play("5 starting", "8 running", "100 tick")

    assert starts(played) == 0


def test_an_operators_stop_wins() -> None:
    """Until a start: a program that is stopped is left alone."""
    played = scene().play("5 starting", "6 stopping", "7 stopped", "9000 tick")

    assert starts(played) == 0


def test_a_shutdown_wins() -> None:
    """Nothing is started while supervisord ends."""
    played = scene()
    played.event_named(5, "SUPERVISOR_STATE_CHANGE_STOPPING")
    played.play("9000 tick")

    assert starts(played) == 0


def test_a_program_that_lasts_is_forgiven() -> None:
    """The next time begins with the first delay."""
    played = scene().play("13 tick", "13.1 starting", "14 backoff", "15 fatal", "40 tick")
    assert starts(played) == 2
    played.play("40.1 starting", "43 running", "900 tick")
    assert played.view().incident is None
    played.play("901 stopping", "902 stopped", "903 starting", "904 backoff", "905 fatal")
    played.play("916 tick")

    assert starts(played) == 3


def test_after_a_restart_of_the_listener() -> None:
    """What supervisord says is FATAL is started by the next one as well."""
    played = Scene(policy=replace(POLICY, restart_fatal=SPAN))
    seen = ProcessSeen(name=FPM, state=State.FATAL, pid=None, started_at_s=None)
    played.give(1.0, ProcessesSeen((seen,)))
    played.play("12 tick")

    assert starts(played) == 1


def test_settings_that_change() -> None:
    """Without the setting, what was planned is forgotten."""
    played = scene()
    settings = replace(played.engine._settings, policy=POLICY)
    played.engine.adopt(settings)
    played.play("9000 tick")

    assert starts(played) == 0


@given(waits=st.lists(st.floats(0, 4000), min_size=100, max_size=300))
def test_it_is_bounded(waits: list[float]) -> None:
    """No day has more than so many starts, whatever happens; the day's end begins anew."""
    healing, now_s, begun = Healing("here:php-fpm"), 0.0, []
    for wait in waits:
        now_s += wait
        if healing.step(now_s, Span(1.0, 2.0), over=False):
            begun.append(now_s)

    for index in range(len(begun) - MOST_A_DAY):
        assert begun[index + MOST_A_DAY] - begun[index] >= 86400.0


def test_that_the_day_is_used_up_is_known() -> None:
    """It is shown, and the next day's first start is planned."""
    healing = Healing("x")
    for second in range(1000):
        healing.step(float(second), Span(1.0, 1.0), over=False)

    assert healing.starts == MOST_A_DAY
    assert healing.worn_out
    assert (healing.deadline_s() or 0) > 80_000


@pytest.mark.parametrize("seed", ["a:b", "www:php-fpm", "x"])
def test_a_fleet_does_not_start_in_step(seed: str) -> None:
    """Delays differ by the name, within a quarter."""
    one, other = Healing(f"host1/{seed}"), Healing(f"host2/{seed}")
    for healing in (one, other):
        healing.step(0.0, Span(100.0, 100.0), over=False)

    assert one.deadline_s() != other.deadline_s()
    assert 75.0 <= (one.deadline_s() or 0) <= 100.0
