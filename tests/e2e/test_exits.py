"""Exit statuses without an http server in supervisord, and php-fpm behind a script."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from tests.e2e.case_lab import CaseLab, running_case_lab
from tests.e2e.lab import php_fpm
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.xdist_group("exits")  # one process: they share a lab


@pytest.fixture(scope="module")
def lab() -> Iterator[CaseLab]:
    """Run all programs at once, without XML-RPC and without a log of supervisord."""
    with running_case_lab() as lab, socket.socket() as holder:
        lab.rpc = False
        lab.main_extra = "loglevel=error"
        lab.add_case("L34", startretries="1000")
        host, _, port = lab.addresses["L34"].rpartition(":")
        holder.bind((host, int(port)))
        holder.listen()
        status = "bash -c 'read -t 0.5 <> <(:); exit 42'"
        # Of runs that end before the listener knows the programs, little is known: there are more.
        lab.program("status", status, autorestart="true", startretries="1000")
        killed = "bash -c 'read -t 1.5 <> <(:); kill -KILL $$'"
        lab.program("killed", killed, autorestart="true", startsecs="1")
        # No text of the command or of the script shows a php-fpm.
        lab.settings["php_fpm"] = "named"
        messages = f"ERROR: unable to bind listening socket for address '{host}:{port}': "
        messages += "Address already in use (98)\nERROR: FPM initialization failed\n"
        (lab.folder / "messages").write_text(messages)
        named = f"bash -c 'cat {lab.folder}/messages >&2; exit 78'"
        lab.program("named", named, startretries="1000")
        conf = lab.fpm_conf(f"{lab.folder}/behind.sock", name="behind")
        path = lab.folder / "start.sh"
        path.write_text(f"#!/bin/bash\ncommand=({php_fpm()} -F -y {conf})\n${{command[@]}}\n")
        path.chmod(0o755)
        lab.program("behind", str(path), autorestart="true", stopasgroup="true")
        lab.start()
        yield lab


def test_exit_status_without_http_server(lab: CaseLab) -> None:
    """A start that fails has an exit status, although no event contains its pid."""
    lab.alert("status", cause="restart_loop")
    lab.wait_for_summary("status:status", "exit status 42")
    wait_until(
        lambda: lab.metric("fpm_listener_process_last_exit_status", process="status") == 42,
        "the exit status",
    )


def test_signal_without_http_server(lab: CaseLab) -> None:
    """A program that SIGKILL ends is not just a restart loop."""
    alert = lab.alert("killed", cause="crash_signal")
    assert "SIGKILL" in alert["annotations"]["summary"]


def test_script_with_bind_conflict(lab: CaseLab) -> None:
    """The script that supervisord runs starts php-fpm, whose address is in use."""
    alert = lab.alert("L34", cause="bind_conflict")
    assert alert["labels"]["alertname"] == "PhpFpmFailing"
    assert lab.addresses["L34"] in alert["annotations"]["summary"]


def test_setting_php_fpm(lab: CaseLab) -> None:
    """The settings name a php-fpm that nothing else shows."""
    alert = lab.alert("named", cause="bind_conflict")
    assert alert["labels"]["alertname"] == "PhpFpmFailing"


def test_running_php_fpm_behind_a_script(lab: CaseLab) -> None:
    """Its title names the configuration, which contains the address."""
    address = f"{lab.folder}/behind.sock"
    wait_until(lambda: lab.status("behind")["addresses"] == [address], "the address")
