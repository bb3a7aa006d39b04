"""A whole listener with a receiver of every kind, all failing: no secret leaves it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from typing import TYPE_CHECKING

import pytest

from fpm_listener.settings.receiver_types import KINDS
from fpm_listener.settings.settings import load
from fpm_listener.values import Instant
from tests.outbox_harness import OutboxHarness
from tests.ports import free_port
from tests.receiver_samples import SECRETS, firing_alert
from tests.receiver_server import PATIENCE_S, ReceiverServer, status
from tests.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

#: What each kind needs besides; {url} is the server's.
SAID = {
    "alertmanager": "urls = {url}",
    "telegram": "url = {url}\ntoken_file = {folder}/token_file\nchat_id = 1",
    "pagerduty": "url = {url}\nrouting_key_file = {folder}/routing_key_file",
    "feishu": "url = {url}\nsecret_file = {folder}/secret_file",
    "dingtalk": "url = {url}\nsecret_file = {folder}/secret_file",
    "ntfy": "url = {url}\ntoken_file = {folder}/token_file",
    "webhook": "url = {url}\nusername = me\npassword_file = {folder}/password_file\n"
    "secret_file = {folder}/whsec_file",
    "email": "smarthost = 127.0.0.1:{port}\nfrom = a@b\nto = c@d\ntls = none\nusername = me\n"
    "password_file = {folder}/password_file",
    "exec": "command = /bin/sh -c 'exit 1'",
}
WHSEC = "whsec_czNjcmV0c2lnbmluZ2tleQ=="


@pytest.mark.parametrize("echo", [False, True])
def test_no_secret_leaves_it(tmp_path: Path, *, echo: bool) -> None:
    """Not in its log at debug, its metrics, its page, `alerts list`, nor any file of its folder."""
    state, port = tmp_path / "state", free_port()
    for name, secret in {**SECRETS, "whsec_file": WHSEC}.items():
        (tmp_path / name).write_text(secret)
        (tmp_path / name).chmod(0o600)
    secrets_text = " ".join(SECRETS.values())
    with ReceiverServer() as server:
        answer = {
            "errcode": 1,
            "errmsg": server.url,
            "code": 1,
            "msg": secrets_text,
            "description": server.url,
        }
        server.otherwise = status(503, body=json.dumps(answer).encode() if echo else b"")
        sections = [
            f"[fpm-listener]\nlisten = 127.0.0.1:{port}\nstate_dir = {state}\nlog_level = debug\n",
        ]
        for kind in KINDS:
            said = SAID.get(kind, "url = {url}")
            said = said.format(url=server.url, folder=tmp_path, port=server.port)
            sections.append(
                f"[fpm-listener:receiver:{kind}]\ntype = {kind}\ntimeout = 2s\n{said}\n"
            )
        config = tmp_path / "fpm_listener.conf"
        config.write_text("\n".join(sections))
        receivers = load(str(config), {}).receivers
        harness = OutboxHarness(state, *receivers, now=Instant(time.monotonic(), time.time()))
        harness.enqueue(firing_alert())
        harness.database.close()
        shown = run(config, port, len(receivers))
        shown += b"".join(path.read_bytes() for path in state.iterdir() if path.is_file())
        signatures = [
            json.loads(request.body)["sign"]
            for request in server.requests
            if b'"sign"' in request.body
        ]

    assert signatures
    assert b"server_error" in shown
    for secret in (*SECRETS.values(), WHSEC, "s3cret-path", "t0ken", *signatures):
        assert secret.encode() not in shown, secret


def run(config: Path, port: int, receivers: int) -> bytes:
    """Run the listener until every receiver has failed; return all that it shows."""

    def get(path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as page:
            return bytes(page.read())

    def all_have_failed() -> bool:
        try:
            document = json.loads(get("/status.json"))
        except OSError:
            return False
        failed = [one["failed"] for one in document["receivers"]]
        return len(failed) == receivers and all(failed)

    words = [sys.executable, "-m", "fpm_listener"]
    log = config.parent / "log"
    with (
        log.open("wb") as file,
        subprocess.Popen(
            [*words, "listen", "--config", str(config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=file,
        ) as listener,
    ):
        try:
            wait_until(all_have_failed, "a failure of each receiver")
            shown = b"".join(get(path) for path in ("/", "/status.json", "/metrics"))
            listing = [*words, "alerts", "--config", str(config), "list"]
            shown += subprocess.run(
                listing, capture_output=True, timeout=PATIENCE_S, check=True
            ).stdout
            assert shown.count(b"it keeps failing") >= receivers
        finally:
            listener.terminate()
    return shown + log.read_bytes()
