"""A fleet as Prometheus and Alertmanager see it, with all rules loaded.

FLEET_HOSTS=1000 (make bench-fleet) prints what it costs.
"""

from __future__ import annotations

import http.server
import json
import os
import re
import shutil
import subprocess
import threading
import urllib.parse
import urllib.request
from collections import Counter
from pathlib import Path

from tests.e2e.lab import WebhookReceiver
from tests.ports import free_port
from tests.waiting import wait_until

ROOT = Path(__file__).parent.parent.parent
HOSTS = int(os.environ.get("FLEET_HOSTS", "60"))
#: Hosts whose php-fpm cannot have its address, and some that supervisord has given up on.
CONFLICTS = {f"web{number}" for number in range(0, HOSTS, 10)}
GIVEN_UP = {f"web{number}" for number in range(5, HOSTS, 10)}
EXPOSITION = (ROOT / "tests" / "data" / "metrics-golden.txt").read_text()


def with_value(text: str, pattern: str, number: int) -> str:
    """Return an exposition with another value of one sample."""
    changed, count = re.subn(rf"^({pattern}) \S+$", rf"\1 {number}", text, flags=re.MULTILINE)
    assert count == 1, pattern
    return changed


LABELS = 'group="php-fpm",process="php-fpm"'
WELL = EXPOSITION
for cause in re.findall(r'incident_firing\{cause="(\w+)"', EXPOSITION):
    for group in ("php-fpm", "job"):
        line = f'fpm_listener_incident_firing{{cause="{cause}",group="{group}",process="{group}"}}'
        WELL = re.sub(rf"^{re.escape(line)} \S+$", f"{line} 0", WELL, flags=re.MULTILINE)
WELL = re.sub(r"^(fpm_listener_restart_loop\{\S+\}) \S+$", r"\1 0", WELL, flags=re.MULTILINE)
WELL = re.sub(r'^(\S+state="FATAL"\}) \S+$', r"\1 0", WELL, flags=re.MULTILINE)
WELL = re.sub(r"^(fpm_listener_supervisor_up) \S+$", r"\1 1", WELL, flags=re.MULTILINE)
WELL = re.sub(r"^(fpm_listener_findings\{\S+\}) \S+$", r"\1 0", WELL, flags=re.MULTILINE)
CONFLICT = with_value(
    with_value(WELL, rf'fpm_listener_incident_firing\{{cause="bind_conflict",{LABELS}\}}', 1),
    rf'fpm_listener_restart_loop\{{{LABELS},tier="fast"\}}',
    1,
)
FATAL = with_value(WELL, rf'fpm_listener_process_state\{{{LABELS},state="FATAL"\}}', 1)


class Server(http.server.ThreadingHTTPServer):
    """An HTTP server that ignores a client that disconnects."""

    def handle_error(self, *_: object) -> None:
        """Ignore the error."""


class Exporters(http.server.BaseHTTPRequestHandler):
    """Serves the metrics of every host: /web7/metrics."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Serve the exposition of a host."""
        host = self.path.split("/")[1]
        text = CONFLICT if host in CONFLICTS else FATAL if host in GIVEN_UP else WELL
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def installed(name: str) -> str:
    """Return the path of a program."""
    path = shutil.which(name)
    assert path, f"no {name} on this machine: run scripts/setup.sh"
    return path


def configure(folder: Path, webhook: WebhookReceiver, exporters: int, alertmanager: int) -> None:
    """Write the shipped examples with the addresses of this test, and short intervals."""
    text = (ROOT / "monitoring" / "alertmanager.yml").read_text()
    text = re.sub(r"http://127\.0\.0\.1:9095/\w+", webhook.url, text)
    (folder / "alertmanager.yml").write_text(text.replace("group_wait: 30s", "group_wait: 15s"))
    shutil.copy(ROOT / "monitoring" / "rules.yml", folder)
    (folder / "targets").mkdir()
    targets = [
        {
            "targets": [f"127.0.0.1:{exporters}"],
            "labels": {"__metrics_path__": f"/web{number}/metrics", "instance": f"web{number}"},
        }
        for number in range(HOSTS)
    ]
    (folder / "targets" / "fleet.json").write_text(json.dumps(targets))
    text = (ROOT / "monitoring" / "prometheus.yml").read_text()
    text = text.replace("am1:9093, am2:9093, am3:9093", f"127.0.0.1:{alertmanager}")
    # All hosts have one address here; their names come with the targets.
    text = re.sub(r"    relabel_configs:\n.*", "", text, flags=re.DOTALL)
    (folder / "prometheus.yml").write_text(text.replace("30s", "5s"))


def run_query(port: int, query: str) -> float:
    """Return the value of a query; 0 if there is none yet."""
    words = urllib.parse.urlencode({"query": query})
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query?{words}") as answer:
        result = json.loads(answer.read())["data"]["result"]
    return float(result[0]["value"][1]) if result else 0.0


def firing_counts(webhook: WebhookReceiver) -> Counter[tuple[str, str]]:
    """Return how many times each alert of each host was notified as firing."""
    labels = (alert["labels"] for alert in webhook.alerts("firing"))
    return Counter((one["alertname"], one["instance"]) for one in labels)


def test_many_hosts_fail_at_once(tmp_path: Path) -> None:
    """Each incident is notified once through the shipped rules and routes, without its symptoms."""
    prometheus, alertmanager = free_port(), free_port()
    webhook = WebhookReceiver()
    webhook.start()
    exporters = Server(("127.0.0.1", 0), Exporters)
    threading.Thread(target=exporters.serve_forever, daemon=True).start()
    configure(tmp_path, webhook, exporters.server_address[1], alertmanager)
    commands = [
        [
            installed("prometheus-alertmanager"),
            f"--config.file={tmp_path}/alertmanager.yml",
            f"--storage.path={tmp_path}/am",
            f"--web.listen-address=127.0.0.1:{alertmanager}",
            "--cluster.listen-address=",
        ],
        [
            installed("prometheus"),
            f"--config.file={tmp_path}/prometheus.yml",
            f"--storage.tsdb.path={tmp_path}/tsdb",
            f"--web.listen-address=127.0.0.1:{prometheus}",
        ],
    ]
    wanted = {("FpmBindConflict", host) for host in CONFLICTS}
    children = []
    try:
        for command in commands:
            with (tmp_path / "log").open("ab") as log:
                children.append(subprocess.Popen(command, stdout=log, stderr=log))
        wait_until(lambda: run_query(prometheus, "sum(up)") == HOSTS, "every target")
        wait_until(lambda: wanted <= set(firing_counts(webhook)), "what fires")
        print_figures(prometheus)
        # A loop and a conflict of one program fire both; one of them is told.
        assert run_query(prometheus, 'count(ALERTS{alertname="FpmRestartLoop"})') == len(CONFLICTS)
        assert set(firing_counts(webhook)) <= wanted | {("FpmGaveUp", host) for host in GIVEN_UP}
        assert set(firing_counts(webhook).values()) == {1}
    finally:
        for child in children:
            child.kill()
            child.wait()
        exporters.shutdown()
        exporters.server_close()
        webhook.stop()


def print_figures(prometheus: int) -> None:
    """Print what the fleet costs this Prometheus, and check that its rules are fast."""
    with urllib.request.urlopen(f"http://127.0.0.1:{prometheus}/metrics") as answer:
        own = answer.read().decode()

    def most(name: str) -> float:
        return max(map(float, re.findall(rf"^{name}(?:\{{.*\}})? (\S+)$", own, re.MULTILINE)))

    rules_s = most("prometheus_rule_group_last_duration_seconds")
    samples = run_query(prometheus, "avg(scrape_samples_scraped)")
    print(  # noqa: T201 - make bench-fleet
        f"\nfleet of {HOSTS} hosts: {samples:.0f} series a host, "
        f"{most('prometheus_tsdb_head_series'):.0f} in all; all rules in {rules_s:.3f} s; "
        f"Prometheus has {most('process_resident_memory_bytes') / 2**20:.0f} MiB"
    )
    assert rules_s < 10  # the aim is one second; machines are shared


def test_the_example_configuration_of_alertmanager() -> None:
    """amtool accepts it and routes by severity; alerts of a listener inhibit those of the rules."""
    conf = str(ROOT / "monitoring" / "alertmanager.yml")

    def amtool(*words: str) -> str:
        command = [installed("amtool"), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    assert "SUCCESS" in amtool("check-config", conf)
    route = ("config", "routes", "test", f"--config.file={conf}")
    assert amtool(*route, "severity=critical", "alertname=PhpFpmFailing") == "night"
    assert amtool(*route, "severity=warning", "alertname=FpmFlapping") == "day"
    assert amtool(*route, "alertname=FpmListenerAbsent") == "night"
    text = Path(conf).read_text()
    rules = set(re.findall(r"- alert: (\w+)", (ROOT / "monitoring" / "rules.yml").read_text()))
    named = {
        f"Fpm{word}" for one in re.findall(r"Fpm\(([\w|]+)\)", text) for word in one.split("|")
    }
    named |= set(re.findall(r'alertname="(Fpm\w+)"', text))
    assert named <= rules
