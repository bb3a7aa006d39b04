"""The last output of each program becomes evidence of its incident."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from fpm_listener.incidents.effects import (
    CheckGone,
    ExamineExit,
    ExitExamined,
    Gone,
    MarkOutput,
    OutputRead,
    ReadOutput,
)
from fpm_listener.incidents.post_mortem import PostMortem
from fpm_listener.incidents.program_output import ProgramOutput
from fpm_listener.monitor.known_programs import ProgramsKnown
from fpm_listener.monitor.messages import MuchOutput
from fpm_listener.monitor.output_rate import MOST
from fpm_listener.phpfpm.config import FpmSite
from fpm_listener.phpfpm.log_facts import FactKind
from fpm_listener.settings.policy import Policy
from fpm_listener.supervisor.process import ProcessName, Program
from tests.unit.monitor.engine_scenario import FPM, JOB, POLICY, Scenario

FILES = ProgramOutput(stderr_file="/err.log", known=True)
DEVICE = ProgramOutput(stderr_target="/dev/stderr", known=True)


def known(output: ProgramOutput, name: ProcessName = JOB) -> ProgramsKnown:
    return ProgramsKnown(programs=(Program(name=name),), sites={}, outputs={name: output})


def job(output: ProgramOutput, policy: Policy = POLICY) -> Scenario:
    """Return a scene in which a job has failed three times."""
    scenario = Scenario(policy=policy)
    scenario.give(0.0, known(output))
    for at_s in (0, 2, 5):
        scenario.event(at_s, "starting", JOB)
        scenario.event(at_s + 0.5, "backoff", JOB)
    return scenario


def examine(scenario: Scenario) -> None:
    """Answer that the machine shows nothing."""
    (asked,) = [one for one in scenario.effects if isinstance(one, ExamineExit)]
    scenario.give(scenario.now_s, ExitExamined(JOB, asked.exited_at_s, PostMortem()))


def test_the_alert_waits_for_the_output() -> None:
    """Each exit is marked; the output is read once, for the alert."""
    scenario = job(FILES)
    marks = [one for one in scenario.effects if isinstance(one, MarkOutput)]
    assert [(one.process, one.exited_at_s) for one in marks] == [(JOB, 0.5), (JOB, 2.5), (JOB, 5.5)]
    assert [one for one in scenario.effects if isinstance(one, ReadOutput)] == [
        ReadOutput(JOB, 5.5)
    ]
    examine(scenario)
    assert scenario.alerts_now == []
    scenario.give(5.6, OutputRead(JOB, ("start", "password=hunter2 is wrong\x1b[0m", "")))
    (alert,) = scenario.alerts_now
    assert alert.annotations["evidence"] == "start\npassword=*** is wrong"


def test_no_answer_delays_the_alert_for_two_seconds() -> None:
    """Then it is sent without the output."""
    scenario = job(FILES)
    examine(scenario)
    scenario.give(7.4, known(FILES))
    assert scenario.alerts_now == []
    scenario.give(7.6, known(FILES))
    (alert,) = scenario.alerts_now
    assert alert.annotations["evidence"] == ""


def test_unknown_output_keeps_the_lines_that_are_known() -> None:
    """They are not replaced by nothing."""
    scenario = job(FILES)
    scenario.give(5.6, OutputRead(JOB, ("one",)))
    scenario.give(8.0, OutputRead(JOB, None))
    examine(scenario)
    assert scenario.alerts_now[-1].annotations["evidence"] == "one"


def test_no_lines_are_wanted() -> None:
    """`evidence_lines = 0`: the output can show the cause, but no line of it is shown."""
    scenario = job(FILES, Policy(loops=POLICY.loops, evidence_lines=0))
    scenario.give(5.6, OutputRead(JOB, ("one",)))
    examine(scenario)
    (alert,) = scenario.alerts_now
    assert alert.annotations["evidence"] == ""


@pytest.mark.parametrize("channel", ["STDOUT", "STDERR"])
def test_lines_of_events(channel: str) -> None:
    """Those of the last run count; pieces become lines, and the half line at the end is one."""
    scenario = Scenario()
    scenario.give(0.0, known(DEVICE))
    for at_s, text in ((0, "first run\n"), (2, "second\n"), (5, "third\nhalf ")):
        scenario.event(at_s, "starting", JOB)
        for piece in (text, "end"):
            payload = f"processname:job groupname:job pid:9 channel:x\n{piece}"
            scenario.event_named(at_s + 0.1, f"PROCESS_LOG_{channel}", payload)
        scenario.event(at_s + 0.5, "backoff", JOB)
    examine(scenario)
    (alert,) = scenario.alerts_now
    assert alert.annotations["evidence"] == "third\nhalf end"


def test_a_problem_of_the_present_run() -> None:
    """Lines that an earlier run has sent in events say nothing about it."""
    scenario = Scenario()
    site = FpmSite(pools=("www",), error_logs=("/var/log/php-fpm.log",))
    found = replace(known(FILES, FPM), sites={FPM: site})
    scenario.give(0.1, found)
    scenario.play("1 starting", "2 running")
    payload = f"processname:{FPM.process} groupname:{FPM.group} pid:100\n"
    scenario.event_named(3, "PROCESS_LOG_STDERR", f"{payload}Fatal error: long ago\n")
    scenario.play("4 stopping", "5 stopped", "100 starting", "101 running", "102 log ready")
    scenario.event_named(103, "PROCESS_LOG_STDERR", f"{payload}an error of this run\n")
    for number in range(40):
        at_s = 110 + number / 5
        line = f"WARNING: [pool www] child {number + 1000} exited with code 70 after 0.1 seconds"
        scenario.log(at_s, f"[23-Nov-2026 10:00:00] {line} from start")
        for one in scenario.effects:
            if isinstance(one, CheckGone):
                scenario.give(at_s, Gone(one.process, one.pids))
        scenario.effects[:] = [one for one in scenario.effects if not isinstance(one, CheckGone)]
    assert ReadOutput(FPM, None) in scenario.effects
    scenario.give(120.0, OutputRead(FPM, ("a line of a file",)))
    incident = scenario.view().incident
    assert incident is not None
    shown = "\n".join(incident.facts.evidence)
    assert "long ago" not in shown
    assert "an error of this run" in shown


def test_output_that_nothing_shows() -> None:
    """The alert says where it goes, and what to change, in both languages."""
    scenario = job(DEVICE)
    examine(scenario)
    (alert,) = scenario.alerts
    assert (
        "supervisord passes its output to /dev/stderr (in a container: docker logs), so this alert"
        " cannot show it. To change this, add stderr_events_enabled=true to [program:job], then"
        " type: supervisorctl update job."
    ) in alert.annotations["description"]
    assert "stderr_events_enabled=true" in alert.translations["zh"]["description"]


def test_joined_output_that_nothing_shows() -> None:
    """A listener with the former events= must subscribe to the events of stdout, too."""
    joined = ProgramOutput(redirect_stderr=True, stdout_target="NONE", subscribed=False, known=True)
    scenario = job(joined)
    examine(scenario)
    (alert,) = scenario.alerts
    assert (
        "To change this, add stdout_events_enabled=true to [program:job] and PROCESS_LOG to events="
        " in the section of the listener, then type: supervisorctl update."
    ) in alert.annotations["description"]
    assert "PROCESS_LOG" in alert.translations["zh"]["description"]


def test_a_pipe_that_supervisord_rotates() -> None:
    """The events are enabled, and supervisord fails before it sends them: one line is missing."""
    output = replace(DEVICE, stderr_events=True, rotates_pipe=True)
    scenario = job(output)
    examine(scenario)
    (alert,) = scenario.alerts
    assert (
        "so this alert cannot show it. To change this, add stderr_logfile_maxbytes=0 to"
        " [program:job], then type: supervisorctl update job."
    ) in alert.annotations["description"]
    assert "stderr_logfile_maxbytes=0" in alert.translations["zh"]["description"]


def test_half_lines_of_two_channels() -> None:
    """They are not joined, and the access log replaces no other line."""
    scenario = Scenario()
    scenario.give(0.0, known(DEVICE))
    request = '127.0.0.1 -  28/Nov/2026:22:02:38 +0000 "GET /index.php" 200\n'
    for at_s in (0, 2, 5):
        scenario.event(at_s, "starting", JOB)
        for channel, piece in (
            *(("STDOUT", "half of "), ("STDERR", "cannot open "), ("STDOUT", "a request\n")),
            *(("STDERR", "x\n"), *[("STDERR", request)] * 50, ("STDERR", request * 50)),
        ):
            payload = f"processname:job groupname:job pid:9 channel:x\n{piece}"
            scenario.event_named(at_s + 0.1, f"PROCESS_LOG_{channel}", payload)
        scenario.event(at_s + 0.5, "backoff", JOB)
    examine(scenario)
    (alert,) = scenario.alerts
    assert alert.annotations["evidence"] == "half of a request\ncannot open x"


def test_much_stdout_after_an_error() -> None:
    """A program that says much on stdout does not hide what it has said on stderr."""
    scenario = Scenario()
    scenario.give(0.0, known(DEVICE))
    for at_s in (0, 2, 5):
        scenario.event(at_s, "starting", JOB)
        for channel, text in (("STDERR", "cannot open x\n"), ("STDOUT", "still there\n" * 100)):
            payload = f"processname:job groupname:job pid:9 channel:x\n{text}"
            scenario.event_named(at_s + 0.1, f"PROCESS_LOG_{channel}", payload)
        scenario.event(at_s + 0.5, "backoff", JOB)
    examine(scenario)
    (alert,) = scenario.alerts
    assert alert.annotations["evidence"].splitlines()[-1] == "cannot open x"


def test_only_an_access_log() -> None:
    """Its last lines are shown if there is nothing else."""
    scenario = Scenario()
    scenario.give(0.0, known(DEVICE))
    for at_s in (0, 2, 5):
        scenario.event(at_s, "starting", JOB)
        piece = "".join(
            f'10.0.0.{n} - [28/Nov/2026:22:02:38] "GET / HTTP/1.1" 200\n' for n in range(60)
        )
        payload = f"processname:job groupname:job pid:9 channel:x\n{piece}"
        scenario.event_named(at_s + 0.1, "PROCESS_LOG_STDOUT", payload)
        scenario.event(at_s + 0.5, "backoff", JOB)
    examine(scenario)
    (alert,) = scenario.alerts
    assert alert.annotations["evidence"].startswith("10.0.0.52 ")


def test_an_alert_waits_for_the_programs() -> None:
    """While the listener starts, it knows no files: the first alert waits for them."""
    scenario = Scenario()
    scenario.engine.expect_programs()
    for at_s in (0, 1, 2):
        scenario.event(at_s, "starting", FPM)
        scenario.event(at_s + 0.5, "backoff", FPM)
    examine_now = [one for one in scenario.effects if isinstance(one, ExamineExit)]
    scenario.give(2.6, ExitExamined(FPM, examine_now[-1].exited_at_s, PostMortem()))
    assert scenario.alerts_now == []
    scenario.give(6.0, known(FILES, FPM))
    assert scenario.alerts_now == []
    assert ReadOutput(FPM, 2.5) in scenario.effects
    scenario.give(6.1, OutputRead(FPM, ("the reason",)))
    scenario.play("6.3 tick")  # a log line can still come until then
    (alert,) = scenario.alerts_now
    assert alert.annotations["evidence"] == "the reason"


def test_the_programs_never_come() -> None:
    """The alert waits at most thirty seconds."""
    scenario = Scenario()
    scenario.engine.expect_programs()
    scenario.fail(0.0, 1.0, 2.0)
    scenario.play("31 tick")
    assert scenario.alerts_now == []
    scenario.play("33 tick")
    assert [alert.annotations["cause"] for alert in scenario.alerts_now] == ["restart_loop"]


def test_the_configuration_does_not_have_the_program() -> None:
    """Its alert waits no longer when the configuration is read, or cannot be read."""
    scenario = Scenario()
    scenario.engine.expect_programs()
    scenario.fail(0.0, 1.0, 2.0)
    scenario.give(3.0, known(FILES, JOB))
    scenario.play("5.1 tick")
    assert [alert.annotations["cause"] for alert in scenario.alerts_now] == ["restart_loop"]


def test_output_before_the_program_is_known() -> None:
    """The listener starts during a loop: the lines explain it as soon as php-fpm is known."""
    scenario = Scenario()
    scenario.engine.expect_programs()
    output = ProgramOutput(redirect_stderr=True, stdout_events=True, known=True)
    payload = f"processname:{JOB.process} groupname:{JOB.group} pid:100\n"
    payload += (
        "ERROR: failed to load configuration file '/f.conf'\nERROR: FPM initialization failed\n"
    )
    for at_s in (0, 1, 2):
        scenario.event(at_s, "starting", JOB)
        scenario.event_named(at_s + 0.1, "PROCESS_LOG_STDOUT", payload)
        scenario.event(at_s + 0.5, "backoff", JOB)
    site = FpmSite(pools=("www",))
    scenario.give(3, replace(known(output, JOB), sites={JOB: site}))
    scenario.play("8 tick")
    assert [alert.annotations["cause"] for alert in scenario.alerts] == ["config_error"]


def much_output(scenario: Scenario, seconds: float, *names: ProcessName) -> list[MuchOutput]:
    """Return the warnings after as many events as are too many, within so many seconds.

    The last of the names writes one line to stdout at the end.
    """
    began_s = scenario.now_s
    for number in range(MOST):
        at_s, name = began_s + seconds * (number + 1) / MOST, names[number % len(names)]
        channel = "STDOUT" if number == MOST - 1 else "STDERR"
        payload = f"processname:{name.process} groupname:{name.group} pid:100\nx\n"
        scenario.event_named(at_s, f"PROCESS_LOG_{channel}", payload)
    found = [one for one in scenario.effects if isinstance(one, MuchOutput)]
    scenario.effects.clear()
    return found


def test_very_much_output() -> None:
    """A program is reported once, and only if the events come fast."""
    scenario = Scenario()
    scenario.play("1 starting", "2 running")
    assert much_output(scenario, 11, FPM) == []
    (warning,) = much_output(scenario, 10, FPM)
    assert (warning.section, warning.channel) == ("program:php-fpm", "stderr")
    assert round(warning.rate) == MOST / 10
    assert much_output(scenario, 5, FPM) == []
    assert [one.section for one in much_output(scenario, 5, JOB)] == ["program:job"]


def test_very_much_output_from_the_start() -> None:
    """The first events count, too."""
    scenario = Scenario()
    scenario.play("1 starting", "2 running")
    assert [one.section for one in much_output(scenario, 5, FPM)] == ["program:php-fpm"]


def test_very_much_output_of_many_processes() -> None:
    """The processes of numprocs are one program, and only its own events count."""
    scenario = Scenario()
    workers = [ProcessName("queue", f"queue_{number:02}") for number in range(4)]
    (warning,) = much_output(scenario, 10, *workers, JOB)
    assert (warning.section, warning.channel) == ("program:queue", "stderr")
    assert round(warning.rate) == MOST / 10 * 4 / 5
    assert much_output(scenario, 10, *workers, JOB) == []


def test_output_that_is_expensive_to_read() -> None:
    """Any program can write such lines: the listener must stay able to answer."""
    scenario = Scenario()
    scenario.play("1 starting", "2 running")
    hostile = '"' * 78 + " " + 'y"' * 470 + "\n"
    payload = f"processname:{FPM.process} groupname:{FPM.group} pid:100\n"
    pieces = [*[hostile * 128] * 8, *["\n" * (128 << 10)] * 4, *["x" * 1000] * 500]
    began_s = time.process_time()
    for piece in pieces:
        scenario.event_named(3, "PROCESS_LOG_STDOUT", payload + piece)
    assert time.process_time() - began_s < 1.0


def test_half_lines_of_lost_ends() -> None:
    """The end of a run was lost: its half line does not hide the first line of the next run."""
    scenario = Scenario()
    payload = f"processname:{FPM.process} groupname:{FPM.group} pid:100\n"
    error = "ERROR: failed to load configuration file '/f.conf'\n"
    scenario.event_named(0.5, "PROCESS_LOG_STDERR", f"{payload}half")
    scenario.play("1 starting")
    scenario.event_named(1.1, "PROCESS_LOG_STDERR", payload + error)
    scenario.play("1.5 backoff")
    assert scenario.view().facts[FactKind.CONFIG_ERROR] == 1
