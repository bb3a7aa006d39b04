"""Requests that find no unix socket while php-fpm restarts, without and with the helper.

Nothing here passes or fails: `make bench-gap`. php-fpm unlinks its socket when it exits, and the
listener links the name again. Two set-ups restart in turn, under the same load. In the first one
the helper is stopped with SIGSTOP, so that the listener's own thread does the work alone.
Clients that wait for an answer make no new connection, and while php-fpm restarts all of them wait.
So there are also clients that only connect, as often as they can with a pause. Theirs is a datagram
socket: the kernel looks the name up as for any client, then refuses (EPROTOTYPE), and php-fpm does
not notice.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from supervisor import childutils

from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "e2e")]  # the tests are no packages

from restart import CLIENTS, HOLD_UNIX, Scene, new_folder, title  # noqa: E402 - the same

from fpm_listener.host import procfs  # noqa: E402 - after the path
from tests.e2e.lab import kill  # noqa: E402 - the same
from tests.fastcgi_clients import Load  # noqa: E402 - the same

if TYPE_CHECKING:
    from collections.abc import Iterator

RESTARTS, BUSY_LOOPS, ROUNDS = 50, 2, 5
CONNECTORS, PAUSE_S = 4, 0.0005
_CONNECT = """
import errno, select, socket, sys
client = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
counts = {errno.EPROTOTYPE: 0, errno.ENOENT: 0}
print("ready", flush=True)
while not select.select([0], [], [], float(sys.argv[2]))[0]:
    counts[client.connect_ex(sys.argv[1])] += 1
print(*counts.values())
"""
_HELPER = "relink_helper"
_MISSING = "FileNotFoundError"
#: With startsecs = 0 the next restart begins when php-fpm has workers.
_SET_UP = replace(HOLD_UNIX, keys={**HOLD_UNIX.keys, "startsecs": "0"})


class Restarted(Scene):
    """A php-fpm that is restarted again and again, and what its clients have seen."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(folder, _SET_UP)
        self.name = name
        self.restarts = 0
        self.requests = 0
        self.failures: Counter[str] = Counter()
        self.connects = 0
        self.missed = 0

    def come_up(self) -> None:
        """Return once the socket is held."""
        super().come_up()
        self.wait_for_held_sockets(1)

    def restart(self) -> None:
        """Restart as `supervisorctl restart` does, without the time that Python takes to start."""
        url = f"unix://{self.folder}/s.sock"
        rpc = childutils.getRPCInterface({"SUPERVISOR_SERVER_URL": url}).supervisor
        rpc.stopProcess("php-fpm")
        rpc.startProcess("php-fpm")
        wait_until(self.masters, "workers")

    def helper(self) -> int:
        """Return the helper's pid."""
        return wait_until(self._find_helper, "the helper")

    def _find_helper(self) -> int | None:
        listener = self.listener_pid()
        for stat in filter(None, map(procfs.read_stat, procfs.pids())):
            if stat.ppid == listener and _HELPER in title(stat.pid):
                return stat.pid
        return None

    def play(self, restarts: int) -> None:
        """Restart so many times while clients ask, and count what they see."""
        with connectors(self.address) as told, Load([self.address], clients=CLIENTS) as load:
            for _ in range(restarts):
                self.restart()
        self.restarts += restarts
        self.connects += sum(map(sum, told))
        self.missed += sum(missed for _, missed in told)
        self.requests += load.report.requests
        self.failures.update(load.report.failures)


@contextlib.contextmanager
def connectors(address: str) -> Iterator[list[tuple[int, int]]]:
    """Have clients connect until the block ends; then the list has what each found and missed."""
    command = [sys.executable, "-S", "-c", _CONNECT, address, str(PAUSE_S)]
    told: list[tuple[int, int]] = []
    with ExitStack() as stack:
        started = [
            stack.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            )
            for _ in range(CONNECTORS)
        ]
        for one in started:
            assert one.stdout
            assert one.stdout.readline() == b"ready\n"
        yield told
        for one in started:
            found, missed = one.communicate()[0].split()
            told.append((int(found), int(missed)))


@contextlib.contextmanager
def busy_loop() -> Iterator[None]:
    """Keep a processor busy until the block ends."""
    with subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]) as started:
        try:
            yield
        finally:
            started.kill()


def show_head(busy: int) -> None:
    print(
        f"{CLIENTS} clients without a pause, {CONNECTORS} that only connect, every "
        f"{PAUSE_S * 1e3:g} ms, {busy} busy loops; the last two lines are the result\n",
    )
    columns = ("restarts", "connects", "ENOENT", "requests", "ENOENT")
    widths = (8, 9, 7, 9, 7)
    figures = " ".join(f"{name:>{width}}" for name, width in zip(columns, widths, strict=True))
    print(f"{'who restores the name':<24} {figures}  failed requests")


def show(scene: Restarted) -> None:
    others = ", ".join(f"{count} {name}" for name, count in sorted(scene.failures.items()))
    missing = scene.failures[_MISSING]
    figures = f"{scene.restarts:>8} {scene.connects:>9} {scene.missed:>7}"
    figures += f" {scene.requests:>9} {missing:>7}"
    print(f"{scene.name:<24} {figures}  {others}".rstrip(), flush=True)


def memory_kib(pid: int) -> tuple[str, str]:
    """Return a process' resident memory, and its share of it where pages have several users."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    found = dict(line.split(maxsplit=1) for line in lines[1:])
    return found["Rss:"], found["Pss:"]


def main() -> None:
    """Restart both, and print what clients have seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--restarts", type=int, default=RESTARTS, help="of each set-up")
    parser.add_argument("--busy", type=int, default=BUSY_LOOPS, help="busy loops")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is ended
    with ExitStack() as stack:
        alone, helped = (
            Restarted(Path(stack.enter_context(new_folder())), name)
            for name in ("the listener alone", "with the helper")
        )
        for scene in (alone, helped):
            stack.callback(scene.close)
            scene.come_up()
        stopped = alone.helper()
        os.kill(stopped, signal.SIGSTOP)
        stack.callback(kill, stopped, signal.SIGCONT)
        per_round = max(1, options.restarts // ROUNDS)
        for _ in range(options.busy):
            stack.enter_context(busy_loop())
        show_head(options.busy)
        for _ in range(ROUNDS):
            for scene in (alone, helped):
                scene.play(per_round)
                show(scene)
        rss, pss = memory_kib(helped.helper())
    print(f"\nmemory of the helper: RSS {rss}, PSS {pss}")


if __name__ == "__main__":
    main()
