"""Speed and memory, printed as ratios side by side in one run: `make bench`.

Nothing here passes or fails: machines are shared and noisy. Each figure stands beside its
yardstick, measured a moment before or after it, and beside the aim of the project.
"""

from __future__ import annotations

import argparse
import http.server
import json
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pump import YARDSTICK, pumping, storm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MIB = 1 << 20


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class Bench:
    """A folder, a port and a settings file for one listener."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.log = folder / "php-fpm.log"
        self.log.touch()
        self.stderr = folder / "listener.log"

    def command(self, receiver: str = "", **settings: str) -> list[str]:
        """Return the command of a listener under these settings."""
        conf = self.folder / "fpm_listener.conf"
        words = {
            "listen": f"127.0.0.1:{self.port}",
            "state_dir": str(self.folder / "state"),
            "log_level": "warning",
            **settings,
        }
        text = "[fpm-listener]\n" + "".join(f"{key} = {value}\n" for key, value in words.items())
        if receiver:
            text += f"[fpm-listener:receiver:ops]\nurl = {receiver}\n"
        conf.write_text(text)
        return [sys.executable, "-m", "fpm_listener", "listen", "--config", str(conf)]

    def supervised(self, receiver: str = "", **settings: str) -> list[str]:
        """Return the command of a listener that finds a php-fpm in a supervisord.conf."""
        fpm = self.folder / "php-fpm.conf"
        fpm.write_text(
            f"[global]\nerror_log = {self.log}\n[www]\nlisten = 127.0.0.1:1\npm = static\n",
        )
        conf = self.folder / "supervisord.conf"
        conf.write_text(
            f"[supervisord]\n[program:php-fpm]\ncommand=/usr/sbin/php-fpm -F -y {fpm}\n",
        )
        # The listener asks its parent's command line which file supervisord has read.
        parent = self.folder / "supervisord.py"
        parent.write_text(
            "import subprocess, sys\n"
            "sys.exit(subprocess.call(sys.argv[sys.argv.index('--') + 1:]))\n",
        )
        command = self.command(receiver, **settings)
        return [sys.executable, str(parent), "-c", str(conf), "--", *command]

    def scrape(self) -> str:
        """Return the metrics; waits until they are served."""
        end = time.monotonic() + 20
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics") as answer:
                    body: str = answer.read().decode()
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
            else:
                return body


def row(figure: str, ours: str, yardstick: str, ratio: str, aim: str) -> None:
    print(f"{figure:<44} {ours:>14} {yardstick:>16} {ratio:>8}  {aim}", flush=True)


def quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def hanging_receiver() -> socket.socket:
    """Return a socket that takes connections and never answers."""
    return socket.create_server(("127.0.0.1", 0), backlog=64)


def acknowledgement(bench: Bench, events: int) -> None:
    """Receivers hang, the log storms, and supervisord wants its answers."""
    rounds: list[tuple[list[float], float, list[float], float]] = []
    with hanging_receiver() as server, storm(bench.log):
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        with (
            pumping(YARDSTICK) as idle,
            pumping(bench.supervised(url), bench.stderr) as ours,
        ):
            idle.ready()
            ours.ready()
            bench.scrape()
            for number in range(200):
                idle.state(number)
                ours.state(number)
            for part in range(10):
                figures = []
                for pump in (idle, ours):
                    began = time.perf_counter()
                    first = 200 + part * events // 10
                    seconds = [pump.state(first + number) for number in range(events // 10)]
                    figures.append((seconds, time.perf_counter() - began))
                rounds.append((*figures[0], *figures[1]))
    theirs = [value for part in rounds for value in part[0]]
    mine = [value for part in rounds for value in part[2]]
    ratios = [quantile(part[2], 0.5) / quantile(part[0], 0.5) for part in rounds]
    rates = [part[1] / part[3] for part in rounds]
    row(
        f"acknowledgement p50, {events} events",
        f"{quantile(mine, 0.5) * 1e6:.0f} us",
        f"{quantile(theirs, 0.5) * 1e6:.0f} us",
        f"{statistics.median(ratios):.2f}",
        "<= 1.5 x childutils loop",
    )
    row(
        "acknowledgement p99",
        f"{quantile(mine, 0.99) * 1e3:.2f} ms",
        f"{quantile(theirs, 0.99) * 1e3:.2f} ms",
        "",
        "< 10 ms",
    )
    row(
        "events per second",
        f"{events / sum(part[3] for part in rounds):.0f}",
        f"{events / sum(part[1] for part in rounds):.0f}",
        f"{statistics.median(rates):.2f}",
        ">= 0.8",
    )


def line_to_alert(bench: Bench, alerts: int) -> None:
    """Measure from php-fpm's log line to the alert at a webhook on loopback."""
    came: dict[str, float] = {}
    known = threading.Condition()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            at = time.perf_counter()
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()
            with known:
                for alert in body["alerts"]:
                    if alert["annotations"]["cause"] == "bind_conflict":
                        came.setdefault(alert["startsAt"], at)
                known.notify_all()

        def log_message(self, *_: object) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    seconds = []
    url = f"http://127.0.0.1:{server.server_port}/"
    with pumping(bench.supervised(url, stable_for="50ms"), bench.stderr) as pump:
        pump.ready()
        bench.scrape()
        wait_for_program(bench)
        for number in range(alerts):
            for _ in range(3):
                pump.state(3)
                pump.state(4)
            time.sleep(random.random() * 0.3)  # noqa: S311 - at any moment of the follower's round
            began = time.perf_counter()
            with bench.log.open("a") as file:
                file.write(
                    f"[23-Nov-2026 {number // 3600 % 24:02d}:{number // 60 % 60:02d}:"
                    f"{number % 60:02d}] ERROR: unable to bind listening socket for address "
                    f"'127.0.0.1:1': Address already in use (98)\n",
                )
            with known:
                known.wait_for(partial(has, came, number + 1), timeout=20)
                seconds.append(max(came.values()) - began)
            pump.state(3)
            pump.state(1)
            wait_for_end(bench)
    server.shutdown()
    row(
        f"log line to alert, {alerts} alerts, p50",
        f"{quantile(seconds, 0.5) * 1e3:.0f} ms",
        "superhooks 60 s",
        "",
        "",
    )
    row("log line to alert, p99", f"{quantile(seconds, 0.99) * 1e3:.0f} ms", "", "", "< 300 ms")


def has(came: dict[str, float], wanted: int) -> bool:
    """Return whether as many alerts have come."""
    return len(came) >= wanted


def wait_for_program(bench: Bench) -> None:
    while 'process="php-fpm"' not in bench.scrape() or "bind_conflict" not in bench.scrape():
        time.sleep(0.05)


def wait_for_end(bench: Bench) -> None:
    wanted = 'fpm_listener_restart_loop{group="php-fpm",process="php-fpm",tier="fast"} 0.0'
    while wanted not in bench.scrape():
        time.sleep(0.02)


def start_up(bench: Bench, runs: int) -> None:
    """Start to first READY, beside importing supervisor's helper library."""
    command = bench.command()
    ratios, ours, theirs = [], [], []
    for _ in range(runs):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import supervisor.childutils"], check=True)
        theirs.append(time.perf_counter() - began)
        with pumping(command, bench.stderr) as pump:
            ours.append(pump.ready())
            bench.scrape()
        ratios.append(ours[-1] / theirs[-1])
    row(
        "start to first READY",
        f"{statistics.median(ours) * 1e3:.0f} ms",
        f"{statistics.median(theirs) * 1e3:.0f} ms",
        f"{statistics.median(ratios):.2f}",
        "<= 2 x import childutils",
    )


def healthy(bench: Bench, runs: int) -> None:
    """One question of a HEALTHCHECK, beside a Python that does nothing."""
    question = "import sys; from fpm_listener.__main__ import main; sys.exit(main(sys.argv[1:]))"
    command = bench.supervised()
    commands = {
        "pass": [sys.executable, "-c", "pass"],
        "healthy": [sys.executable, "-c", question, "healthy", "--config", command[-1]],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    with pumping(command, bench.stderr) as pump:
        pump.ready()
        bench.scrape()
        for _ in range(runs):
            for name, words in commands.items():
                began = time.perf_counter()
                subprocess.run(words, stdout=subprocess.DEVNULL, check=False)
                times[name].append(time.perf_counter() - began)
    ours, theirs = times["healthy"], times["pass"]
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    row(
        "healthy, of one program",
        f"{statistics.median(ours) * 1e3:.0f} ms",
        f"{statistics.median(theirs) * 1e3:.0f} ms",
        f"{ratio:.2f}",
        "< 60 ms; yardstick: python3 -c pass",
    )


def memory_and_cpu(bench: Bench, idle_s: float) -> None:
    """Resident memory, idle and after alerts; processor time while idle."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/"
    with pumping(YARDSTICK) as idle, pumping(bench.command(url), bench.stderr) as pump:
        idle.ready()
        pump.ready()
        for _ in range(5):
            bench.scrape()
        for number in range(2):
            idle.state(number)
            pump.state(number)
        before, began = pump.cpu_s(), time.perf_counter()
        time.sleep(idle_s)
        share = (pump.cpu_s() - before) / (time.perf_counter() - began)
        theirs, mine = idle.memory_mib(), pump.memory_mib()
        for number in range(60):
            pump.state(number, f"p{number // 6}")
        wanted = 'fpm_listener_alerts_pending{receiver="ops"} 0.0'
        while wanted not in bench.scrape():
            time.sleep(0.05)
        after = pump.memory_mib()
    server.shutdown()
    row(
        "memory, idle and scraped",
        f"{mine:.1f} MiB",
        f"{theirs:.1f} MiB",
        f"{mine / theirs:.2f}",
        "<= 28 MiB",
    )
    row(
        "memory after alerts",
        f"{after:.1f} MiB",
        f"{theirs:.1f} MiB",
        f"{after / theirs:.2f}",
        "<= 36 MiB",
    )
    row(f"CPU while idle, {idle_s:.0f} s", f"{share * 100:.3f} %", "", "", "< 0.1 % of a core")


def follow(bench: Bench, size_mib: int) -> None:
    """Follow a large log of noise, beside grep."""
    noise = bench.folder / "noise.log"
    block = b"".join(
        b"[23-Nov-2026 10:%02d:%02d] NOTICE: [pool www] child %d started\n"
        b"[23-Nov-2026 10:%02d:%02d] NOTICE: [pool www] child %d exited with code 0 after "
        b"0.%06d seconds from start\n"
        % (k // 60 % 60, k % 60, k, k // 60 % 60, k % 60, k, k * 7 % 1000000)
        for k in range(8000)
    )
    with noise.open("wb") as file:
        for _ in range(size_mib * MIB // len(block) + 1):
            file.write(block)
    size = noise.stat().st_size
    script = (
        "import resource, sys, time\nfrom fpm_listener.daemon.log_file import FileFollower\n"
        "follower = FileFollower(sys.argv[1], from_start=True)\nbegan = time.perf_counter()\n"
        "while follower.bytes_read < int(sys.argv[2]):\n    follower.poll()\n"
        "print(time.perf_counter() - began, "
        "resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)\n"
    )
    ours, theirs, ratios, peak = [], [], [], 0.0
    for _ in range(3):
        began = time.perf_counter()
        subprocess.run(
            ["grep", "-c", "-F", "unable to bind", str(noise)],
            check=False,
            stdout=subprocess.DEVNULL,
        )
        theirs.append(time.perf_counter() - began)
        done = subprocess.run(
            [sys.executable, "-c", script, str(noise), str(size)],
            check=True,
            capture_output=True,
            text=True,
        )
        seconds, memory = done.stdout.split()
        ours.append(float(seconds))
        peak = max(peak, float(memory))
        ratios.append(theirs[-1] / ours[-1])
    noise.unlink()
    row(
        f"following {size / MIB:.0f} MiB of noise",
        f"{size / MIB / statistics.median(ours):.0f} MiB/s",
        f"{size / MIB / statistics.median(theirs):.0f} MiB/s",
        f"{statistics.median(ratios):.2f}",
        ">= 0.5 x grep -c -F",
    )
    row("its peak memory", f"{peak:.1f} MiB", "", "", "flat")


def scrape(programs: int) -> None:
    """A scrape of many programs, beside prometheus-client's own text of as many samples."""
    from prometheus_client import CollectorRegistry, Gauge, generate_latest  # noqa: PLC0415

    from fpm_listener.histogram import Histogram  # noqa: PLC0415
    from fpm_listener.monitor.process_view import ProcessView  # noqa: PLC0415
    from fpm_listener.status.metrics import SnapshotCollector  # noqa: PLC0415
    from fpm_listener.status.snapshot import Snapshot  # noqa: PLC0415
    from fpm_listener.supervisor.process import ProcessName  # noqa: PLC0415
    from fpm_listener.vocabulary import State  # noqa: PLC0415

    histogram = Histogram((0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0)).view()
    views = tuple(
        ProcessView(
            name=ProcessName(f"group{number}", f"process{number}"),
            is_fpm=number % 4 == 0,
            state=State.RUNNING,
            pid=number,
            restart_seconds=histogram,
            start_time_s=1.7e9,
        )
        for number in range(programs)
    )
    snapshot = Snapshot(processes=views)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(SnapshotCollector(lambda: snapshot))
    samples = [sample for family in registry.collect() for sample in family.samples]
    theirs_registry = CollectorRegistry()
    by_name: dict[tuple[str, tuple[str, ...]], Any] = {}
    for sample in samples:
        names = tuple(sample.labels)
        key = (sample.name, names)
        if key not in by_name:
            label = f"{sample.name}_{len(by_name)}"
            by_name[key] = Gauge(label, "help", names, registry=theirs_registry)
        gauge = by_name[key]
        (gauge.labels(**sample.labels) if names else gauge).set(sample.value)
    ours, theirs, ratios = [], [], []
    for _ in range(7):
        began = time.perf_counter()
        generate_latest(theirs_registry)
        theirs.append(time.perf_counter() - began)
        began = time.perf_counter()
        generate_latest(registry)
        ours.append(time.perf_counter() - began)
        ratios.append(ours[-1] / theirs[-1])
    row(
        f"scrape, {programs} programs, {len(samples)} samples",
        f"{statistics.median(ours) * 1e3:.0f} ms",
        f"{statistics.median(theirs) * 1e3:.0f} ms",
        f"{statistics.median(ratios):.2f}",
        "<= 1.2 x generate_latest",
    )


def soak(bench: Bench, events: int) -> None:
    """A day of events in minutes: one event every few seconds of it."""
    with pumping(bench.command(), bench.stderr) as pump:
        pump.ready()
        bench.scrape()
        marks = []
        for number in range(events):
            pump.state(number, f"p{number // 6 % 20}")
            if number % (events // 20) == 0:
                bench.scrape()
                marks.append((pump.memory_mib(), pump.descriptors()))
    settled = marks[len(marks) // 4 :]
    growth = settled[-1][0] - settled[0][0]
    row(
        f"{events} events: growth after the first quarter",
        f"{growth:+.2f} MiB",
        f"{settled[0][0]:.1f} MiB",
        "",
        f"flat (descriptors {settled[0][1]} -> {settled[-1][1]})",
    )


def benches(quick: bool) -> Iterator[tuple[str, Callable[[Bench], None]]]:  # noqa: FBT001
    yield "ack", lambda bench: acknowledgement(bench, 2_000 if quick else 20_000)
    yield "alert", lambda bench: line_to_alert(bench, 20 if quick else 100)
    yield "start", lambda bench: start_up(bench, 5 if quick else 15)
    yield "healthy", lambda bench: healthy(bench, 11 if quick else 31)
    yield "memory", lambda bench: memory_and_cpu(bench, 5 if quick else 60)
    yield "follow", lambda bench: follow(bench, 128 if quick else 1024)
    yield "scrape", lambda _: scrape(1000)
    yield "soak", lambda bench: soak(bench, 20_000 if quick else 200_000)


def main() -> None:
    """Run all benches, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="only these: ack alert start memory follow …")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work")
    options = parser.parse_args()
    os.environ["PYTHONPATH"] = str(Path(__file__).parent.parent)
    sys.path.insert(0, os.environ["PYTHONPATH"])
    row("figure", "ours", "yardstick", "ratio", "aim")
    for name, bench in benches(options.quick):
        if options.names and name not in options.names:
            continue
        folder = Path(tempfile.mkdtemp(prefix="bench-"))
        try:
            bench(Bench(folder))
        finally:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
