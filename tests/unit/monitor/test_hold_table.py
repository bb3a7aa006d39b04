"""When held sockets are given, doubted, and given up: a table of one hold, without the engine."""

from __future__ import annotations

import pytest

from fpm_listener.monitor.lifecycle import Outcome, RunChange
from fpm_listener.monitor.socket_hold import SocketHold, Trust
from fpm_listener.supervisor.exit_log import ExitReason

STOP = RunChange(Outcome.STOPPED, began=False, ended=True)
CRASH = RunChange(Outcome.CRASH, began=False, ended=True, failed=True)
ADDRESSES = ("127.0.0.1:9000", "/run/a.sock")


def held() -> SocketHold:
    """Return a hold whose addresses a guard has taken for this run."""
    hold = SocketHold()
    assert hold.addresses == ()
    hold.configure(ADDRESSES)
    assert hold.ask(0, wanted=True) is None
    assert not hold.hold(ADDRESSES)
    return hold


def test_who_does_not_want_it() -> None:
    """Nothing is held then, and the next one may have it."""
    hold = held()
    assert hold.ask(0, wanted=False) == "not asked for"
    assert hold.addresses == ()
    assert hold.trust is Trust.FULL
    assert hold.ask(0, wanted=True) is None


@pytest.mark.parametrize(
    ("reason", "run_s", "trust"),
    [
        (ExitReason(status=78), None, Trust.DOUBTED),
        (ExitReason(status=70), 99.0, Trust.DOUBTED),
        (ExitReason(status=1), 0.1, Trust.FULL),
        (ExitReason(signal=9), 0.1, Trust.FULL),
        (None, 1.4, Trust.DOUBTED),
        (None, 1.5, Trust.FULL),
        (None, None, Trust.FULL),
    ],
)
def test_a_start_that_failed(reason: ExitReason | None, run_s: float | None, trust: Trust) -> None:
    """php-fpm's own words for it, or a short run with an unknown exit status."""
    hold = held()
    hold.fail(reason, run_s)
    assert hold.trust is trust
    if trust is Trust.DOUBTED:
        assert hold.ask(0, wanted=True) == "the last start on held sockets failed"
        assert hold.trust is Trust.TRIED_WITHOUT
        assert hold.addresses == ()


def test_a_start_without_them() -> None:
    """If it fails as well, they were not at fault."""
    hold = held()
    hold.fail(ExitReason(status=78), 0.1)
    hold.ask(0, wanted=True)
    hold.fail(ExitReason(status=78), 0.1)
    hold.succeed()
    assert hold.trust is Trust.FULL


def test_a_start_without_them_that_serves() -> None:
    """They were at fault; a failure of another kind before it proves nothing."""
    hold = held()
    hold.fail(ExitReason(status=78), 0.1)
    hold.ask(0, wanted=True)
    hold.fail(ExitReason(status=1), 0.1)
    hold.succeed()
    assert hold.trust is Trust.GIVEN_UP
    words = "php-fpm failed to start on held sockets before, and started without them"
    assert hold.ask(0, wanted=True) == words
    hold.hold(ADDRESSES)
    assert hold.release(0.0, everything=False) == ADDRESSES


def test_what_is_held_is_news() -> None:
    """The guard has read a newer configuration: then that of the listener does not count."""
    hold = held()
    assert hold.hold((*ADDRESSES, "9001"))
    assert hold.release(0.0, everything=False) == ()
    hold.configure(("9001",))
    assert hold.release(0.0, everything=False) == ADDRESSES
    assert hold.addresses == ("9001",)


def test_a_stop_and_a_start() -> None:
    """A start in time keeps what is held."""
    hold = held()
    hold.take(STOP)
    hold.stop(50.0)
    assert hold.release_at_s == 50.0
    assert hold.release(49.9, everything=False) == ()
    hold.begin()
    assert hold.release_at_s is None
    assert hold.release(60.0, everything=False) == ()
    hold.stop(70.0)
    assert hold.release(70.0, everything=False) == ADDRESSES
    assert (hold.addresses, hold.release_at_s) == ((), None)
    hold.stop(80.0)
    assert hold.release_at_s is None


def test_a_run_in_which_no_guard_asked() -> None:
    """What is held only keeps php-fpm from its address; a stop is no such end."""
    hold = held()
    hold.take(CRASH)
    assert hold.release(0.0, everything=False) == ()
    hold.take(STOP)
    assert hold.release(0.0, everything=False) == ()
    hold.take(CRASH)
    assert hold.release(0.0, everything=False) == ADDRESSES
    hold.hold(ADDRESSES)
    assert hold.release(0.0, everything=False) == ()


def test_a_guard_asks_before_the_event_of_the_run_before() -> None:
    """Its question counts for its own run, and for no later one."""
    hold = SocketHold()
    assert hold.ask(101, wanted=True) is None
    hold.hold(ADDRESSES)
    hold.take(STOP._replace(pid=100))
    hold.take(CRASH._replace(pid=101))
    assert hold.release(0.0, everything=False) == ()
    hold.take(CRASH._replace(pid=102))
    assert hold.release(0.0, everything=False) == ADDRESSES


def test_everything_goes() -> None:
    """When supervisord stops, gave up, or forgot it; and when it broke."""
    hold = held()
    assert hold.release(0.0, everything=True) == ADDRESSES
    hold = held()
    hold.give_up()
    assert hold.release(0.0, everything=False) == ADDRESSES
