"""The memory cgroup of a process is found in the text of /proc."""

from __future__ import annotations

import pytest

from fpm_listener.host.memory_cgroups import places

V2 = "30 23 0:26 {inside} /sys/fs/cgroup ro,nosuid - cgroup2 cgroup2 rw\n"
V1 = (
    "31 23 0:27 / /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu\n"
    "32 23 0:28 {inside} /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
    "33 23 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
)


def folders(cgroup: str, mounts: str) -> list[str]:
    """Return the directories of the first way."""
    found = places(cgroup, mounts, is_first_namespace=False)
    return [place.folder for place in found.ways[0]] if found.ways else []


@pytest.mark.parametrize(
    ("cgroup", "mounts", "expected"),
    [
        ("0::/\n", V2.format(inside="/"), [""]),
        ("0::/a.slice/b\n", V2.format(inside="/"), ["/a.slice/b", "/a.slice", ""]),
        ("0::/docker/ab\n", V2.format(inside="/docker/ab"), [""]),
        ("0::/docker/ab/child\n", V2.format(inside="/docker/ab"), ["/child", ""]),
        ("4:cpu,memory:/x\n0::/y\n", V1.format(inside="/"), ["/memory/x", "/memory"]),
        ("4:memory:/docker/ab\n", V1.format(inside="/docker/ab"), ["/memory"]),
        ("4:cpu:/x\n1:name=systemd:/z\n0::/y\n", V1.format(inside="/"), ["/unified/y", "/unified"]),
        ("0::/a:b\n", V2.format(inside="/"), ["/a:b", ""]),
        ("0::/x\n", "1 2 0:3 / /a\\040b rw - cgroup2 x rw\n", None),
    ],
)
def test_the_directories(cgroup: str, mounts: str, expected: list[str] | None) -> None:
    """The cgroup is the first, then its ancestors up to the mount point."""
    found = folders(cgroup, mounts)

    if expected is None:
        assert found == ["/a b/x", "/a b"]
    else:
        assert found == [f"/sys/fs/cgroup{path}" for path in expected]


@pytest.mark.parametrize(
    ("cgroup", "mounts"),
    [
        ("0::/../..\n", V2.format(inside="/")),
        ("0::/../other\n", V2.format(inside="/")),
        ("0::/\n", V2.format(inside="/../..")),
        ("0::/docker/abc\n", V2.format(inside="/docker/ab")),
        ("4:memory:/x\n0::/\n", V2.format(inside="/")),
        ("0::/x\n", ""),
        ("0::/\n", ""),
    ],
)
def test_a_cgroup_that_is_not_visible(cgroup: str, mounts: str) -> None:
    """There is no directory, and that is said."""
    found = places(cgroup, mounts, is_first_namespace=False)

    assert found.ways == ()
    assert found.is_hidden


def test_no_cgroup() -> None:
    """The first cgroup of the kernel has no limit, so no mount is needed."""
    assert not places("0::/\n", "", is_first_namespace=True).is_hidden
    assert not places("", V2.format(inside="/"), is_first_namespace=False).is_hidden
    assert places("0::/x\n", "", is_first_namespace=True).is_hidden


def test_names_for_people() -> None:
    """Each ancestor has its name, and no name can colour a terminal."""
    found = places("0::/a/\x1b[1m\n", V2.format(inside="/"), is_first_namespace=True)

    assert [place.where for place in found.ways[0]] == [
        r"cgroup /a/\x1b[1m",
        "cgroup /a",
        "cgroup /",
    ]
