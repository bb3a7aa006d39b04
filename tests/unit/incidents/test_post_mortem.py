"""What no log line explains, the machine may: with the exit that fits, and never by guessing."""

from __future__ import annotations

import json

import pytest

from fpm_listener.host.obstacles import Obstacle
from fpm_listener.host.oom_kills import OomKill
from fpm_listener.incidents.effects import ExamineExit, ExitExamined, OutputRead
from fpm_listener.incidents.post_mortem import Needs, PostMortem, find
from fpm_listener.monitor.known_programs import ProgramsKnown
from fpm_listener.monitor.messages import SaveState
from fpm_listener.phpfpm.config import FpmSite
from fpm_listener.supervisor.exit_log import ExitReason
from fpm_listener.supervisor.process import Program
from fpm_listener.vocabulary import Cause, Fault
from tests.unit.monitor.engine_scenario import FPM, LOG, Scenario, moment

OOM = OomKill(kills=1, where="cgroup /x", limit=128 << 20, peak=127 << 20)
KILLED = ExitReason(signal=9)
LOOKED_FOR = (Cause.OUT_OF_MEMORY, Cause.DISK_FULL)
MISSING = PostMortem(obstacles=(Obstacle(Cause.MISSING_PATH, "/x", "seen: /x does not exist"),))
IN_USE = PostMortem(
    obstacles=(Obstacle(Cause.BIND_CONFLICT, "127.0.0.1:9000", "seen: nginx", None, (70, 75, 78)),)
)


@pytest.mark.parametrize(
    ("machine", "ended", "cause", "named"),
    [
        (PostMortem(oom=OOM), KILLED, Cause.OUT_OF_MEMORY, "cgroup /x"),
        (PostMortem(oom=OOM), ExitReason(status=137), Cause.OUT_OF_MEMORY, "cgroup /x"),
        (PostMortem(oom=OOM), ExitReason(signal=11), None, None),  # somebody else was killed
        (PostMortem(oom=OOM), ExitReason(status=78), None, None),
        (PostMortem(oom=OOM), None, None, None),
        (MISSING, None, Cause.MISSING_PATH, "/x"),
        (MISSING, ExitReason(status=78), Cause.MISSING_PATH, "/x"),
        (MISSING, KILLED, None, None),
        (MISSING, ExitReason(status=0), None, None),
        (IN_USE, None, Cause.BIND_CONFLICT, "127.0.0.1:9000"),
        (IN_USE, ExitReason(status=78), Cause.BIND_CONFLICT, "127.0.0.1:9000"),
        (IN_USE, ExitReason(status=1), None, None),  # it failed for another reason
        (IN_USE, KILLED, None, None),
        (PostMortem(), ExitReason(status=78), None, None),
    ],
)
def test_what_the_machine_proves(
    machine: PostMortem, ended: ExitReason | None, cause: Cause | None, named: str | None
) -> None:
    """Only what alone makes a start fail, or what fits the exit."""
    found = find(machine, ended)

    assert (found and found.cause, found and found.named) == (cause, named)
    assert found is None or found.evidence[0].startswith("seen: ")


def looks(scenario: Scenario) -> list[ExamineExit]:
    return [effect for effect in scenario.effects if isinstance(effect, ExamineExit)]


def killed(scenario: Scenario, *at_s: float) -> Scenario:
    """Play runs that SIGKILL ends."""
    for at in at_s:
        scenario.play(
            f"{at} starting", f"{at + 1} running", f"{at + 4} crash", f"{at + 4.01} exits -9"
        )
    return scenario


def examined(scenario: Scenario, at_s: float, machine: PostMortem) -> None:
    scenario.give(at_s, ExitExamined(FPM, looks(scenario)[-1].exited_at_s, machine))


def test_out_of_memory_is_in_the_first_alert() -> None:
    """The alert waits a moment for the look at the machine, and shows limit and peak."""
    scenario = killed(Scenario(exits=True), 0, 10, 20)
    assert scenario.alerts_now == []
    examined(scenario, 24.05, PostMortem(oom=OOM, looked_for=LOOKED_FOR))

    assert scenario.sent == ["first: out_of_memory"]
    said = scenario.alerts[0].annotations
    assert "limit is 128 MiB, its peak was 127 MiB" in said["evidence"]
    assert "limit 128 MiB" in said["summary"]
    assert "Ruled out" not in said["description"]


def test_a_kill_that_was_not_for_memory() -> None:
    """It is a crash by a signal, and memory is ruled out."""
    scenario = killed(Scenario(exits=True), 0, 10, 20)
    examined(scenario, 24.05, PostMortem(looked_for=LOOKED_FOR))

    assert scenario.sent == ["first: crash_signal"]
    said = scenario.alerts[0].annotations
    assert "ruled out: a kill because of short memory." in said["description"]
    assert "Find the sender of SIGKILL" in said["remedy"]


def test_a_look_that_takes_long() -> None:
    """The alert does not wait for it; its result is an update."""
    scenario = killed(Scenario(exits=True), 0, 10, 20)
    assert scenario.sent == ["first: crash_signal"]
    examined(scenario, 26, PostMortem(oom=OOM))

    assert scenario.sent == ["first: crash_signal", "cause changed: out_of_memory"]


def test_the_root_is_reported_not_what_follows_from_it() -> None:
    """Orphans of a master that was killed for memory keep its port: that is what is to be ended."""
    scenario = killed(Scenario(exits=True), 0)
    for at in (5, 7):
        scenario.play(f"{at} starting", f"{at + 0.1} log bind failed", f"{at + 0.2} holder")
        scenario.play(f"{at + 0.5} backoff", f"{at + 0.51} exits 78")

    assert scenario.sent == ["first: bind_conflict"]
    assert looks(scenario) == []


def test_each_unexplained_exit_is_looked_into_but_not_too_often() -> None:
    """A storm costs a look each two seconds, and none before there is an incident."""
    scenario = Scenario()
    for number in range(20):
        at = number * 0.5
        scenario.play(f"{at} starting", f"{at + 0.1} backoff")
    assert 4 <= len(looks(scenario)) <= 6
    assert looks(scenario)[0].exited_at_s == pytest.approx(1.1)


def test_what_is_needed_is_asked_for() -> None:
    """The look knows what the program's configuration names."""
    scenario = Scenario().fail(0, 2, 4)

    assert looks(scenario)[0].needs == Needs()
    assert looks(scenario)[0].process == FPM


def test_the_configuration_of_the_program_is_asked_for() -> None:
    """Without it, the next start of the program would be a holder of its own address."""
    scenario = Scenario()
    site = FpmSite(addresses=("127.0.0.1:9000",), error_logs=(LOG,), config="/etc/php-fpm.conf")
    programs = (Program(name=FPM, command="php-fpm -F"),)
    scenario.give(0.0, ProgramsKnown(programs=programs, sites={FPM: site}))
    scenario.fail(1, 3, 5)
    scenario.play("7 starting", "7.1 log bind failed")

    asked = [looks(scenario)[-1].config, scenario.looks[-1].config]
    assert asked == ["/etc/php-fpm.conf"] * 2


def test_a_missing_program_that_the_guard_names() -> None:
    """The machine is looked at all the same: the remedy names the version that is installed."""
    scenario = Scenario()
    needs = Needs(program="/usr/sbin/php-fpm8.1")
    programs = (Program(name=FPM, command="fpm-listener guard -- /usr/sbin/php-fpm8.1 -F"),)
    site = FpmSite(error_logs=(LOG,))
    scenario.give(0.0, ProgramsKnown(programs=programs, sites={FPM: site}, needs={FPM: needs}))
    for at_s in (1.0, 3.0, 5.0):
        scenario.play(f"{at_s} starting")
        code = f"[missing_path program={needs.program}]"
        scenario.log(at_s + 0.3, f"fpm-listener guard: {code} cannot execute it")
        scenario.play(f"{at_s + 0.5} backoff")
        if looks(scenario):
            examined(scenario, at_s + 0.6, PostMortem(program_instead=("/usr/sbin/php-fpm8.2",)))

    assert scenario.sent == ["first: missing_path"]
    assert looks(scenario)
    assert "this host has /usr/sbin/php-fpm8.2" in scenario.alerts[0].annotations["remedy"]


def test_an_answer_that_comes_too_late() -> None:
    """The incident is over, or explained: it changes nothing."""
    scenario = killed(Scenario(exits=True), 0, 10, 20)
    exited_at_s = looks(scenario)[-1].exited_at_s
    scenario.play("27 starting", "27.1 log bind", "27.5 backoff", "27.51 exits 78", "27.6 holder")
    scenario.give(27.7, ExitExamined(FPM, exited_at_s, PostMortem(oom=OOM)))
    assert scenario.sent[-1] == "cause changed: bind_conflict"

    scenario.play("28 starting", "29 running", "200 tick")
    assert scenario.sent[-1].startswith("resolved")
    before = len(scenario.sent)
    scenario.give(201, ExitExamined(FPM, exited_at_s, PostMortem(oom=OOM)))
    assert len(scenario.sent) == before


def test_slow_flapping_says_how_often() -> None:
    """A program that fails every 91 seconds fills the slow window only."""
    scenario = Scenario(exits=True)
    for number in range(5):
        at = number * 91
        scenario.play(
            f"{at} starting", f"{at + 1} running", f"{at + 90} crash", f"{at + 90.01} exits 255"
        )

    assert scenario.sent == ["first: restart_loop"]
    assert "about every 91 s" in scenario.alerts[0].annotations["summary"]
    assert scenario.alerts[0].labels["severity"] == "warning"


@pytest.mark.parametrize(
    ("before_s", "ready", "cause"),
    [
        (150, "log ready", Cause.RESTART_LOOP),
        (150, "tick", Cause.RESTART_LOOP),  # the log is unknown
        (2, "log ready", Cause.RESTART_LOOP),
        (2, "tick", Cause.MISSING_PATH),
    ],
)
def test_a_run_that_has_worked(before_s: int, ready: str, cause: Cause) -> None:
    """What makes a start fail does not explain its end."""
    scenario = Scenario(exits=True)
    for number in range(5):
        at_s = number * (before_s + 1)
        scenario.play(f"{at_s} starting", f"{at_s + 0.1} {ready}", f"{at_s + 1} running")
        scenario.play(f"{at_s + before_s} crash", f"{at_s + before_s + 0.01} exits 255")
        if looks(scenario):
            examined(scenario, at_s + before_s + 0.02, MISSING)

    assert scenario.sent == [f"first: {cause.value}"]


def not_spawned(scenario: Scenario, at_s: float) -> None:
    """Play a start for which supervisord has no process, and supervisord's reason."""
    scenario.play(f"{at_s} starting", f"{at_s + 0.01} backoff", f"{at_s + 0.02} exits")
    if looks(scenario):
        examined(scenario, at_s + 0.05, PostMortem(obstacles=(NO_LOG_FOLDER,)))


NO_LOG_FOLDER = Obstacle(Cause.MISSING_PATH, "/srv/logs/", "spawnerr: …: ENOENT", statuses=(127,))


def test_one_kill_before_starts_that_supervisord_refuses() -> None:
    """The kill does not explain why the program does not start again."""
    scenario = killed(Scenario(exits=True), 0)
    for at_s in (4.1, 5.2, 7.3):
        not_spawned(scenario, at_s)

    assert scenario.sent == ["first: missing_path"]
    said = scenario.alerts[0].annotations
    assert "the folder /srv/logs is missing" in said["summary"]
    assert "ENOENT" in said["evidence"]


def test_one_kill_before_failures_without_a_reason() -> None:
    """They are unexplained. The kill is not their cause."""
    scenario = killed(Scenario(exits=True), 0)
    for at_s in (4.1, 5.2):
        scenario.play(f"{at_s} starting", f"{at_s + 0.01} backoff", f"{at_s + 0.02} exits")
    scenario.play("12 tick")

    assert scenario.sent == ["first: restart_loop"]


def test_an_address_that_another_process_holds() -> None:
    """The conflict that the machine shows has the texts of one in the log: with the holder."""
    scenario = Scenario(exits=True)
    for at_s in (1, 3, 5):
        scenario.play(f"{at_s} starting", f"{at_s + 0.5} backoff", f"{at_s + 0.51} exits 78")
    request = looks(scenario)[0]
    assert request.began_at_s == pytest.approx(5.0)
    assert request.has_status
    examined(scenario, 5.6, IN_USE)
    scenario.play("5.7 holder")

    assert scenario.sent == ["first: bind_conflict"]
    said = scenario.alerts[0].annotations
    assert said["summary"].startswith("php-fpm: 127.0.0.1:9000 is in use by pid ")


def test_a_fault_survives_a_restart() -> None:
    """The restored incident has the same texts."""
    fault = Fault.NOT_EXECUTABLE
    obstacle = Obstacle(fault.cause, "/srv/run.sh", "seen: …", fault)
    scenario = Scenario().fail(0, 2, 4)
    examined(scenario, 4.6, PostMortem(obstacles=(obstacle,)))
    assert "/srv/run.sh is not executable" in scenario.alerts[0].annotations["summary"]

    memory = [one.memory for one in scenario.effects if isinstance(one, SaveState)][-1]
    assert memory
    again = Scenario()
    again.engine.restore(moment(10.0), {FPM: json.loads(json.dumps(memory))})
    again.play("11 starting", "11.1 backoff", "12 fatal")
    assert "/srv/run.sh is not executable" in again.alerts[-1].annotations["summary"]


@pytest.mark.parametrize("line_first", [True, False])
@pytest.mark.parametrize(
    ("fault", "errno", "words"),
    [(Fault.NOEXEC_MOUNT, "EACCES", "noexec"), (Fault.WINDOWS_LINE, "ENOENT", "CR LF")],
)
def test_a_line_that_says_less_than_the_machine(
    fault: Fault, errno: str, words: str, *, line_first: bool
) -> None:
    """Both are about the same path. What the machine shows says more, in either order."""
    obstacle = Obstacle(fault.cause, "/srv/run.sh", "seen: …", fault)
    scenario = Scenario(exits=True)
    for at_s in (1, 3, 5):
        scenario.play(f"{at_s} starting", f"{at_s + 0.5} backoff", f"{at_s + 0.51} exits 127")
    line = f"supervisor: couldn't exec /srv/run.sh: {errno}"
    if line_first:
        scenario.give(5.52, OutputRead(FPM, (line,)))
    examined(scenario, 5.53, PostMortem(obstacles=(obstacle,)))
    if not line_first:
        scenario.give(5.54, OutputRead(FPM, (line,)))

    assert scenario.sent == [f"first: {fault.cause.value}"]
    assert words in scenario.alerts[0].annotations["summary"]
