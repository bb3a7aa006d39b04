"""The output of a failed run becomes the cause, if the run fits it."""

from __future__ import annotations

from fpm_listener.host.address_holders import Holder, HolderKind, HolderReport
from fpm_listener.incidents.effects import HolderFound, OutputRead
from fpm_listener.incidents.post_mortem import Needs
from fpm_listener.monitor.known_programs import ProgramsKnown
from fpm_listener.monitor.messages import ExitsRead
from fpm_listener.phpfpm.config import FpmSite
from fpm_listener.supervisor.process import Program
from tests.unit.monitor.engine_scenario import ADDRESS, FPM, JOB, LOG, Scenario, note

NGINX = "nginx: [emerg] bind() to 0.0.0.0:8080 failed (98: Address already in use)"
PYTHON = "OSError: [Errno 98] Address already in use"
FATAL = "Fatal error:  Directive 'track_errors' is no longer available in PHP in Unknown on line 0"


def failing_job() -> Scenario:
    """Return a scene in which the job has failed three times."""
    scene = Scenario()
    for at in (0.0, 1.0, 3.0):
        scene.play(f"{at} starting job", f"{at + 0.5} backoff job")
    return scene


def test_another_program_cannot_bind() -> None:
    """The address of the line is in the alert, and its holder is looked for."""
    scene = failing_job()
    scene.give(3.6, OutputRead(JOB, ("starting", NGINX)))
    scene.play("6 tick")  # the search for the holder takes too long

    assert scene.sent == ["first: bind_conflict"]
    assert scene.looks[-1].address == "0.0.0.0:8080"
    assert "0.0.0.0:8080 is in use" in scene.alerts[-1].annotations["summary"]
    assert NGINX in scene.alerts[-1].annotations["evidence"]


def test_the_output_comes_after_the_alert() -> None:
    """The cause changes."""
    scene = failing_job()
    assert scene.sent == ["first: restart_loop"]
    scene.give(4.5, OutputRead(JOB, (NGINX,)))
    scene.play("7 tick")

    assert scene.sent == ["first: restart_loop", "cause changed: bind_conflict"]


def test_another_program_prints_a_line_like_that_of_a_shell() -> None:
    """The exit status decides, so the line proves nothing before the status is known."""
    line = "cat: /etc/ssl/private/app.key: Permission denied"
    scene = Scenario(exits=True)
    for at in (0.0, 1.0, 3.0):
        scene.play(f"{at} starting job", f"{at + 0.5} backoff job")
    scene.give(3.51, OutputRead(JOB, (line,)))
    scene.play("4 tick")
    scene.give(4.1, ExitsRead((note("1/job"),) * 3, 4.1))
    scene.play("9 tick")

    assert scene.sent == ["first: restart_loop"]
    assert line in scene.alerts[-1].annotations["evidence"]


def test_a_status_that_refutes_the_output() -> None:
    """The line seemed to be that of supervisord's child, which exits with status 127."""
    scene = Scenario(exits=True)
    for at in (0.0, 1.0, 3.0):
        scene.play(f"{at} starting job", f"{at + 0.5} backoff job")
    scene.give(3.51, OutputRead(JOB, ("supervisor: couldn't chdir to /srv: ENOENT",)))
    assert scene.sent == ["first: missing_path"]
    scene.give(4.1, ExitsRead((note("1/job"),) * 3, 4.1))
    scene.play("9 tick")

    assert scene.sent == ["first: missing_path", "cause changed: restart_loop"]


def test_output_of_a_long_run() -> None:
    """A server that ran for an hour did not fail because of an address."""
    scene = Scenario()
    for at in (0.0, 10.0, 20.0):
        scene.play(f"{at} starting job", f"{at + 2} running job")
        scene.play(f"{at + 3} crash job")
    scene.play("21 starting job", "22 running job", "4000 crash job")
    scene.give(4000.1, OutputRead(JOB, (NGINX,)))

    assert all("bind_conflict" not in one for one in scene.sent)


def with_command(address: str) -> Scenario:
    """Return a failing job whose command names its address."""
    scene = failing_job()
    programs = (Program(name=FPM, command="php-fpm -F"), Program(name=JOB, command="job"))
    needs = {JOB: Needs(command_address=address)}
    scene.give(3.55, ProgramsKnown(programs=programs, sites={}, needs=needs))
    return scene


def test_the_address_is_in_the_command() -> None:
    """It is named if a process has it."""
    scene = with_command("*:8000")
    scene.give(3.6, OutputRead(JOB, (PYTHON,)))
    holder = Holder(kind=HolderKind.OTHER, pid=7, command="other", user="root")
    scene.give(3.7, HolderFound(JOB, HolderReport("*:8000", (holder,))))

    assert scene.looks[-1].address == "*:8000"
    assert "*:8000 is in use by pid 7" in scene.alerts[-1].annotations["summary"]


def test_the_address_is_not_known_yet() -> None:
    """A line that names it can follow: the alert does not say that there is none."""
    scene = failing_job()
    scene.give(3.6, OutputRead(JOB, (PYTHON,)))

    assert scene.sent == ["first: bind_conflict"]
    assert scene.looks == []
    assert "unknown" not in scene.alerts[-1].annotations["summary"]


def test_the_guess_is_wrong() -> None:
    """Nobody has the address of the command, so it is not named."""
    scene = with_command("*:8000")
    scene.give(3.6, OutputRead(JOB, (PYTHON,)))
    scene.give(3.7, HolderFound(JOB, HolderReport("*:8000", ())))

    assert scene.sent == ["first: bind_conflict"]
    assert "8000" not in str(scene.alerts[-1].annotations)


def test_php_writes_to_stdout() -> None:
    """php-fpm's log is not open yet."""
    scene = Scenario().fail(0.0, 1.0, 3.0)
    scene.give(3.6, OutputRead(FPM, (FATAL,)))

    assert scene.sent[-1].endswith("config_error")
    assert "PHP does not start" in scene.alerts[-1].annotations["summary"]


def test_php_fpm_has_run() -> None:
    """An application can print any line; php-fpm reported that it runs, so it started."""
    scene = Scenario()
    for at in (0.0, 1.0, 3.0):
        scene.play(f"{at} starting", f"{at + 0.1} log ready", f"{at + 0.5} backoff")
    scene.give(3.6, OutputRead(FPM, (FATAL,)))

    assert scene.sent == ["first: restart_loop"]


def test_a_signal_refutes_the_output() -> None:
    """php-fpm exits with a status if it cannot start."""
    scene = Scenario(exits=True).fail(0.0, 1.0, 3.0)
    scene.play("3.55 exits -11 -11 -11")
    scene.give(3.6, OutputRead(FPM, (FATAL,)))

    assert scene.sent[-1].endswith("crash_signal")


def test_php_fpm_does_not_understand_its_options() -> None:
    """Exit status 64 is enough; the word of the command is named."""
    scene = Scenario(exits=True)
    site = FpmSite(addresses=(ADDRESS,), error_logs=(LOG,), refused="--nodaemon")
    programs = (Program(name=FPM, command="php-fpm -F --nodaemon"),)
    scene.give(0.0, ProgramsKnown(programs=programs, sites={FPM: site}))
    scene.fail(0.0, 1.0, 3.0).play("3.55 exits 64 64 64")

    alert = scene.alerts[-1]
    assert alert.annotations["cause"] == "config_error"
    assert "php-fpm does not understand its options: --nodaemon" in alert.annotations["summary"]
