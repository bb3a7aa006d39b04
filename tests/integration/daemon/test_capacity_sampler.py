"""The sampler finds the workers of the pools in /proc."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fpm_listener.daemon.capacity_sampler import MOST_WORKERS, CapacitySampler
from fpm_listener.phpfpm.pool_capacity import Capacity, Unknown
from fpm_listener.phpfpm.status_page import PoolTarget

if TYPE_CHECKING:
    from pathlib import Path

KIB = 1 << 10


def process(root: Path, pid: int, title: str, kib: int, children: str = "") -> None:
    """Write what Linux tells about a process; 100 KiB of its memory are shared."""
    folder = root / "proc" / str(pid)
    (folder / "task" / str(pid)).mkdir(parents=True)
    (folder / "task" / str(pid) / "children").write_text(children)
    (folder / "cmdline").write_text(title + "\0")
    (folder / "statm").write_text(f"9999 {(kib + 100) * KIB // os.sysconf('SC_PAGE_SIZE')} 0 0\n")
    (folder / "status").write_text(
        f"VmHWM:\t{kib + 100} kB\nRssAnon:\t{kib} kB\nRssFile:\t100 kB\nRssShmem:\t0 kB\n"
    )
    (folder / "smaps_rollup").write_text(f"Rss: {kib + 100} kB\nPrivate_Dirty: {kib} kB\n")


def sampled(root: Path, titles: list[str], config: str, shown: str) -> Capacity:
    """Return what is known about the pool www."""
    workers = range(100, 100 + len(titles))
    process(root, 10, "supervisord", 9000, "20")
    process(root, 20, f"php-fpm: master process ({shown})", 9000, " ".join(map(str, workers)))
    (root / "proc" / "20" / "cwd").symlink_to(root)
    for number, title in enumerate(titles):
        process(root, 100 + number, f"php-fpm: pool {title}", 2000 + 400 * number)
    target = PoolTarget("www", "/run/php.sock", max_children=50, config=config)
    sampler = CapacitySampler(10, str(root))
    sampler.update([target])
    return sampler.of(target)


def test_relative_path_and_symlink(tmp_path: Path) -> None:
    """The master shows its configuration as its command line has it."""
    (tmp_path / "real.conf").touch()
    (tmp_path / "link.conf").symlink_to("real.conf")
    found = sampled(tmp_path, ["www"] * 3, str(tmp_path / "real.conf"), "./link.conf")
    assert found.workers == 3


def test_largest_workers_are_read(tmp_path: Path) -> None:
    """So the number is never above what survives."""
    config = str(tmp_path / "php-fpm.conf")
    found = sampled(tmp_path, ["www"] * (MOST_WORKERS + 9), config, config)
    assert found.workers == MOST_WORKERS
    assert found.memory
    assert found.memory[0] >= (2000 + 400 * 9) * KIB


def test_other_pools_make_it_unknown(tmp_path: Path) -> None:
    """Nobody knows how large they can become."""
    config = str(tmp_path / "php-fpm.conf")
    found = sampled(tmp_path, ["www", "www", "www", "other"], config, config)
    assert found.why is Unknown.NOT_FOLLOWED
    assert found.subject == f"pid 20, {config}, pool other"
