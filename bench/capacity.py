"""The recommended number of workers, compared with the largest number that survives a real limit.

`make bench-capacity`, as root: it creates a memory cgroup. Each worker of php-fpm holds the same
memory at the same time. A number survives if each request is answered and the kernel kills nothing.
The recommendation comes from a few workers that have answered such requests before and are idle.
Exit status 1: a recommendation is above what survives, or more than 20 % and one worker below.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.host import memory_limits, procfs, worker_memory
from fpm_listener.phpfpm import capacity, fastcgi

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fpm_listener.host.memory_sizes import WorkerMemory

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from tests.waiting import wait_until  # noqa: E402 - after the path

MIB = 1 << 20
#: A request holds its memory until all have theirs, one has failed, or 25 s are over.
PHP = """<?php
$memory = str_repeat("x", (int) $_GET["mib"] << 20);
file_put_contents("held", "x", FILE_APPEND);
for ($i = 0; $i < 500 && filesize("held") < $_GET["count"] && !file_exists("failed"); $i++) {
    usleep(50000);
    clearstatcache();
}
echo strlen($memory);
"""
CONF = """[global]
error_log = {folder}/php-fpm.log
[www]
{user}
listen = {folder}/s.sock
listen.backlog = 511
pm = {pm}
pm.max_children = {workers}
pm.start_servers = {workers}
pm.min_spare_servers = 1
pm.max_spare_servers = {spare}
php_admin_value[memory_limit] = 4G
"""
PHP_FPM = os.environ.get("PHP_FPM", "php-fpm8.2")


class Scene(NamedTuple):
    """One experiment."""

    limit: int  #: MiB
    worker: int  #: MiB of each request
    pm: str = "static"
    opcache: bool = True
    neighbour: int = 0  #: MiB of another process in the cgroup
    measured: int = 4  #: workers from which the recommendation comes
    can_trace: bool = True  #: smaps_rollup is readable; not for root in most containers


SCENES = (
    Scene(128, 4),
    Scene(128, 4, can_trace=False),
    Scene(128, 16),
    Scene(256, 20),
    Scene(256, 20, "dynamic"),
    Scene(256, 20, opcache=False),
    Scene(256, 20, neighbour=100),
    Scene(256, 48),
    Scene(512, 8, "dynamic", neighbour=50, measured=16),
    Scene(512, 30, measured=10),
    Scene(512, 30, can_trace=False),
    Scene(1024, 64, "dynamic"),
)


class Cgroup:
    """A memory cgroup with a limit, of version 1 or 2."""

    def __init__(self, limit: int) -> None:
        """Create it. Raises OSError. limit: bytes."""
        name = f"fpm-listener-bench-{os.getpid()}"
        first = Path("/sys/fs/cgroup/memory")
        self._is_v1 = first.is_dir()
        self.folder = (first if self._is_v1 else Path("/sys/fs/cgroup")) / name
        self.folder.mkdir()
        file = "memory.limit_in_bytes" if self._is_v1 else "memory.max"
        (self.folder / file).write_text(str(limit))
        if not self._is_v1:
            with contextlib.suppress(OSError):
                (self.folder / "memory.swap.max").write_text("0")

    def run(self, *command: str) -> subprocess.Popen[bytes]:
        """Start a command in it."""
        shell = ("sh", "-c", 'echo $$ >"$0" && exec "$@"', f"{self.folder}/cgroup.procs")
        return subprocess.Popen([*shell, *command], stderr=subprocess.DEVNULL)

    @property
    def kills(self) -> int:
        """Return how many processes the kernel has killed in it."""
        file = "memory.oom_control" if self._is_v1 else "memory.events"
        lines = (self.folder / file).read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))

    def remove(self) -> None:
        """Kill what is left in it, and remove it: workers survive their master."""
        wait_until(self._is_removed, "the cgroup to be empty")

    def _is_removed(self) -> bool:
        for pid in (self.folder / "cgroup.procs").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        self.folder.rmdir()  # raises OSError while a process of it is still ending
        return True


@contextlib.contextmanager
def php_fpm(scene: Scene, workers: int) -> Iterator[tuple[Cgroup, int, str]]:
    """Run php-fpm in a new cgroup; yield the cgroup, the master and the folder."""
    folder = tempfile.mkdtemp(prefix="fpm-capacity-")
    group = Cgroup(scene.limit * MIB)
    programs = []
    try:
        Path(folder).chmod(0o755)
        Path(folder, "a.php").write_text(PHP)
        user = pwd.getpwuid(65534).pw_name if scene.can_trace is False else "root"
        text = CONF.format(
            folder=folder, user=f"user = {user}", pm=scene.pm, workers=workers, spare=workers
        )
        Path(folder, "php-fpm.conf").write_text(text)
        if scene.neighbour:
            fill = f"import time; x = b'x' * ({scene.neighbour} << 20); time.sleep(600)"
            programs.append(group.run(sys.executable, "-c", fill))
            wait_until(lambda: _rss(programs[0].pid) > scene.neighbour * MIB, "the neighbour")
        opcache = f"opcache.enable={int(scene.opcache)}"
        master = group.run(PHP_FPM, "-F", "-R", "-d", opcache, "-y", f"{folder}/php-fpm.conf")
        programs.append(master)
        wait_until(Path(folder, "s.sock").exists, "php-fpm")
        yield group, master.pid, folder
    finally:
        for program in reversed(programs):
            program.terminate()
            program.wait()
        group.remove()
        shutil.rmtree(folder)


def _rss(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def answers(folder: str, scene: Scene, count: int) -> int:
    """Return how many of so many requests at the same time are answered in full."""
    Path(folder, "held").write_bytes(b"")
    Path(folder, "held").chmod(0o666)

    def ask(_: int) -> bool:
        query, deadline_s = f"mib={scene.worker}&count={count}", time.monotonic() + 30
        answer = fastcgi.get(f"{folder}/s.sock", f"{folder}/a.php", query, deadline_s)
        full = str(scene.worker * MIB)
        is_full = isinstance(answer, fastcgi.Response) and answer.body.strip() == full
        if not is_full:
            Path(folder, "failed").touch()
        return is_full

    with ThreadPoolExecutor(count) as threads:
        return sum(threads.map(ask, range(count)))


def survives(scene: Scene, workers: int) -> bool:
    """Return whether so many workers survive, all at their peak."""
    for _ in range(3):
        with php_fpm(scene, workers) as (group, _, folder):
            before = group.kills
            if answers(folder, scene, workers) == workers or group.kills > before:
                return group.kills == before
    raise RuntimeError("php-fpm does not answer, and the kernel has killed nothing")


def largest(scene: Scene) -> int:
    """Return the largest number of workers that survives."""
    low, high = 0, scene.limit // max(1, scene.worker) + 1
    while low < high:
        middle = (low + high + 1) // 2
        if survives(scene, middle):
            low = middle
        else:
            high = middle - 1
    return low


def recommended(scene: Scene) -> int | None:
    """Return the number that is recommended after a few requests."""
    with php_fpm(scene, scene.measured) as (_, master, folder):
        answers(folder, scene, scene.measured)

        def idle() -> list[WorkerMemory]:
            found = [_memory(scene, pid, master) for pid in procfs.children(master)]
            workers = [one for one in found if one is not None]
            return workers if all(one.now * 2 < one.peak for one in workers) else []

        wait_until(idle, "idle workers")
        time.sleep(2.5)  # the kernel brings memory.stat up to date every two seconds
        workers = idle()
        limit, peak = memory_limits.read(master), capacity.peak_of(workers)
        free = None if limit is None else capacity.available(limit, workers)
        if free is None or peak is None:
            return None
        fit = capacity.fit([capacity.PoolNeed(scene.measured, peak)], free)
        return None if fit is None else fit.workers


def _memory(scene: Scene, pid: int, master: int) -> WorkerMemory | None:
    if scene.can_trace:
        return worker_memory.read(pid, master)
    texts = [Path(f"/proc/{one}/status").read_text() for one in (pid, master)]
    return worker_memory.of_texts(texts[0], "", texts[1])


def main() -> int:
    """Print a row for each experiment."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--first", type=int, default=1, help="the first experiment")
    parser.add_argument("--last", type=int, default=len(SCENES), help="the last experiment")
    options = parser.parse_args()
    failed = 0
    print("limit MiB | worker MiB | pm | opcache | neighbour MiB | trace | survives | recommended")
    for scene in SCENES[options.first - 1 : options.last]:
        most, said = largest(scene), recommended(scene)
        is_good = said is not None and min(most * 0.8, most - 1) <= said <= most
        failed += not is_good
        row = (scene.limit, scene.worker, scene.pm, scene.opcache, scene.neighbour)
        print(*row, scene.can_trace, most, said, "" if is_good else "BAD", sep=" | ", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
