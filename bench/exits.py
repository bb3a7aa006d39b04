"""How many exit statuses are known without XML-RPC, and how many are wrong (goal: none).

`make bench-exits`. supervisord has no http server. Programs exit with a status or by a signal that
they write down before. The listener writes down what it reports. Runs of one length exit from
RUNNING, in BACKOFF, or at once after a start. A second pass disables PIDFD_GET_INFO, as on a kernel
before 6.15: then only the zombie in /proc is left.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

#: The listener, which also writes down each exit: process, status (None = unknown).
LISTENER = """
import json, sys
from fpm_listener.host import pidfd_info
from fpm_listener.__main__ import main
from fpm_listener.monitor import messages
from fpm_listener.monitor.timeline import Timeline
take = Timeline.take
out = open(sys.argv.pop(1), "a", buffering=1)
if sys.argv.pop(1) == "zombie":
    pidfd_info.wait_status = lambda _: pidfd_info.Missing.UNSUPPORTED
def noted(self, now, effects):
    for one in effects:
        if isinstance(one, messages.RunEnded):
            status = one.note.reason.as_metric if one.note else None
            out.write(json.dumps([one.process.process, status]) + "\\n")
    take(self, now, effects)
Timeline.take = noted
sys.exit(main())
"""
#: A program: writes down how it is going to exit, and when it starts.
PROGRAM = """#!/bin/bash
statuses=(0 1 2 70 78 124 126 127 137 139 255 -9 -11 -15 -6)
status=${{statuses[$RANDOM % ${{#statuses[@]}}]}}
echo "$(date +%s.%N) $status" >> {folder}/truth.$1
exec 2>/dev/null
[ {seconds} = 0 ] || read -t {seconds} <> <(:)
[ $status -ge 0 ] && exit $status
kill $status $$
"""
CONF = """
[supervisord]
nodaemon=true
logfile=/dev/null
logfile_maxbytes=0
pidfile={folder}/supervisord.pid
{user}
[eventlistener:fpm-listener]
command={python} {folder}/listener.py {folder}/reported {mode} listen --config {conf}
events=PROCESS_STATE,PROCESS_GROUP,SUPERVISOR_STATE_CHANGE
buffer_size=10000
priority=-50
stderr_logfile={folder}/listener.log
[fpm-listener]
listen=127.0.0.1:{port}
state_dir={folder}/state
"""
SECTION = """
[program:{name}]
command={folder}/program.sh {name}
startsecs={startsecs}
startretries=1000
autorestart=true
stdout_logfile=NONE
stderr_logfile=NONE
"""


class Outcome(NamedTuple):
    """The exits of one pass."""

    exits: int
    known: int
    wrong: int


def measure(seconds: float, startsecs: int, mode: str, wanted: int) -> Outcome:
    """Return what the listener reports about at least `wanted` exits, or those of a minute."""
    with tempfile.TemporaryDirectory(prefix="exits-") as name:
        folder = Path(name)
        conf = folder / "supervisord.conf"
        user = "user=root" if os.geteuid() == 0 else ""
        names = [f"p{number}" for number in range(8)]
        sections = (SECTION.format(name=one, folder=folder, startsecs=startsecs) for one in names)
        words = {
            "port": _port(),
            "folder": folder,
            "python": sys.executable,
            "mode": mode,
            "conf": conf,
        }
        conf.write_text(CONF.format(user=user, **words) + "".join(sections))
        (folder / "listener.py").write_text(LISTENER)
        program = folder / "program.sh"
        program.write_text(PROGRAM.format(folder=folder, seconds=seconds))
        program.chmod(0o755)
        supervisor = [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(conf)]
        with (
            (folder / "out").open("wb") as out,
            subprocess.Popen(supervisor, stdout=out) as process,
        ):
            try:
                return _wait(folder, names, wanted)
            finally:
                process.terminate()


def _wait(folder: Path, names: list[str], wanted: int) -> Outcome:
    end = time.monotonic() + 90
    while "listener started" not in _text(folder / "listener.log"):
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.1)
    time.sleep(2)  # its first questions are answered
    ready_s = time.time()
    while True:
        outcome = _compare(folder, names, ready_s)
        if outcome.exits >= wanted or time.monotonic() > end:
            return outcome
        time.sleep(0.5)


def _compare(folder: Path, names: list[str], ready_s: float) -> Outcome:
    """Compare the exits of runs that began when the listener was ready, in their order."""
    reported = [json.loads(line) for line in _text(folder / "reported").splitlines()]
    exits = known = wrong = 0
    for name in names:
        lines = [line.split() for line in _text(folder / f"truth.{name}").splitlines()]
        of_it = [status for process, status in reported if process == name]
        for (began, truth), status in zip(lines, of_it, strict=False):
            if float(began) > ready_s:
                exits += 1
                known += status is not None
                wrong += status is not None and status != int(truth)
    return Outcome(exits, known, wrong)


def _port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def main() -> None:
    """Print the rates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--exits", type=int, default=200)
    wanted = parser.parse_args()
    print(f"Linux {platform.release()}, no XML-RPC, {wanted.exits} exits a row")
    for mode, source in (("all", "with PIDFD_GET_INFO"), ("zombie", "only the zombie in /proc")):
        for seconds, startsecs, what in (
            (1.3, 1, "runs of 1.3 s, from RUNNING"),
            (0.3, 1, "runs of 0.3 s, BACKOFF"),
            (0.3, 0, "runs of 0.3 s, startsecs=0"),
            (0.03, 1, "runs of 0.03 s, BACKOFF"),
            (0.03, 0, "runs of 0.03 s, startsecs=0"),
            (0, 0, "runs that exit at once, startsecs=0"),
        ):
            got = measure(seconds, startsecs, mode, wanted.exits)
            rate = got.known / got.exits if got.exits else float("nan")
            print(
                f"{source:>24}, {what:<36} known {got.known:>4} of {got.exits:>4} = {rate:6.1%}, "
                f"wrong {got.wrong}",
                flush=True,
            )


if __name__ == "__main__":
    main()
