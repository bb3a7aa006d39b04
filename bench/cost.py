"""What the listener costs while nothing happens: `bench/cost.py [--seconds 120]`.

A real supervisord runs a real php-fpm with ten pools (five TCP, five unix). Each pool is checked
every 5 s, the error log is followed, and nobody reads the metrics. The processor time is the
kernel's in nanoseconds (/proc/PID/task/*/schedstat): clock ticks are too coarse.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from spin import CONF

POOLS = 10
_PROGRAM = """
[program:php-fpm]
command={php_fpm} --nodaemonize --fpm-config {folder}/fpm.conf
stdout_logfile=NONE
stderr_logfile=NONE
"""
_SETTINGS = "fpm_status=on\nfpm_status_interval=5s\n"
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


def configure(folder: Path, php_fpm: str) -> Path:
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
    conf = folder / "supervisord.conf"
    command = f"{sys.executable} -m fpm_listener listen --config {conf}"
    text = CONF.replace("[program:spin]\ncommand=/bin/true\nstartsecs=0\nautorestart=true\n", "")
    head = text.format(folder=folder, command=command, user="user=root" if is_root else "")
    conf.write_text(head + _SETTINGS + _PROGRAM.format(folder=folder, php_fpm=php_fpm))
    return conf


def listener(supervisord: int) -> int:
    """Return the pid of the listener; waits for it."""
    end_s = time.monotonic() + 30
    while time.monotonic() < end_s:
        children = Path(f"/proc/{supervisord}/task/{supervisord}/children").read_text().split()
        for pid in children:
            if b"fpm_listener" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return int(pid)
        time.sleep(0.1)
    raise TimeoutError("the listener does not start")


def main() -> None:
    """Print the row, and the threads that used most."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--settle", type=float, default=40.0)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cost-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        conf = configure(folder, os.environ["PHP_FPM"])
        command = [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(conf)]
        with (folder / "out").open("wb") as out, subprocess.Popen(command, stdout=out) as process:
            try:
                pid = listener(process.pid)
                time.sleep(wanted.settle)  # the start is not idle
                began_s, before = time.monotonic(), used(pid)
                time.sleep(wanted.seconds)
                after, took_s = used(pid), time.monotonic() - began_s
                states = subprocess.run(  # of the pools: a failed set-up would be cheap
                    [sys.executable, "-m", "fpm_listener", "status", "--config", str(conf)],
                    capture_output=True,
                    text=True,
                    check=False,
                ).stdout
            finally:
                process.terminate()
    none = Used(0, 0)
    spent = {
        task: Used(
            now.cpu_ns - before.get(task, none).cpu_ns, now.wakeups - before.get(task, none).wakeups
        )
        for task, now in after.items()
    }
    share = sum(one.cpu_ns for one in spent.values()) / 1e9 / took_s * 100
    wakeups = sum(one.wakeups for one in spent.values()) / took_s
    print(states)
    print(f"idle, {POOLS} pools every 5 s, {took_s:.0f} s: {share:.3f} % of a core, aim < 0.1 %;")
    print(f"{wakeups:.1f} wake-ups a second")
    for task, one in sorted(spent.items(), key=lambda item: -item[1].cpu_ns):
        print(
            f"    {task:24} {one.cpu_ns / 1e7 / took_s:.4f} %  {one.wakeups / took_s:.2f} a second"
        )


if __name__ == "__main__":
    main()
