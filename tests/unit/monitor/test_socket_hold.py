"""What is held for a php-fpm while it is away, and for how long."""

from __future__ import annotations

import pytest

from fpm_listener.host import holder_remedies
from fpm_listener.host.address_holders import Holder, HolderKind
from fpm_listener.monitor.known_programs import ProgramsKnown
from fpm_listener.monitor.messages import (
    AnswerGuard,
    Discover,
    GuardAsks,
    HoldFailed,
    PoolsSeen,
    ReleaseSockets,
    SocketsHeld,
)
from fpm_listener.phpfpm.config import FpmSite
from fpm_listener.phpfpm.status_page import PoolView
from fpm_listener.supervisor.process import ProcessName, Program
from tests.unit.monitor.engine_scenario import ADDRESS, FPM, Scenario

OTHER = "/run/php/w.sock"


def ask(
    scenario: Scenario, at_s: float, *, hold: bool = True, name: ProcessName = FPM
) -> str | None:
    """Let a guard ask at that moment; return why it is refused."""
    effects = scenario.give(at_s, GuardAsks(name, 100, hold, 7))
    (answer,) = [effect for effect in effects if isinstance(effect, AnswerGuard)]
    assert answer.ticket == 7
    return answer.refused


def held(*addresses: str, at_s: float = 0.1) -> Scenario:
    """Return a scene in which php-fpm starts at 0 with these addresses held, and runs."""
    scenario = Scenario(exits=True).play("0 starting")
    assert ask(scenario, 0.05) is None
    scenario.give(at_s, SocketsHeld(FPM, addresses or (ADDRESS,)))
    return scenario.play("0.2 log ready", "3 running")


def let_go(scenario: Scenario) -> list[str]:
    """Return the addresses that were released so far."""
    return [
        a
        for effect in scenario.effects
        if isinstance(effect, ReleaseSockets)
        for a in effect.addresses
    ]


def test_what_is_held_is_shown() -> None:
    """The view has it, for metrics and status."""
    assert held().view().held == (ADDRESS,)


@pytest.mark.parametrize(
    "lines",
    [
        ("50 crash", "50.01 starting", "53 running"),
        ("50 exit", "50.01 starting", "53 running"),
        ("50 stopping", "50.1 stopped", "50.2 starting", "53.2 running"),
        ("50 log reload", "50.1 log ready"),
    ],
    ids=["crash", "exit", "restart", "reload"],
)
def test_held_over_every_restart(lines: tuple[str, ...]) -> None:
    """As long as it starts again, nothing is released."""
    scenario = held().play(*lines, "60 tick")

    assert let_go(scenario) == []
    assert ask(scenario, 70) is None


def test_a_stop_lets_go_after_a_while() -> None:
    """An operator's stop can be half of a restart; after hold_linger it was none."""
    scenario = held().play("50 stopping", "50.1 stopped", "55 tick")
    assert let_go(scenario) == []

    scenario.play("55.2 tick")
    assert let_go(scenario) == [ADDRESS]
    assert scenario.view().held == ()


def test_fatal_lets_go_at_once() -> None:
    """Nobody will ever accept."""
    scenario = held().play("50 crash", "50.1 starting", "50.2 backoff", "51 fatal")

    assert let_go(scenario) == [ADDRESS]


def test_not_started_again_lets_go() -> None:
    """Exited, and not started again (autorestart=false): after ten seconds that is certain."""
    scenario = held().play("50 exit", "59 tick")
    assert let_go(scenario) == []

    assert let_go(scenario.play("61 tick")) == [ADDRESS]


def test_a_forgotten_program_lets_go() -> None:
    """`supervisorctl update` has removed it, or replaced it."""
    scenario = held().play("50 stopping", "50.1 stopped")
    scenario.event_named(50.2, "PROCESS_GROUP_REMOVED", f"groupname:{FPM.group}\n")

    assert let_go(scenario) == [ADDRESS]


def test_a_shutdown_lets_go() -> None:
    """And a guard that comes then is sent away."""
    scenario = held()
    scenario.event_named(50, "SUPERVISOR_STATE_CHANGE_STOPPING")

    assert let_go(scenario) == [ADDRESS]
    assert ask(scenario, 51) == "supervisord is shutting down"


def test_an_address_that_left_the_configuration() -> None:
    """Only it is released; an unreadable configuration releases nothing."""
    scenario = held()
    programs = (Program(name=FPM, command="php-fpm -F"),)
    both = FpmSite(addresses=(ADDRESS, OTHER))
    scenario.give(40, ProgramsKnown(programs=programs, sites={FPM: both}))
    scenario.give(41, SocketsHeld(FPM, (ADDRESS, OTHER)))
    scenario.give(50, ProgramsKnown(programs=programs, sites={FPM: FpmSite()}))
    assert let_go(scenario) == []

    scenario.give(51, ProgramsKnown(programs=programs, sites={FPM: FpmSite(addresses=(OTHER,))}))
    assert let_go(scenario) == [ADDRESS]
    assert scenario.view().held == (OTHER,)


def test_a_guard_knows_the_configuration_before_the_listener() -> None:
    """Its sockets are not released: the listener reads the newer files again."""
    scenario = held()
    effects = scenario.give(41, SocketsHeld(FPM, (OTHER,)))
    assert Discover(all_configs=False) in effects
    scenario.play("42 tick")
    assert let_go(scenario) == []

    site = FpmSite(addresses=(OTHER,))
    program = Program(name=FPM, command="php-fpm -F")
    scenario.give(43, ProgramsKnown(programs=(program,), sites={FPM: site}))
    assert let_go(scenario) == []
    assert scenario.view().held == (OTHER,)


def test_a_reload_asks_what_it_listens_on_now() -> None:
    """A changed configuration counts from USR2 on: its addresses, its pools, pm.max_children."""
    effects = held().log(50, '[23-Nov-2026 10:00:50] NOTICE: reloading: execvp("x", {"x"})')
    assert Discover(all_configs=False) in effects

    idle = Scenario().play("0 starting", "3 running")
    effects = idle.log(50, '[23-Nov-2026 10:00:50] NOTICE: reloading: execvp("x", {"x"})')
    assert Discover(all_configs=False) in effects


def test_a_reload_that_is_not_in_the_log() -> None:
    """With log_level = warning, php-fpm's own numbers show it."""
    scenario = Scenario().play("0 starting", "3 running")
    found = [
        Discover(all_configs=False)
        in scenario.give(at_s, PoolsSeen(FPM, (PoolView(pool="www", up=True, numbers=numbers),)))
        for at_s, numbers in (
            (50.0, {"start_since": 47.0}),
            (51.0, {}),
            (52.0, {"start_since": 49.0}),
            (53.0, {"start_since": 0.0}),
            (54.0, {"start_since": 1.0}),
        )
    ]
    assert found == [False, False, False, True, False]


def test_a_guard_without_hold_lets_go() -> None:
    """What is held from before would stand in its way."""
    scenario = held().play("50 crash", "50.1 starting")

    assert ask(scenario, 50.2, hold=False) == "not asked for"
    assert scenario.view().held == ()


def fail_on_held(scenario: Scenario, at_s: float, status: str) -> None:
    """Let a start on held sockets end with this status before it said that it runs."""
    scenario.play(f"{at_s} starting")
    assert ask(scenario, at_s + 0.05) is None
    scenario.give(at_s + 0.1, SocketsHeld(FPM, (ADDRESS,)))
    scenario.play(f"{at_s + 0.2} backoff", f"{at_s + 0.3} exits {status}")


def test_a_failed_start_is_tried_without() -> None:
    """If that one succeeds, the hold was at fault, and is given up."""
    scenario = held().play("50 crash", "50.01 exits -9")
    fail_on_held(scenario, 51, "78")
    scenario.play("52 starting")
    assert ask(scenario, 52.05) == "the last start on held sockets failed"
    scenario.play("52.2 log ready", "55 running", "90 crash", "90.01 exits -9", "90.1 starting")

    assert ask(scenario, 90.2) == (
        "php-fpm failed to start on held sockets before, and started without them"
    )


def test_a_start_that_fails_without_as_well() -> None:
    """Then it is not the hold's fault, and the next one has it again."""
    scenario = held().play("50 crash", "50.01 exits -9")
    fail_on_held(scenario, 51, "78")
    scenario.play("52 starting")
    ask(scenario, 52.05)
    scenario.play("52.2 backoff", "52.3 exits 78", "54 starting")

    assert ask(scenario, 54.05) is None


@pytest.mark.parametrize("status", ["-9", "-11", "75", "0"])
def test_what_does_not_tell_against_the_hold(status: str) -> None:
    """A signal, the guard's own refusal, an exit in peace: none says that sockets were unfit."""
    scenario = held().play("50 crash", "50.01 exits -9")
    fail_on_held(scenario, 51, status)
    scenario.play("53 starting")

    assert ask(scenario, 53.05) is None


def test_a_fork_loop() -> None:
    """Everything is released at once, and stays so."""
    scenario = held()
    scenario.give(50, HoldFailed(FPM))
    assert let_go(scenario) == [ADDRESS]

    scenario.play("50.1 crash", "50.2 starting")
    assert ask(scenario, 50.3) is not None


@pytest.mark.parametrize("end", ["backoff", "exit", "crash"])
def test_a_run_in_which_no_guard_asked(end: str) -> None:
    """Its guard did not reach us, or there is none any more: what is held only blocks php-fpm."""
    scenario = held().play("50 crash", "50.1 starting", f"50.9 {end}")

    assert let_go(scenario) == [ADDRESS]


def test_a_run_in_which_a_guard_asked() -> None:
    """Failed starts alone release nothing, however many."""
    scenario = held().play("50 crash")
    for start in (51, 53, 55):
        scenario.play(f"{start} starting")
        ask(scenario, start + 0.05)
        scenario.play(f"{start + 0.2} backoff", f"{start + 0.3} exits -9")

    assert let_go(scenario) == []


def test_unknown_processes() -> None:
    """What the listener does not know is not held; sockets that came all the same are closed."""
    scenario = held()
    scenario.play("5 stopping", "5.1 stopped")
    scenario.event_named(5.2, "PROCESS_GROUP_REMOVED", f"groupname:{FPM.group}\n")
    scenario.effects.clear()
    scenario.give(5.3, SocketsHeld(FPM, (OTHER,)))

    assert let_go(scenario) == [OTHER]


def test_the_guard_tells_the_pid() -> None:
    """No event does before RUNNING: so an exit in between is seen at once as well."""
    scenario = Scenario().play("0 starting")
    ask(scenario, 0.05)

    assert scenario.view().pid == 100


def test_the_listener_itself_as_the_holder() -> None:
    """The remedy never kills the listener or orphans beside it."""
    command = "/opt/x/bin/python /opt/x/bin/fpm-listener listen --config /etc/x.conf"
    holder = Holder(kind=HolderKind.OTHER, pid=7, command=command, user="root")

    assert "the listener releases the address after a failed start" in holder_remedies.end(holder)
    orphan = holder._replace(kind=HolderKind.ORPHAN, command="php-fpm: pool www", master_pid=6)
    assert "kill" not in holder_remedies.free([orphan, holder])  # the orphans are all that serves
    assert "kill -QUIT -6" in holder_remedies.free([orphan])
    assert holder_remedies.end(holder._replace(command="nginx")).startswith("Stop it (kill 7)")


def test_a_start_that_failed_before_anything_was_held() -> None:
    """A refusal of the guard before the handover says nothing about held sockets."""
    scenario = held().play("50 crash", "50.01 exits -9", "51 starting")
    ask(scenario, 51.05, hold=False)
    scenario.play("51.2 backoff", "51.3 exits 78", "52 starting")
    assert ask(scenario, 52.05) is None
    scenario.play("52.2 backoff", "52.3 exits 78", "53 starting")

    assert ask(scenario, 53.05) is None
