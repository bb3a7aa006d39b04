"""How much CPU `explain --logs` needs, compared with `grep -cF`, and how much memory.

`make bench-logs`. One line in a hundred (`--relevant`) is of supervisord or php-fpm; the others are
of a web server and of applications. There are two kinds of logs: a restart loop, and the warnings
of a pool. The least CPU time of several turns counts, since machines are busy. `--mebibytes 1024`
measures a large file.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from fpm_listener.replay.log_lines import LogFile, ReadOptions, Report, read  # noqa: E402

if TYPE_CHECKING:
    import resource
    from collections.abc import Iterator

#: Turns.
TURNS = 3
#: What `grep` counts.
NEEDLE = "exited: php-fpm"
START_S = 1795860000.0
_SOCKET = "/run/f.sock': Address already in use"
_AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0",
    "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0",
    "PostmanRuntime/7.42.0",
    "ELB-HealthChecker/2.0",
)


def access(chance: random.Random, at_s: float) -> str:
    """Return a line of nginx."""
    stamp = time.strftime("%d/%b/%Y:%H:%M:%S", time.gmtime(at_s))
    path = chance.choice(("REPORTS", "api/orders", "cart", "INFO"))
    return (
        f'172.18.0.{chance.randrange(255)} - - [{stamp} +0000] "GET /{path}?id='
        f'{chance.randrange(10**6)} HTTP/1.1" 200 {chance.randrange(10**5)} "-" '
        f'"{chance.choice(_AGENTS)}"'
    )


def application(chance: random.Random, at_s: float) -> str:
    """Return a line of Laravel, or of a program that writes JSON."""
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at_s))
    if chance.random() < 0.5:
        return f'{{"level":"info","ts":"{stamp}","msg":"request","size":{chance.random()}}}'
    level = chance.choice(("INFO", "ERROR", "WARNING"))
    return f"[{stamp}] production.{level}: Order {chance.random()} not found at /var/www/x.php:12"


def supervisord(at_s: float, text: str) -> str:
    """Return a line of supervisord."""
    return time.strftime(f"%Y-%m-%d %H:%M:%S,000 {text}", time.gmtime(at_s))


def fpm(at_s: float, text: str) -> str:
    """Return a line of php-fpm."""
    return time.strftime(f"[%d-%b-%Y %H:%M:%S] {text}", time.gmtime(at_s))


def restart_loop(at_s: float) -> Iterator[str]:
    """Return the lines of a php-fpm whose address is in use, again and again."""
    for pid in itertools.count(100):
        yield fpm(at_s, f"ERROR: unable to bind listening socket for address '{_SOCKET} (98)")
        yield fpm(at_s, "ERROR: FPM initialization failed")
        yield supervisord(at_s, "WARN exited: php-fpm (exit status 78; not expected)")
        at_s += 30.0
        yield supervisord(at_s, f"INFO spawned: 'php-fpm' with pid {pid}")
        at_s += 30.0


def pool_warnings(at_s: float) -> Iterator[str]:
    """Return the lines of a busy pool whose workers crash."""
    yield supervisord(at_s, "INFO spawned: 'php-fpm' with pid 7")
    yield fpm(at_s, "NOTICE: fpm is running, pid 7")
    yield fpm(at_s, "NOTICE: ready to handle connections")
    yield supervisord(at_s + 1, "INFO success: php-fpm entered RUNNING state, process has stayed")
    for pid in itertools.count(100):
        at_s += 30.0
        yield fpm(at_s, "WARNING: [pool www] server reached pm.max_children setting (5), consider")
        yield fpm(at_s, "WARNING: [pool www] seems busy (you may need to increase pm.start_servers")
        yield fpm(at_s, f"WARNING: [pool www] child {pid} exited on signal 11 (SIGSEGV) after 9 s")
        yield fpm(at_s, f"NOTICE: [pool www] child {pid + 1} started")


KINDS = {"a restart loop": restart_loop, "warnings of a pool": pool_warnings}


def write(path: Path, size: int, own: Iterator[str], relevant: float) -> None:
    """Write a log of so many bytes. relevant: the part of the lines that is from `own`."""
    chance = random.Random(1)  # noqa: S311 - no secret
    others = [
        (access if chance.random() < 0.7 else application)(chance, START_S + number)
        for number in range(5000)
    ]
    written = 0
    with path.open("w", encoding="utf-8") as file:
        while written < size:
            lines = [
                next(own) if chance.random() < relevant else chance.choice(others)
                for _ in range(1000)
            ]
            written += file.write("\n".join(lines) + "\n")


def used(command: list[str]) -> resource.struct_rusage:
    """Return what a command has used. `grep` stops at the first line if its output is /dev/null."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as child:
        assert child.stdout is not None
        child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode > 1:
        sys.exit(f"{command[0]} has failed")
    return usage


def cpu_s(command: list[str], turns: int = TURNS) -> float:
    """Return the CPU seconds of the best turn of a command."""
    usages = [used(command) for _ in range(turns)]
    return min(usage.ru_utime + usage.ru_stime for usage in usages)


def reading_s(path: Path, turns: int = TURNS) -> tuple[float, int]:
    """Return the CPU seconds of reading the lines of interest, and their number."""
    report, best_s = Report(), float("inf")
    for _ in range(turns):
        before_s, report = time.process_time(), Report()
        for _line in read([LogFile(str(path))], ReadOptions(), report):
            pass
        best_s = min(best_s, time.process_time() - before_s)
    return best_s, report.lines


def main() -> None:
    """Print the CPU times and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mebibytes", type=int, default=32)
    parser.add_argument("--relevant", type=float, default=0.01, help="part of the lines")
    parser.add_argument("--turns", type=int, default=TURNS)
    options = parser.parse_args()
    explain = [sys.executable, "-m", "fpm_listener", "explain", "--logs"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "docker.log")
        path.write_text("\n".join(itertools.islice(pool_warnings(START_S), 4)), encoding="utf-8")
        start_s = cpu_s([*explain, str(path)], max(TURNS, options.turns))
    print(f"start of the command: {start_s:.2f} s of CPU")
    for kind, make in KINDS.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "docker.log")
            write(path, options.mebibytes << 20, make(START_S), options.relevant)
            grep_s = cpu_s(["grep", "-cF", NEEDLE, str(path)], options.turns)
            read_s, lines = reading_s(path, options.turns)
            usages = [used([*explain, str(path)]) for _ in range(options.turns)]
        whole_s = min(usage.ru_utime + usage.ru_stime for usage in usages)
        print(f"{options.mebibytes} MiB, {lines} lines of {kind}: grep -cF {grep_s:.3f} s of CPU")
        print(f"  reading         {read_s:7.3f} s  {grep_s / read_s:.3f} of grep")
        print(f"  explain --logs  {whole_s:7.3f} s  {grep_s / whole_s:.3f} of grep")
        print(f"  replay of a line {(whole_s - start_s - read_s) / lines * 1e6:.0f} µs")
        print(f"  memory          {max(usage.ru_maxrss for usage in usages) / 1024:.1f} MiB")


if __name__ == "__main__":
    main()
