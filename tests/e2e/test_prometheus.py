"""A real Prometheus scrapes the listener."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.e2e.lab import Lab, kill
from tests.ports import free_port
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def prometheus(lab: Lab) -> Iterator[str]:
    """Run a Prometheus that scrapes the lab twice a second; return its URL."""
    program = shutil.which("prometheus")
    assert program, "no prometheus on this machine: run scripts/setup.sh"
    port = free_port()
    conf = lab.folder / "prometheus.yml"
    conf.write_text(
        "global: {scrape_interval: 500ms}\nscrape_configs:\n"
        f"- {{job_name: fpm, static_configs: [{{targets: ['127.0.0.1:{lab.web_port}']}}]}}\n",
    )
    child = subprocess.Popen(
        [
            program,
            f"--config.file={conf}",
            f"--storage.tsdb.path={lab.folder}/tsdb",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        child.kill()
        child.wait()


def run_query(url: str, query: str) -> float | None:
    """Return the value of a query with one answer; None if there is none yet."""
    words = urllib.parse.urlencode({"query": query})
    try:
        with urllib.request.urlopen(f"{url}/api/v1/query?{words}", timeout=10) as answer:
            result = json.loads(answer.read())["data"]["result"]
    except (OSError, urllib.error.URLError):
        return None
    return float(result[0]["value"][1]) if result else None


def has_value(url: str, query: str, wanted: float) -> bool:
    """Return whether the query has this value."""
    return run_query(url, query) == wanted


def has_exits(lab: Lab, count: int) -> bool:
    """Return whether the listener has counted these exits."""
    return lab.metric("fpm_listener_process_exits_total") == count


def test_counters_in_prometheus(lab: Lab, prometheus: str) -> None:
    """The target is up, and its counters equal what was done to php-fpm."""
    lab.fpm_program(f"127.0.0.1:{free_port()}", stopsignal="QUIT")
    lab.start()
    wait_until(lambda: run_query(prometheus, 'up{job="fpm"}') == 1, "the target")
    for _ in range(2):
        lab.wait_for_php_fpm()
        lab.ctl("restart", "php-fpm")
    for count in (1, 2):
        wait_until(
            lambda: lab.metric("fpm_listener_process_state", state="RUNNING") == 1, "RUNNING"
        )
        lab.kill_php_fpm()
        wait_until(partial(has_exits, lab, count), "its exit")

    wanted = {"starts": 5, "unexpected_exits": 2, "exits": 2, "restarts": 2, "fatal": 0}
    for name, count in wanted.items():
        query = f'fpm_listener_process_{name}_total{{process="php-fpm"}}'
        wait_until(partial(has_value, prometheus, query, count), f"{name} to be {count}")
    query = 'fpm_listener_process_last_exit_status{process="php-fpm"}'
    wait_until(lambda: run_query(prometheus, query) == -signal.SIGKILL, "the exit status")


def test_promtool_check_metrics(lab: Lab) -> None:
    """It reports nothing about a real exposition."""
    promtool = shutil.which("promtool")
    assert promtool, "no promtool on this machine: run scripts/setup.sh"
    lab.recipe(f"127.0.0.1:{free_port()}")
    lab.start()
    kill(lab.wait_for_php_fpm())
    wait_until(lambda: lab.metric("fpm_listener_restart_loop", tier="fast") == 1, "the loop")
    done = subprocess.run(
        [promtool, "check", "metrics"],
        input=lab.get("/metrics"),
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout + done.stderr) == (0, "")
