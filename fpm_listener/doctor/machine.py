"""What the rules ask the host; `host_facts` answers."""

from __future__ import annotations

from typing import Protocol


def is_number(name: str) -> bool:
    """Return whether the name of a user or group is a number."""
    return name.isascii() and name.isdecimal()


class Machine(Protocol):
    """The facts of the host that rules need."""

    def is_elsewhere(self, path: str) -> bool:
        """Return whether a path is on a machine that is not here, so that nothing is known."""

    def exists(self, path: str) -> bool:
        """Return whether a file or directory exists."""

    def is_folder(self, path: str) -> bool:
        """Return whether a path is a directory."""

    def command_fault(self, path: str) -> str:
        """Return why a file cannot be executed, as a clause; empty if it can be."""

    def may_read(self, uid: int, path: str) -> bool:
        """Return whether a user may read a file."""

    def may_write(self, uid: int, path: str) -> bool:
        """Return whether a user may write a file, or create it."""

    def may_give(self, uid: int, key: str, name: str) -> bool:
        """Return whether a user may make a file belong to a user (`owner`) or `group`."""

    def open_files(self) -> int:
        """Return how many files a process may open here; 0 = unknown."""

    def file_fault(self, path: str) -> str:
        """Return why a file cannot be written at a path, as a clause; empty if it can be."""

    def is_root(self) -> bool:
        """Return whether this command runs as root."""

    def user(self, name: str) -> bool:
        """Return whether a user of this name or number exists."""

    def uid(self, name: str) -> int | None:
        """Return the uid of a user's name or number; None = unknown."""

    def owner(self, path: str) -> int | None:
        """Return the uid of the owner of a file; None = unknown."""

    def named_user(self, uid: int) -> str:
        """Return a user with its name if it has one: `www-data (33)`."""

    def group(self, name: str) -> bool:
        """Return whether a group exists."""

    def shell(self) -> str:
        """Return the name of the program that /bin/sh is, such as dash; empty = unknown."""

    def init_scripts(self) -> tuple[str, ...]:
        """Return the init scripts of php-fpm."""

    def php_fpms(self) -> tuple[str, ...]:
        """Return the paths of the php-fpm binaries that are installed."""

    def fpm_listener(self) -> str:
        """Return the path of the fpm-listener that runs; empty if it has no file of its own."""

    def enabled_units(self) -> tuple[str, ...]:
        """Return the systemd services of php-fpm that are enabled."""

    def port_range(self) -> tuple[int, int]:
        """Return the ports that outgoing connections use."""

    def memory_limit(self) -> int | None:
        """Return the bytes that all processes together may use: of the cgroup, or of the host."""

    def in_container(self) -> bool:
        """Return whether this is a container."""
