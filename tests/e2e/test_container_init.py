"""What `init --container` writes passes `check` and runs: as root, and as another user."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.container import Conditions, Container
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMANDS = Path(sys.executable).parent
OURS = str(COMMANDS / "fpm-listener")
#: As the official image has it: php-fpm writes its log and each request to stderr.
MAIN = "[global]\nerror_log = /proc/self/fd/2\ndaemonize = no\ninclude=/etc/fpm/pool.d/*.conf\n"
POOL = """\
[www]
user = www-data
listen = 127.0.0.1:9000
pm = static
pm.max_children = 2
ping.path = /ping
request_terminate_timeout = 60s
access.log = /proc/self/fd/2
"""
#: The eight lines that images have today, with each usual mistake.
SUPERVISORD = """\
[supervisord]
nodaemon=true
logfile=/dev/null
logfile_maxbytes=0
pidfile=/tmp/supervisord.pid

[program:php-fpm]
command=/bin/sh -c "mkdir -p /tmp/php && {php_fpm} -F -y /etc/fpm/php-fpm.conf"
redirect_stderr=true
stdout_logfile=/dev/stdout
stdout_logfile_maxbytes=0
autorestart=false
startretries=0
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return an empty directory with a short path."""
    made = Path(tempfile.mkdtemp(prefix="init-"))
    yield made
    shutil.rmtree(made)


def running_php_fpm(container: Container) -> dict[str, Any] | None:
    """Return the listener's data of php-fpm as soon as it is RUNNING."""
    status = container.run(OURS, "status", "--json")
    programs = json.loads(status.stdout)["programs"] if status.stdout else []
    named = (one for one in programs if one["name"] == "php-fpm:php-fpm")
    return next((one for one in named if one["state"] == "RUNNING"), None)


@pytest.mark.parametrize("user", ["root", "www-data"])
def test_the_result_runs(user: str, folder: Path) -> None:
    """The doctor finds only hints, and the listener gets php-fpm's log and watches it."""
    uid = 0 if user == "root" else 33
    container = Container(folder, Conditions(uid=uid))
    container.add("/etc/supervisord.conf", SUPERVISORD.format(php_fpm=os.environ["PHP_FPM"]))
    container.add("/etc/fpm/php-fpm.conf", MAIN)
    container.add("/etc/fpm/pool.d/www.conf", POOL)
    container.build(
        f"{OURS} init --container -c /etc/supervisord.conf --user {user} --write >/etc/said",
        "grep '^RUN printf' /etc/said | cut -c 5- | sh -eux",
    )
    try:
        container.start(str(COMMANDS / "supervisord"), "-n", "-c", "/etc/supervisord.conf")
        for logged in ("success: php-fpm entered RUNNING state", "ready to handle connections"):
            wait_until(lambda logged=logged: logged in container.text(), logged)  # type: ignore[misc]
        found = container.run(OURS, "check", "--supervisord-conf", "/etc/supervisord.conf")
        php_fpm = wait_until(partial(running_php_fpm, container), "the listener to know php-fpm")
        said = container.path("/etc/said").read_text()
        words = json.loads(re.findall(r"^  CMD (\[.*)", said, re.MULTILINE)[0])
        wait_until(lambda: container.run(OURS, *words[1:]).returncode == 0, "a healthy container")
    finally:
        container.close()
    assert found.returncode == 0, found.stdout
    assert php_fpm["kind"] == "php-fpm"
