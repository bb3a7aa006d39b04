"""How fast `explain --logs` reads a log, compared with `grep -cF`, and how much memory it needs.

`make bench-logs`. One line in a hundred is of supervisord or php-fpm; the others are of a web
server and of applications. Both read the same file in turns, and the fastest turn of each counts,
since machines are noisy. `--gigabytes 1` measures the memory with a larger file, too.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from fpm_listener.cli.explain_logs import read_policy  # noqa: E402 - it is found now
from fpm_listener.replay.log_lines import LogFile, ReadOptions, Report, read  # noqa: E402
from fpm_listener.replay.replayer import Replayer  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Lines of supervisord or php-fpm in all lines, and turns.
RELEVANT, TURNS = 0.01, 15
#: What `grep` counts.
NEEDLE = "exited: php-fpm"
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


def crashes(start_s: float, step_s: float) -> Iterator[str]:
    """Return the lines of a php-fpm whose address is in use, again and again."""
    at_s, pid = start_s, 100

    def supervisord(text: str) -> str:
        return time.strftime(f"%Y-%m-%d %H:%M:%S,000 {text}", time.gmtime(at_s))

    def fpm(text: str) -> str:
        return time.strftime(f"[%d-%b-%Y %H:%M:%S] {text}", time.gmtime(at_s))

    while True:
        for text in (
            "ERROR: unable to bind listening socket for address '/run/f.sock': Address in use (98)",
            "ERROR: FPM initialization failed",
            "",
        ):
            pid += 1
            if text:
                yield fpm(text)
                continue
            yield supervisord("WARN exited: php-fpm (exit status 78; not expected)")
            at_s += step_s
            yield supervisord(f"INFO spawned: 'php-fpm' with pid {pid}")
        at_s += step_s


def write(path: Path, size: int) -> None:
    """Write a log of so many bytes."""
    chance = random.Random(1)  # noqa: S311 - no secret
    start_s = 1795860000.0
    own = crashes(start_s, 30.0)
    others = [
        (access if chance.random() < 0.7 else application)(chance, start_s + number)
        for number in range(5000)
    ]
    written = 0
    with path.open("w", encoding="utf-8") as file:
        while written < size:
            lines = [
                next(own) if chance.random() < RELEVANT else chance.choice(others)
                for _ in range(1000)
            ]
            written += file.write("\n".join(lines) + "\n")


def seconds(work: Callable[[Path], object], path: Path) -> float:
    """Return the seconds of one call."""
    before = time.perf_counter()
    work(path)
    return time.perf_counter() - before


def grep(path: Path) -> None:
    """Count lines with grep. It stops at the first one if its output is /dev/null."""
    subprocess.run(["grep", "-cF", NEEDLE, str(path)], stdout=subprocess.PIPE, check=True)


def read_only(path: Path) -> Report:
    """Read the lines of interest."""
    report = Report()
    for _ in read([LogFile(str(path))], ReadOptions(), report):
        pass
    return report


def diagnose(path: Path) -> None:
    """Read and replay the log."""
    replayer = Replayer(read_policy(None))
    for line in read([LogFile(str(path))], ReadOptions()):
        replayer.take(line)
    replayer.end()


def peak_mib(path: Path) -> float:
    """Return the memory of the whole command."""
    command = [sys.executable, "-m", "fpm_listener", "explain", "--logs", str(path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=ROOT) as child:
        _, _, used = os.wait4(child.pid, 0)
        child.returncode = 0
    return used.ru_maxrss / 1024


def main() -> None:
    """Print the speeds and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mebibytes", type=int, default=32)
    parser.add_argument("--gigabytes", type=float, default=0.0, help="of the file for the memory")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "docker.log")
        write(path, options.mebibytes << 20)
        report = read_only(path)
        print(f"{options.mebibytes} MiB, {report.lines} lines of interest")
        works: dict[str, Callable[[Path], object]] = {
            "grep -cF": grep,
            "reading": read_only,
            "explain --logs": diagnose,
        }
        took = {name: float("inf") for name in works}
        for _ in range(TURNS):
            for name, work in works.items():
                took[name] = min(took[name], seconds(work, path))
        for name, needed_s in took.items():
            speed = options.mebibytes / needed_s
            print(f"{name:15} {speed:6.0f} MiB/s  {took['grep -cF'] / needed_s:5.2f} of grep")
        print(f"memory of the command: {peak_mib(path):.1f} MiB")
        if options.gigabytes:
            write(path, int(options.gigabytes * (1 << 30)))
            print(f"the same, {options.gigabytes:g} GiB: {peak_mib(path):.1f} MiB")
    print(f"memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB")


if __name__ == "__main__":
    main()
