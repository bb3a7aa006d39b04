"""Self-healing on a real supervisord: pauses, the operator's commands, the end of a container."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.lab import Lab, kill
from tests.ports import free_port
from tests.waiting import wait_until

DOCS = Path(__file__).parent.parent.parent / "docs" / "healing.md"
PAUSED = "program stopped for a while: restart loop"


def healing(lab: Lab) -> dict[str, Any]:
    """Return the self-healing plan for php-fpm."""
    programs = json.loads(lab.get("/status.json"))["programs"]
    found: dict[str, Any] = next(one for one in programs if one["name"] == "php-fpm:php-fpm")
    return {**found["healing"], "state": found["state"]}


def is_paused(lab: Lab) -> bool:
    """Return whether the listener has stopped php-fpm."""
    return bool(healing(lab)["stopped_by_us"])


def stopped_plan(lab: Lab) -> dict[str, Any] | None:
    """Return the plan while php-fpm is stopped: one look, since the pause takes a second only."""
    plan = healing(lab)
    return plan if plan["stopped_by_us"] and plan["state"] == "STOPPED" else None


def test_a_program_in_a_restart_loop(lab: Lab) -> None:
    """The listener stops and starts it, also after its own restart, until the operator decides."""
    port, told = free_port(), lab.folder / "told"
    stray = lab.hold_port(port)
    lab.settings |= {
        "loop": "2 in 60s",
        "loop_delay": "1s..60s",
        "exec_on": "bind_conflict",
        "exec_command": f"/bin/sh -c 'cat >>{told}'",
    }
    lab.fpm_program(f"127.0.0.1:{port}", startretries="1000")
    lab.start()
    plan = wait_until(lambda: stopped_plan(lab), "the pause")
    # A busy machine can miss the first pauses, and each is twice as long as the one before.
    assert plan["next_start_in_s"] <= 2.0 * 2 ** plan["starts"]
    kill(lab.listener_pid())
    wait_until(lambda: healing(lab)["starts"] >= 1, "a start by the next listener")

    wait_until(lambda: is_paused(lab), "another pause")
    lab.ctl("reload")  # supervisord starts again, and starts the program itself
    wait_until(lambda: lab.log().count("listener started") == 3, "the third listener")
    assert "program cannot be started" not in lab.log()
    config = str(lab.folder / "supervisord.d" / "fpm_listener.conf")
    leave = [sys.executable, "-m", "fpm_listener", "leave", "--config", config]
    refused = subprocess.run([*leave, "nothing"], capture_output=True, text=True, check=False)
    assert (refused.returncode, "knows no program 'nothing'" in refused.stderr) == (2, True)
    # On a busy machine the log is followed late; the program must still fail then.
    wait_until(told.exists, "the command for the bind conflict")
    third = lab.log().rpartition("listener started")[0]
    wait_until(lambda: PAUSED in lab.log()[len(third) :], "a new pause, not the remembered one")
    wait_until(lambda: f"kill {stray.pid}" in lab.get("/status.json"), "the remedy")
    # A pause that does not end before `after` and `leave` have.
    lab.change_settings(loop_delay="10m..20m")
    wait_until(
        lambda: (plan := stopped_plan(lab)) and (plan["next_start_in_s"] or 0) > 120, "a long pause"
    )
    conf = str(lab.folder / "supervisord.conf")
    after = ["after", "php-fpm", "--timeout=100ms", "--config", config, "--supervisord-conf", conf]
    done = subprocess.run(
        [sys.executable, "-m", "fpm_listener", *after, "--", "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 75
    assert "is in use" in done.stderr, done.stderr
    assert f"kill {stray.pid}" in done.stderr, done.stderr
    done = subprocess.run([*leave, "php-fpm"], capture_output=True, text=True, check=True)
    assert "no self-healing of php-fpm until you start it" in done.stdout
    wait_until(lambda: not is_paused(lab), "no plan")
    assert healing(lab) == {
        "starts": healing(lab)["starts"],
        "stopped_by_us": False,
        "next_start_in_s": None,
        "worn_out": False,
        "state": "STOPPED",
    }

    stray.kill()
    stray.wait()
    assert "started" in lab.ctl("start", "php-fpm")
    lab.wait_for_php_fpm()
    incidents = [json.loads(line) for line in told.read_text().splitlines()]
    assert [one["annotations"]["cause"] for one in incidents] == ["bind_conflict"]
    assert 'fpm_listener_notifications_total{receiver="exec_on"}' in lab.metrics()


def entry_point(lab: Lab) -> Path:
    """Return the entry point of the documentation, with the paths of this lab."""
    (script,) = re.findall(r"```sh\n(.*?)```", DOCS.read_text(), re.DOTALL)
    supervisord = f"{sys.executable} -m supervisor.supervisord"
    script = script.replace("/var/lib/fpm-listener", str(lab.folder / "state"))
    script = script.replace("/etc/supervisor/supervisord.conf", str(lab.write()))
    path = lab.folder / "entrypoint.sh"
    path.write_text(script.replace("\nsupervisord ", f"\n{supervisord} "))
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("first", "status"), [("supervisord", 0), ("the entry point", 1), ("run", 1)]
)
def test_on_fatal_shutdown(lab: Lab, first: str, status: int) -> None:
    """The alert is sent first, then supervisord ends, also as the first process of a container.

    The receiver takes longer than an ending listener waits for answers. Jobs that are done change
    nothing, and with `run` the program crashes and is not restarted.
    """
    lab.settings["on_fatal"] = "shutdown"
    lab.webhook.takes_s = 2.0
    (lab.folder / "termination-log").touch()
    lab.settings["termination_log"] = str(lab.folder / "termination-log")
    lab.program("migration", "/bin/true", autorestart="false", startsecs="0")
    lab.program("well", "/bin/sleep 1000")
    if first == "run":
        lab.program("broken", "/bin/sh -c 'sleep 2; exit 4'", autorestart="false")
    else:
        # On a busy machine, it could run longer than the usual startsecs.
        lab.program("broken", "/bin/false", startretries="0", startsecs="3600")
    lab.webhook.start()
    conf = lab.write()
    command = [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(conf)]
    if first == "the entry point":
        command = [str(entry_point(lab))]
    elif first == "run":
        command = [sys.executable, "-m", "fpm_listener", "run", "--", *command]
    # Where namespaces are forbidden, supervisord runs without one.
    alone = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "--"]
    if subprocess.run([*alone, "true"], check=False, capture_output=True).returncode:
        alone = []
    with (lab.folder / "supervisord.out").open("ab") as out:
        ended = subprocess.run([*alone, *command], stdout=out, stderr=out, check=False, timeout=200)

    assert ended.returncode == status
    reason = "broken:broken crashed" if first == "run" else "gave up on broken:broken"
    assert reason in (lab.folder / "state" / "shutdown").read_text()
    assert reason in (lab.folder / "termination-log").read_text()
    (told,) = lab.webhook.alerts("firing")
    assert told["annotations"]["cause"] == "gave_up"
    assert (
        f"shutting supervisord down: a program {'crashed' if first == 'run' else 'is FATAL'}"
        in (lab.log())
    )
