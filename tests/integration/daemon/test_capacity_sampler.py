"""The sampler finds the workers of the pools in /proc."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from fpm_listener.daemon.capacity_sampler import MOST_WORKERS, CapacitySampler
from fpm_listener.host.worker_memory import WorkerReader
from fpm_listener.phpfpm.pool_capacity import Capacity, Unknown
from fpm_listener.phpfpm.pool_life import Life
from fpm_listener.phpfpm.status_page import PoolTarget, PoolView

if TYPE_CHECKING:
    from pathlib import Path

KIB = 1 << 10


def process(root: Path, pid: int, title: str, kib: int, children: str = "") -> None:
    """Write what Linux tells about a process; 100 KiB of its memory are shared."""
    folder = root / "proc" / str(pid)
    (folder / "task" / str(pid)).mkdir(parents=True, exist_ok=True)
    (folder / "task" / str(pid) / "children").write_text(children)
    (folder / "cmdline").write_text(title + "\0")
    (folder / "statm").write_text(f"9999 {(kib + 100) * KIB // os.sysconf('SC_PAGE_SIZE')} 0 0\n")
    (folder / "status").write_text(
        f"VmHWM:\t{kib + 100} kB\nRssAnon:\t{kib} kB\nRssFile:\t100 kB\nRssShmem:\t0 kB\n"
    )
    (folder / "smaps_rollup").write_text(f"Rss: {kib + 100} kB\nPrivate_Dirty: {kib} kB\n")


class Lab:
    """A supervisord with a php-fpm whose main file is php-fpm.conf, and its sampler."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config = str(root / "php-fpm.conf")
        self.sampler = CapacitySampler(10, str(root), soon_s=0.0)
        process(root, 10, "supervisord", 9000, "20")
        (root / "proc" / "meminfo").write_text("MemTotal: 900000 kB\nMemAvailable: 700000 kB\n")
        self.www = PoolTarget("www", "/run/php.sock", max_children=50, config=self.config)

    def run(self, kib: int, *titles: str, shown: str = "") -> None:
        """Let workers of these pools run: the first with so much memory, the next with more."""
        pids = " ".join(str(100 + number) for number, _ in enumerate(titles))
        process(self.root, 20, f"php-fpm: master process ({shown or self.config})", 9000, pids)
        link = self.root / "proc" / "20" / "cwd"
        link.unlink(missing_ok=True)
        link.symlink_to(self.root)
        for number, title in enumerate(titles):
            process(self.root, 100 + number, f"php-fpm: pool {title}", kib + 400 * number)

    def sampled(self, *targets: PoolTarget) -> Capacity:
        """Let the sampler do what is due, and return what is known about the pool www."""
        self.sampler.update(targets or (self.www,))
        return self.sampler.count(self.www, PoolView(pool="www", up=None)).capacity


def test_relative_path_and_symlink(tmp_path: Path) -> None:
    """The master shows its configuration as its command line has it."""
    (tmp_path / "php-fpm.conf").touch()
    (tmp_path / "link.conf").symlink_to("php-fpm.conf")
    lab = Lab(tmp_path)
    lab.run(2000, "www", "www", "www", shown="./link.conf")
    assert lab.sampled().workers == 3


def test_largest_workers_are_read(tmp_path: Path) -> None:
    """So the number is never above what survives."""
    lab = Lab(tmp_path)
    lab.run(2000, *["www"] * (MOST_WORKERS + 9))
    found = lab.sampled()
    assert found.workers == MOST_WORKERS
    assert found.memory
    assert found.memory[0] >= (2000 + 400 * 9) * KIB


def test_other_pools_make_it_unknown(tmp_path: Path) -> None:
    """Nobody knows how large they can become. The reason names them."""
    lab = Lab(tmp_path)
    lab.run(2000, "www", "www", "www", "other")
    found = lab.sampled()
    assert found.why is Unknown.NOT_FOLLOWED
    assert found.subject == f"pid 20, {lab.config}, pool other"


def test_another_php_fpm_without_workers(tmp_path: Path) -> None:
    """It can start some at any time."""
    lab = Lab(tmp_path)
    lab.run(2000, "www", "www", "www")
    assert lab.sampled().why is None
    process(tmp_path, 10, "supervisord", 9000, "20 21")
    process(tmp_path, 21, "php-fpm: master process (/x.conf)", 9000)
    (tmp_path / "proc" / "21" / "cwd").symlink_to(tmp_path)
    other = PoolTarget("api", "/run/api.sock", max_children=5, config="/y.conf")
    found = lab.sampled(lab.www, other)
    assert (found.why, found.subject) == (Unknown.NOT_FOLLOWED, "pid 21, /x.conf")


def test_a_php_fpm_that_is_restarted_keeps_its_part(tmp_path: Path) -> None:
    """Its workers need the memory again in a moment."""
    lab = Lab(tmp_path)
    lab.run(20000, "www", "www", "www")
    process(tmp_path, 10, "supervisord", 9000, "20 21")
    process(tmp_path, 21, "php-fpm: master process (/api.conf)", 9000, "201 202 203")
    (tmp_path / "proc" / "21" / "cwd").symlink_to(tmp_path)
    for pid in (201, 202, 203):
        process(tmp_path, pid, "php-fpm: pool api", 20000)
    api = PoolTarget("api", "/run/api.sock", max_children=50, config="/api.conf")
    two = lab.sampled(lab.www, api).fits
    process(tmp_path, 10, "supervisord", 9000, "20")
    never_started = PoolTarget("old", "/run/old.sock", max_children=50, config="/old.conf")
    stopped = lab.sampled(lab.www, api, never_started).fits
    removed = lab.sampled(lab.www).fits
    assert two
    assert stopped
    assert removed
    assert stopped < two * 1.3
    assert removed > two * 1.7


def test_the_time_of_a_sample(tmp_path: Path) -> None:
    """Samples follow each other until the pools are measured; the next one comes after minutes."""
    lab = Lab(tmp_path)
    lab.run(200, "www", "www", "www")
    assert lab.sampled().workers == 0
    lab.run(2000, "www", "www", "www")
    assert lab.sampled().workers == 3
    lab.run(9000, "www", "www", "www", "www")
    before = lab.sampled()
    assert before.workers == 3
    # A pool that is new, or that serves its first request, is measured at once.
    lab.sampler.count(lab.www, PoolView(pool="www", up=True, numbers={"active_processes": 1.0}))
    assert lab.sampled().workers == 4
    assert lab.sampled().memory != before.memory


def test_new_settings_of_a_pool(tmp_path: Path) -> None:
    """Its samples stay. Without a php-fpm the last number stays, too."""
    lab = Lab(tmp_path)
    lab.run(2000, "www", "www", "www")
    lab.sampled()
    lab.www = lab.www._replace(max_children=20)
    lab.run(2000)
    found = lab.sampled()
    assert (found.workers, found.until_s > 0) == (3, True)
    process(tmp_path, 10, "supervisord", 9000)
    assert lab.sampled()._replace(fits=None) == found._replace(fits=None)


def test_a_small_pool(tmp_path: Path) -> None:
    """One measured worker is enough if the pool has only one."""
    lab = Lab(tmp_path)
    lab.www = lab.www._replace(max_children=1)
    lab.run(2000, "www")
    found = lab.sampled()
    assert (found.workers, found.memory and found.memory[1] > 2000 * KIB) == (1, True)


def test_an_idle_worker_is_not_read_in_full(tmp_path: Path) -> None:
    """Only a worker whose memory has changed is."""
    process(tmp_path, 20, "php-fpm: pool www", 2000)
    reader, rollup = WorkerReader(f"{tmp_path}/proc"), tmp_path / "proc" / "20" / "smaps_rollup"
    first = reader.read(20, 10)
    rollup.write_text("Rss: 2100 kB\nPrivate_Dirty: 1 kB\n")
    assert reader.read(20, 10) == first
    process(tmp_path, 20, "php-fpm: pool www", 2004)
    assert reader.read(20, 10) != first
    reader.keep(())
    rollup.unlink()
    (tmp_path / "proc" / "20" / "status").unlink()
    assert reader.read(20, 10) is None


def test_clients_wait_at_two_looks(tmp_path: Path) -> None:
    """Then all workers are busy. A full pool gets no request, so their number is from /proc."""
    lab = Lab(tmp_path)
    lab.run(2000, "www", "www", "www")
    lab.sampled()
    numbers = {"active_processes": 1.0}
    waiting = PoolView(pool="www", up=True, numbers=numbers, waiting=9, limit=20, is_old=True)
    dead = replace(waiting, silent=True, life=Life.STOPPED)
    idle = PoolView(pool="www", up=True, numbers=numbers, own_requests=1)
    looks = (idle, waiting, waiting, dead, idle)
    counted = [lab.sampler.count(lab.www, look) for look in looks]
    assert [one.busy for one in counted] == [0, None, 3, None, 0]
    size = counted[-1].capacity
    assert (size.busy_peak, size.busy_samples, size.waited) == (3, 3, True)
    fresh = replace(waiting, is_old=False)  # with pm.status_listen
    assert lab.sampler.count(lab.www, fresh).busy == 1
    other = PoolTarget("other", "/x", config="/y.conf")
    assert lab.sampler.count(other, waiting).busy is None
    assert lab.sampler.count(other, waiting).busy is None


def test_a_peak_between_two_looks(tmp_path: Path) -> None:
    """php-fpm keeps the most active workers. Only a new number was reached since the last look."""
    lab = Lab(tmp_path)
    lab.sampled()

    def peak(active: int, most: int) -> int | None:
        numbers = {"active_processes": float(active), "max_active_processes": float(most)}
        view = PoolView(pool="www", up=True, numbers=numbers, own_requests=1)
        return lab.sampler.count(lab.www, view).capacity.busy_peak

    assert peak(1, 40) == 0  # perhaps days ago
    assert peak(3, 40) == 2
    assert peak(43, 43) == 42  # one of them answers us
    assert peak(2, 45) == 45
    lab.sampler.update(())
    assert peak(1, 45) == 0
    assert peak(1, 9) == 9  # php-fpm has started again
