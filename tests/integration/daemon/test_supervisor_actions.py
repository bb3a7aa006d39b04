"""What is made of supervisord's answer to a stop, which may come late or never."""

from __future__ import annotations

import socket
import xmlrpc.client
from typing import TYPE_CHECKING

import pytest

from fpm_listener.daemon.supervisor_actions import SupervisorActions
from fpm_listener.host import run_channel
from fpm_listener.host.fallback_directory import StateDirectory
from fpm_listener.monitor.messages import SelfHeal, StopFailed
from fpm_listener.monitor.self_healing import Act
from fpm_listener.settings.settings import Settings
from fpm_listener.status.snapshot import Snapshot
from fpm_listener.supervisor.process import ProcessName
from fpm_listener.supervisor.rpc import SupervisorRpc
from tests.receiver_server import ReceiverServer, hang, status

if TYPE_CHECKING:
    from pathlib import Path

FPM = ProcessName("php-fpm", "php-fpm")
FAULT = xmlrpc.client.dumps(xmlrpc.client.Fault(70, "NOT_RUNNING: php-fpm"))
DONE = xmlrpc.client.dumps((True,), methodresponse=True)


@pytest.mark.parametrize("answer", ["refused", "hangs", "done", "no RPC"])
def test_only_a_refused_stop_was_certainly_not_done(tmp_path: Path, answer: str) -> None:
    """Else a STOPPED that follows would be taken for the operator's, and it would stay down."""
    put: list[StopFailed] = []
    says = {
        "refused": status(200, body=FAULT.encode()),
        "done": status(200, body=DONE.encode()),
    }.get(answer, hang)
    with ReceiverServer(says) as server:
        rpc = SupervisorRpc(
            f"http://127.0.0.1:{server.port}", timeout_s=0.2 if says is hang else 20
        )
        settings, directory = Settings(source=""), StateDirectory(tmp_path)
        healer = SupervisorActions(
            None if answer == "no RPC" else rpc, settings, directory, put.append, Snapshot
        )
        healer.heal(SelfHeal(FPM, Act.HALT))

    assert put == ([StopFailed(FPM)] if answer in {"refused", "no RPC"} else [])


def test_a_new_listener_cancels_the_shutdown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shutdown met a reload: else `docker stop` weeks later would end with status 1."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as run:
        run.bind("")  # the kernel chooses a name in the abstract namespace
        monkeypatch.setenv(run_channel.VARIABLE, run.getsockname()[1:].decode())
        settings, directory = Settings(source=""), StateDirectory(tmp_path)
        SupervisorActions(None, settings, directory, print, Snapshot).clear_mark()
        run.settimeout(5)
        assert run.recv(64) == run_channel.CANCELLED
