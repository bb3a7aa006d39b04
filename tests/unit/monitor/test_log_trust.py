"""Which lines of a failed start count, and when."""

from __future__ import annotations

from fpm_listener.monitor.log_trust import (
    LATE_S,
    START_UP_S,
    WAITS_S,
    LogTrust,
    SeenLines,
    StartUp,
    is_stamped,
)
from fpm_listener.phpfpm.log_facts import FactKind, LogFact

STAMP = "[23-Nov-2026 10:00:00] "
BIND = LogFact(kind=FactKind.BIND_CONFLICT, line=STAMP + "ERROR: bind")
READY = LogFact(kind=FactKind.READY, line=STAMP + "NOTICE: fpm is running")
RELOAD = LogFact(kind=FactKind.RELOAD, line=STAMP + "NOTICE: reloading")
CRASH = LogFact(kind=FactKind.CHILD_SIGNAL, line=STAMP + "WARNING: child 1 exited")


def started(at_s: float = 0.0) -> StartUp:
    """Return the start-up of a run that begins at that moment."""
    start_up = StartUp()
    assert not start_up.is_open
    start_up.begin(at_s)
    assert start_up.is_open
    return start_up


def test_a_line_counts_when_its_run_has_failed() -> None:
    """Within seconds, and not before."""
    for waited_s, facts in ((WAITS_S, (BIND,)), (WAITS_S + 0.1, ())):
        start_up = started()
        assert start_up.take(1.0, BIND) == ()
        assert start_up.end(1.0 + waited_s, failed=True) == facts
        assert start_up.end(99.0, failed=True) == ()


def test_a_line_that_comes_late() -> None:
    """Its run has failed already; after some seconds it is not of that run any more."""
    start_up = started()
    assert start_up.end(1.0, failed=True) == ()

    assert start_up.take(1.0 + LATE_S, BIND) == (BIND,)
    assert start_up.take(1.1 + LATE_S, BIND) == ()


def test_a_run_that_has_not_failed_refutes_its_lines() -> None:
    """Also the late ones; so does one that took long, or was never seen to begin."""
    for start_up, at_s, failed in (
        (started(), 1.0, False),
        (started(), START_UP_S + 0.1, True),
        (StartUp(), 1.0, True),
    ):
        start_up.take(at_s, BIND)
        assert start_up.end(at_s, failed=failed) == ()
        assert start_up.take(at_s, BIND) == ()
    start_up = started()
    start_up.take(START_UP_S, BIND)
    assert start_up.end(START_UP_S, failed=True) == (BIND,)
    start_up.end(START_UP_S + 1.0, failed=False)
    assert start_up.take(START_UP_S + 1.0, BIND) == ()


def test_what_runs_is_not_trusted() -> None:
    """Until it reloads; other lines count at once."""
    start_up = started()
    start_up.take(0.5, BIND)
    assert start_up.take(1.0, READY) == (READY,)
    assert not start_up.is_open
    assert start_up.take(1.5, CRASH) == (CRASH,)
    assert start_up.end(2.0, failed=True) == ()
    start_up = started()
    start_up.take(1.0, READY)
    assert start_up.take(500.0, RELOAD) == (RELOAD,)
    assert start_up.is_open
    start_up.take(500.1, BIND)
    assert start_up.end(500.2, failed=True) == (BIND,)
    assert start_up.take(500.3, READY) == (READY,)
    assert start_up.take(500.4, BIND) == ()


def test_close_and_refute() -> None:
    """Late lines do not count after either; those that wait are lost after `close` only."""
    start_up = started()
    start_up.take(0.1, BIND)
    start_up.close()
    assert not start_up.is_open
    assert start_up.end(0.2, failed=True) == ()
    for forget in (StartUp.close, StartUp.refute):
        start_up = started()
        start_up.end(1.0, failed=True)
        forget(start_up)
        assert start_up.take(1.1, BIND) == ()
        assert start_up.is_open == (forget is StartUp.refute)


def test_a_flood_of_lines_is_bounded() -> None:
    """The latest 64 wait."""
    lines = [LogFact(kind=FactKind.INIT_FAILED, line=str(number)) for number in range(100)]
    start_up = started()
    for line in lines:
        start_up.take(1.0, line)

    assert start_up.end(1.0, failed=True) == tuple(lines[-64:])


def test_lines_count_when_it_is_known_how_the_run_ended() -> None:
    """A signal refutes them, and those that come late."""
    for killed, facts in ((False, (BIND, BIND)), (True, ())):
        trust, death = LogTrust(), object()
        trust.begin(0.0)
        assert trust.take(0.1, BIND) == ()
        assert trust.end(0.2, death, failed=True, killed=None) == (True, True, ())
        assert trust.take(0.3, BIND) == ()
        assert trust.take(0.3, CRASH) == (CRASH,)
        assert trust.explain(object(), killed=killed) == ()
        assert trust.explain(death, killed=killed) == facts
        assert trust.explain(death, killed=killed) == ()
        assert trust.take(0.4, BIND) == facts[:1]
        trust.begin(1.0)
        assert trust.end(1.1, object(), failed=True, killed=None) == (True, False, ())


def test_lines_count_at_once_if_the_exit_is_known() -> None:
    """A signal refutes them; the log also reports whether php-fpm has run."""
    for killed, facts in ((False, (BIND,)), (True, ())):
        trust = LogTrust()
        trust.begin(0.0)
        trust.take(0.1, BIND)
        assert trust.end(0.2, object(), failed=True, killed=killed) == (True, True, facts)
    trust = LogTrust()
    trust.begin(0.0)
    trust.take(0.1, READY)
    assert trust.end(9.0, object(), failed=True, killed=False) == (False, False, ())


def test_a_line_counts_once() -> None:
    """Without a stamp it may come again in the next run; other kinds may come again at once."""
    trust = LogTrust()
    bare = LogFact(kind=FactKind.BIND_CONFLICT, line="ERROR: bind")
    assert [trust.is_new(BIND, 1), trust.is_new(BIND, 1), trust.is_new(BIND, 2)] == [
        True,
        False,
        False,
    ]
    assert [trust.is_new(bare, 1), trust.is_new(bare, 1), trust.is_new(bare, 2)] == [
        True,
        False,
        True,
    ]
    crash = LogFact(kind=FactKind.CHILD_SIGNAL, line="WARNING: child 1 exited")
    assert [trust.is_new(crash, 1), trust.is_new(crash, 1)] == [True, True]


def test_the_lines_that_are_remembered_are_bounded() -> None:
    """The oldest of 256 goes."""
    seen = SeenLines()
    for number in range(257):
        assert seen.add(f"[{number}] x", 1)

    assert not seen.add("[1] x", 1)
    assert seen.add("[0] x", 1)


def test_a_stamp() -> None:
    """php-fpm's time in brackets; a pool's name is none."""
    assert is_stamped("[23-Nov-2026 10:00:00] ERROR: x")
    assert not is_stamped("[pool www] x")
    assert not is_stamped("23-Nov-2026 10:00:00 x")
    assert not is_stamped("")


RUNNING = LogFact(kind=FactKind.READY, line=STAMP + "NOTICE: fpm is running, pid 7", pid=7)
FORK = LogFact(kind=FactKind.PROCESS_LIMIT, line=STAMP + "ERROR: fork() failed: … (11)")


def test_php_fpm_cannot_start_its_first_workers() -> None:
    """It reports that after "fpm is running", and before "ready to handle connections"."""
    start_up = started()
    start_up.take(0.1, RUNNING)
    assert start_up.take(0.1, FORK) == ()
    assert start_up.take(0.1, BIND) == ()
    assert start_up.end(0.2, failed=True) == (FORK,)


def test_the_lines_about_workers_come_late() -> None:
    """The end of the run was reported first."""
    start_up = started()
    assert start_up.end(0.2, failed=True) == ()
    start_up.take(0.3, RUNNING)

    assert start_up.take(0.3, FORK) == (FORK,)
    assert start_up.take(0.3, BIND) == ()


def test_php_fpm_has_its_workers() -> None:
    """Later lines are those of an application."""
    for begins in (False, True):
        start_up = started()
        start_up.take(0.1, RUNNING)
        if begins:
            start_up.begin(0.2)
        start_up.take(0.2, READY)
        start_up.take(0.2, FORK)
        assert start_up.end(0.3, failed=True) == ()
