"""Receivers of several types get a real incident, each in its own format."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.ports import free_port
from tests.receiver_server import ReceiverServer, status
from tests.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.lab import Lab


def test_a_bind_conflict_sent_to_four_receivers(lab: Lab, tmp_path: Path) -> None:
    """Each gets it in its format and language; a receiver that rejects it is reported to others."""
    port, told = free_port(), tmp_path / "told"
    lab.hold_port(port)
    lab.fpm_program(f"127.0.0.1:{port}", startsecs="2")
    with ReceiverServer() as wecom, ReceiverServer() as dingtalk:
        wecom.otherwise = status(200, body=b'{"errcode":0,"errmsg":"ok"}')
        dingtalk.otherwise = status(200, body=b'{"errcode":310000,"errmsg":"sign not match"}')
        lab.receivers = {
            "wecom": {"type": "wecom", "url": wecom.url, "language": "zh"},
            "dingtalk": {"type": "dingtalk", "url": dingtalk.url},
            "local": {"type": "exec", "command": shlex.join(["tee", "-a", str(told)])},
            "others": {"type": "slack", "url": wecom.url, "programs": "elsewhere:*"},
        }
        lab.start()
        # On a busy machine, an alert of the loop can come before the one of its cause.
        text = wait_until(lambda: _with_conflict(wecom), "the alert of the conflict")
        wait_until(lambda: told.exists() and "bind_conflict" in _causes(told), "the command")
        failing = wait_until(lambda: _failing(lab), "the alert about the receiver")

        assert f"127.0.0.1:{port}" in text
        # The machine can show the holder before the log line is read.
        wait_until(lambda: _has_log_line(lab, text), "the log line in the alert or its incident")
        assert failing["labels"]["receiver"] == "dingtalk"
        assert "310000" in failing["annotations"]["summary"]
        assert "sign not match" in lab.log()
        wait_until(
            lambda: lab.metrics()['fpm_listener_receiver_failing{receiver="dingtalk"}'] == 1,
            "fpm_listener_receiver_failing",
        )
        assert all("markdown" in request.json for request in wecom.requests), "Slack is not told"
        assert wecom.url not in lab.log()
        command = [sys.executable, "-m", "fpm_listener", "alerts", "--config"]
        command.append(str(lab.folder / "supervisord.d" / "fpm_listener.conf"))
        # A receiver has an alert a moment before the listener knows that.
        wait_until(lambda: _printed(*command, "list") == "no undelivered alerts\n", "delivery")


def _printed(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _with_conflict(receiver: ReceiverServer) -> str | None:
    texts = [str(request.json["markdown"]["content"]) for request in list(receiver.requests)]
    return next((text for text in texts if "\u76d1\u542c\u5730\u5740\u51b2\u7a81" in text), None)


def _causes(told: Path) -> list[str]:
    lines = [line for line in told.read_text().splitlines(keepends=True) if line.endswith("\n")]
    return [json.loads(line)["annotations"]["cause"] for line in lines]


def _has_log_line(lab: Lab, text: str) -> bool:
    incident = lab.status("php-fpm")["incident"] or {}
    return "Address already in use (98)" in str((text, incident.get("evidence")))


def _failing(lab: Lab) -> dict[str, dict[str, str]] | None:
    alerts = [alert for request in list(lab.webhook.requests) for alert in request["alerts"]]
    names = [alert["labels"]["alertname"] for alert in alerts]
    return alerts[names.index("NotificationFailing")] if "NotificationFailing" in names else None
