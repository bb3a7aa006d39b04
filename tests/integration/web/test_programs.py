"""`/-/healthy/programs`: the verdict of `fpm-listener healthy` over HTTP."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import CollectorRegistry

from fpm_listener.status import health_report
from fpm_listener.status.health import Patience
from fpm_listener.status.snapshot import Snapshot
from fpm_listener.vocabulary import State
from fpm_listener.web.application import Application
from tests.snapshots import program

if TYPE_CHECKING:
    from fpm_listener.status.health_report import Report


def report(snapshot: Snapshot) -> Report:
    return health_report.report(snapshot, snapshot.processes, {}, Patience(), 0.0)


def ask(state: State, method: str = "GET", **environ: str) -> tuple[str, dict[str, str], str]:
    snapshot = Snapshot(ready=True, processes=(program("worker", state),))
    application = Application(lambda: snapshot, CollectorRegistry, programs=report)
    started: list[Any] = []
    words = {"REQUEST_METHOD": method, "PATH_INFO": "/-/healthy/programs", **environ}
    body = b"".join(application(words, lambda *answer: started.append(answer)))
    status, headers = started[0]
    return status, dict(headers), body.decode()


@pytest.mark.parametrize(
    ("state", "status", "line"),
    [
        (State.RUNNING, "200 OK", "worker: fine: it is RUNNING\n"),
        (State.FATAL, "503 Service Unavailable", "worker: FATAL: supervisord has given up; "),
    ],
)
def test_text_and_json(state: State, status: str, line: str) -> None:
    """Both have the same result; HEAD has no body."""
    assert ask(state)[0] == status
    assert ask(state)[2].startswith(line)
    found, headers, body = ask(state, HTTP_ACCEPT="application/json")
    assert (found, headers["Content-Type"]) == (status, "application/json")
    assert json.loads(body)["healthy"] is (state is State.RUNNING)
    found, headers, body = ask(state, "HEAD")
    assert (found, body) == (status, "")
    assert int(headers["Content-Length"]) == len(ask(state)[2])


def test_the_name_of_another_host() -> None:
    """It names programs, so that it is protected against DNS rebinding as the page is."""
    assert ask(State.RUNNING, HTTP_HOST="evil.example")[0] == "403 Forbidden"
    assert ask(State.RUNNING, HTTP_HOST="10.1.2.3:19253")[0] == "200 OK"
