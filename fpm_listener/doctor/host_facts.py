"""Facts of the host that rules need: files, users, systemd's units, ports, memory.

Law: nothing here needs root, and nothing changes. A fact that is not visible counts as correct.
"""

from __future__ import annotations

import errno
import glob
import os
import re
import resource
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from fpm_listener.doctor.machine import is_number
from fpm_listener.host import executable, memory_limits, own_command
from fpm_listener.host.accounts import SystemAccounts
from fpm_listener.vocabulary import Fault

if TYPE_CHECKING:
    from fpm_listener.host.accounts import Accounts

_WANTS = ("/etc/systemd/system/multi-user.target.wants", "/etc/systemd/system/default.target.wants")

#: The php-fpm binaries of Debian, Red Hat and Alpine; of Docker's image; of Remi's packages.
PHP_FPMS = (
    "/usr/sbin/php-fpm*",
    "/usr/local/sbin/php-fpm*",
    "/opt/remi/php*/root/usr/sbin/php-fpm",
)


class Host:
    """The host on which this runs; a `Machine`."""

    def __init__(self, root: str = "/", accounts: Accounts | None = None) -> None:
        """root: the directory of its files; accounts: None = those of this machine."""
        self._root = Path(root)
        self._accounts = accounts or SystemAccounts()

    def _path(self, path: str) -> Path:
        return self._root / path.lstrip("/")

    def is_elsewhere(self, path: str) -> bool:  # noqa: ARG002 - as Machine
        """As Machine."""
        return False

    def exists(self, path: str) -> bool:
        """As Machine; a file that this user may not see counts as existing."""
        try:
            self._path(path).stat()
        except PermissionError:
            return True
        except (OSError, ValueError):
            return False
        return True

    def is_folder(self, path: str) -> bool:
        """As Machine; a directory that this user may not see counts as existing."""
        try:
            return self._path(path).is_dir()
        except PermissionError:
            return True
        except (OSError, ValueError):
            return False

    def command_fault(self, path: str) -> str:
        """As Machine; what this user may not see counts as correct."""
        try:
            mode = self._path(path).stat().st_mode
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return "does not exist"
        except OSError:
            return ""
        if stat.S_ISDIR(mode):
            return "is a directory"
        if not mode & 0o111:
            return "is not executable"
        interpreter = self._interpreter(path)
        if interpreter and not self.exists(interpreter):
            if interpreter.endswith("\r"):
                return "has a first line that ends with CR LF"
            return f"needs {interpreter}, which does not exist"
        found = executable.find_obstacle(str(self._path(path)), None, "")
        if found is not None and found.fault is Fault.NO_FORMAT:
            return "has a format that this system does not execute"
        return ""

    def _interpreter(self, path: str) -> str:
        """Return the interpreter of a script; empty for other files."""
        try:
            with self._path(path).open("rb") as file:
                first = file.readline(256)
        except OSError:
            return ""
        line = os.fsdecode(first.removeprefix(b"#!")) if first[:2] == b"#!" else ""
        word = re.split(r"[ \t\n]", line.strip(" \t\n"))[0]  # a CR is part of the name
        return word if word.startswith("/") else ""

    def may_read(self, uid: int, path: str) -> bool:
        """As Machine; what is not known, such as an access list, counts as allowed."""
        return self._may(uid, path, path, 0o4)

    def may_write(self, uid: int, path: str) -> bool:
        """As Machine; a socket is created again, and needs its directory only."""
        folder = path.rpartition("/")[0] or "/"
        is_file = False
        with suppress(OSError, ValueError):
            is_file = self._path(path).is_file()
        return self._may(uid, path, path if is_file else folder, 0o2)

    def _may(self, uid: int, path: str, target: str, bit: int) -> bool:
        """Return whether a user may enter the directories of a path, and use the target."""
        groups = self._accounts.groups(uid)
        parts = path.split("/")
        folders = ["/".join(parts[:at]) or "/" for at in range(1, len(parts))]
        wanted = [*((folder, 0o1) for folder in folders), (target, bit)]
        return all(self._allows(uid, groups, one, bit) for one, bit in wanted)

    def _allows(self, uid: int, groups: set[int], path: str, bit: int) -> bool:
        try:
            found = self._path(path).stat()
            if "system.posix_acl_access" in os.listxattr(self._path(path)):
                return True
        except (OSError, ValueError):
            return True
        if found.st_uid == uid:
            return bool(found.st_mode >> 6 & bit)
        return bool((found.st_mode >> 3 if found.st_gid in groups else found.st_mode) & bit)

    def may_give(self, uid: int, key: str, name: str) -> bool:
        """As Machine."""
        own = self._accounts.uid(name) if key == "owner" else self._accounts.gid(name)
        number = int(name) if is_number(name) else own
        if number is not None:
            return number == uid if key == "owner" else number in self._accounts.groups(uid)
        return True  # FPM049

    def open_files(self) -> int:
        """As Machine."""
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return 1 << 30 if soft == resource.RLIM_INFINITY else soft

    def file_fault(self, path: str) -> str:
        """As Machine; what this user may not see counts as correct."""
        try:
            mode = self._path(path).stat().st_mode
        except (FileNotFoundError, NotADirectoryError, ValueError):
            folder = path.rpartition("/")[0] or "/"
            return "" if self.is_folder(folder) else f"{folder} is not an existing directory"
        except OSError as error:
            return f"{path} is a loop of links" if error.errno == errno.ELOOP else ""
        return f"{path} is a directory" if stat.S_ISDIR(mode) else ""

    def is_root(self) -> bool:
        """As Machine."""
        return os.geteuid() == 0

    def user(self, name: str) -> bool:
        """As Machine."""
        if is_number(name):
            return bool(self._accounts.user_name(int(name)))
        return self._accounts.uid(name) is not None

    def uid(self, name: str) -> int | None:
        """As Machine."""
        if is_number(name):
            return int(name)
        return self._accounts.uid(name)

    def owner(self, path: str) -> int | None:
        """As Machine."""
        with suppress(OSError, ValueError):
            return self._path(path).stat().st_uid
        return None

    def named_user(self, uid: int) -> str:
        """As Machine."""
        name = self._accounts.user_name(uid)
        return f"{name} ({uid})" if name else str(uid)

    def group(self, name: str) -> bool:
        """As Machine."""
        return self._accounts.gid(name) is not None

    def shell(self) -> str:
        """As Machine."""
        try:
            name = self._path("/bin/sh").resolve(strict=True).name
        except (OSError, RuntimeError):  # RuntimeError: CPython's, for a loop of links
            return ""
        return "" if name == "sh" else name

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

    def fpm_listener(self) -> str:
        """As Machine; a path that a command needs to quote is not used."""
        return own_command.typed()

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
        limits = memory_limits.read_all("self", str(self._root))
        return min((one.limit for one in limits), default=None)

    def in_container(self) -> bool:
        """As Machine."""
        marks = ("/.dockerenv", "/run/.containerenv")
        return any(self.exists(mark) for mark in marks) or bool(os.environ.get("KUBERNETES_PORT"))
