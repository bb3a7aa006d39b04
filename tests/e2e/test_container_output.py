"""A container: all output on /dev/stdout, no log of supervisord, a password on its socket."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.e2e.lab import Lab

PASSWORD = "e2e-s3cret"
SERVER = f"""\
[unix_http_server]
file=%(here)s/s.sock
username=admin
password={PASSWORD}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""


def test_redirected_output_and_a_password(lab: Lab) -> None:
    """The alert has the last line and the exit status. The listener logs in, silently."""
    lab.rpc = False
    # Docker gives supervisord a pipe; the lab a file.
    lab.wrapper = ("bash", "-c", 'exec "$@" > >(exec cat)', "bash")
    lab.main_extra = f"logfile=/dev/null\nlogfile_maxbytes=0\n{SERVER}"
    lab.program(
        "sent",
        "bash -c 'echo cannot open the vault >&2; read -t 0.5 <> <(:); exit 7'",
        redirect_stderr="true",
        stdout_logfile="/dev/stdout",
        stdout_logfile_maxbytes="0",
        stdout_events_enabled="true",
        startretries="1000",
    )
    lab.start()

    wait_until(lambda: lab.metrics()["fpm_listener_supervisor_up"] == 1, "the login")
    wait_until(lambda: lab.webhook.alerts(process="sent"), "the alert")
    sent = lab.webhook.alerts(process="sent")[0]["annotations"]
    assert "cannot open the vault" in sent["evidence"].splitlines()
    assert "cannot show" not in sent["description"]
    wait_until(
        lambda: lab.metric("fpm_listener_process_last_exit_status", process="sent") == 7,
        "the exit status",
    )
    assert PASSWORD not in (lab.folder / "listener.log").read_text()
