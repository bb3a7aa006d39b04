"""How often supervisord starts a program that exits at once: with us, and with an empty listener.

`make bench-spin`. Whatever wakes supervisord's poll lets it start the program once more: each
acknowledgement, XML-RPC call and line on stderr. Both listeners have the same events=. The order
alternates, and the median of the rounds counts, since machines are noisy.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

#: The least that a listener does.
EMPTY = """
import sys
sys.stdout.write("READY\\n")
sys.stdout.flush()
while True:
    words = dict(word.split(":", 1) for word in sys.stdin.readline().split())
    if not words:
        break
    sys.stdin.read(int(words["len"]))
    sys.stdout.write("RESULT 2\\nOKREADY\\n")
    sys.stdout.flush()
"""
CONF = """
[supervisord]
nodaemon=true
logfile={folder}/supervisord.log
pidfile={folder}/supervisord.pid
childlogdir={folder}
{user}
[unix_http_server]
file={folder}/s.sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[eventlistener:fpm-listener]
command={command}
events=PROCESS_STATE,PROCESS_LOG,PROCESS_GROUP,SUPERVISOR_STATE_CHANGE
buffer_size=1024
stderr_logfile={folder}/listener.log
[program:spin]
command=/bin/true
startsecs=0
autorestart=true
[fpm-listener]
listen=127.0.0.1:0
state_dir={folder}/state
"""


def starts(folder: Path, command: str, seconds: float) -> int:
    """Return how often the program was started."""
    user = "user=root" if Path("/proc/self").stat().st_uid == 0 else ""
    conf = folder / "supervisord.conf"
    conf.write_text(CONF.format(folder=folder, command=command, user=user))
    supervisor = [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(conf)]
    log = folder / "supervisord.log"
    with (folder / "out").open("wb") as out, subprocess.Popen(supervisor, stdout=out) as process:
        try:
            end = time.monotonic() + 30
            while "entered RUNNING state" not in _text(log, "fpm-listener"):
                if time.monotonic() > end:
                    raise TimeoutError
                time.sleep(0.1)
            time.sleep(2)  # the start of a listener is no part of it
            before = _text(log, "spin").count("spawned: 'spin'")
            time.sleep(seconds)
            return _text(log, "spin").count("spawned: 'spin'") - before
        finally:
            process.terminate()


def _text(log: Path, program: str) -> str:
    text = log.read_text() if log.exists() else ""
    return "\n".join(line for line in text.splitlines() if program in line)


def main() -> None:
    """Print the counts side by side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    wanted = parser.parse_args()
    counts: dict[str, list[int]] = {"empty": [], "ours": []}
    for number in range(wanted.rounds):
        for which in sorted(counts, reverse=bool(number % 2)):
            with tempfile.TemporaryDirectory(prefix="spin-") as name:
                folder = Path(name)
                (folder / "empty.py").write_text(EMPTY)
                config = f"{folder}/supervisord.conf"
                ours = f"{sys.executable} -m fpm_listener listen --config {config}"
                command = ours if which == "ours" else f"{sys.executable} {folder}/empty.py"
                counts[which].append(starts(folder, command, wanted.seconds))
    empty, ours_count = (statistics.median(counts[which]) for which in ("empty", "ours"))
    ratio = ours_count / empty if empty else float("nan")
    print(f"starts in {wanted.seconds:g} s of a program that exits at once, median of")
    print(f"{wanted.rounds} rounds: ours {ours_count}, empty listener {empty}, all {counts}")
    print(f"ratio {ratio:.2f}, aim at most 1.2")


if __name__ == "__main__":
    main()
