"""Finds the memory cgroup of a process in the text of /proc: version 1 and 2, also in containers.

Source: cgroups(7), cgroup_namespaces(7), proc_pid_mountinfo(5); the kernel's cgroup-v2.rst.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.untrusted_text import escaped

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The link of /proc/PID/ns/cgroup outside containers: PROC_CGROUP_INIT_INO of the kernel.
FIRST_NAMESPACE = "cgroup:[4026531835]"
_OCTAL = re.compile(r"\\([0-7]{3})")


class MemoryCgroup(NamedTuple):
    """A directory in which the files of a memory cgroup may be."""

    folder: str
    version: int  #: 1 or 2
    where: str  #: for people


class Places(NamedTuple):
    """Where the files of the memory cgroup of a process may be."""

    #: The best first; each one is a cgroup and its visible ancestors, from below.
    ways: tuple[tuple[MemoryCgroup, ...], ...]
    is_hidden: bool = False  #: the process has a cgroup that is not visible here


def places(cgroup: str, mountinfo: str, *, is_first_namespace: bool) -> Places:
    """Return where the files of memory may be.

    cgroup: of /proc/PID/cgroup. mountinfo: our own. is_first_namespace: we are in no namespace of
    cgroups, so the names are complete.
    """
    found: list[tuple[MemoryCgroup, ...]] = []
    is_hidden = False
    for version, name in _names(cgroup):
        visible = list(_visible(name, version, mountinfo))
        found += visible
        # Without a mount, only the name of the first cgroup of the kernel proves: no limit.
        is_hidden |= not visible and not (is_first_namespace and name == "/")
    return Places(tuple(found), is_hidden and not found)


def _names(text: str) -> list[tuple[int, str]]:
    """Return the version and the name of the cgroup with the memory controller, v1 first."""
    lines = [(*line.split(":", 2), "", "")[:3] for line in text.split("\n") if line]
    first = [(1, name) for _, kinds, name in lines if "memory" in kinds.split(",")]
    # The controller is in one of the two: if v1 has it, the files of v2 say nothing.
    return first or [(2, name) for number, kinds, name in lines if number == "0" and not kinds]


def _visible(name: str, version: int, mountinfo: str) -> Iterator[tuple[MemoryCgroup, ...]]:
    """Return the cgroup and its ancestors in each mount.

    All names in /proc are relative to the reader's namespace of cgroups. `/..` at the beginning is
    above it, where names are unknown.
    """
    for inside, mount_point in _mounts(mountinfo, version):
        root = inside.rstrip("/")
        if not f"{name}/".startswith(f"{root}/") or _is_above(name):
            continue
        way = []
        below = name[len(root) :].rstrip("/")
        while True:
            where = f"cgroup {escaped(root + below or '/')}"
            way.append(MemoryCgroup(mount_point + below, version, where))
            if not below:
                break
            below = below.rpartition("/")[0]
        yield tuple(way)


def _is_above(name: str) -> bool:
    return name == "/.." or name.startswith("/../")


def _mounts(text: str, version: int) -> list[tuple[str, str]]:
    """Return (part of the hierarchy, mount point) for each mount with the files of memory."""
    found = []
    for line in text.split("\n"):
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")
        if len(fields) < 5 or len(kind) < 3:
            continue
        is_v2 = kind[0] == "cgroup2"
        is_v1 = kind[0] == "cgroup" and "memory" in kind[2].split(",")
        if is_v2 if version == 2 else is_v1:
            found.append((_unescaped(fields[3]), _unescaped(fields[4]).rstrip("/")))
    return found


def _unescaped(field: str) -> str:
    """Return a path of mountinfo: a space, a tab, a newline and a backslash are in octal."""
    return _OCTAL.sub(lambda found: chr(int(found[1], 8)), field)
