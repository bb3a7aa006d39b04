"""The tightest memory limit is read as each kind of cgroup has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fpm_listener.host import memory_limits
from fpm_listener.host.memory_sizes import MemoryLimit

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20
V2 = "30 23 0:26 {inside} /sys/fs/cgroup ro,nosuid - cgroup2 cgroup2 rw\n"
V1 = "32 23 0:28 {inside} /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
MEMINFO = "MemTotal:        8388608 kB\nMemFree:  100 kB\nMemAvailable:    6291456 kB\n"
HOST = MemoryLimit("this host", 8192 * MIB, 2048 * MIB)
STAT_V2 = f"anon 9\ninactive_file {20 * MIB}\nactive_file {10 * MIB}\nslab_reclaimable {MIB}\n"
STAT_V1 = "cache 5\nhierarchical_memory_limit {}\ntotal_inactive_file 1048576\n"


class Host:
    """A tree of files as a kernel shows them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("/proc/meminfo", MEMINFO)

    def write(self, path: str, text: str) -> None:
        """Write a file."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def process(self, cgroup: str, mounts: str) -> None:
        """Let process 7, and this process, be in a cgroup."""
        self.write("/proc/7/cgroup", cgroup)
        self.write("/proc/self/cgroup", cgroup)
        self.write("/proc/self/mountinfo", f"22 1 8:1 / / rw - ext4 /dev/vda rw\n{mounts}")

    def group(self, path: str, **files: str | int) -> None:
        """Make a cgroup; `memory_max=5` is its file memory.max."""
        self.write(f"/sys/fs/cgroup{path}/cgroup.procs", "")
        for name, text in files.items():
            self.write(f"/sys/fs/cgroup{path}/{name.replace('_', '.', 1)}", f"{text}\n")

    def read(self) -> MemoryLimit | None:
        """Return what is tested."""
        return memory_limits.read(7, str(self.root))


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_the_tightest_ancestor(host: Host) -> None:
    """A neighbour in the same slice leaves less than the own limit."""
    host.process("0::/a.slice/b.service\n", V2.format(inside="/"))
    host.group("/a.slice/b.service", memory_max=512 * MIB, memory_current=331 * MIB)
    host.write("/sys/fs/cgroup/a.slice/b.service/memory.stat", STAT_V2)
    host.group("/a.slice", memory_max=1024 * MIB, memory_current=1000 * MIB, memory_stat=STAT_V2)
    host.group("")

    assert host.read() == MemoryLimit("cgroup /a.slice", 1024 * MIB, 969 * MIB)
    host.group("/a.slice", memory_max="max")
    assert host.read() == MemoryLimit("cgroup /a.slice/b.service", 512 * MIB, 300 * MIB)


def test_processes_are_slow_above_memory_high(host: Host) -> None:
    """memory.high is a limit if it is lower."""
    host.process("0::/\n", V2.format(inside="/"))
    host.group("", memory_max=512 * MIB, memory_high=256 * MIB, memory_current=31 * MIB)
    host.write("/sys/fs/cgroup/memory.stat", STAT_V2)

    assert host.read() == MemoryLimit("cgroup /", 256 * MIB, 0)


def test_version_1_in_a_container(host: Host) -> None:
    """The names are those of the host; an ancestor that is not visible has a lower limit."""
    host.process("4:memory:/docker/ab\n0::/\n", V1.format(inside="/docker/ab"))
    host.group(
        "/memory",
        memory_limit_in_bytes=9223372036854771712,
        memory_usage_in_bytes=11 * MIB,
        memory_stat=STAT_V1.format(64 * MIB),
    )

    assert host.read() == MemoryLimit("cgroup /docker/ab", 64 * MIB, 10 * MIB)


def test_no_limit(host: Host) -> None:
    """The memory of the host counts, and what is available of it."""
    host.process("0::/x\n", V2.format(inside="/"))
    host.group("/x", memory_max="max", memory_high="max", memory_current=5)

    assert host.read() == HOST
    host.group("/x", memory_max=1 << 50)
    host.write("/sys/fs/cgroup/x/memory.stat", STAT_V2)
    assert host.read() == HOST


def test_a_limit_without_its_usage(host: Host) -> None:
    """The limit is known, and the usage is unknown."""
    host.process("0::/\n", V2.format(inside="/"))
    host.group("", memory_max=64 * MIB)

    found = host.read()
    assert found == MemoryLimit("cgroup /", 64 * MIB, None)
    assert found.free is None


@pytest.mark.parametrize(
    ("cgroup", "mounts"),
    [
        ("0::/../x\n", V2.format(inside="/")),
        ("4:memory:/docker/ab\n", ""),
        ("0::/gone (deleted)\n", V2.format(inside="/")),
    ],
)
def test_a_cgroup_that_is_not_visible(host: Host, cgroup: str, mounts: str) -> None:
    """The limit is unknown, and not that of the host."""
    host.process(cgroup, mounts)
    host.group("", memory_max="max")

    assert host.read() is None


def test_a_process_that_is_gone(host: Host) -> None:
    """Its limit is unknown."""
    host.process("0::/\n", V2.format(inside="/"))
    (host.root / "proc/7/cgroup").unlink()

    assert host.read() is None


@pytest.mark.parametrize("text", ["", "garbage", "99999999999999999999999", "-5", "\0", "9" * 5000])
def test_strange_numbers(host: Host, text: str) -> None:
    """They are no limit."""
    host.process("0::/\n", V2.format(inside="/"))
    host.group("", memory_max=text, memory_current=text, memory_stat=f"inactive_file {text}")

    assert host.read() == HOST


def test_no_proc(tmp_path: Path) -> None:
    """Everything is unknown."""
    assert memory_limits.read(7, str(tmp_path)) is None


def test_this_machine() -> None:
    """A limit is found, and something of it is in use."""
    found = memory_limits.read()

    assert found is None or found.limit > 0
