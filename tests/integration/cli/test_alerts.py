"""`fpm-listener alerts`: beside a listener that runs, and without one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest

from fpm_listener.cli import alerts
from fpm_listener.daemon.control_client import SOCKET_NAME, ControlRequest, ask
from fpm_listener.daemon.control_socket import ControlSocket
from fpm_listener.host.fallback_directory import StateDirectory
from fpm_listener.settings.settings import USUAL_FILES, load
from fpm_listener.values import FpmListenerError, Instant
from tests.outbox_harness import OutboxHarness
from tests.ports import free_port
from tests.receiver_server import PATIENCE_S, ReceiverServer, status
from tests.samples import fires
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fpm_listener.settings.settings import Settings


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Return the settings file of two receivers and a state folder."""
    path = tmp_path / "fpm_listener.conf"
    (tmp_path / "state").mkdir(mode=0o700)
    path.write_text(
        f"[fpm-listener]\nstate_dir = {tmp_path}/state\nlisten = 127.0.0.1:{free_port()}\n"
        "[fpm-listener:receiver:ops]\nurl = http://127.0.0.1:9/s3cret\n"
        "[fpm-listener:receiver:chat]\ntype = slack\nurl = http://127.0.0.1:9/s3cret\n",
    )
    return path


@pytest.fixture
def settings(config: Path) -> Settings:
    """Return what is in it."""
    return load(str(config), {})


def run(config: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Type a command."""
    command = [sys.executable, "-m", "fpm_listener", "alerts", "--config", str(config), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)


def harness_of(settings: Settings) -> OutboxHarness:
    """Return an owner with two alerts for each receiver."""
    harness = OutboxHarness(
        settings.state_dir, *settings.receivers, now=Instant(time.monotonic(), time.time())
    )
    harness.enqueue(fires("a"), fires("b"))
    return harness


def listens(path: Path) -> bool:
    """Return whether a socket is listened on: one that is only bound is there as well."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


@pytest.fixture
def running(settings: Settings, config: Path) -> Iterator[None]:
    """Run a listener that owes its receivers two alerts each; nobody takes them."""
    harness_of(settings).database.close()
    words = [sys.executable, "-m", "fpm_listener", "listen", "--config", str(config)]
    with (
        (config.parent / "log").open("wb") as log,
        subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=log,
        ) as listener,
    ):
        try:
            wait_until(lambda: listens(settings.state_dir / SOCKET_NAME), "the listener")
            yield
        finally:
            listener.terminate()


# -- beside a listener -----------------------------------------------------------------------------


@pytest.mark.usefixtures("running")
def test_list(config: Path) -> None:
    """A table, or JSON; without a secret."""
    wait_until(lambda: "[Connection refused]" in run(config, "list").stdout, "an attempt")
    table, document = run(config, "list"), run(config, "list", "--json")

    assert table.returncode == document.returncode == 0
    assert len(json.loads(document.stdout)) == 4
    assert table.stdout.count("www:php-fpm fails to start") == 4
    assert "s3cret" not in table.stdout + document.stdout


@pytest.mark.usefixtures("running")
def test_retry_and_drop(settings: Settings, config: Path) -> None:
    """The listener does it; what it has in memory changes, and its file."""
    assert run(config, "retry", "ops").stdout == "retrying 2 alerts now\n"
    assert run(config, "retry").stdout == "retrying 4 alerts now\n"
    ops = [one for one in alerts.listing(settings) if one["receiver"] == "ops"]
    wait_until(lambda: run(config, "drop", str(ops[0]["number"])).stdout[:1] == "1", "the drop")
    wait_until(lambda: _drop_all(settings, "chat"), "the drop of what was in flight")

    (left,) = alerts.listing(settings)
    assert (left["receiver"], left["number"]) == ("ops", ops[1]["number"])


def _drop_all(settings: Settings, receiver: str) -> bool:
    alerts.drop(settings, receiver, print)
    return receiver not in {one["receiver"] for one in alerts.listing(settings)}


@pytest.mark.usefixtures("running")
def test_only_our_own_user_may_ask(settings: Settings) -> None:
    """The socket is for its owner alone."""
    assert (settings.state_dir / SOCKET_NAME).stat().st_mode & 0o777 == 0o600


NONSENSE = (
    *(b"", b"\n", b"{}\n", b"[1]\n", b"x" * 9000, b"\xff\n"),
    *(b'{"action":"explode"}\n', b'{"action":"list","x":1}\n', b'{"action":["list"]}\n'),
    *(b'{"action":"drop","receiver":["a"]}\n', b"[" * 4000 + b"\n"),
)


@pytest.mark.usefixtures("running")
def test_nonsense_is_hung_up_on(settings: Settings) -> None:
    """And the next one is served."""
    for nonsense in NONSENSE:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(settings.state_dir / SOCKET_NAME))
            client.settimeout(PATIENCE_S)
            client.sendall(nonsense)
            client.shutdown(socket.SHUT_WR)
            assert client.recv(100) == b"", nonsense

        assert len(ask(settings.state_dir, ControlRequest(action="list"))) == 4, nonsense


def test_a_folder_with_a_long_name(tmp_path: Path) -> None:
    """A socket's path may have 107 bytes; ours is reached all the same."""
    folder = tmp_path / ("x" * 150)
    folder.mkdir(mode=0o700)
    inbox: SimpleQueue[Any] = SimpleQueue()
    control = ControlSocket(StateDirectory(folder), inbox.put, inbox.put)
    control.start()
    thread = threading.Thread(target=lambda: inbox.get().reply.put([]))
    thread.start()

    assert ask(folder, ControlRequest(action="list")) == []
    control.stop()
    thread.join(PATIENCE_S)


@pytest.mark.usefixtures("running")
def test_the_listener_hears_of_a_test_that_was_taken(config: Path) -> None:
    """It tries what waits; here it is still told of the old URL."""
    with ReceiverServer() as server:
        config.write_text(config.read_text().replace("http://127.0.0.1:9/s3cret", server.url, 1))
        done = run(config, "test", "ops")

    assert done.returncode == 0
    assert "ops: retrying 2 alerts now" in done.stdout


# -- without a listener ----------------------------------------------------------------------------


def test_list_and_drop_alone(settings: Settings, config: Path) -> None:
    """The database is opened here; what is dropped is gone from it."""
    harness = harness_of(settings)
    harness.database.close()

    assert len(json.loads(run(config, "list", "--json").stdout)) == 4
    assert run(config, "drop", "ops").stdout == "2 alerts dropped\n"
    assert {one["receiver"] for one in alerts.listing(settings)} == {"chat"}


def test_options_in_any_order(config: Path) -> None:
    """`--config` and `--json` may stand before and after the action."""
    lists = (
        ("--config", str(config), "--json", "list"),
        ("--json", "list", "--config", str(config)),
        ("list", "--config", str(config), "--json"),
    )
    for words in lists:
        done = typed("alerts", *words)
        assert (done.returncode, json.loads(done.stdout)) == (0, []), done.stderr
    assert typed("alerts", "retry", "--json", "--config", str(config)).returncode == 2
    done = typed("alerts", "--json", "retry", "--config", str(config))
    assert (done.returncode, "option of `fpm-listener alerts list`" in done.stderr) == (2, True)


@pytest.mark.parametrize("number", ["99", "0", "9" * 18])
def test_drop_what_is_not_there(config: Path, number: str) -> None:
    """An error: somebody who mistypes a number must not believe that it is gone."""
    done = typed("alerts", "drop", number, "--config", str(config))

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"fpm-listener: no alert has the number {number}; list them with: "
        "fpm-listener alerts list\n"
    )


def typed(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fpm_listener", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)


def test_no_pending_alerts(config: Path) -> None:
    """That is said."""
    assert run(config, "list").stdout == "no undelivered alerts\n"


def test_retry_alone(config: Path) -> None:
    """There is nobody who could."""
    done = run(config, "retry")

    assert done.returncode == 2
    assert "it retries all alerts when it starts" in done.stderr


def test_a_database_that_somebody_else_has(settings: Settings, config: Path) -> None:
    """A listener that does not answer: nothing is changed behind its back."""
    harness = harness_of(settings)
    done = run(config, "drop", "ops")

    assert done.returncode == 2
    assert "the database cannot be opened" in done.stderr
    assert harness.ids("ops") == ["a-1", "b-1"]
    harness.database.close()


def test_no_listener_ran_yet(settings: Settings) -> None:
    """No folder is made for the question."""
    settings.state_dir.rmdir()

    with pytest.raises(FpmListenerError, match="the directory does not exist"):
        alerts.listing(settings)
    assert not settings.state_dir.exists()


def test_a_receiver_that_is_not_there(config: Path) -> None:
    """The nearest name is told."""
    for words in (("test", "opss"), ("drop", "opss"), ("retry", "opss")):
        done = run(config, *words)
        assert done.returncode == 2
        assert "no receiver has the name 'opss'; did you mean 'ops'?" in done.stderr


def test_no_settings_to_be_found(tmp_path: Path) -> None:
    """The usual places are named."""
    command = [sys.executable, "-m", "fpm_listener", "alerts", "list"]
    if any(os.path.exists(path) for path in USUAL_FILES):  # noqa: PTH110 - names
        command += ["--config", str(tmp_path / "none")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)

    assert done.returncode == 2
    assert "fpm-listener: " in done.stderr


# -- test ------------------------------------------------------------------------------------------


def test_a_receiver_that_takes_it(config: Path) -> None:
    """What was sent is shown, without its secrets; and what came back."""
    with ReceiverServer(status(200, body=b"thanks")) as server:
        config.write_text(f"[fpm-listener:receiver:ops]\nurl = {server.url}\n")
        done = run(config, "test", "ops")
        (request,) = server.requests

    assert done.returncode == 0
    assert request.json["alerts"][0]["labels"]["alertname"] == "FpmListenerTest"
    assert request.headers["x-fpm-listener-reason"] == "test"
    for word in ("sent:     POST http://127.0.0.1/...", "FpmListenerTest", "status 200", "thanks"):
        assert word in done.stdout
    assert "ops: delivered (firing)" in done.stdout
    assert "s3cret-path" not in done.stdout + done.stderr


def test_a_receiver_that_does_not(config: Path) -> None:
    """The status says so, and whether it would be tried again."""
    with ReceiverServer(status(404, body=b"gone"), status(503)) as server:
        config.write_text(f"[fpm-listener:receiver:ops]\nurl = {server.url}\n")
        never, later = run(config, "test", "ops"), run(config, "test", "ops")

    assert (never.returncode, later.returncode) == (1, 1)
    assert (
        "FAILED (client_error: status 404); an alert with this result is not retried"
        in never.stdout
    )
    assert "FAILED (server_error: status 503); an alert with this result is retried" in later.stdout


def test_secrets_are_hidden(config: Path, tmp_path: Path) -> None:
    """Key, signature and token; in what is sent and in what comes back."""
    secret = tmp_path / "secret"
    secret.write_text("SECs3cretsigning")
    secret.chmod(0o600)
    with ReceiverServer(status(200, body=b'{"errcode":1,"errmsg":"SECs3cretsigning"}')) as server:
        config.write_text(
            f"[fpm-listener:receiver:pd]\ntype = pagerduty\nrouting_key_file = {secret}\n"
            f"url = {server.url}\n"
            f"[fpm-listener:receiver:fei]\ntype = feishu\nsecret_file = {secret}\n"
            f"url = {server.url}\n",
        )
        shown = run(config, "test", "pd").stdout + run(config, "test", "fei").stdout
        sign = server.requests[-1].json["sign"]

    assert '"routing_key": "***"' in shown
    assert '"sign": "***"' in shown
    assert "s3cret" not in shown
    assert sign not in shown


def test_a_service_where_it_would_stay_open(config: Path, tmp_path: Path) -> None:
    """The test is resolved as well."""
    key = tmp_path / "key"
    key.write_text("k")
    with ReceiverServer() as server:
        config.write_text(
            f"[fpm-listener:receiver:pd]\ntype = pagerduty\nrouting_key_file = {key}\n"
            f"url = {server.url}\n",
        )
        run(config, "test", "pd")
        events = [request.json["event_action"] for request in server.requests]

    assert events == ["trigger", "resolve"]


def test_all_places_of_a_receiver(config: Path) -> None:
    """One that fails makes the whole fail, and the others are tried."""
    with ReceiverServer() as good, ReceiverServer(status(503)) as bad:
        urls = " ".join(url.partition("/hook")[0] for url in (bad.url, good.url))
        config.write_text(f"[fpm-listener:receiver:am]\ntype = alertmanager\nurls = {urls}\n")
        done = run(config, "test", "am")

        assert done.returncode == 1
        assert len(good.requests) == 2
        assert good.requests[0].path == "/api/v2/alerts"
