"""Machines that are not here: that of the files of a repository, and an unpacked image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fpm_listener.doctor.host_facts import PHP_FPMS, Host
from fpm_listener.doctor.machine import is_number
from fpm_listener.host.accounts import FileAccounts

if TYPE_CHECKING:
    from fpm_listener.host.file_tree import FileTree

#: The ports of outgoing connections of a Linux that is not configured.
_PORTS = (32768, 60999)
#: Users that have no number here get one from here on.
_FIRST = 1 << 30
#: What a machine mounts when it starts; the directories of an image are empty.
_OF_THE_KERNEL = ("/dev/", "/proc/", "/sys/")
#: Where an image has our program.
_OURS = (
    "/usr/local/bin/fpm-listener",
    "/usr/bin/fpm-listener",
    "/opt/fpm-listener/bin/fpm-listener",
)


class _NotRunning:
    """What only a machine that runs shows: both machines here give the same answers."""

    def open_files(self) -> int:
        """As Machine; more than any configuration needs."""
        return 1 << 30

    def is_root(self) -> bool:
        """As Machine; an image starts as root, or as another user that is not in its files."""
        return False

    def enabled_units(self) -> tuple[str, ...]:
        """As Machine."""
        return ()

    def port_range(self) -> tuple[int, int]:
        """As Machine."""
        return _PORTS

    def memory_limit(self) -> int | None:
        """As Machine."""
        return None


class Offline(_NotRunning):
    """A `Machine` of which nothing is known; what is unknown counts as correct."""

    def __init__(self, tree: FileTree) -> None:
        """tree: the files that are known."""
        self._tree = tree
        self._names: dict[int, str] = {}

    def uid(self, name: str) -> int:
        """Return a number for a user; only that of root is the real one."""
        if is_number(name):
            return int(name)
        if name == "root":
            return 0
        known = {one: number for number, one in self._names.items()}
        number = known.get(name, _FIRST + len(known))
        self._names[number] = name
        return number

    def owner(self, path: str) -> None:
        """As Machine."""

    def is_elsewhere(self, path: str) -> bool:
        """As Machine."""
        return not self._tree.has(path)

    def exists(self, path: str) -> bool:  # noqa: ARG002 - as Machine
        """As Machine."""
        return True

    def is_folder(self, path: str) -> bool:  # noqa: ARG002 - as Machine
        """As Machine."""
        return True

    def command_fault(self, path: str) -> str:  # noqa: ARG002 - as Machine
        """As Machine."""
        return ""

    def may_read(self, uid: int, path: str) -> bool:  # noqa: ARG002 - as Machine
        """As Machine."""
        return True

    def may_write(self, uid: int, path: str) -> bool:  # noqa: ARG002 - as Machine
        """As Machine."""
        return True

    def may_give(self, uid: int, key: str, name: str) -> bool:  # noqa: ARG002 - as Machine
        """As Machine."""
        return True

    def file_fault(self, path: str) -> str:  # noqa: ARG002 - as Machine
        """As Machine."""
        return ""

    def user(self, name: str) -> bool:  # noqa: ARG002 - as Machine
        """As Machine."""
        return True

    def named_user(self, uid: int) -> str:
        """As Machine."""
        return self._names.get(uid, "root (0)" if not uid else str(uid))

    def group(self, name: str) -> bool:  # noqa: ARG002 - as Machine
        """As Machine."""
        return True

    def shell(self) -> str:
        """As Machine."""
        return ""

    def init_scripts(self) -> tuple[str, ...]:
        """As Machine."""
        return ()

    def php_fpms(self) -> tuple[str, ...]:
        """As Machine."""
        return ()

    def fpm_listener(self) -> str:
        """As Machine."""
        return ""

    def in_container(self) -> bool:
        """As Machine."""
        return False


class Image(_NotRunning, Host):
    """The files, users and groups of an unpacked image. Its ports, memory and units are unknown."""

    def __init__(self, tree: FileTree) -> None:
        """tree: the files of the image."""
        super().__init__(tree.root, FileAccounts(tree))
        self._tree = tree

    def _path(self, path: str) -> Path:
        if path.startswith(_OF_THE_KERNEL):
            raise PermissionError(path)  # which counts as correct
        return Path(self._tree.real(path))

    def is_folder(self, path: str) -> bool:
        """As Machine."""
        return f"{path}/".startswith(_OF_THE_KERNEL) or super().is_folder(path)

    def _installed(self, pattern: str) -> list[str]:
        paths = self._tree.glob(pattern)
        return [path for path in paths if self.exists(path) and not self.command_fault(path)]

    def php_fpms(self) -> tuple[str, ...]:
        """As Machine."""
        return tuple(one for pattern in PHP_FPMS for one in self._installed(pattern))

    def fpm_listener(self) -> str:
        """As Machine."""
        return next((path for path in _OURS if self.exists(path)), "")

    def in_container(self) -> bool:
        """As Machine."""
        return any(self.exists(mark) for mark in ("/.dockerenv", "/run/.containerenv"))
