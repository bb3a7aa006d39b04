"""Whether `saturated` is reported before the first client is refused, and in no other case.

`make bench-saturated`. Each load of `queue_loads.py` has its own php-fpm. One supervisord and one
listener run all of them at the same time, and clients send FastCGI requests. A load counts

- as refusing if it takes at least a minute from the first moment at which no worker is free to the
  first client that is refused (unix: EAGAIN; TCP: no connection within a second);
- as calm if no client is refused, and the queue is not more than half full for 30 s.

The moment of an alert is the one at which a webhook receives it. Exit status 1: it came too late or
not at all, or a calm load had one.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import os
import random
import resource
import select
import socket
import sys
import tempfile
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from fpm_listener.host import sock_diag
from fpm_listener.host.listen_queue import ListenQueue
from fpm_listener.phpfpm import fastcgi

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "bench")]

from queue_loads import CALM, CALM_S, REFUSING, Load  # noqa: E402 - after the path

from tests.e2e.lab import Lab  # noqa: E402
from tests.ports import free_port  # noqa: E402
from tests.waiting import wait_until  # noqa: E402

LONG_S = 60.0  #: from full to refused
HALF_FULL_S = 30.0  #: a longer time with a queue that is more than half full is not calm
_LOOK_EVERY_S, _TICK_S = 0.2, 0.05
_CONNECT_S = 0.95  #: a SYN that was discarded is sent again after a second
SCRIPT = "<?php usleep((int) $_GET['us']);"


@dataclass
class Course:
    """What has happened to one load. Moments are seconds since its start."""

    load: Load
    program: str
    address: str
    target: tuple[str, int] | str
    waiting: int = 0
    full_at_s: float | None = None  #: since when no worker is free
    refused_at_s: float | None = None
    told_at_s: float | None = None
    half_since_s: float | None = None
    half_s: float = 0.0  #: the longest time with a queue that is more than half full
    highest: int = 0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def take(self, passed_s: float, waiting: int) -> None:
        """Take the length of the queue."""
        self.waiting, self.highest = waiting, max(waiting, self.highest)
        if self.refused_at_s is not None:
            return
        if not waiting:
            self.full_at_s = None
        elif self.full_at_s is None:
            self.full_at_s = passed_s
        if waiting * 2 <= self.load.places:
            self.half_since_s = None
        else:
            self.half_since_s = passed_s if self.half_since_s is None else self.half_since_s
            self.half_s = max(self.half_s, passed_s - self.half_since_s)

    def judge(self) -> tuple[bool | None, str]:
        """Return whether the listener was right (None = the load does not count), and a text."""
        told = "no alert" if self.told_at_s is None else f"alert at {self.told_at_s:.0f} s"
        if self.refused_at_s is None:
            text = f"none refused, at most {self.highest}, {told}"
            if self.load.refuses or self.half_s >= HALF_FULL_S:
                return None, f"{text}, more than half for {self.half_s:.0f} s"
            return self.told_at_s is None, text
        took_s = self.refused_at_s - (self.full_at_s or 0.0)
        text = f"full for {took_s:.0f} s until {self.refused_at_s:.0f} s, {told}"
        if not self.load.refuses or took_s < LONG_S:
            return None, text
        return self.told_at_s is not None and self.told_at_s < self.refused_at_s, text


def add(lab: Lab, load: Load, number: int) -> Course:
    """Add the php-fpm of a load."""
    program = f"load{number}"
    where = f"{lab.folder}/{program}.sock" if load.unix else f"127.0.0.1:{free_port()}"
    pace = f"listen.backlog = {load.places}\npm.status_path = /status\n"
    conf = lab.fpm_program(where, name=program)
    text = conf.read_text().replace("pm = static\npm.max_children = 2\n", _pace(load))
    pools = [text + pace]
    first = text[text.index("[lab") :]
    for more in range(1, load.pools):
        pool = first.replace(where, f"127.0.0.1:{free_port()}").replace("]\n", f"x{more}]\n", 1)
        pools.append(pool + pace)
    conf.write_text("".join(pools))
    host, _, port = where.rpartition(":")
    return Course(load, program, where, where if load.unix else (host, int(port)))


def _pace(load: Load) -> str:
    lines = f"pm = {load.pm}\npm.max_children = {load.workers}\n"
    if load.pm == "dynamic":
        lines += "pm.start_servers = 1\npm.min_spare_servers = 1\npm.max_spare_servers = 2\n"
    return lines


async def drive(course: Course, script: str, started_s: float) -> None:
    """Send clients at random moments, until the load is over or a client is refused."""
    load = course.load
    over_s = CALM_S + load.lasts_s * (2.5 if load.refuses else 1)
    before_s = passed_s = time.monotonic() - started_s
    while course.refused_at_s is None and passed_s < over_s:
        await asyncio.sleep(_TICK_S)
        before_s, passed_s = passed_s, time.monotonic() - started_s
        expected = load.rate(passed_s, course.waiting) * (passed_s - before_s)
        for _ in range(_poisson(expected)):
            send(course, script, started_s)
    for task in list(course.tasks):
        task.cancel()


def _poisson(expected: float) -> int:
    """Return how many random events happen."""
    count, at = 0, random.expovariate(1.0)
    while at < expected:
        count, at = count + 1, at + random.expovariate(1.0)
    return count


def send(course: Course, script: str, started_s: float) -> None:
    """Start a client."""
    passed_s = time.monotonic() - started_s
    busy_us = course.load.request_s(passed_s) * random.uniform(0.8, 1.2) * 1e6  # noqa: S311 - a load
    request = fastcgi.request(script, f"us={busy_us:.0f}")
    task = asyncio.create_task(client(course, request, started_s))
    course.tasks.add(task)
    task.add_done_callback(course.tasks.discard)


async def client(course: Course, request: bytes, started_s: float) -> None:
    """Send one request, and wait for its answer as long as the client has patience."""
    loop = asyncio.get_running_loop()
    family = socket.AF_UNIX if course.load.unix else socket.AF_INET
    with socket.socket(family) as connection:
        connection.setblocking(False)
        if not await _connect(connection, course.target):
            if course.refused_at_s is None:
                course.refused_at_s = time.monotonic() - started_s
            return
        try:
            await loop.sock_sendall(connection, request)
            await asyncio.wait_for(loop.sock_recv(connection, 4096), course.load.patience_s)
        except (TimeoutError, asyncio.TimeoutError, ConnectionError):
            return


async def _connect(connection: socket.socket, target: tuple[str, int] | str) -> bool:
    """Return whether the kernel has put the connection into the queue."""
    error = connection.connect_ex(target)
    if error == errno.EAGAIN:
        return False
    if error == errno.EINPROGRESS:
        poll, end_s = select.poll(), time.monotonic() + _CONNECT_S
        poll.register(connection, select.POLLOUT)
        while not poll.poll(0):
            if time.monotonic() > end_s:
                return False
            await asyncio.sleep(0.02)
        error = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise OSError(error, os.strerror(error))
    return True


async def observe(lab: Lab, courses: list[Course], started_s: float) -> None:
    """Look at the queues and at the alerts."""
    by_program = {course.program: course for course in courses}
    seen = 0
    while True:
        passed_s = time.monotonic() - started_s
        for course in courses:
            found = sock_diag.queue(course.address)
            if isinstance(found, ListenQueue):
                course.take(passed_s, found.waiting)
        requests = list(lab.webhook.requests)
        for request in requests[seen:]:
            for alert in request["alerts"]:
                own = by_program.get(alert["labels"]["process"])
                cause = alert["annotations"]["cause"]
                if own is None or alert["status"] != "firing":
                    continue
                if cause != "saturated":
                    print("another cause:", own.load.name, cause, alert["annotations"], flush=True)
                elif own.told_at_s is None:
                    own.told_at_s = passed_s
        seen = len(requests)
        await asyncio.sleep(_LOOK_EVERY_S)


async def run(lab: Lab, courses: list[Course]) -> None:
    """Run all loads at the same time."""
    script, started_s = f"{lab.folder}/busy.php", time.monotonic()
    observer = asyncio.create_task(observe(lab, courses, started_s))
    await asyncio.gather(*(drive(course, script, started_s) for course in courses))
    observer.cancel()


def main() -> int:
    """Print a row for each load, and the sums."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--interval", default="15s", help="fpm_status_interval")
    parser.add_argument("--status", default="on", help="fpm_status")
    parser.add_argument("--seed", type=int, default=1, help="of the moments at which clients come")
    parser.add_argument("--only", default="", help="a part of the name of the loads")
    options = parser.parse_args()
    random.seed(options.seed)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    loads = [one for one in (*REFUSING, *CALM) if options.only in one.name]
    with tempfile.TemporaryDirectory(prefix="fpm-saturated-") as folder:
        lab = Lab(Path(folder))
        Path(folder).chmod(0o755)
        script = Path(folder, "busy.php")
        script.write_text(SCRIPT)
        script.chmod(0o644)
        lab.settings |= {"fpm_status": options.status, "fpm_status_interval": options.interval}
        lab.settings["log_level"] = "info"
        courses = [add(lab, load, number) for number, load in enumerate(loads)]
        try:
            lab.start()
            for course in courses:
                wait_until(partial(lab.master, course.program), course.program)
            asyncio.run(run(lab, courses))
        finally:
            lab.close()
    return report(courses)


def report(courses: list[Course]) -> int:
    """Print the rows and the sums; return the exit status."""
    sums = {True: [0, 0], False: [0, 0]}
    print("load | result | right")
    for course in courses:
        right, text = course.judge()
        words = {True: "yes", False: "NO", None: "does not count"}
        print(course.load.name, text, words[right], sep=" | ")
        if right is not None:
            sums[course.load.refuses][0] += right
            sums[course.load.refuses][1] += 1
    for refuses, (good, count) in sums.items():
        print(f"{'refusing' if refuses else 'calm'}: {good} of {count} right")
    return 0 if all(good == count for good, count in sums.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
