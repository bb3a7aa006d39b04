"""The sliding windows."""

from hypothesis import given
from hypothesis import strategies as st

from fpm_listener.incidents.restart_loops import LoopDetector
from fpm_listener.settings.policy import LoopPolicy
from fpm_listener.vocabulary import Tier

POLICIES = {
    Tier.FAST: LoopPolicy(threshold=3, window_s=60.0),
    Tier.SLOW: LoopPolicy(threshold=5, window_s=900.0),
}


def detector(*failures: float) -> LoopDetector:
    loops = LoopDetector(POLICIES)
    for at in failures:
        loops.add(at)
    return loops


def test_three_failures_in_a_minute_loop() -> None:
    """The third failure within the fast window makes a loop, the second does not."""
    assert detector(0.0, 30.0).tiers == set()
    assert Tier.FAST in detector(0.0, 30.0, 59.0).tiers


def test_failures_a_minute_apart_do_not_loop() -> None:
    """A failure that has left the window does not count."""
    assert detector(0.0, 61.0, 122.0, 183.0).tiers == set()


def test_slow_flapping() -> None:
    """Five failures within the slow window are flapping: supervisord never notices these."""
    assert detector(0.0, 150.0, 300.0, 450.0, 600.0).tiers == {Tier.SLOW}


def test_a_loop_is_left_only_when_it_is_forgotten() -> None:
    """The windows running empty does not end a loop; being stable does."""
    loops = detector(0.0, 1.0, 2.0)
    loops.add(10_000.0)
    assert Tier.FAST in loops.tiers

    loops.clear()
    assert loops.tiers == frozenset()


def test_stability_is_measured_by_the_usual_distance() -> None:
    """A program that fails every 150 s is not stable after 120 s; one that loops every 2 s is."""
    assert detector(0.0, 150.0, 300.0, 450.0).stable_after_s(120.0) == 300.0
    assert detector(0.0, 2.0, 4.0).stable_after_s(120.0) == 120.0
    assert detector(0.0, 800.0, 802.0, 804.0).stable_after_s(120.0) == 120.0
    assert LoopDetector(POLICIES).stable_after_s(120.0) == 120.0


@given(st.lists(st.integers(0, 300), max_size=60), st.integers(2, 6), st.integers(1, 120))
def test_the_window_equals_a_brute_force_count(gaps: list[int], threshold: int, width: int) -> None:
    """Count and latch are those of counting all failures again at each moment."""
    policy = LoopPolicy(threshold=threshold, window_s=float(width))
    loops = LoopDetector({Tier.FAST: policy, Tier.SLOW: POLICIES[Tier.SLOW]})
    at, failures, looped = 0.0, [], False
    for gap in gaps:
        at += gap
        failures.append(at)
        loops.add(at)
        expected = sum(1 for failure in failures if failure > at - width)
        looped = looped or expected >= threshold

        assert (Tier.FAST in loops.tiers) is looped


def test_a_threshold_beyond_what_is_usually_kept() -> None:
    """A large threshold is reached all the same."""
    loops = LoopDetector(
        {**POLICIES, Tier.FAST: LoopPolicy(threshold=2000, window_s=1e6)},
        failures=[float(at) for at in range(1999)],
    )
    assert loops.tiers == set()

    loops.add(2000.0)
    assert Tier.FAST in loops.tiers
    assert len(loops.recent) == 2000
