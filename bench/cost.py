"""What the listener costs while nothing happens: `make bench-cost`.

A real supervisord runs a real php-fpm with ten pools (five TCP, five unix), and an empty listener.
Each pool is checked every 5 s, the error log is followed, and nobody reads the metrics. The
processor time is the kernel's in nanoseconds (/proc/PID/task/*/schedstat): clock ticks are too
coarse. The resident memory is measured in this state, after scrapes, and after alerts to a webhook.
"""

from __future__ import annotations

import argparse
import http.server
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pump import YARDSTICK
from run import free_port
from spin import CONF

if TYPE_CHECKING:
    from collections.abc import Callable

POOLS = 10
#: Programs that crash, and so alerts.
ALERTS = 10
_SCRAPES = 5
_PROGRAM = """
[program:php-fpm]
command={php_fpm} --nodaemonize --fpm-config {folder}/fpm.conf
stdout_logfile=NONE
stderr_logfile=NONE
"""
_EMPTY = """
[supervisorctl]
serverurl=unix://{folder}/s.sock
[eventlistener:empty]
command={python} {folder}/empty.py
events=PROCESS_STATE
stderr_logfile=NONE
"""
_CRASHES = """
[program:crashes-{number}]
command=/bin/false
autostart=false
startretries=5
"""
_SETTINGS = """fpm_status=on
fpm_status_interval=5s
[fpm-listener:receiver:ops]
url=http://127.0.0.1:{port}/
"""
_POOL = """
[pool{number}]
{user}
listen={listen}
pm=static
pm.max_children=2
pm.status_path=/status
"""


class Used(NamedTuple):
    """What one thread has used."""

    cpu_ns: int
    wakeups: int


def used(pid: int) -> dict[str, Used]:
    """Return what each thread of a process has used so far, by its name and number."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        status = (task / "status").read_text()
        lines = dict(line.split(":", 1) for line in status.splitlines())
        cpu_ns = int((task / "schedstat").read_text().split()[0])
        name = f"{lines['Name'].strip()} {task.name}"
        found[name] = Used(cpu_ns, int(lines["voluntary_ctxt_switches"]))
    return found


class Webhook(http.server.BaseHTTPRequestHandler):
    """Accepts alerts, and counts the programs that they are about."""

    programs: set[str] = set()  # noqa: RUF012 - one for all requests

    def do_POST(self) -> None:
        """Accept a message."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.programs |= {one["labels"]["process"] for one in body["alerts"]}
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def configure(folder: Path, php_fpm: str, webhook: int, listen: int) -> Path:
    """Write all configuration files; return supervisord's."""
    is_root = os.geteuid() == 0
    user = "user=nobody\ngroup=nogroup" if is_root else ""
    pools = [
        _POOL.format(
            number=number,
            user=user,
            listen=f"{folder}/{number}.sock" if number % 2 else f"127.0.0.1:{19760 + number}",
        )
        for number in range(POOLS)
    ]
    (folder / "fpm.conf").write_text(
        f"[global]\nerror_log={folder}/error.log\ndaemonize=no\n{''.join(pools)}"
    )
    (folder / "empty.py").write_text(YARDSTICK[2])
    conf = folder / "supervisord.conf"
    command = f"{sys.executable} -m fpm_listener listen --config {conf}"
    text = CONF.replace("[program:spin]\ncommand=/bin/true\nstartsecs=0\nautorestart=true\n", "")
    head = text.replace("127.0.0.1:0", f"127.0.0.1:{listen}")
    others = [_CRASHES.format(number=number) for number in range(ALERTS)]
    conf.write_text(
        head.format(folder=folder, command=command, user="user=root" if is_root else "")
        + _SETTINGS.format(port=webhook)
        + _PROGRAM.format(folder=folder, php_fpm=php_fpm)
        + _EMPTY.format(folder=folder, python=sys.executable)
        + "".join(others)
    )
    return conf


def child(supervisord: int, word: bytes) -> int:
    """Return the pid of the child of supervisord with a word in its command; waits for it."""
    found: list[int] = []

    def look() -> bool:
        children = Path(f"/proc/{supervisord}/task/{supervisord}/children").read_text().split()
        commands = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children}
        found.extend(pid for pid, command in commands.items() if word in command)
        return bool(found)

    wait_for(look, f"{word.decode()} does not start")
    return found[0]


def wait_for(holds: Callable[[], bool], otherwise: str) -> None:
    """Wait until something holds. Raises TimeoutError."""
    end_s = time.monotonic() + 60
    while not holds():
        if time.monotonic() > end_s:
            raise TimeoutError(otherwise)
        time.sleep(0.1)


def memory_mib(pid: int) -> tuple[float, float]:
    """Return the resident memory of a process, and its part that is not shared."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    sizes = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines}
    return sizes["Rss"], sizes["Private_Dirty"] + sizes["Private_Clean"]


def show_memory(state: str, ours: int, empty: int, aim: int) -> None:
    """Print one row."""
    (mine, own), (yardstick, _) = memory_mib(ours), memory_mib(empty)
    print(
        f"memory {state:20} {mine:5.1f} MiB, {own:5.1f} of it private; empty listener"
        f" {yardstick:5.1f} MiB; ratio {mine / yardstick:.2f}; aim <= {aim} MiB",
        flush=True,
    )


def supervisorctl(conf: Path, *words: str) -> None:
    """Give supervisord a command."""
    command = [sys.executable, "-m", "supervisor.supervisorctl", "-c", str(conf), *words]
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL)


def measure_memory(conf: Path, ours: int, empty: int, port: int) -> None:
    """Print the memory before the first scrape, after scrapes, and after alerts."""
    show_memory("before a scrape", ours, empty, 25)
    for _ in range(_SCRAPES):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            answer.read()
    show_memory("after scrapes", ours, empty, 29)
    supervisorctl(conf, "start", *(f"crashes-{number}" for number in range(ALERTS)))
    wait_for(lambda: len(Webhook.programs) == ALERTS, "the alerts do not arrive")
    time.sleep(5)  # the last answer is recorded
    show_memory(f"after {ALERTS} alerts", ours, empty, 35)


def measure_cpu(pid: int, seconds: float) -> None:
    """Print the processor time, and the threads that used most."""
    began_s, before = time.monotonic(), used(pid)
    time.sleep(seconds)
    after, took_s = used(pid), time.monotonic() - began_s
    none = Used(0, 0)
    spent = {
        task: Used(
            now.cpu_ns - before.get(task, none).cpu_ns, now.wakeups - before.get(task, none).wakeups
        )
        for task, now in after.items()
    }
    share = sum(one.cpu_ns for one in spent.values()) / 1e9 / took_s * 100
    wakeups = sum(one.wakeups for one in spent.values()) / took_s
    print(f"idle, {POOLS} pools every 5 s, {took_s:.0f} s: {share:.3f} % of a core, aim < 0.1 %;")
    print(f"{wakeups:.1f} wake-ups a second; load average {os.getloadavg()[0]:.1f}")
    for task, one in sorted(spent.items(), key=lambda item: -item[1].cpu_ns):
        print(
            f"    {task:24} {one.cpu_ns / 1e7 / took_s:.4f} %  {one.wakeups / took_s:.2f} a second",
            flush=True,
        )


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--settle", type=float, default=40.0)
    wanted = parser.parse_args()
    webhook = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Webhook)
    threading.Thread(target=webhook.serve_forever, daemon=True).start()
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="cost-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        conf = configure(folder, os.environ["PHP_FPM"], webhook.server_port, port)
        command = [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(conf)]
        with (folder / "out").open("wb") as out, subprocess.Popen(command, stdout=out) as process:
            try:
                ours = child(process.pid, b"fpm_listener")
                empty = child(process.pid, b"empty.py")
                time.sleep(wanted.settle)  # the start is not idle
                measure_cpu(ours, wanted.seconds)
                measure_memory(conf, ours, empty, port)
                # Of the pools: a failed set-up would be cheap.
                status = [sys.executable, "-m", "fpm_listener", "status", "--config", str(conf)]
                subprocess.run(status, check=False)
            finally:
                process.terminate()
    webhook.shutdown()


if __name__ == "__main__":
    main()
