"""The numbers of a real php-fpm's pools are its own; an unresponsive pool is an incident."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prometheus_client.openmetrics import parser

from fpm_listener.host import addresses as host_addresses
from fpm_listener.host.addresses import TcpAddress, UnixAddress
from fpm_listener.phpfpm import fastcgi
from tests.e2e.lab import WORKERS, Lab, kill, ping
from tests.ports import free_port
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ROOT = Path(__file__).parent.parent.parent
_FROM_THE_KERNEL = {"phpfpm_listen_queue", "phpfpm_listen_queue_length"}
#: Metrics without a request to php-fpm.
_UNASKED = _FROM_THE_KERNEL | {"phpfpm_max_children"}
_RECOMMENDED = "phpfpm_recommended_max_children"
#: Metrics that the request itself, or the time, changes.
_MOVES = {"phpfpm_accepted_connections", "phpfpm_start_since"}


def own_report(address: str) -> dict[str, float]:
    """Return what php-fpm's own `?openmetrics` reports."""
    where = host_addresses.parse(address)
    assert isinstance(where, TcpAddress | UnixAddress)
    target = where.path if isinstance(where, UnixAddress) else ("127.0.0.1", where.port)
    answer = fastcgi.get(target, "/status", "openmetrics", time.monotonic() + 60)
    assert isinstance(answer, fastcgi.Response)
    lines = (line.split() for line in answer.body.splitlines() if line[:1] not in {"#", ""})
    return {name: float(value) for name, value in lines}


def idle_report(address: str) -> tuple[dict[str, float], int]:
    """Return php-fpm's own report while no other worker is active, and the number of requests.

    A worker is active for a moment after its answer.
    """
    reports = [own_report(address)]
    while reports[-1]["phpfpm_active_processes"] != 1:
        reports.append(own_report(address))
    return reports[-1], len(reports)


def samples_of(lab: Lab, pool: str) -> dict[str, float]:
    """Return the samples of a pool by name."""
    return {
        key.partition("{")[0]: value
        for key, value in lab.metrics().items()
        if key.startswith("phpfpm_") and f'pool="{pool}"' in key
    }


def monitored() -> set[str]:
    """Return the metrics that the shipped rules and the dashboard use."""
    files = ("rules.yml", "grafana-dashboard.json")
    text = "".join((ROOT / "monitoring" / name).read_text() for name in files)
    capacity = {"phpfpm_recommended_max_children", "phpfpm_worker_memory_bytes"}  # need samples
    names = set(re.findall(r"\b(?:fpm_listener|phpfpm)_[a-z_]+\b", text)) - capacity
    return {name for name in names if not name.startswith("phpfpm_opcache_")}  # off by default


def is_up(lab: Lab, pool: str) -> bool:
    return samples_of(lab, pool).get("phpfpm_up") == 1


def names(families: Iterable[Any]) -> set[str]:
    return {family.name for family in families}


def use_memory(lab: Lab, workers: Mapping[str, int]) -> None:
    """Let each worker of each pool use 8 MiB once. workers: by address."""
    script = lab.folder / "memory.php"
    lab.folder.chmod(0o755)
    for number, (address, count) in enumerate(workers.items()):
        seen = lab.folder / f"seen{number}"
        seen.mkdir()
        seen.chmod(0o777)
        # Each request waits for all others, so that each worker has one.
        script.write_text(
            f"<?php $x = str_repeat('x', 8 << 20); touch('{seen}/' . getmypid());"
            f" while (count(glob('{seen}/*')) < {count}) {{ usleep(10000); }}"
        )
        with ThreadPoolExecutor(count) as clients:
            calls = [clients.submit(ping, address, "/m", str(script), 60.0) for _ in range(count)]
        assert all("text/html" in call.result() for call in calls)


def check_size(lab: Lab, pool: str, ours: dict[str, float]) -> None:
    """The listener has measured the workers, and says how many fit; removes these metrics."""
    memory, fits = ours.pop("phpfpm_worker_memory_bytes"), ours.pop(_RECOMMENDED)
    assert 8 << 20 < memory < 16 << 20
    (shown,) = (one for one in lab.status("php-fpm")["pools"] if one["name"] == pool)
    assert shown["capacity"]["fits"] == fits >= 1
    assert shown["capacity"]["workers"] == shown["max_children"]  # each of them was measured


def test_two_pools_one_of_them_unresponsive(lab: Lab) -> None:
    """On TCP and unix, each number is php-fpm's own; an alert names the unresponsive pool."""
    tcp, unix = f"127.0.0.1:{free_port()}", f"{lab.folder}/w.sock"
    conf = lab.fpm_program(tcp)
    status = "pm.status_path = /status\n"
    other = f"[other]\nlisten = {unix}\npm = static\npm.max_children = 3\n{status}"
    owner = "user = www-data\ngroup = www-data\n" if os.geteuid() == 0 else ""
    conf.write_text(conf.read_text() + status + other + owner)
    lab.pools.add("other")
    lab.start()
    lab.wait_for_php_fpm()
    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda _: ping(tcp, timeout_s=60), range(200)))
    assert all("pong" in answer for answer in answers)
    # php-fpm is not asked by default, but the kernel is.
    wait_until(lambda: set(samples_of(lab, "other")) == _UNASKED, "the queue")

    use_memory(lab, {tcp: WORKERS, unix: 3})
    for address in (tcp, unix):
        idle_report(address)
    lab.change_settings(fpm_status="on", fpm_status_interval="1h")
    (main,) = lab.pools - {"other"}
    for pool, address in ((main, tcp), ("other", unix)):
        wait_until(partial(is_up, lab, pool), f"pool {pool}")
        ours, (its_own, asked) = samples_of(lab, pool), idle_report(address)
        assert ours.pop("phpfpm_scrape_failures") == 0
        check_size(lab, pool, ours)
        max_children = ours.pop("phpfpm_max_children")
        assert max_children == lab.metric("fpm_listener_pool_max_children", pool=pool)
        assert set(ours) == set(its_own)
        for name in set(ours) - _MOVES - _FROM_THE_KERNEL:  # it reports 0 of 0 for unix sockets
            assert ours[name] == its_own[name], (pool, name)
        accepted = its_own["phpfpm_accepted_connections"] - asked
        assert ours["phpfpm_accepted_connections"] == accepted
        assert 0 <= its_own["phpfpm_start_since"] - ours["phpfpm_start_since"] < 60
        assert lab.metric("fpm_listener_pool_processes", pool=pool, state="running") == 1
    assert samples_of(lab, main)["phpfpm_accepted_connections"] > 200
    assert monitored() <= {key.partition("{")[0] for key in lab.metrics()}
    promtool = shutil.which("promtool")
    assert promtool, "no promtool on this machine: run scripts/setup.sh"
    text = lab.get("/metrics")
    check = [promtool, "check", "metrics"]
    done = subprocess.run(check, input=text, capture_output=True, text=True, check=False)
    assert done.stdout + done.stderr == ""
    request = urllib.request.Request(f"http://127.0.0.1:{lab.web_port}/metrics")
    request.add_header("Accept", "application/openmetrics-text; version=1.0.0")
    with urllib.request.urlopen(request, timeout=10) as answer:
        parse: Any = parser.text_string_to_metric_families
        assert "phpfpm_accepted_connections" in names(parse(answer.read().decode()))

    check_unresponsive_pool(lab, main, tcp)


def check_opcache(lab: Lab) -> None:
    """Both pools share one OPcache; if the pools cannot read the script, the status says why."""
    opcache = wait_until(lambda: lab.status("php-fpm")["opcache"], "a reading of OPcache")
    if opcache["problem"]:
        assert "other users cannot enter" in opcache["problem"]
        return
    samples = [key for key in lab.metrics() if key.startswith("phpfpm_opcache_scripts")]
    assert samples == ['phpfpm_opcache_scripts{group="php-fpm",process="php-fpm"}']
    assert opcache["numbers"]["scripts"] >= 1


def check_unresponsive_pool(lab: Lab, main: str, address: str) -> None:
    """Stop the workers of the main pool, one of them busy, and continue them."""
    lab.change_settings(fpm_status="full", fpm_status_interval="1s", opcache_status="on")
    check_opcache(lab)
    host, _, port = address.rpartition(":")
    client = socket.create_connection((host, int(port)))
    client.sendall(_BEGIN_REQUEST)
    busy = partial(lab.metric, "fpm_listener_pool_busy_processes", pool=main)
    wait_until(lambda: busy() == 1, "a busy worker")
    workers = lab.workers()
    for worker in workers:
        kill(worker, signal.SIGSTOP)
    try:
        told = wait_until(lambda: lab.webhook.alerts("firing"), "the firing alert")
        assert [alert["annotations"]["cause"] for alert in told] == ["not_answering"]
        evidence = told[0]["annotations"]["evidence"]
        assert "does not answer for" in evidence
        waiting = f" before the first status request without an answer: pool {main}: - -, "
        assert waiting in evidence
        assert waiting not in lab.get("/status.json") + lab.get("/metrics") + lab.log()
        assert samples_of(lab, main)["phpfpm_up"] == 0
        assert samples_of(lab, "other")["phpfpm_up"] == 1
    finally:
        client.close()
        for worker in workers:
            kill(worker, signal.SIGCONT)
    wait_until(lambda: lab.webhook.alerts("resolved"), "the resolved alert")
    assert lab.log().count("pool does not answer") == 1


#: FCGI_BEGIN_REQUEST without the rest of a request.
_BEGIN_REQUEST = bytes([1, 1, 0, 1, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0])

#: Each kind of process manager, with at most four workers, and a separate status listener.
PACES = {
    "ondemand": "pm = ondemand\npm.max_children = 4\n",
    "dynamic": "pm = dynamic\npm.max_children = 4\npm.start_servers = 1\n"
    "pm.min_spare_servers = 1\npm.max_spare_servers = 1\n",
    "static": "pm = static\npm.max_children = 4\n",
    "beside": "pm = ondemand\npm.max_children = 4\n",
}


def pools_of(lab: Lab) -> dict[str, dict[str, Any]]:
    """Return the listener's data of each pool, by the ends of their names."""
    return {pool["name"].rpartition("-")[2]: pool for pool in lab.status("php-fpm")["pools"]}


def has_busy_workers(lab: Lab, counts: dict[str, int]) -> bool:
    """Return whether the listener has seen this number of busy workers in each pool."""
    found = pools_of(lab)
    return {name: found.get(name, {}).get("busy") for name in counts} == counts


def occupy(address: str) -> socket.socket:
    """Make a worker wait for the rest of a request that never arrives."""
    client = socket.socket(socket.AF_UNIX)
    client.connect(address)
    client.sendall(_BEGIN_REQUEST)
    return client


def test_saturation_of_pools(lab: Lab) -> None:
    """An idle pool is not saturated, even with few workers; a full pool of any kind is."""
    lab.folder.chmod(0o755)
    conf = lab.fpm_program(f"127.0.0.1:{free_port()}")
    owner = "user = www-data\ngroup = www-data\n" if os.geteuid() == 0 else ""
    addresses = {name: f"{lab.folder}/{name}.sock" for name in PACES}
    for name, pace in PACES.items():
        pool = f"lab{lab.web_port}-{name}"
        lab.pools.add(pool)
        beside = f"pm.status_listen = {lab.folder}/status.sock\n" if name == "beside" else ""
        text = f"[{pool}]\n{owner}listen = {addresses[name]}\n{pace}pm.status_path = /status\n"
        text += "listen.backlog = 8\n"
        conf.write_text(conf.read_text() + text + beside)
    lab.settings |= {"fpm_status": "on", "fpm_status_interval": "1s"}
    lab.start()
    lab.wait_for_php_fpm()
    wait_until(partial(has_busy_workers, lab, dict.fromkeys(PACES, 0)), "idle pools")
    assert {name: pools_of(lab)[name]["saturated"] for name in PACES} == dict.fromkeys(PACES, False)

    def has_one_process() -> bool:  # the one that answers us; a late one ends after 10 s
        return bool(pools_of(lab)["ondemand"]["numbers"]["total_processes"] == 1)

    wait_until(has_one_process, "one process")
    name = f"lab{lab.web_port}-ondemand"
    assert lab.metric("fpm_listener_pool_busy_processes", pool=name) == 0
    wait_until(
        lambda: lab.metric("fpm_listener_pool_max_children", pool=name) == 4,
        "fpm_listener_pool_max_children",
    )

    full = {"ondemand": 3, "dynamic": 3, "static": 3, "beside": 4}  # the fourth one answers us
    with ExitStack() as clients:
        # In steps: for connections that come at once, pm = ondemand may start one worker only.
        for step in range(1, 5):
            for name, count in full.items():
                if step <= count:
                    clients.enter_context(occupy(addresses[name]))
            counts = {name: min(step, count) for name, count in full.items()}
            wait_until(partial(has_busy_workers, lab, counts), f"{step} busy workers")
        wait_until(lambda: all(pools_of(lab)[name]["saturated"] for name in full), "saturation")
        for _ in range(6):  # php-fpm with pm = static has no queue before its workers are busy
            clients.enter_context(occupy(addresses["static"]))
        (told,) = wait_until(lambda: lab.webhook.alerts("firing"), "the firing alert")
        assert told["annotations"]["cause"] == "saturated"
        assert f"pool lab{lab.web_port}-static: 5 of 8 places" in told["annotations"]["evidence"]
    wait_until(partial(has_busy_workers, lab, dict.fromkeys(PACES, 0)), "idle pools again")
    wait_until(lambda: not any(pools_of(lab)[name]["saturated"] for name in PACES), "free pools")
