"""Failures of real users, with a real supervisord and php-fpm."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.lab import Lab, kill, php_fpm, ping, processes
from tests.ports import free_port
from tests.waiting import wait_until


def wait_for_alert(lab: Lab, status: str, **annotations: str) -> dict[str, Any]:
    """Wait for an alert with these annotations; return it."""

    def find() -> dict[str, Any] | None:
        for heard in lab.webhook.alerts(status):
            if annotations.items() <= heard["annotations"].items():
                return heard
        return None

    return wait_until(find, f"an alert {status} {annotations}")


def causes_told(lab: Lab) -> list[tuple[str, str]]:
    """Return the status and the cause of each alert, in their order.

    On a busy machine, an alert of the loop can come before the one of its cause; it is left out.
    """
    told = [(one["status"], one["annotations"]["cause"]) for one in lab.webhook.alerts()]
    return [one for one in told if one != ("firing", "restart_loop")]


def make_orphans(lab: Lab) -> int:
    """Kill the master with SIGKILL; return its pid. Its workers keep the address."""
    master = lab.wait_for_php_fpm()
    kill(master)
    return master


def test_the_master_crashes_once(lab: Lab) -> None:
    """The crash is counted with its signal, and there is no alert."""
    lab.fpm_program(f"127.0.0.1:{free_port()}")
    lab.start()
    master = lab.wait_for_php_fpm()
    wait_until(lambda: lab.metric("fpm_listener_process_state", state="RUNNING") == 1, "RUNNING")
    lab.kill_php_fpm(signal.SIGSEGV)
    wait_until(lambda: lab.metric("fpm_listener_process_unexpected_exits_total") == 1, "the crash")
    wait_until(lambda: lab.master() not in {None, master}, "the new master")

    wait_until(
        lambda: lab.metric("fpm_listener_process_last_exit_status") == -signal.SIGSEGV, "the signal"
    )
    wait_until(lambda: lab.metric("fpm_listener_process_restarts_total") == 1, "the restart")
    wait_until(
        lambda: lab.metric("fpm_listener_process_starts_total") == 2,
        "fpm_listener_process_starts_total",
    )
    assert lab.webhook.alerts() == []


def test_the_recipe_with_orphans_on_its_port(lab: Lab) -> None:
    """There is no FATAL; one alert names cause and holder, and one says that it is resolved."""
    port = free_port()
    lab.recipe(f"127.0.0.1:{port}")
    lab.start()
    master = make_orphans(lab)
    orphans = lab.workers()

    firing = wait_for_alert(lab, "firing", cause="bind_conflict")
    assert firing["labels"]["alertname"] == "PhpFpmFailing"
    assert firing["labels"]["process"] == "php-fpm"
    assert "Address already in use (98)" in firing["annotations"]["evidence"]
    incident = lab.wait_for_holder()
    assert f"orphan of the dead master {master}" in incident["holder"]
    assert str(orphans[0]) in incident["holder"]
    assert "kill -QUIT" in incident["remedy"]
    assert lab.metric("fpm_listener_process_fatal_total") == 0
    wait_until(
        lambda: lab.metric("fpm_listener_bind_conflicts_total") >= 1,
        "fpm_listener_bind_conflicts_total",
    )
    wait_until(
        lambda: lab.metric("fpm_listener_restart_loop", tier="fast") == 1,
        "fpm_listener_restart_loop",
    )
    wait_until(
        lambda: lab.metrics()['fpm_listener_findings{severity="error"}'] >= 4,
        "fpm_listener_findings",
    )
    for finding in ("FPM001", "FPM008", "FPM013"):
        assert f"error in the configuration id={finding} " in lab.log()

    for orphan in orphans:
        kill(orphan, signal.SIGQUIT)
    resolved = wait_for_alert(lab, "resolved")
    assert resolved["startsAt"] == firing["startsAt"]
    assert resolved["labels"] == firing["labels"]
    assert causes_told(lab) == [("firing", "bind_conflict"), ("resolved", "bind_conflict")]
    wait_until(
        lambda: lab.metric("fpm_listener_restart_loop", tier="fast") == 0,
        "fpm_listener_restart_loop",
    )


def test_a_plain_command_until_fatal(lab: Lab) -> None:
    """supervisord gives up; the incident gets worse, and there is no second one."""
    lab.fpm_program(f"127.0.0.1:{free_port()}", startsecs="2", startretries="3")
    lab.start()
    make_orphans(lab)

    wait_until(lambda: lab.metric("fpm_listener_process_fatal_total") == 1, "FATAL")

    def worse() -> dict[str, Any] | None:
        told = [one["annotations"] for one in lab.webhook.alerts("firing")]
        told = [one for one in told if "gave up" in one["summary"]]
        # On a busy machine, it can get worse before its cause is known.
        return next((one for one in told if one["cause"] == "bind_conflict"), None)

    assert " start php-fpm" in wait_until(worse, "the alert that it got worse")["remedy"]
    assert len({heard["startsAt"] for heard in lab.webhook.alerts()}) == 1
    wait_until(
        lambda: lab.metric("fpm_listener_process_last_exit_status") == 78,
        "fpm_listener_process_last_exit_status",
    )
    wait_until(
        lambda: lab.metric("fpm_listener_incident_firing", cause="bind_conflict") == 1,
        "fpm_listener_incident_firing",
    )


def test_restart_fatal(lab: Lab) -> None:
    """The program is started when its cause is gone; nobody has to act."""
    port = free_port()
    stray = lab.hold_port(port)
    lab.settings["restart_fatal"] = "2s..4s"
    lab.fpm_program(f"127.0.0.1:{port}", startsecs="2", startretries="1")
    lab.start()
    wait_until(lambda: lab.metric("fpm_listener_process_fatal_total") >= 2, "FATAL, again")
    wait_until(
        lambda: lab.metric("fpm_listener_process_healed_total") >= 1,
        "fpm_listener_process_healed_total",
    )
    # On a busy machine, the log is followed late: the program must still fail then.
    wait_for_alert(lab, "firing", cause="bind_conflict")
    stray.kill()
    stray.wait()

    lab.wait_for_php_fpm()
    resolved = wait_for_alert(lab, "resolved")
    assert resolved["annotations"]["cause"] == "bind_conflict"
    assert "program started by self-healing program=php-fpm" in lab.log()
    assert len({heard["startsAt"] for heard in lab.webhook.alerts()}) == 1


def test_a_stray_daemonized_master(lab: Lab) -> None:
    """The alert names it as a running php-fpm, and it is not touched."""
    port = free_port()
    conf = lab.fpm_conf(f"127.0.0.1:{port}", name="stray")
    subprocess.run([php_fpm(), "-D", "-y", str(conf)], check=True)
    stray = lab.wait_for_php_fpm("stray")
    lab.fpm_program(f"127.0.0.1:{port}")
    lab.start()

    wait_for_alert(lab, "firing", cause="bind_conflict")
    holder = lab.wait_for_holder()["holder"]
    assert f"pid {stray} " in holder
    assert "another running php-fpm" in holder
    assert lab.master("stray") == stray


def test_a_unix_socket_is_in_use(lab: Lab) -> None:
    """It is a bind conflict too, although its log line has no errno."""
    path = lab.folder / "w.sock"
    stray = lab.fpm_conf(str(path), name="stray")
    lab.stray(php_fpm(), "-F", "-y", str(stray))
    lab.wait_for_php_fpm("stray")
    lab.fpm_program(str(path))
    lab.start()

    annotations = wait_for_alert(lab, "firing", cause="bind_conflict")["annotations"]
    assert annotations["address"] == str(path)
    assert f"pid {lab.master('stray')} " in lab.wait_for_holder()["holder"]


@pytest.mark.parametrize(
    "keys",
    [
        {"stderr_events_enabled": "true", "stderr_logfile": "NONE"},
        {"stderr_events_enabled": "true"},
        {},
        {"stderr_logfile": "AUTO"},
        {"redirect_stderr": "true", "stdout_logfile": "AUTO"},
    ],
    ids=["events", "events and file", "file", "a file that supervisord names", "on stdout"],
)
def test_a_broken_configuration(lab: Lab, keys: dict[str, str]) -> None:
    """The cause comes from stderr: php-fpm writes it before it opens its log."""
    conf = lab.fpm_program(f"127.0.0.1:{free_port()}", **keys)
    conf.write_text(conf.read_text() + "nonsense = 1\n")
    lab.start()

    evidence = wait_for_alert(lab, "firing", cause="config_error")["annotations"]["evidence"]
    assert "unknown entry 'nonsense'" in evidence
    assert lab.metric("fpm_listener_bind_conflicts_total") == 0

    def counts_match() -> bool:
        # A line can be known before the event of its start.
        facts = lab.metric("fpm_listener_fpm_log_facts_total", fact="config_error")
        return facts <= 2 * lab.metric("fpm_listener_process_starts_total")

    wait_until(counts_match, "at most two lines for each start")


def test_the_operator_stops_and_restarts(lab: Lab) -> None:
    """Nothing counts as a failure, and there is no alert."""
    # On a busy machine, a stop can need longer than the usual 10 s.
    lab.fpm_program(f"127.0.0.1:{free_port()}", stopsignal="QUIT", stopwaitsecs="120")
    lab.start()
    lab.wait_for_php_fpm()
    for _ in range(4):
        lab.ctl("restart", "php-fpm")
    lab.ctl("stop", "php-fpm")
    wait_until(lambda: lab.metric("fpm_listener_process_state", state="STOPPED") == 1, "STOPPED")

    wait_until(
        lambda: lab.metric("fpm_listener_process_starts_total") == 5,
        "fpm_listener_process_starts_total",
    )
    for name in ("restarts", "failed_starts", "unexpected_exits", "exits", "fatal"):
        assert lab.metric(f"fpm_listener_process_{name}_total") == 0
    assert lab.metric("fpm_listener_restart_loop", tier="fast") == 0
    assert lab.webhook.alerts() == []


@pytest.mark.parametrize("how", ["rename", "copytruncate"])
def test_the_log_is_rotated_during_a_restart_loop(lab: Lab, how: str) -> None:
    """No line is lost, and no line counts twice."""
    port = free_port()
    lab.recipe(f"127.0.0.1:{port}")
    lab.start()
    make_orphans(lab)
    wait_for_alert(lab, "firing", cause="bind_conflict")

    kept = lab.fpm_log().with_suffix(".log.1")
    if how == "rename":
        lab.fpm_log().rename(kept)
    else:
        # A line between the copy and the cut would be lost for everybody, so nothing runs then.
        kill(lab.supervisord_pid, signal.SIGSTOP)
        wait_until(lambda: not processes(f"{lab.folder}/php-fpm.conf"), "a pause")
        kept.write_bytes(lab.fpm_log().read_bytes())
        os.truncate(lab.fpm_log(), 0)
        kill(lab.supervisord_pid, signal.SIGCONT)

    def lines() -> int:
        logs = [path.read_text() for path in (kept, lab.fpm_log()) if path.exists()]
        return sum(text.count("unable to bind") for text in logs)

    at_rotation = lines()
    wait_until(lambda: lines() >= at_rotation + 3, "three more failures")
    for orphan in lab.workers():
        kill(orphan)
    lab.wait_for_php_fpm()
    wait_until(lambda: lab.metric("fpm_listener_bind_conflicts_total") == lines(), "all lines")
    assert causes_told(lab).count(("firing", "bind_conflict")) == 1


def test_error_log_on_stderr(lab: Lab) -> None:
    """Each line arrives twice on stderr, and counts once."""
    port = free_port()
    conf = lab.fpm_conf(f"127.0.0.1:{port}")
    conf.write_text(conf.read_text().replace(str(lab.fpm_log()), "/proc/self/fd/2"))
    lab.program("php-fpm", f"{php_fpm()} -F -y {conf}", stderr_events_enabled="true", startsecs="2")
    lab.start()
    make_orphans(lab)

    wait_for_alert(lab, "firing", cause="bind_conflict")
    wait_until(lambda: lab.metric("fpm_listener_process_fatal_total") == 1, "FATAL")
    stderr = (lab.folder / "php-fpm.stderr").read_text()
    distinct = {line for line in stderr.splitlines() if "unable to bind" in line}
    assert stderr.count("unable to bind") == 2 * len(distinct)
    wait_until(
        lambda: lab.metric("fpm_listener_bind_conflicts_total") == len(distinct),
        "fpm_listener_bind_conflicts_total",
    )


def test_without_xml_rpc(lab: Lab) -> None:
    """Everything works except the exit codes, and a metric says so."""
    lab.rpc = False
    lab.fpm_program(f"127.0.0.1:{free_port()}", startsecs="2")
    lab.start()
    make_orphans(lab)

    wait_for_alert(lab, "firing", cause="bind_conflict")
    assert "orphan of the dead master" in lab.wait_for_holder()["holder"]
    wait_until(
        lambda: lab.metrics()["fpm_listener_supervisor_up"] == 0, "fpm_listener_supervisor_up"
    )


def test_the_listener_is_killed_while_five_programs_fail(lab: Lab) -> None:
    """No incident is lost, and none has two ids."""
    lab.settings["stable_for"] = "10s"
    lab.fpm_program(f"127.0.0.1:{free_port()}", startsecs="2")
    for number in range(4):
        lab.program(f"failing{number}", "/bin/sh -c 'sleep 1.3; exit 3'", autorestart="true")
    lab.start()
    make_orphans(lab)

    def exits() -> int:
        return (lab.folder / "supervisord.log").read_text().count("exited: failing")

    for _ in range(5):
        before = exits()
        wait_until(lambda before=before: exits() >= before + 4, "four more exits")  # type: ignore[misc]
        kill(lab.listener_pid())
        wait_until(lab.is_ready, "the listener to be back")

    wait_until(
        lambda: (
            {a["labels"]["process"] for a in lab.webhook.alerts("firing")}
            >= {"php-fpm", "failing0", "failing1", "failing2", "failing3"}
        ),
        "every incident",
    )
    assert len(set(lab.webhook.keys)) >= 5
    starts = {(a["labels"]["process"], a["startsAt"]) for a in lab.webhook.alerts()}
    starts = {start for start in starts if start[0] != "fpm-listener"}  # it was in trouble as well
    assert len(starts) == 5, starts


def test_supervisord_reload_and_update(lab: Lab) -> None:
    """The incident stays, and a group that was removed and added again is monitored."""
    lab.fpm_program(f"127.0.0.1:{free_port()}", startsecs="2", startretries="1000")
    lab.program("job", "/bin/sleep 1000")
    lab.start()
    master = make_orphans(lab)
    firing = wait_for_alert(lab, "firing", cause="bind_conflict")
    before = lab.listener_pid()
    lab.ctl("reload")
    wait_until(lambda: not Path(f"/proc/{before}").exists(), "the listener to end")
    wait_until(lab.is_ready, "the listener to be back")
    wait_until(lambda: lab.metric("fpm_listener_process_failed_starts_total") >= 1, "a failure")
    wait_until(
        lambda: lab.metric("fpm_listener_incident_firing", cause="bind_conflict") == 1,
        "fpm_listener_incident_firing",
    )
    assert {heard["startsAt"] for heard in lab.webhook.alerts()} == {firing["startsAt"]}
    wait_until(lambda: f"dead master {master}" in lab.get("/status.json"), "the holder")

    lab.sections["program:job"]["command"] = "/bin/sleep 2000"
    lab.write()
    lab.ctl("update")
    wait_until(lambda: processes("^/bin/sleep 2000"), "the new job")
    wait_until(
        lambda: lab.metric("fpm_listener_process_state", "job", state="RUNNING") == 1, "RUNNING"
    )
    for pid in processes("^/bin/sleep 2000"):
        kill(pid)
    wait_until(
        lambda: lab.metric("fpm_listener_process_unexpected_exits_total", "job") == 1, "its crash"
    )

    lab.fpm_program(f"127.0.0.1:{free_port()}", name="second")
    lab.write()
    lab.ctl("update")
    name = "fpm_listener_bind_conflicts_total"  # only a php-fpm has it
    wait_until(lambda: lab.metric(name, "second") == 0, "a php-fpm that is new")
    lab.ctl("stop", "second")
    lab.ctl("remove", "second")
    wait_until(lambda: lab.metric(name, "second") != 0, "it to be gone")


def test_the_receiver_is_down_until_the_incident_is_resolved(lab: Lab) -> None:
    """It gets the firing alert and then the resolved one."""
    lab.recipe(f"127.0.0.1:{free_port()}")
    lab.start(webhook=False)
    make_orphans(lab)
    wait_until(lambda: lab.metric("fpm_listener_restart_loop", tier="fast") == 1, "the loop")
    owed = 'fpm_listener_alerts_pending{receiver="ops"}'
    wait_until(lambda: lab.metrics()[owed] >= 1, "the alert that is owed")
    for orphan in lab.workers():
        kill(orphan)
    wait_until(lambda: lab.metric("fpm_listener_restart_loop", tier="fast") == 0, "its end")
    lab.webhook.start()

    wait_for_alert(lab, "resolved")
    assert causes_told(lab) == [("firing", "bind_conflict"), ("resolved", "bind_conflict")]
    wait_until(lambda: lab.metrics()[owed] == 0, "nothing owed")


def test_an_overflow_of_supervisords_buffer(lab: Lab) -> None:
    """The listener counts the discarded events by the gaps in their numbers."""
    lab.listener_keys["buffer_size"] = "5"
    for number in range(6):
        lab.program(f"p{number}", "/bin/sleep 1000")
    lab.start()
    wait_until(
        lambda: lab.metric("fpm_listener_process_state", "p5", state="RUNNING") == 1, "RUNNING"
    )
    # What supervisord discards before the listener's first event cannot be told from what another
    # listener has answered, so it is not counted.
    before = overflows(lab) - missed(lab)
    pid = lab.listener_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        for _ in range(2):
            lab.ctl("restart", *(f"p{number}" for number in range(6)))
    finally:
        os.kill(pid, signal.SIGCONT)

    assert overflows(lab) > before
    wait_until(lambda: missed(lab) == overflows(lab) - before, "the holes")


def overflows(lab: Lab) -> int:
    """Return the number of events that supervisord has discarded so far."""
    return (lab.folder / "supervisord.log").read_text().count("overflowed")


def missed(lab: Lab) -> float:
    """Return the number of discarded events that the listener has noticed."""
    return lab.metrics()["fpm_listener_events_missed_total"]


def test_an_application_writes_false_log_lines(lab: Lab) -> None:
    """They do not count, because the process already reported that it is ready."""
    port = free_port()
    script = lab.folder / "forge.php"
    line = (
        "[23-Nov-2026 10:00:00] ERROR: unable to bind listening socket for address "
        f"'127.0.0.1:{port}': Address already in use (98)"
    )
    script.write_text(f"<?php file_put_contents('php://stderr', \"{line}\\n\"); echo 'done';")
    script.chmod(0o644)
    lab.settings["stable_for"] = "60s"
    conf = lab.fpm_program(f"127.0.0.1:{port}")
    conf.write_text(conf.read_text() + "catch_workers_output=yes\ndecorate_workers_output=no\n")
    lab.start()
    for _ in range(3):
        master = lab.wait_for_php_fpm()
        wait_until(
            lambda: "done" in ping(f"127.0.0.1:{port}", str(script), str(script)), "the script"
        )
        wait_until(lambda: line in lab.fpm_log().read_text(), "the false line")
        lab.kill_php_fpm()
        wait_until(partial(has_other_master, lab, master), "another master")

    wait_for_alert(lab, "firing", cause="crash_signal")
    assert lab.metric("fpm_listener_bind_conflicts_total") == 0
    assert not [a for a in lab.webhook.alerts() if a["annotations"]["cause"] == "bind_conflict"]


def test_programs_that_are_not_php_fpm(lab: Lab) -> None:
    """Groups and numprocs are distinguished, and a crashing job has an alert too."""
    lab.program(
        "worker",
        "/bin/sh -c 'sleep 1.2; exit 7'",
        numprocs="2",
        process_name="%(program_name)s_%(process_num)02d",
        autorestart="true",
    )
    lab.program("fine", "/bin/sleep 1000")
    lab.program("done", "/bin/true", startsecs="0", autorestart="false")
    lab.start()
    for process in ("worker_00", "worker_01"):
        heard = wait_until(partial(lab.webhook.alerts, "firing", process), "the alert")[0]
        assert heard["labels"]["group"] == "worker"
        assert heard["labels"]["alertname"] == "ProgramFailing"
        lab.wait_for_summary(f"worker:{process}", "exit status 7")
    assert not lab.webhook.alerts(process="fine")
    assert not lab.webhook.alerts(process="done")
    wait_until(
        lambda: lab.metric("fpm_listener_process_last_exit_status", "worker_00", "worker") == 7,
        "fpm_listener_process_last_exit_status",
    )


def test_a_receiver_never_answers(lab: Lab) -> None:
    """SIGTERM ends the listener at once."""
    with socket.create_server(("127.0.0.1", 0)) as hanging:
        lab.receiver["url"] = f"http://127.0.0.1:{hanging.getsockname()[1]}/"
        lab.program("worker", "/bin/sh -c 'sleep 1.2; exit 7'", autorestart="true")
        lab.start(webhook=False)
        wait_until(
            lambda: lab.metric("fpm_listener_restart_loop", "worker", tier="fast") == 1, "the loop"
        )
        starts = lab.metric("fpm_listener_process_starts_total", "worker")
        wait_until(
            lambda: lab.metric("fpm_listener_process_starts_total", "worker") >= starts + 2,
            "events to go on",
        )
        pid = lab.listener_pid()
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: is_gone(pid), "the listener to end")


def has_other_master(lab: Lab, old: int) -> bool:
    """Return whether php-fpm has another master."""
    return lab.master() not in {None, old}


def is_gone(pid: int) -> bool:
    """Return whether no process has this pid."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False
