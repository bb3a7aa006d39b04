"""The workers below supervisord are found in /proc and measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fpm_listener.doctor.worker_measurements import measure
from fpm_listener.host.memory_sizes import MemoryLimit, WorkerMemory

if TYPE_CHECKING:
    from pathlib import Path

STATUS = "VmHWM:\t 20480 kB\nRssAnon:\t 4096 kB\nRssFile:\t 4096 kB\nRssShmem:\t 0 kB\n"
ROLLUP = "Private_Dirty:  1024 kB\nPss:  2048 kB\n"
WORKER = WorkerMemory(1 << 20, 13 << 20, 2 << 20)


class Processes:
    """A tree of files as the kernel shows processes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("proc/meminfo", "MemTotal: 1024 kB\nMemAvailable: 512 kB\n")

    def write(self, path: str, text: str) -> None:
        """Write a file."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def process(self, pid: int, title: str, *children: int) -> None:
        """Let a process run."""
        self.write(f"proc/{pid}/cmdline", title)
        self.write(f"proc/{pid}/task/{pid}/children", " ".join(map(str, children)))
        self.write(f"proc/{pid}/status", STATUS)
        self.write(f"proc/{pid}/smaps_rollup", ROLLUP)


@pytest.fixture
def processes(tmp_path: Path) -> Processes:
    return Processes(tmp_path)


def test_workers_of_two_pools(processes: Processes) -> None:
    """They are found behind a shell, by the configuration of their master."""
    processes.process(1, "supervisord", 2, 9)
    processes.process(2, "/bin/sh", 3)
    processes.process(3, "php-fpm: master process (/etc/../etc/f.conf)", 4, 5, 6)
    processes.process(4, "php-fpm: pool www")
    processes.process(5, "php-fpm: pool api")
    processes.process(6, "sleep")
    processes.process(9, "php-fpm: master process (/etc/other.conf)", 10)
    processes.process(10, "php-fpm: pool www")
    found = measure(1, ["/etc/f.conf"], str(processes.root))

    assert found is not None
    assert found.pools == {("/etc/f.conf", "www"): (WORKER,), ("/etc/f.conf", "api"): (WORKER,)}
    assert found.limit == MemoryLimit("this host", 1 << 20, 512 << 10)


def test_nothing_runs(processes: Processes) -> None:
    """Then nothing is known."""
    processes.process(1, "supervisord", 2)
    processes.process(2, "php-fpm: master process (/etc/f.conf)")

    assert measure(1, ["/etc/other.conf"], str(processes.root)) is None
    assert measure(7, ["/etc/f.conf"], str(processes.root)) is None


def test_a_worker_that_is_gone(processes: Processes) -> None:
    """It is left out, and a master without workers has no measurements."""
    processes.process(1, "supervisord", 2)
    processes.process(2, "php-fpm: master process (/etc/f.conf)", 3)
    found = measure(1, ["/etc/f.conf"], str(processes.root))

    assert found is not None
    assert found.pools == {}
