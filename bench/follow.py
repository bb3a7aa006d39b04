"""How much CPU the log follower needs, compared with `grep -cF`, for several kinds of lines.

`make bench-follow`. Both read the same file, several times in turn. The least CPU time of each
counts, since machines are busy.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from logs import NEEDLE, ROOT, START_S, access, application, cpu_s, pool_warnings

sys.path.insert(0, str(ROOT))
from fpm_listener.daemon.log_reader import LogReader, make_buffer

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHANCE = random.Random(1)  # noqa: S311 - no secret


def _stamp(number: int, part: str = "") -> str:
    return time.strftime(f"[%d-%b-%Y %H:%M:%S{part}] ", time.gmtime(START_S + number / 50))


def workers() -> Iterator[str]:
    """Return the usual lines of php-fpm."""
    for number in itertools.count(100):
        head = f"{_stamp(number)}NOTICE: [pool www] child"
        yield f"{head} {number} exited with code 0 after {number / 7:.6f} seconds from start"
        yield f"{head} {number + 5} started"


def debug() -> Iterator[str]:
    """Return lines of php-fpm with `log_level = debug`."""
    for number in itertools.count(100):
        head = f"{_stamp(number, '.123456')}DEBUG: pid 3410, "
        yield (
            f"{head}fpm_pctl_perform_idle_server_maintenance(), line 379: [pool www] currently "
            f"{number % 3} active children, 5 spare children, 6 running children. Spawning rate 1"
        )
        if number % 3 == 0:
            yield f"{head}fpm_event_loop(), line 430: event module triggered {number % 5} events"
        if number % 10 == 0:
            notice = head.replace("DEBUG", "NOTICE")
            yield f"{head}fpm_got_signal(), line 82: received SIGCHLD"
            yield f"{notice}fpm_children_make(), line 430: [pool www] child {number} started"


def output() -> Iterator[str]:
    """Return what workers print, with `catch_workers_output`."""
    for number in itertools.count(100):
        yield (
            f"{_stamp(number)}WARNING: [pool www] child {number % 50 + 100} said into stderr: "
            f'"NOTICE: PHP message: PHP Warning:  Undefined variable $x in /x.php on line {number}"'
        )


def raw_output() -> Iterator[str]:
    """Return what workers and their access log write in the image of Docker.

    It has `catch_workers_output = yes` and `decorate_workers_output = no`.
    """
    for number in itertools.count(100):
        yield f"NOTICE: PHP message: PHP Warning:  Undefined variable $x in /x.php on line {number}"
        yield f"#{number % 9} /var/www/html/x.php({number}): App->handle(Object(Request), 1, true)"
        yield time.strftime(
            f'127.0.0.1 -  %d/%b/%Y:%H:%M:%S +0000 "GET /index.php?id={number}" 200',
            time.gmtime(START_S + number),
        )


def with_some(usual: Iterator[str], own: Iterator[str]) -> Iterator[str]:
    """Return usual lines, and 1 in 100 of `own`."""
    while True:
        yield next(own if _CHANCE.random() < 0.01 else usual)


def others() -> Iterator[str]:
    """Return lines of a web server and of applications."""
    some = [
        (access if _CHANCE.random() < 0.7 else application)(_CHANCE, START_S + number)
        for number in range(5000)
    ]
    while True:
        yield _CHANCE.choice(some)


def follow_s(path: Path) -> float:
    """Return the CPU seconds in which the follower reads a file."""
    with path.open("rb") as file:
        reader = LogReader(file.fileno(), 0)
    buffer, began_s = make_buffer(), time.process_time()
    while not reader.at_end:
        reader.read(buffer)
    took_s = time.process_time() - began_s
    reader.close()
    return took_s


def main() -> None:
    """Print the CPU times and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mebibytes", type=int, default=16)
    parser.add_argument("--turns", type=int, default=9)
    options = parser.parse_args()
    kinds = {
        "php-fpm: workers that start and exit": workers(),
        "the same, and 1 in 100 is a warning": with_some(workers(), pool_warnings(START_S)),
        "nginx, Laravel and JSON": others(),
        "the same, and 1 in 100 of php-fpm": with_some(others(), pool_warnings(START_S)),
        "php-fpm with log_level = debug": debug(),
        "php-fpm: output of workers": output(),
        "the same, not decorated": raw_output(),
    }
    for kind, lines in kinds.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "php-fpm.log")
            with path.open("w", encoding="utf-8") as file:
                while file.tell() < options.mebibytes << 20:
                    file.writelines(f"{line}\n" for line in itertools.islice(lines, 1000))
            grep = ["grep", "-cF", NEEDLE, os.fspath(path)]
            turns = [(cpu_s(grep, 1), follow_s(path)) for _ in range(options.turns)]
        grep_s, own_s = (min(one) for one in zip(*turns, strict=True))
        print(f"{kind:<38} grep -cF {grep_s:.3f} s, follower {own_s:.3f} s: {grep_s / own_s:.2f}")


if __name__ == "__main__":
    main()
