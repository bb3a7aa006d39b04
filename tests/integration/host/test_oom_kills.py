"""The kernel's kills for want of memory are read as each kind of cgroup has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fpm_listener.host.oom_counters import OomKills
from fpm_listener.host.oom_kills import OomKill

if TYPE_CHECKING:
    from pathlib import Path

PID = 7
MIB = 1 << 20
V2 = "30 23 0:26 {inside} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
V1 = (
    "31 23 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
    "32 23 0:28 {inside} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "33 23 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
)
UNIT = "/system.slice/supervisor.service"


class Host:
    """A tree of files as a host's kernel shows them."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: str, text: str) -> None:
        """Write a file."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def process(self, cgroup: str, mounts: str) -> None:
        """Let supervisord be there."""
        self.write(f"/proc/{PID}/cgroup", cgroup)
        self.write("/proc/self/mountinfo", f"22 1 8:1 / / rw - ext4 /dev/vda rw\n{mounts}")

    def kills(self) -> OomKills:
        """Return what is tested."""
        return OomKills(PID, str(self.root))


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def grow(host: Host, path: str, text: str) -> OomKill | None:
    """Return what is seen of a kill between two looks."""
    host.write(path, text.format(kills=3))
    kills = host.kills()
    kills.look(10.0)
    host.write(path, text.format(kills=4))
    return kills.since(20.0, 20.1)


V2_EVENTS = "low 0\nhigh 0\nmax 12\noom 4\noom_kill {kills}\noom_group_kill 0\n"
V1_CONTROL = "oom_kill_disable 0\nunder_oom 0\noom_kill {kills}\n"


def test_a_systemd_service(host: Host) -> None:
    """The tightest limit on the way up counts, and the peak is told."""
    host.process(f"0::{UNIT}\n", V2.format(inside="/"))
    folder = f"/sys/fs/cgroup{UNIT}"
    host.write(f"{folder}/memory.max", "max\n")
    host.write(f"{folder}/memory.peak", f"{500 * MIB}\n")
    host.write("/sys/fs/cgroup/system.slice/memory.max", f"{512 * MIB}\n")
    found = grow(host, f"{folder}/memory.events", V2_EVENTS)

    assert found == OomKill(kills=1, where=f"cgroup {UNIT}", limit=512 * MIB, peak=500 * MIB)
    assert str(found) == (
        f"cgroup {UNIT}: the kernel killed once because memory was short; "
        "its limit is 512 MiB, its peak was 500 MiB"
    )


def test_a_container_with_a_cgroup_namespace(host: Host) -> None:
    """It sees itself as the root; an old kernel tells no peak."""
    host.process("0::/\n", V2.format(inside="/"))
    host.write("/sys/fs/cgroup/memory.max", f"{128 * MIB}\n")
    found = grow(host, "/sys/fs/cgroup/memory.events", V2_EVENTS)

    assert found == OomKill(kills=1, where="cgroup /", limit=128 * MIB, peak=None)


def test_a_container_that_sees_the_hosts_names(host: Host) -> None:
    """Only its own group is mounted, while its name is the host's."""
    host.process(
        "5:memory:/docker/ab12\n4:cpu:/docker/ab12\n0::/\n", V1.format(inside="/docker/ab12")
    )
    folder = "/sys/fs/cgroup/memory"
    host.write(f"{folder}/memory.limit_in_bytes", f"{64 * MIB}\n")
    host.write(f"{folder}/memory.max_usage_in_bytes", f"{63 * MIB}\n")
    found = grow(host, f"{folder}/memory.oom_control", V1_CONTROL)

    assert found == OomKill(kills=1, where="cgroup /docker/ab12", limit=64 * MIB, peak=63 * MIB)


def test_no_limit_of_version_1(host: Host) -> None:
    """The huge number that stands for it is none."""
    host.process("5:memory:/x\n", V1.format(inside="/"))
    host.write("/sys/fs/cgroup/memory/x/memory.limit_in_bytes", "9223372036854771712\n")
    found = grow(host, "/sys/fs/cgroup/memory/x/memory.oom_control", V1_CONTROL)

    assert found is not None
    assert found.limit is None
    assert "it has no limit" in str(found)


def test_a_host_without_memory_cgroups(host: Host) -> None:
    """The whole host's count is better than none, and is called so."""
    host.process("0::/\n", "")
    found = grow(host, "/proc/vmstat", "nr_free_pages 5\noom_kill {kills}\n")

    assert found is not None
    assert found.where == "this host"


def test_only_what_is_new(host: Host) -> None:
    """Kills long before the death, and a count that stands still, are none."""
    host.process("0::/\n", V2.format(inside="/"))
    host.write("/sys/fs/cgroup/memory.events", V2_EVENTS.format(kills=3))
    kills = host.kills()

    assert kills.since(5.0, 5.1) is None  # there was no look before it
    kills.look(10.0)
    host.write("/sys/fs/cgroup/memory.events", V2_EVENTS.format(kills=9))
    kills.look(40.0)
    assert kills.since(60.0, 60.1) is None
    found = kills.since(30.0, 60.2)
    assert found is not None
    assert found.kills == 6


@pytest.mark.parametrize("text", ["", "oom_kill\n", "oom_kill x\n", "\0\xff", "oom 3\n"])
def test_a_kernel_that_does_not_tell(host: Host, text: str) -> None:
    """Nothing is told, and nothing raises."""
    host.process("0::/\n", V2.format(inside="/"))
    assert (
        grow(host, "/sys/fs/cgroup/memory.events", text.replace("{", "").replace("}", "")) is None
    )


def test_no_proc_at_all(host: Host) -> None:
    """Nothing can be seen, and that is known."""
    kills = host.kills()

    assert not kills.visible
    assert kills.look(1.0) is None
    assert kills.since(2.0, 3.0) is None


@pytest.mark.parametrize("mounts", ["garbage\n", "1 2 3 - x\n", "30 23 0:26 / / - cgroup2\n"])
def test_strange_mounts(host: Host, mounts: str) -> None:
    """A line that is not understood is left out."""
    host.process("0::/\n::\n:memory\n", mounts)
    assert not host.kills().visible


def test_a_mount_whose_path_is_too_long(host: Host) -> None:
    """The kernel refuses to look there; it counts as not there."""
    host.process(f"0::{UNIT}\n", f"30 23 0:26 / /{'x' * 400} rw - cgroup2 cgroup2 rw\n")

    assert not host.kills().visible
