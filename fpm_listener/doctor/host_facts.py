"""Facts of the host that rules need: files, users, systemd's units, ports, memory.

Law: nothing here needs root, and nothing changes. A fact that is not visible counts as correct.
"""

from __future__ import annotations

import glob
import grp
import os
import pwd
from contextlib import suppress
from pathlib import Path

_WANTS = ("/etc/systemd/system/multi-user.target.wants", "/etc/systemd/system/default.target.wants")
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")

#: The php-fpm binaries of Debian, Red Hat and Alpine; of Docker's image; of Remi's packages.
PHP_FPMS = (
    "/usr/sbin/php-fpm*",
    "/usr/local/sbin/php-fpm*",
    "/opt/remi/php*/root/usr/sbin/php-fpm",
)


class Host:
    """The host on which this runs; a `Machine`."""

    def __init__(self, root: str = "/") -> None:
        """root: the directory of its files."""
        self._root = Path(root)

    def _path(self, path: str) -> Path:
        return self._root / path.lstrip("/")

    def exists(self, path: str) -> bool:
        """As Machine."""
        return self._path(path).exists()

    def is_folder(self, path: str) -> bool:
        """As Machine; a directory that this user may not see counts as existing."""
        try:
            return self._path(path).is_dir()
        except PermissionError:
            return True

    def user(self, name: str) -> bool:
        """As Machine."""
        try:
            pwd.getpwnam(name)
        except KeyError:
            return False
        return True

    def group(self, name: str) -> bool:
        """As Machine."""
        try:
            grp.getgrnam(name)
        except KeyError:
            return False
        return True

    def init_scripts(self) -> tuple[str, ...]:
        """As Machine."""
        return tuple(self._installed("/etc/init.d/*php*fpm*"))

    def php_fpms(self) -> tuple[str, ...]:
        """As Machine."""
        return tuple(one for pattern in PHP_FPMS for one in self._installed(pattern))

    def _installed(self, pattern: str) -> list[str]:
        paths = glob.glob(str(self._root).rstrip("/") + pattern)  # noqa: PTH207 - an absolute pattern
        kept = (path for path in sorted(paths) if os.access(path, os.X_OK))
        return [f"/{Path(one).relative_to(self._root)}" for one in kept]

    def enabled_units(self) -> tuple[str, ...]:
        """As Machine; none if this host does not run systemd."""
        if not self._path("/run/systemd/system").is_dir():
            return ()
        found: set[str] = set()
        for folder in _WANTS:
            with suppress(OSError):
                names = {entry.name for entry in self._path(folder).iterdir()}
                found |= {name for name in names if name.startswith("php") and "fpm" in name}
        return tuple(sorted(found))

    def port_range(self) -> tuple[int, int]:
        """As Machine."""
        try:
            text = self._path("/proc/sys/net/ipv4/ip_local_port_range").read_text()
            low, high = (int(word) for word in text.split())
        except (OSError, ValueError):
            return 32768, 60999
        return low, high

    def memory_limit(self) -> int | None:
        """As Machine."""
        for path in _LIMITS:
            with suppress(OSError, ValueError):
                limit = int(self._path(path).read_text())
                if limit < 1 << 60:  # cgroup v1 reports more for `no limit`
                    return limit
        with suppress(OSError, ValueError, IndexError):
            first = self._path("/proc/meminfo").read_text().splitlines()[0]
            return int(first.split()[1]) * 1024
        return None

    def in_container(self) -> bool:
        """As Machine."""
        marks = ("/.dockerenv", "/run/.containerenv")
        return any(self.exists(mark) for mark in marks) or bool(os.environ.get("KUBERNETES_PORT"))
