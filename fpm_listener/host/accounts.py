"""Users and groups: those of this machine, or those in the files of an image."""

from __future__ import annotations

import grp
import os
import pwd
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from fpm_listener.host.file_tree import FileTree

#: Lines of /etc/passwd or /etc/group of an image.
_MOST_LINES = 10_000


class Accounts(Protocol):
    """Users and groups by name and number."""

    def uid(self, name: str) -> int | None:
        """Return the number of a user."""

    def gid(self, name: str) -> int | None:
        """Return the number of a group."""

    def user_name(self, uid: int) -> str:
        """Return the name of a user; empty if the number has none."""

    def groups(self, uid: int) -> set[int]:
        """Return the groups of a user."""


class SystemAccounts:
    """The users of this machine, from every source that it is configured for."""

    def uid(self, name: str) -> int | None:
        """As Accounts."""
        with suppress(KeyError, ValueError):
            return pwd.getpwnam(name).pw_uid
        return None

    def gid(self, name: str) -> int | None:
        """As Accounts."""
        with suppress(KeyError, ValueError):
            return grp.getgrnam(name).gr_gid
        return None

    def user_name(self, uid: int) -> str:
        """As Accounts."""
        with suppress(KeyError, OverflowError):
            return pwd.getpwuid(uid).pw_name
        return ""

    def groups(self, uid: int) -> set[int]:
        """As Accounts."""
        with suppress(KeyError, OverflowError):
            user = pwd.getpwuid(uid)
            return set(os.getgrouplist(user.pw_name, user.pw_gid))
        return set()


class FileAccounts:
    """The users in /etc/passwd and /etc/group of an image."""

    def __init__(self, tree: FileTree) -> None:
        users = _rows(tree, "/etc/passwd", 4)
        groups = _rows(tree, "/etc/group", 3)
        self._users = {row[0]: int(row[2]) for row in users}
        self._names = {int(row[2]): row[0] for row in reversed(users)}
        self._groups = {row[0]: int(row[2]) for row in groups}
        self._of: dict[int, set[int]] = {}
        for row in users:
            if row[3].isdecimal():
                self._of.setdefault(int(row[2]), set()).add(int(row[3]))
        for row in groups:
            for name in row[3].split(",") if row[3:] else ():
                if name in self._users:
                    self._of.setdefault(self._users[name], set()).add(int(row[2]))

    def uid(self, name: str) -> int | None:
        """As Accounts."""
        return self._users.get(name)

    def gid(self, name: str) -> int | None:
        """As Accounts."""
        return self._groups.get(name)

    def user_name(self, uid: int) -> str:
        """As Accounts."""
        return self._names.get(uid, "")

    def groups(self, uid: int) -> set[int]:
        """As Accounts."""
        return self._of.get(uid, set())


def _rows(tree: FileTree, path: str, fields: int) -> list[list[str]]:
    """Return the fields of each line whose third field is a number."""
    try:
        lines = tree.read_text(path).split("\n")[:_MOST_LINES]
    except OSError:
        return []
    rows = (line.split(":") for line in lines)
    return [
        row
        for row in rows
        if len(row) >= fields and row[2].isascii() and row[2].isdecimal() and len(row[2]) <= 10
    ]
