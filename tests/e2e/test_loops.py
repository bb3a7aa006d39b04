"""Incidents from counting: workers that fail, programs that exit as expected, forced stops.

All programs share one supervisord.
"""

from __future__ import annotations

import re
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.case_lab import CaseLab, running_case_lab
from tests.e2e.lab import handles, kill
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.xdist_group("loops")  # one process: they share a lab

#: A program that ignores TERM: supervisord must kill it.
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(1000)"
#: A program that exits with 0 after a second and a third.
SHORT = f"{sys.executable} -c 'import time; time.sleep(1.3)'"


@pytest.fixture(scope="module")
def loops() -> Iterator[CaseLab]:
    """Run all programs at once."""
    with running_case_lab() as lab:
        (lab.add_case("L21") / "release").mkdir()
        lab.add_case("L23")
        lab.add_case("L24")
        conf = lab.add_case("L23", "slow", stopwaitsecs="2", stopsignal="QUIT") / "php-fpm.conf"
        text = conf.read_text().replace("[global]", "[global]\nprocess_control_timeout = 30")
        conf.write_text(text)
        lab.program("once", SHORT, autorestart="true", startsecs="0")
        lab.program("unexpected", SHORT, autorestart="unexpected")
        lab.program("restarted", f"{sys.executable} -c 'import time; time.sleep(1000)'")
        lab.program("stubborn", f'{sys.executable} -c "{STUBBORN}"', stopwaitsecs="2")
        lab.start()
        yield lab


def end_workers(lab: CaseLab, name: str) -> None:
    """Remove the directory that `chdir` names, and let the running workers end."""
    wait_until(lambda: lab.workers(name), "workers")
    (lab.folder / name / "release").rmdir()
    for worker in lab.workers(name):
        kill(worker, signal.SIGTERM)


def test_a_deployment_removes_the_directory(loops: CaseLab) -> None:
    """Hundreds of workers a second exit with 70: the alert is critical, and names the directory."""
    end_workers(loops, "L21")
    alert = loops.alert("L21", cause="worker_failure")

    folder = str(loops.folder / "L21" / "release")
    assert alert["labels"]["severity"] == "critical"
    because = f"its workers do not start, because {folder} does not exist"
    loops.shows("L21", "summary", because)
    remedy = loops.shows("L21", "remedy", f"Create {folder} again")
    assert "supervisorctl restart" not in remedy
    assert "exited with code 70" in alert["annotations"]["evidence"]
    assert loops.state("L21") == "RUNNING"
    Path(folder).mkdir()
    assert loops.alert("L21", "resolved")["annotations"]["cause"] == "worker_failure"


def test_workers_are_killed_again_and_again(loops: CaseLab) -> None:
    """SIGKILL of each worker: a warning, after a look for a lack of memory."""
    killed: set[int] = set()
    while len(killed) < 5:
        (worker, *_) = wait_until(lambda: set(loops.workers("L23")) - killed, "a worker")
        killed.add(worker)
        kill(worker)
    alert = loops.alert("L23", cause="worker_failure")

    assert alert["labels"]["severity"] == "warning"
    assert "its workers are killed again and again (SIGKILL)" in alert["annotations"]["summary"]
    assert "SIGKILL" in alert["annotations"]["evidence"]


def test_a_queue_worker_that_exits_at_once(loops: CaseLab) -> None:
    """Expected exits are a warning of their own: status, number and a remedy that helps."""
    alert = loops.alert("L24", cause="exit_loop")
    said = alert["annotations"]

    assert alert["labels"]["severity"] == "warning"
    assert re.search(r"again and again: \d+ restarts in \d+ s; supervisord treats", said["summary"])
    assert "--max-time" in said["remedy"]
    wait_until(
        lambda: "exits with status 0 again" in loops.status("L24")["incident"]["summary"],
        "the exit status",
    )


def test_programs_that_are_meant_to_exit(loops: CaseLab) -> None:
    """startsecs=0, and a program that is not started again: as many runs, and no alert."""
    loops.alert("L24", cause="exit_loop")
    wait_until(
        lambda: loops.metric("fpm_listener_process_restarts_total", "once") >= 12, "12 restarts"
    )

    assert not loops.webhook.alerts(process="once")
    assert not loops.webhook.alerts(process="unexpected")


def test_an_operator_restarts_a_program(loops: CaseLab) -> None:
    """Twelve restarts by hand are no loop."""
    for _ in range(12):
        loops.restart_program("restarted")
    name = "fpm_listener_process_starts_total"
    wait_until(lambda: loops.metric(name, "restarted") >= 13, "12 restarts")

    assert not loops.webhook.alerts(process="restarted")


def test_supervisord_kills_a_program(loops: CaseLab) -> None:
    """One warning, no failure; resolved when the program runs, and not before."""
    wait_until(lambda: handles(loops.process_info("stubborn")["pid"], signal.SIGTERM), "its start")
    loops.ctl("stop", "stubborn")
    alert = loops.alert("stubborn", cause="stop_timeout")
    said = alert["annotations"]

    assert alert["labels"]["severity"] == "warning"
    assert "did not stop in time (stopwaitsecs=2)" in said["summary"]
    assert "SIGKILL" in said["evidence"]  # from supervisord's log, or from the kernel
    assert "stopwaitsecs" in said["remedy"]
    assert "process_control_timeout" not in said["remedy"]
    assert not loops.webhook.alerts("resolved", "stubborn")
    loops.ctl("start", "stubborn")
    assert loops.alert("stubborn", "resolved")["annotations"]["cause"] == "stop_timeout"
    assert loops.metric("fpm_listener_process_unexpected_exits_total", "stubborn") == 0


def test_supervisord_kills_php_fpm(loops: CaseLab) -> None:
    """A request is longer than stopwaitsecs: the remedy is about both timeouts."""
    wait_until(lambda: loops.process_info("slow")["statename"] == "RUNNING", "its start")
    (worker, *_) = wait_until(lambda: loops.workers("slow"), "a worker")
    kill(worker, signal.SIGSTOP)  # it does not end, as with a long request
    loops.ctl("restart", "slow")
    alert = loops.alert("slow", cause="stop_timeout")

    assert "running requests were cut" in alert["annotations"]["summary"]
    assert "process_control_timeout" in alert["annotations"]["remedy"]
    loops.alert("slow", "resolved")
    assert [one["annotations"]["cause"] for one in loops.webhook.alerts("firing", "slow")] == [
        "stop_timeout"
    ]


@pytest.fixture
def quiet() -> Iterator[CaseLab]:
    """Return a supervisord whose log has no exits."""
    with running_case_lab() as lab:
        lab.main_extra = "loglevel=error"
        lab.add_case("L25")
        lab.start()
        yield lab


def test_the_log_of_supervisord_has_no_exits(quiet: CaseLab) -> None:
    """The alert has the exit from another source, or says why it is unknown and what to set."""
    for _ in range(4):
        quiet.kill_php_fpm(name="L25")
    alert = quiet.alert("L25")
    said = alert["annotations"]

    assert said["cause"] in {"restart_loop", "crash_signal"}
    assert "killed by SIGKILL" in said["description"] or (
        "supervisord's log has no exits with loglevel=error" in said["description"]
    )
