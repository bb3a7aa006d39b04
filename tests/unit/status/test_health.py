"""The verdict about a program: each state, each answer of a pool, each number of its queue."""

from __future__ import annotations

import pytest

from fpm_listener.phpfpm.pool_probe import Outcome, Pong, PoolProbe, ProbeTarget
from fpm_listener.settings.policy import LoopPolicy
from fpm_listener.status import health, health_report
from fpm_listener.status.health import Health, Patience, judge, judge_pool
from fpm_listener.status.health_report import Report
from fpm_listener.status.snapshot import Snapshot
from fpm_listener.supervisor.exit_log import ExitReason
from fpm_listener.vocabulary import State, Tier
from tests.snapshots import program

WWW = ProbeTarget("www", "127.0.0.1:9000")
NOW_S = 1_800_000_000.0


def look(outcome: Outcome | None = Outcome.ANSWERED, **more: object) -> PoolProbe:
    pong = None if outcome is None else Pong(outcome, "why not")
    words: dict[str, object] = {"target": WWW, "looked_s": 5.0, "pong": pong, **more}
    return PoolProbe(**words)  # type: ignore[arg-type]  # the test's own words


@pytest.mark.parametrize(
    ("probe", "expected", "words"),
    [
        (look(waiting=0, limit=511), Health.FINE, "answers"),
        (look(), Health.FINE, "answers"),
        (look(waited=True, waiting=0, limit=511), Health.BUSY, "answers after 5.0 s; 0 of 511"),
        (look(None, moved=True, waited=True, waiting=255, limit=511), Health.BUSY, "255 of 511"),
        (look(None, moved=True, waiting=0, limit=511), Health.FINE, "answers"),
        (look(None, moved=True, waited=True, waiting=256, limit=511), Health.SATURATED, "256 of"),
        (look(None, moved=True, waited=True, waiting=1, limit=0), Health.SATURATED, "1 of 0"),
        (
            look(None, waited=True, waiting=7, limit=511),
            Health.DEAD,
            "7 of 511 places in its queue are used; if",
        ),
        (look(Outcome.SILENT, waiting=1, limit=511), Health.DEAD, "accepted no connection"),
        (look(Outcome.SILENT, waiting=0, limit=511), Health.DEAD, "does not answer within 5.0 s"),
        (look(Outcome.SILENT), Health.DEAD, "does not answer within 5.0 s"),
        (look(Outcome.QUEUE_FULL), Health.DEAD, "accepted no connection"),
        (look(Outcome.REFUSED), Health.NOT_LISTENING, "does not listen: why not"),
        (look(Outcome.NO_SOCKET), Health.NOT_LISTENING, "does not listen: why not"),
        (look(Outcome.NOT_FASTCGI), Health.WRONG_SERVER, "why not"),
        (look(Outcome.CLOSED), Health.DEAD, "why not"),
        (look(Outcome.CLOSED, target=WWW._replace(is_restricted=True)), Health.FINE, "answers"),
        (look(Outcome.FORBIDDEN), Health.UNKNOWN, "cannot be asked: why not"),
        (look(Outcome.UNUSABLE), Health.UNKNOWN, "cannot be asked: why not"),
    ],
)
def test_a_pool(probe: PoolProbe, expected: Health, words: str) -> None:
    """Each result of a look has its verdict, and a clause that says why."""
    found, why = judge_pool(probe)

    assert found is expected
    assert words in why


LOOPS = {"loops": frozenset({Tier.FAST})}


@pytest.mark.parametrize(
    ("state", "more", "expected", "ok"),
    [
        (State.RUNNING, {}, Health.FINE, True),
        (State.STARTING, {}, Health.STARTING, False),
        (State.BACKOFF, {}, Health.STARTING, False),
        (State.STOPPED, {}, Health.STOPPED, False),
        (State.STOPPING, {}, Health.STOPPED, False),
        (State.EXITED, {}, Health.EXITED, False),
        (State.FATAL, LOOPS, Health.FATAL, False),
        (State.RUNNING, LOOPS, Health.LOOPING, False),
        (State.BACKOFF, LOOPS, Health.LOOPING, False),
        (State.STOPPED, {"paused": True}, Health.LOOPING, False),
    ],
)
def test_a_state(state: State, more: dict[str, object], expected: Health, *, ok: bool) -> None:
    """A pool that answers counts only while supervisord reports RUNNING, and no loop is open."""
    view = program("php-fpm", state, **more)

    found = judge(view, [look()], Patience(), NOW_S)

    assert (found.health, found.ok) == (expected, ok)


def test_another_program() -> None:
    """RUNNING is all that is known about a program that is no php-fpm."""
    assert judge(program("worker"), [], Patience(), NOW_S).health is Health.FINE


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [(Outcome.ANSWERED, Health.FINE), (Outcome.SILENT, Health.UNKNOWN)],
)
def test_a_state_that_no_event_has_told(outcome: Outcome, expected: Health) -> None:
    """A listener that was restarted may see no process. A pool that answers is fine."""
    view = program("php-fpm", State.UNKNOWN)

    assert health.needs_probe(view)
    assert not health.needs_probe(program("worker", State.UNKNOWN))
    assert judge(view, [look(outcome)], Patience(), NOW_S).health is expected


def test_addresses_are_unknown() -> None:
    """A php-fpm that cannot be asked is neither fine nor dead."""
    found = judge(program("php-fpm"), [], Patience(), NOW_S)

    assert found.health is Health.UNKNOWN
    assert "fpm-listener check" in found.why


def test_the_last_exit_is_named() -> None:
    """FATAL says how the last run ended."""
    view = program("php-fpm", State.FATAL, last_exit=ExitReason(status=78))

    assert "78" in judge(view, [], Patience(), NOW_S).why


@pytest.mark.parametrize(
    ("period_s", "age_s", "failed_ago_s", "ok"),
    [
        (0.0, 1.0, [], False),
        (30.0, 29.0, [], True),
        (30.0, 30.0, [], False),
        (30.0, 1.0, [25.0], True),  # one failure before belongs to the same start
        (30.0, 1.0, [25.0, 50.0], False),  # and an earlier one to that one
        (30.0, 1.0, [500.0], True),  # this one is another story
        (30.0, -5.0, [], True),  # the wall clock was set back
    ],
)
def test_the_start_period(
    period_s: float, age_s: float, failed_ago_s: list[float], *, ok: bool
) -> None:
    """It is measured from the first attempt, so that failed starts cannot extend it."""
    view = program("php-fpm", State.STARTING, start_time_s=NOW_S - age_s)
    patience = Patience(start_period_s=period_s)

    found = judge(view, [], patience, NOW_S, [NOW_S - ago_s for ago_s in failed_ago_s])

    assert (found.health, found.ok) == (Health.STARTING, ok)


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Outcome.REFUSED, Health.STARTING),
        (Outcome.NO_SOCKET, Health.STARTING),
        (Outcome.SILENT, Health.STARTING),
        (Outcome.NOT_FASTCGI, Health.WRONG_SERVER),
        (Outcome.ANSWERED, Health.FINE),
    ],
)
def test_a_script_that_is_not_php_fpm_yet(outcome: Outcome, expected: Health) -> None:
    """RUNNING proves nothing: within its start period a php-fpm may not listen yet."""
    view = program("php-fpm", start_time_s=NOW_S - 10)

    found = judge(view, [look(outcome)], Patience(start_period_s=60), NOW_S)

    assert found.health is expected
    assert found.ok is (expected is not Health.WRONG_SERVER)


def test_the_worst_pool_decides() -> None:
    """One dead pool among three makes the program dead, and only that pool is named."""
    api = ProbeTarget("api", "/run/api.sock")
    probes = [look(), look(None, target=api), look(waited=True)]

    found = judge(program("php-fpm"), probes, Patience(), NOW_S)

    assert found.health is Health.DEAD
    assert found.why.startswith("pool api (/run/api.sock) accepted no connection")


SNAPSHOT = Snapshot(
    ready=True,
    processes=(
        program("php-fpm"),
        program("php-old", State.STOPPED),
        program("web:worker_00", State.FATAL),
        program("web:worker_01"),
    ),
)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ((), ["php-fpm"]),
        (("php-old",), ["php-old"]),
        (("web:worker_01", "php-fpm:php-fpm"), ["web:worker_01", "php-fpm"]),
        (("web",), ["web:worker_00", "web:worker_01"]),
        (("web:*", "web:worker_01"), ["web:worker_00", "web:worker_01"]),
    ],
)
def test_which_programs(names: tuple[str, ...], expected: list[str]) -> None:
    """Without a name: each php-fpm that no operator has stopped."""
    views = health_report.select(SNAPSHOT, names)

    assert isinstance(views, tuple)
    assert [view.name.shown for view in views] == expected


def test_all_are_stopped() -> None:
    """If an operator stopped each php-fpm, nothing serves requests: that is not healthy."""
    stopped = Snapshot(ready=True, processes=(program("php-fpm", State.STOPPED),))
    views = health_report.select(stopped, ())

    assert isinstance(views, tuple)
    found = health_report.report(stopped, views, {}, Patience(), NOW_S)
    assert not found.ok
    assert "supervisorctl start" in found.line


@pytest.mark.parametrize(
    ("snapshot", "names", "words"),
    [
        (Snapshot(), (), "does not know the programs yet"),
        (Snapshot(), ("php-fpm",), "php-fpm: unknown: the listener does not know the programs yet"),
        (Snapshot(ready=True), (), "set php_fpm"),
        (Snapshot(ready=True), ("x",), "no program 'x'; its programs: none known"),
        (SNAPSHOT, ("nope",), "its programs: php-fpm, php-old, web:worker_00, web:worker_01"),
    ],
)
def test_no_programs(snapshot: Snapshot, names: tuple[str, ...], words: str) -> None:
    """The line names what exists, and what to do."""
    found = health_report.select(snapshot, names)

    assert isinstance(found, Report)
    assert not found.ok
    assert words in found.line
    assert found.nagios[0] == 3


def verdicts(*states: State) -> Report:
    views = [program(f"php{at}", state) for at, state in enumerate(states)]
    probes = {view.name: [look(waiting=3, limit=511)] for view in views}
    return health_report.report(Snapshot(), views, probes, Patience(), NOW_S)


def test_one_line() -> None:
    """Bad programs come first; every program is named."""
    line = verdicts(State.RUNNING, State.FATAL).line

    assert line.startswith("php1: FATAL: ")
    assert line.endswith("; php0: fine: pool www (127.0.0.1:9000) answers")


def test_nagios() -> None:
    """OK is 0, CRITICAL 2, UNKNOWN 3; the queue is performance data."""
    assert verdicts(State.RUNNING).nagios == (
        0,
        "FPM OK - php0: fine: pool www (127.0.0.1:9000) answers | 'www_queue'=3;;;0;511",
    )
    assert verdicts(State.RUNNING, State.FATAL).nagios[0] == 2
    assert health_report.unknown("no listener").nagios[0] == 3


def test_hostile_names() -> None:
    """A name with control characters, or with the separators of Nagios, stays one line of text."""
    target = ProbeTarget("w\x1b[2J'|=\n", "/run/\n|x")
    view = program("php|\n\x1b[31m")
    probes = {view.name: [look(target=target, waiting=1, limit=2)]}
    found = health_report.report(Snapshot(), [view], probes, Patience(), NOW_S)

    assert found.line.isprintable()
    status, line = found.nagios
    assert status == 0
    assert line.isprintable()
    assert line.count("|") == 1


def test_a_long_line_ends() -> None:
    """Hundreds of programs make no endless line."""
    assert len(verdicts(*[State.FATAL] * 200).line) == 1000


def test_json() -> None:
    """The same result as values."""
    found = verdicts(State.RUNNING, State.FATAL).to_json()

    assert found["healthy"] is False
    assert [one["health"] for one in found["programs"]] == ["fine", "FATAL"]
    assert found["programs"][0]["pools"] == [
        {"name": "www", "address": "127.0.0.1:9000", "waiting": 3, "backlog": 511}
    ]


def test_only_running_php_fpm_is_probed() -> None:
    """No question is sent to a pool if the state decides already."""
    assert health.needs_probe(program("php-fpm"))
    assert not health.needs_probe(program("worker"))
    assert not health.needs_probe(program("php-fpm", State.FATAL))
    assert not health.needs_probe(program("php-fpm", loops=frozenset({Tier.FAST})))


def test_the_policy_of_loops_is_not_repeated_here() -> None:
    """A loop counts as such only as long as the engine reports it."""
    windows = {Tier.FAST: LoopPolicy(threshold=3, window_s=60)}
    failures = {"php-fpm:php-fpm": (NOW_S - 1, NOW_S - 2, NOW_S - 3)}
    snapshot = Snapshot(ready=True, windows=windows, failures=failures)
    view = program("php-fpm")

    found = health_report.report(snapshot, [view], {view.name: [look()]}, Patience(), NOW_S)
    assert found.ok
