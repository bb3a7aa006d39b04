"""The exits that the kernel reports."""

from __future__ import annotations

import os
import select
import subprocess
from typing import TYPE_CHECKING

import pytest

from fpm_listener.daemon.exit_watch import ExitWatch
from fpm_listener.host import pidfd_info
from fpm_listener.supervisor.exit_log import ExitReason
from fpm_listener.supervisor.process import ProcessName

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fpm_listener.monitor.messages import ProcessExited

WEB = ProcessName("web", "web")
ENVIRONMENT = {"SUPERVISOR_GROUP_NAME": "web", "SUPERVISOR_PROCESS_NAME": "web"}


@pytest.fixture
def watch() -> Iterator[ExitWatch]:
    """Watch children of this process."""
    exits = ExitWatch(select.poll(), os.getpid())
    yield exits
    exits.close()


def start(**environment: str) -> subprocess.Popen[bytes]:
    """Start a process that waits for its input. /proc has no environment until exec is complete."""
    process = subprocess.Popen(
        ["/bin/sh", "-c", "echo; read line; exit 78"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**ENVIRONMENT, **environment},
    )
    assert process.stdout
    assert process.stdout.readline() == b"\n"
    return process


def end(process: subprocess.Popen[bytes], *, reap: bool) -> None:
    """Let a process exit, and reap it or not."""
    pidfd = os.pidfd_open(process.pid)
    assert process.stdin
    process.stdin.close()
    select.select([pidfd], [], [], 60)
    os.close(pidfd)
    if reap:
        process.wait()


def statuses(news: list[ProcessExited]) -> list[int | None]:
    """Return the exit statuses, None for an unknown one."""
    return [one.reason.status if one.reason else None for one in news]


@pytest.mark.parametrize("reap", [False, True])
def test_a_process_exits(watch: ExitWatch, *, reap: bool) -> None:
    """It is reported once, with its status."""
    with start() as process:
        assert watch.watch(WEB, process.pid)
        assert watch.watch(WEB, process.pid)
        assert watch.take() == []
        end(process, reap=reap)
        (news,) = watch.take()
        assert (news.process, news.pid, news.reason) == (WEB, process.pid, ExitReason(status=78))
        assert watch.take() == []


def test_the_status_comes_later(watch: ExitWatch, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exit is reported at once, and again with its status."""
    monkeypatch.setattr("fpm_listener.host.zombie_status.wait_status", lambda *_: None)
    with start() as process:
        watch.watch(WEB, process.pid)
        end(process, reap=False)
        assert statuses(watch.take()) == [None]
        assert watch.take() == []
        process.wait()
        assert statuses(watch.take()) == [78]
        assert watch.take() == []


def test_the_next_run_begins_before_the_status_is_known(
    watch: ExitWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is lost: the first run is asked for its status once more."""
    monkeypatch.setattr("fpm_listener.host.zombie_status.wait_status", lambda *_: None)
    with start() as process, start() as following:
        watch.watch(WEB, process.pid)
        end(process, reap=False)
        assert statuses(watch.take()) == [None]
        process.wait()
        watch.watch(WEB, following.pid)
        assert statuses(watch.take()) == [78]
        end(following, reap=True)
        assert statuses(watch.take()) == [78]


def test_a_process_that_is_not_proven(watch: ExitWatch) -> None:
    """The exit of another program's process is reported without its status."""
    with start(SUPERVISOR_PROCESS_NAME="other") as process:
        watch.watch(WEB, process.pid)
        end(process, reap=True)
        assert statuses(watch.take()) == [None]
        assert watch.take() == []


def test_a_process_of_another_supervisord() -> None:
    """It is no child of ours, whatever its environment says."""
    exits = ExitWatch(select.poll(), os.getppid())
    with start() as process:
        exits.watch(WEB, process.pid)
        end(process, reap=True)
        assert statuses(exits.take()) == [None]
    exits.close()


def test_an_older_kernel(watch: ExitWatch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the zombie has the status; a reaped process is unknown, and stays unknown."""
    missing = pidfd_info.Missing.UNSUPPORTED
    monkeypatch.setattr("fpm_listener.host.pidfd_info.wait_status", lambda _: missing)
    for reap, status in ((False, 78), (True, None)):
        with start() as process:
            watch.watch(WEB, process.pid)
            end(process, reap=reap)
            assert statuses(watch.take()) == [status]
            assert watch.take() == []


def test_half_of_the_descriptors(watch: ExitWatch, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest stays free for logs, receivers and the web server."""
    monkeypatch.setattr(watch, "_most", 1)
    api = ProcessName("api", "api")
    names = {"SUPERVISOR_GROUP_NAME": "api", "SUPERVISOR_PROCESS_NAME": "api"}
    with start() as web, start(**names) as other:
        watch.watch(WEB, web.pid)
        watch.watch(api, other.pid)
        end(web, reap=True)
        end(other, reap=False)
        assert [one.process for one in watch.take()] == [WEB]
        watch.retry(lambda one: watch.watch(*one))
        assert [one.process for one in watch.take()] == [api]
