"""The engine, scene by scene: what is counted, what is reported, and when."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpm_listener.incidents.alert import Status
from fpm_listener.monitor.known_programs import ProgramsKnown
from fpm_listener.monitor.messages import (
    AskProcesses,
    Discover,
    ProcessesSeen,
    ReadLogsNow,
    SaveState,
)
from fpm_listener.phpfpm.config import FpmSite
from fpm_listener.phpfpm.log_facts import FactKind
from fpm_listener.supervisor.exit_log import ExitReason
from fpm_listener.supervisor.process import ProcessName, ProcessSeen, Program
from fpm_listener.supervisor.protocol import Event
from fpm_listener.vocabulary import State, Tier
from tests.unit.monitor.engine_scenario import (
    ADDRESS,
    EPOCH,
    FPM,
    JOB,
    LOG,
    POLICY,
    Scenario,
    moment,
)


def test_one_crash_sends_no_alert() -> None:
    """A master that exits and is back is counted, and is no incident."""
    scenario = Scenario().play(
        "0 starting", "2 running", "500 crash", "500.5 starting", "502 running"
    )
    scenario.play("2000 tick")
    view = scenario.view()

    assert scenario.sent == []
    assert (view.starts, view.exits, view.unexpected_exits, view.restarts) == (2, 1, 1, 1)
    assert view.restart_seconds is not None
    assert view.restart_seconds.total == 0.5


def test_three_failed_starts_are_a_loop() -> None:
    """The third failed start within a minute opens one incident."""
    scenario = Scenario().fail(0.0, 2.0)
    assert scenario.sent == []

    scenario.fail(5.0)
    assert scenario.sent == ["first: restart_loop"]
    assert scenario.alerts[0].labels == {
        "alertname": "PhpFpmFailing",
        "severity": "critical",
        "group": "php-fpm",
        "process": "php-fpm",
        "instance": "host",
        "supervisor": "lab",
    }
    assert scenario.view().loops == {Tier.FAST}


def test_the_recipe_that_says_running_each_time() -> None:
    """RUNNING that ends in seconds is a failure, also when 78 is called expected."""
    scenario = Scenario()
    for at in (0, 2, 4):
        scenario.play(f"{at} starting", f"{at + 1.1} running", f"{at + 1.2} exit")

    assert scenario.sent == ["first: restart_loop"]
    assert scenario.view().failed_starts == 0
    assert scenario.view().exits == 3


def test_the_operators_hand_is_silent() -> None:
    """Stops and restarts never count, however many."""
    scenario = Scenario()
    for at in range(0, 50, 5):
        scenario.play(
            f"{at} starting", f"{at + 2} running", f"{at + 3} stopping", f"{at + 3.1} stopped"
        )

    assert scenario.sent == []
    assert scenario.view().restarts == 0
    assert scenario.view().loops == frozenset()


def test_a_job_that_ends_well_is_silent() -> None:
    """Expected exits of a program that is not php-fpm are its work."""
    scenario = Scenario()
    for at in range(0, 50, 5):
        scenario.play(f"{at} starting job", f"{at + 1} running job", f"{at + 1.5} exit job")

    assert scenario.sent == []


def test_a_crashing_job_is_reported() -> None:
    """A program that is not php-fpm is counted and alerted on as well."""
    scenario = Scenario()
    for at in (0, 2, 4):
        scenario.play(f"{at} starting job", f"{at + 1.1} running job", f"{at + 1.2} crash job")

    assert scenario.sent == ["first: restart_loop"]
    assert scenario.alerts[0].labels["alertname"] == "ProgramFailing"


def test_the_cause_comes_with_the_line() -> None:
    """A bind conflict that is known at the third failure is reported at once, with its evidence."""
    scenario = Scenario()
    for at in (0, 2, 4):
        scenario.play(f"{at} starting", f"{at + 0.1} log bind failed", f"{at + 0.2} holder")
        scenario.play(f"{at + 0.9} backoff")

    assert scenario.sent == ["first: bind_conflict"]
    annotations = scenario.alerts[0].annotations
    assert annotations["address"] == ADDRESS
    assert "pid 812" in annotations["holder"]
    assert "Address already in use (98)" in annotations["evidence"]
    assert "kill -QUIT -100" in annotations["remedy"]
    assert scenario.view().facts[FactKind.BIND_CONFLICT] == 3


def test_log_line_after_the_crash_upgrades_the_cause() -> None:
    """A line that comes after the third failed start changes the cause, and opens no incident."""
    scenario = Scenario().fail(0.0, 2.0, 4.0).play("7 log bind", "7.05 holder")

    assert scenario.sent == ["first: restart_loop", "cause changed: bind_conflict"]
    assert len({alert.incident_id for alert in scenario.alerts}) == 1


def test_an_alert_waits_a_moment_for_the_holder() -> None:
    """What is being looked up is waited for, but not for long."""
    scenario = Scenario().fail(0.0, 2.0).play("4 starting", "4.4 log bind", "4.5 backoff")
    assert scenario.alerts_now == []
    scenario.play("5.9 tick")
    assert scenario.alerts_now == []
    scenario.play("6.0 holder")
    assert scenario.alerts_now[0].annotations["cause"] == "bind_conflict"

    late = Scenario().fail(0.0, 2.0).play("4 starting", "4.4 log bind", "4.5 backoff", "6.6 tick")
    assert late.sent == ["first: bind_conflict"]
    assert "holder" not in late.alerts[0].annotations


def test_giving_up_is_worse_not_another() -> None:
    """FATAL worsens the incident that is open."""
    scenario = Scenario().fail(0.0, 2.0, 5.0, 9.0).play("9.6 fatal")

    assert scenario.sent == ["first: restart_loop", "got worse: restart_loop"]
    assert "supervisorctl start php-fpm" in scenario.alerts[1].annotations["remedy"]


def test_giving_up_without_a_loop() -> None:
    """FATAL is reported although the windows are not full (startretries=0)."""
    scenario = Scenario().fail(0.0).play("0.6 fatal")

    assert scenario.sent == ["first: gave_up"]


def test_dead_and_not_started_again() -> None:
    """A crash without a restart (autorestart=false) is reported after some seconds."""
    scenario = Scenario().play("0 starting", "2 running", "500 crash", "505 tick")
    assert scenario.sent == []

    scenario.play("511 tick")
    assert scenario.sent == ["first: gave_up"]


def test_a_crash_while_supervisord_stops_is_no_incident() -> None:
    """An exit while supervisord shuts down is not reported as given up."""
    scenario = Scenario().play("0 starting", "2 running")
    scenario.give(400.0, Event("lab", "l", 99, 99, "SUPERVISOR_STATE_CHANGE_STOPPING", ""))
    scenario.play("500 crash", "600 tick")

    assert scenario.sent == []


def test_one_resolution() -> None:
    """Running for `stable_for` ends the incident, once; a short RUNNING does not."""
    scenario = Scenario().fail(0.0, 2.0, 4.0).play("10 starting", "12 running", "20 crash")
    scenario.play("21 starting", "23 running", "142 tick")
    assert scenario.sent == ["first: restart_loop"]

    scenario.play("143.1 tick", "9999 tick")
    assert scenario.sent == ["first: restart_loop", "resolved: restart_loop"]
    resolved = scenario.alerts[1]
    assert resolved.status is Status.RESOLVED
    assert "resolved" in resolved.annotations["summary"]
    assert "No action is needed" in resolved.annotations["remedy"]
    assert resolved.labels == scenario.alerts[0].labels
    assert resolved.ends_at_s == EPOCH + 143.0
    assert scenario.view().incident is None


def test_a_repeat_every_four_hours() -> None:
    """An incident that goes on is reported again each `repeat_interval`."""
    scenario = Scenario().fail(0.0, 2.0, 4.0, 9.0).play("9.6 fatal")
    scenario.play("14408 tick")
    assert len(scenario.sent) == 2

    scenario.play("14410 tick", "28820 tick")
    assert scenario.sent[2:] == ["repeat: restart_loop", "repeat: restart_loop"]


def test_slow_flapping_is_a_warning() -> None:
    """A program that fails every 150 s opens an incident that `stable_for` alone does not end."""
    scenario = Scenario()
    for number in range(8):
        at = number * 150
        scenario.play(f"{at} starting", f"{at + 2} running", f"{at + 149} crash")

    assert scenario.sent == ["first: restart_loop"]
    assert scenario.alerts[0].labels["severity"] == "warning"


def test_an_operator_ends_an_incident_by_stopping() -> None:
    """A program that stays stopped is no incident any more; restarting it changes nothing."""
    scenario = Scenario().fail(0.0, 2.0, 4.0).play("10 starting", "12 running", "13 stopping")
    scenario.play("13.1 stopped", "14 starting", "14.5 backoff")
    assert scenario.sent == ["first: restart_loop"]

    scenario.play("20 stopped", "139 tick")
    assert len(scenario.sent) == 1
    scenario.play("141 tick")
    assert scenario.sent[1:] == ["resolved: restart_loop"]


def test_lines_after_fpm_is_running_are_not_trusted() -> None:
    """A forged line after "fpm is running" counts nothing, also later."""
    scenario = Scenario()
    for at in (0, 4, 8):
        scenario.play(f"{at} starting", f"{at + 0.1} log ready", f"{at + 1.1} running")
        scenario.play(f"{at + 2} log bind", f"{at + 2.1} crash")

    assert scenario.sent == ["first: restart_loop"]
    assert scenario.view().facts[FactKind.BIND_CONFLICT] == 0


def test_lines_of_a_reload_are_trusted() -> None:
    """A run that reloads starts up again: its bind conflict is real."""
    scenario = Scenario().play("0 starting", "0.1 log ready", "2 running")
    scenario.play("100 log reload", "100.1 log bind", "100.3 crash")

    assert scenario.view().facts[FactKind.BIND_CONFLICT] == 1


def test_a_signal_refutes_a_line() -> None:
    """The log lines of a killed run do not explain its end."""
    scenario = Scenario(exits=True)
    for at in (0, 2, 4):
        scenario.play(f"{at} starting", f"{at + 0.1} log bind", f"{at + 0.9} crash")
        scenario.play(f"{at + 0.95} exits -11")
    scenario.play("7 tick")

    assert scenario.sent == ["first: crash_signal"]
    assert scenario.view().last_exit == ExitReason(signal=11)


def test_signals_do_not_explain_an_exit_status() -> None:
    """After two kills by hand, php-fpm does not start: `it crashes (exit status 78)` is false."""
    scenario = Scenario(exits=True)
    for at in (0, 10):
        scenario.play(
            f"{at} starting", f"{at + 4} running", f"{at + 5} crash", f"{at + 5} exits -9"
        )
    scenario.play("16 starting", "16.5 backoff", "16.55 exits 78", "20 tick")

    assert scenario.sent == ["first: restart_loop"]


def test_a_signal_refutes_nothing_of_the_next_run() -> None:
    """The exit status arrives during the next run, whose lines count for that run."""
    scenario = Scenario(exits=True).play("0 starting", "0.1 log ready", "1 running")
    scenario.play("9 crash", "9.001 starting", "9.01 exits -9", "10 log bind", "10.1 running")
    scenario.play("11 crash", "11.001 starting", "11.01 exits 78")

    assert scenario.view().facts[FactKind.BIND_CONFLICT] == 1


def test_the_exit_status_is_read_for_each_exit() -> None:
    """Each exit asks for supervisord's log; the answer goes into metric and alert."""
    scenario = Scenario(exits=True)
    for at in (0, 2, 4):
        scenario.play(f"{at} starting", f"{at + 0.5} backoff", f"{at + 0.55} exits 78")

    assert scenario.reads == 3
    assert scenario.sent == ["first: restart_loop"]
    assert "exit status 78" in scenario.alerts[0].annotations["description"]


def test_the_log_of_supervisord_may_be_faster_than_its_event() -> None:
    """A note that is read before the event of its exit waits for it."""
    scenario = Scenario(exits=True).play("0 starting", "0.5 exits 78", "0.6 backoff")

    assert scenario.view().last_exit is not None
    assert scenario.reads == 0


def test_an_exit_without_a_note_waits_for_nothing() -> None:
    """A failed spawn leaves no line: the next note is not taken for it."""
    scenario = Scenario(exits=True).play("0 starting", "0.5 backoff", "0.6 exits")
    scenario.play("2 starting", "2.5 backoff", "2.6 exits 70")

    assert scenario.view().last_exit == ExitReason(status=70)


def test_a_line_counts_once() -> None:
    """The same stamped line, from the file and from stderr, is one line."""
    scenario = Scenario().play("0 starting", "0.1 log bind bind failed failed")
    line = "[23-Nov-2026 10:00:00] ERROR: FPM initialization failed\n"
    payload = f"processname:php-fpm groupname:php-fpm pid:5 channel:stderr\n{line}"
    scenario.give(0.2, Event("lab", "l", 50, 50, "PROCESS_LOG_STDERR", payload[:70]))
    scenario.play("0.9 backoff")

    assert scenario.view().facts[FactKind.BIND_CONFLICT] == 1
    assert scenario.view().facts[FactKind.INIT_FAILED] == 1


def test_lines_on_stderr_may_be_cut_anywhere() -> None:
    """Pieces of stderr are joined to lines; the end of the run ends the last one."""
    scenario = Scenario()
    head = "processname:php-fpm groupname:php-fpm pid:5 channel:stderr\n"
    text = (
        "ERROR: [/x.conf:4] unknown entry 'y'\nERROR: failed to load configuration file '/x.conf'"
    )
    scenario.play("0 starting")
    for number, piece in enumerate((text[:10], text[10:50], text[50:])):
        event = Event("lab", "l", number, number, "PROCESS_LOG_STDERR", head + piece)
        scenario.give(0.1, event)
    scenario.play("0.5 backoff")

    assert scenario.view().facts[FactKind.CONFIG_ERROR] == 2


def test_a_look_for_the_holder_knows_former_masters() -> None:
    """The pids of earlier runs are included, so orphans of this php-fpm are recognized."""
    scenario = Scenario().play("0 starting", "2 running", "9 crash", "9.1 starting", "9.2 log bind")

    (look,) = scenario.looks
    assert look.address == ADDRESS
    assert look.former_masters == {100}


def test_worker_crashes_are_counted_without_an_incident() -> None:
    """Runtime lines are counted as they are read."""
    scenario = Scenario().play("0 starting", "0.1 log ready", "2 running", "50 log segv")

    assert scenario.view().facts[FactKind.CHILD_SIGNAL] == 1
    assert scenario.sent == []


def test_a_shared_log_is_divided() -> None:
    """Two php-fpm with one error log: each line goes to the one whose address it names."""
    scenario = Scenario()
    other = ProcessName("other", "other")
    site = FpmSite(addresses=("127.0.0.1:9001",), error_logs=(LOG,))
    scenario.give(0.0, ProgramsKnown(programs=(Program(name=other),), sites={other: site}))
    scenario.event(0.0, "starting", other)
    scenario.play("0 starting", "0.1 log bind", "0.5 backoff")
    scenario.event(0.5, "backoff", other)

    assert scenario.view().facts[FactKind.BIND_CONFLICT] == 1
    assert scenario.view(other).facts[FactKind.BIND_CONFLICT] == 0


@pytest.mark.parametrize("at_once", [True, False])
def test_a_shared_log_in_any_pieces(at_once: bool) -> None:  # noqa: FBT001 - a parameter
    """Of two php-fpm that start, one runs: a later error is that of the other one."""
    scenario = Scenario()
    other = ProcessName("other", "other")
    sites = {name: FpmSite(error_logs=(LOG,)) for name in (FPM, other)}
    programs = (Program(name=FPM), Program(name=other))
    scenario.give(0.0, ProgramsKnown(programs=programs, sites=sites))
    scenario.play("0 starting")
    scenario.event(0.0, "starting", other)
    scenario.play(*(["0.1 log ready config"] if at_once else ["0.1 log ready", "0.1 log config"]))
    scenario.event(0.5, "backoff", other)

    assert scenario.view(other).facts[FactKind.CONFIG_ERROR] == 1


def test_events_trigger_the_follower() -> None:
    """A state change of php-fpm lets its log be read at once."""
    assert any(isinstance(effect, ReadLogsNow) for effect in Scenario().event(0.0, "starting"))


def test_what_supervisord_says_when_asked() -> None:
    """Processes that ran before us are shown; an event knows better."""
    scenario = Scenario().play("0 starting", "0.5 backoff")
    seen = [
        ProcessSeen(name=FPM, state=State.RUNNING, pid=5, started_at_s=EPOCH),
        ProcessSeen(name=JOB, state=State.RUNNING, pid=6, started_at_s=EPOCH - 100),
    ]
    scenario.give(1.0, ProcessesSeen(tuple(seen), 1.0))

    assert scenario.view().state is State.BACKOFF
    assert (scenario.view(JOB).state, scenario.view(JOB).pid) == (State.RUNNING, 6)
    assert scenario.view(JOB).starts == 0


def test_events_that_are_older_than_an_answer_do_not_change_the_state() -> None:
    """After a start of the listener old events come late, one at a time."""
    scenario = Scenario()
    now_runs = ProcessSeen(name=FPM, state=State.RUNNING, pid=200, started_at_s=EPOCH)
    scenario.give(1.0, ProcessesSeen((now_runs,), 1.0))
    for at_s, kind in enumerate(("starting", "running", "crash", "starting", "backoff"), 2):
        scenario.event(at_s, kind, pid=100)
        assert scenario.view().state is State.RUNNING
    scenario.event(8.0, "starting")
    scenario.event(9.0, "running", pid=200)
    view = scenario.view()
    assert (view.state, view.starts, view.unexpected_exits, view.pid) == (State.RUNNING, 3, 1, 200)

    scenario.event(10.0, "crash", pid=200)
    assert scenario.view().state is State.EXITED


def test_after_lost_events_an_answer_is_not_newer_than_the_next_event() -> None:
    """The exit of the run that the answer reported can be among the lost ones."""
    scenario = Scenario()
    seen = ProcessSeen(name=FPM, state=State.RUNNING, pid=200, started_at_s=EPOCH)
    scenario.give(1.0, ProcessesSeen((seen,), 1.0))
    scenario.engine.missed(moment(2.0), 1)
    scenario.event(3.0, "starting")
    assert scenario.view().state is State.STARTING


def test_much_later_an_event_is_newer_than_the_answer() -> None:
    """supervisord has sent the old ones by then."""
    scenario = Scenario()
    seen = ProcessSeen(name=FPM, state=State.RUNNING, pid=200, started_at_s=EPOCH)
    scenario.give(1.0, ProcessesSeen((seen,), 1.0))
    scenario.event(70.0, "starting")
    assert scenario.view().state is State.STARTING


def test_an_incident_is_not_over_because_the_listener_was_restarted() -> None:
    """A looping program can be RUNNING when it is asked for: only a long run ends the incident."""
    before = Scenario().fail(0.0, 2.0, 4.0)
    assert before.sent == ["first: restart_loop"]
    after = Scenario()
    after.engine.restore(moment(200.0), memory(before))
    seen = ProcessSeen(name=FPM, state=State.RUNNING, pid=5, started_at_s=EPOCH)
    after.give(200.0, ProcessesSeen((seen,), 200.0))
    assert after.sent == []

    after.play("319 tick")
    assert after.sent == []
    after.play("321 tick")
    assert after.sent == ["resolved: restart_loop"]


def test_programs_that_are_not_chosen_are_not_watched() -> None:
    """`programs` decides what is followed."""
    scenario = Scenario()
    chosen = scenario.engine._shared.settings
    scenario.engine.reconfigure(
        type(chosen)(policy=POLICY, identity=chosen.identity, programs=("php-*:*",)),
    )
    scenario.fail(0.0).play("1 starting job")

    assert [view.name for view in scenario.engine.views()] == [FPM]


def test_a_removed_group_is_forgotten() -> None:
    """A program that `update` has removed is not shown; with an incident it stays a while."""
    scenario = Scenario().fail(0.0, 2.0, 4.0)
    for serial, group in enumerate(("job", "php-fpm")):
        event = Event("lab", "l", serial, serial, "PROCESS_GROUP_REMOVED", f"groupname:{group}\n")
        scenario.give(10.0, event)
    assert [view.name for view in scenario.engine.views()] == [FPM]

    scenario.play("131 tick")
    assert scenario.engine.views() == ()
    assert scenario.sent == ["first: restart_loop", "resolved: restart_loop"]


def test_a_new_group_lets_the_programs_be_read() -> None:
    """`supervisorctl update` can bring a php-fpm that was unknown."""
    scenario = Scenario()

    assert scenario.give(
        1.0,
        Event("lab", "l", 1, 1, "PROCESS_GROUP_ADDED", "groupname:new\n"),
    ) == [Discover(), AskProcesses()]


def test_a_program_is_removed_while_its_exit_is_looked_up() -> None:
    """An answer that comes after the removal has no effect."""
    scenario = Scenario(exits=True).play("0 starting job", "2 running job", "3 stopping job")
    scenario.play("3.1 stopped job")
    scenario.give(3.2, Event("lab", "l", 9, 9, "PROCESS_GROUP_REMOVED", "groupname:job\n"))
    scenario.play("3.3 exits 0/job", "3.4 exits", "100 tick")

    assert [view.name for view in scenario.engine.views()] == [FPM]
    scenario.play("200 starting job")
    assert scenario.view(JOB).starts == 1


def memory(scenario: Scenario) -> dict[ProcessName, dict[str, object]]:
    """Return what was saved last, as it comes back from a file."""
    saved = {}
    for effect in scenario.effects:
        if isinstance(effect, SaveState):
            saved[effect.process] = json.loads(json.dumps(effect.memory))
    return {name: value for name, value in saved.items() if value}


def test_a_restart_of_the_listener_forgets_nothing() -> None:
    """Windows and incidents go on where they were, also when monotonic time starts again at 0."""
    before = Scenario().fail(0.0, 2.0)
    after = Scenario()
    after.engine.restore(moment(10.0)._replace(monotonic_s=3.0), memory(before))
    assert after.sent == []
    after.effects += after.engine.step(
        moment(11.0)._replace(monotonic_s=4.0),
        Event("lab", "l", 1, 1, "PROCESS_STATE_BACKOFF", "processname:php-fpm groupname:php-fpm"),
    )
    after.now_s = 4.0
    assert after.sent == ["first: restart_loop"]


def test_an_incident_survives_with_its_identity() -> None:
    """After a restart the incident is resolved under the id and labels it was opened with."""
    before = Scenario().fail(0.0, 2.0, 4.0)
    assert before.sent == ["first: restart_loop"]
    after = Scenario(id_token="of the next start")
    after.effects += after.engine.restore(moment(10.0), memory(before))
    after.play("11 starting", "13 running", "134 tick")

    assert after.sent == ["resolved: restart_loop"]
    assert after.alerts[0].incident_id == before.alerts[0].incident_id
    assert after.alerts[0].labels == before.alerts[0].labels
    assert after.alerts[0].sequence == 2
    assert memory(after) == {}


def test_an_alert_that_was_not_sent_yet_is_sent_after_a_restart() -> None:
    """The next listener reports an incident that waited for its holder."""
    before = Scenario().fail(0.0, 2.0).play("4 starting", "4.4 log bind", "4.5 backoff")
    assert before.alerts_now == []
    after = Scenario()
    after.effects += after.engine.restore(moment(6.0), memory(before))
    after.play("8.1 tick")

    assert after.sent == ["first: bind_conflict"]


@pytest.mark.parametrize("asked", [True, False])
def test_what_was_given_up_stays_so_after_a_restart(*, asked: bool) -> None:
    """No change is reported if there is none, whether supervisord can be asked or not."""
    before = Scenario().play("0 starting", "1 backoff", "2 fatal")
    assert before.sent == ["first: gave_up"]
    after = Scenario()
    after.effects += after.engine.restore(moment(10.0), memory(before))
    if asked:
        seen = ProcessSeen(name=FPM, state=State.FATAL, pid=None, started_at_s=None)
        after.give(10.5, ProcessesSeen((seen,), 10.5))
    after.play("30 tick")
    assert after.sent == []

    after.play("40 starting", "43 running", "200 tick")
    assert after.sent == ["resolved: gave_up"]


def test_what_was_started_while_the_listener_was_away_is_not_given_up() -> None:
    """supervisord says so when it is asked."""
    before = Scenario().play("0 starting", "1 backoff", "2 fatal")
    assert before.sent == ["first: gave_up"]
    after = Scenario()
    after.effects += after.engine.restore(moment(10.0), memory(before))
    seen = ProcessSeen(name=FPM, state=State.RUNNING, pid=5, started_at_s=EPOCH)
    after.give(10.5, ProcessesSeen((seen,), 10.5))
    after.play("200 tick")

    assert after.sent[-1] == "resolved: gave_up"


def test_dead_already_when_the_listener_comes() -> None:
    """An EXITED php-fpm that is not started again is reported; an EXITED job may be done."""
    scenario = Scenario()
    seen = [
        ProcessSeen(name=name, state=State.EXITED, pid=None, started_at_s=EPOCH)
        for name in (FPM, JOB)
    ]
    scenario.give(1.0, ProcessesSeen(tuple(seen), 1.0))
    scenario.play("10 tick")
    assert scenario.sent == []

    scenario.play("12 tick")
    assert scenario.sent == ["first: gave_up"]
    assert scenario.alerts[0].labels["process"] == FPM.process


@pytest.mark.parametrize("saved", [{}, {"masters": 3}, {"masters": [], "failures": "x"}, []])
def test_a_memory_that_makes_no_sense_is_dropped(saved: dict[str, object]) -> None:
    """A broken memory costs the memory, not the listener."""
    scenario = Scenario()
    effects = scenario.engine.restore(moment(1.0), {ProcessName("a", "b"): saved})

    assert effects == [SaveState(ProcessName("a", "b"), None)]


@pytest.mark.parametrize("label", ["group", "process", "severity"])
def test_an_incident_that_was_saved_without_a_label_is_dropped(label: str) -> None:
    """Its memory is forgotten at the start; showing it would end each listener that restores it."""
    before = Scenario().fail(0.0, 2.0, 5.0)
    assert before.sent == ["first: restart_loop"]
    saved = json.loads(json.dumps(memory(before)[FPM]))
    del saved["incident"]["labels"][label]
    after = Scenario()

    assert SaveState(FPM, None) in after.engine.restore(moment(10.0), {FPM: saved})
    after.play("10.5 tick")
    assert after.view(JOB).incident is None


@pytest.mark.parametrize(
    "payload",
    [
        "",
        "garbage",
        "processname:x",
        "groupname:x",
        "processname:x groupname:y pid:abc",
        ":::",
        "\0",
    ],
)
def test_poison_is_harmless(payload: str) -> None:
    """No payload of any event raises."""
    scenario = Scenario()
    for name in ("PROCESS_STATE_EXITED", "PROCESS_LOG_STDERR", "PROCESS_GROUP_REMOVED", "NEW_ONE"):
        scenario.give(1.0, Event("lab", "l", 1, 1, name, payload))

    assert scenario.engine.counts.events["other"] == 1
    assert "NEW_ONE" not in scenario.engine.counts.events


STEPS = st.lists(
    st.sampled_from(
        [
            *("starting", "running", "backoff", "crash", "exit", "stopping", "stopped", "fatal"),
            *("log bind", "log ready", "log failed", "log config"),
            *("holder", "exits 78", "exits -9"),
        ],
    ),
    max_size=40,
)


@given(STEPS, st.lists(st.sampled_from([0.01, 0.3, 1.0, 5.0, 70.0, 200.0]), min_size=40))
@settings(max_examples=200, deadline=None)
def test_whatever_happens_alerts_are_in_order(steps: list[str], gaps: list[float]) -> None:
    """Resolved never precedes firing, one incident is open at a time, sequences have no holes."""
    scenario, at = Scenario(exits=True), 0.0
    for step, gap in zip(steps, gaps, strict=False):
        at += gap
        scenario.play(f"{at} {step}")
    scenario.play(f"{at + 20000} tick")
    open_incident, sequence = None, 0
    for alert in scenario.alerts:
        if open_incident is None:
            assert alert.status is Status.FIRING
            open_incident, sequence = alert.incident_id, 0
        sequence += 1
        assert (alert.incident_id, alert.sequence) == (open_incident, sequence)
        if alert.status is Status.RESOLVED:
            open_incident = None


@given(st.lists(st.integers(-20, 20), min_size=3, max_size=3), st.booleans())
@settings(max_examples=100, deadline=None)
def test_any_interleaving_gives_the_same_incident(shifts: list[int], late: bool) -> None:  # noqa: FBT001
    """Lines up to two seconds before or after their event lead to the same incident."""
    events, logs = [], []
    for number, shift in enumerate(shifts):
        at = 10.0 + number * 6
        events.append((at, "starting"))
        events.append((at + 2.5, "backoff"))
        logs.append((at + 2.5 + shift / 10, f"log bind{' failed' if late else ''}"))
    scenario = Scenario()
    for at, step in sorted(events + logs):
        scenario.play(f"{at} {step}")
    scenario.play("40 tick")

    assert scenario.sent[-1].endswith("bind_conflict")
    assert len({alert.incident_id for alert in scenario.alerts}) == 1
    assert scenario.view().facts[FactKind.BIND_CONFLICT] == 3
    incident = scenario.view().incident
    assert incident is not None
    assert incident.facts.failures == 3
